"""The fewest bytes from which a fresh process can predict as well as a trained network."""

from harness.tasks.compression.weights.interface import (
    Compressor,
    Matrix,
    Parts,
    Predictor,
    Problem,
    TensorCodec,
    named,
    spelled,
)

__all__ = ["Compressor", "Matrix", "Parts", "Predictor", "Problem", "TensorCodec", "named", "spelled"]
