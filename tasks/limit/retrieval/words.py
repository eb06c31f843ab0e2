"""The frozen word lists that generated cases are made of: things one can like, first names, last names.

They were written for this project from general knowledge and frozen before any retriever was run on them: changing
one line changes every generated case, so a change needs a new version of the task. Where they come into a
document or a query is in `generate`.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

CATEGORIES = (
    "animals", "arts", "drinks", "famous", "foods", "objects", "pastimes", "places", "plants", "things",
)  # fmt: skip
"""Files of attributes, in the order in which they make up the list."""


@cache
def attributes() -> tuple[str, ...]:
    """The 1,850 attributes (as many as the published pool), unique, in a fixed order."""
    return tuple(word for category in CATEGORIES for word in _lines(category))


@cache
def first_names() -> tuple[str, ...]:
    """Given names, unique, in a fixed order."""
    return _lines("first_names")


@cache
def last_names() -> tuple[str, ...]:
    """Family names, unique, in a fixed order."""
    return _lines("last_names")


def _lines(name: str) -> tuple[str, ...]:
    text = files(__package__).joinpath("words", f"{name}.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
