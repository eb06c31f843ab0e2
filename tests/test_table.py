"""What a row is made of."""

from __future__ import annotations

import pytest

from harness.table import _is_use


@pytest.mark.parametrize(
    ("phase", "search"),
    [
        ("build", False), ("index", False), ("encode_documents", False), ("load", False), ("search", True),
        ("search[10]", True), ("search[800]", True), ("query.single", True), ("query[64].single", True),
        ("predict", True), ("decode", True),
    ],
)  # fmt: skip
def test_build_time_is_everything_but_searches_at_whatever_setting(phase: str, search: bool) -> None:
    assert _is_use(phase) is search
