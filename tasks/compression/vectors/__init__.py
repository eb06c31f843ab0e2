"""The fewest bytes per vector that keep what a search finds."""

from harness.tasks.compression.vectors.interface import FIT_ROWS, Codec, Float32, Metric, Reducer, State

__all__ = ["FIT_ROWS", "Codec", "Float32", "Metric", "Reducer", "State"]
