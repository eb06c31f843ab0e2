"""LIMIT retrieval: which top-k sets can a retriever return? (Weller et al. 2025)"""

from harness.tasks.limit.retrieval.interface import Encoder, Hits, Retriever, TokenEncoder

__all__ = ["Encoder", "Hits", "Retriever", "TokenEncoder"]
