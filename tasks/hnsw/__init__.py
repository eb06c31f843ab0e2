"""What an approximate index loses, and why: by intrinsic dimension, insertion order and parameters."""

from harness.tasks.hnsw.interface import GRAPH_DEFAULT, GRAPH_EFFORTS, Index, Metric

__all__ = ["GRAPH_DEFAULT", "GRAPH_EFFORTS", "Index", "Metric"]
