"""Free embeddings: for how many documents can vectors, optimised on the answers themselves, return every pair?"""

from harness.tasks.limit.free.interface import TIE, FreeEmbedder, Vectors, all_pairs, smallest_margin

__all__ = ["TIE", "FreeEmbedder", "Vectors", "all_pairs", "smallest_margin"]
