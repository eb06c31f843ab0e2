"""The decoder without a position code, trained on more than question and answer: a hint (Awasthi and Gupta 2023, "Task
Hinting", arXiv 2310.00726) or the steps in between (Merrill and Sabharwal 2024, "The Expressive Power of Transformers
with Chain of Thought", arXiv 2310.07923)."""

from __future__ import annotations

from harness.tasks.length.interface import PositionScheme


class TrainedOtherwise(PositionScheme):
    """NoPE, with every second batch of the hint's problem, or writing a scratchpad before the answer.

    The hint for sorting is the successor: given the list and one of its elements, the next larger one. The scratchpad
    for a finite automaton repeats each letter with the state after it, so that every step is local.
    """

    cost = "heavy"
    hint: str = ""
    scratchpad: str = ""
    variants = {
        "nope-hinted": {"hint": "successor", "takes": ("sort-l*", "sort-unique-*")},
        "nope-scratchpad": {
            "scratchpad": "interleaved",
            "scale": "full",
            "takes": ("parity-*", "even-pairs-*", "modular-sum-*", "cycle-*", "aa-star-*", "permutations-*"),
        },
    }
