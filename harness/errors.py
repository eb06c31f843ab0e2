"""Errors meant for the person who meets them: what was wrong, where, and what to type next."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class HarnessError(Exception):
    """Base of every error that the command line prints as a sentence instead of a traceback."""


class UsageError(HarnessError):
    """The request itself cannot be carried out (exit code 2)."""


class NothingMatched(HarnessError):
    """The request was well-formed but selects no cell (exit code 3)."""


class StoreError(HarnessError):
    """The results folder cannot be read or written."""


class DataError(UsageError):
    """A data file that the user named is not what it should be."""


class Unsupported(Exception):
    """Raised by a baseline that cannot do what the case asks; the message is kept as the record's reason."""


class MissingPackage(Exception):
    """Raised where something that must be installed or downloaded first is not there."""


def did_you_mean(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """An error for an unknown `name`, with the nearest known ones or, failing that, all of them."""
    names = sorted(set(known))
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        hint = "did you mean " + " or ".join(repr(n) for n in near) + "?"
    elif names:
        hint = "known: " + ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
    else:
        hint = "none is installed"
    return UsageError(f"unknown {kind} {name!r}; {hint} (`harness list {kind}s` shows all)")
