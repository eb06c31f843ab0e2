"""How many numbers must be trained? Networks trained in random subspaces of d dimensions (intrinsic dimension)."""

from harness.tasks.compression.subspace.interface import Objective, Projection, SubspaceMethod

__all__ = ["Objective", "Projection", "SubspaceMethod"]
