"""How far beyond the lengths that it was trained on a sequence model holds."""

from harness.tasks.length.interface import Network, Positions, PositionScheme, SequenceModel, Setting

__all__ = ["Network", "PositionScheme", "Positions", "SequenceModel", "Setting"]
