"""What was said of records after they were written: that they were verified, or that they no longer count, and why.

Records are never changed. A statement names the records that it is about by identifier and digest, so that it cannot
come to be about anything else, and is itself never changed: `statements/<id>.json` in the results folder. Of several
statements about a record a retraction counts, and otherwise the highest trust.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.board.board import Retraction
from harness.errors import StoreError
from harness.record import TRUSTS, Trust
from harness.redact import redact
from harness.store import BrokenRecord, Store, file_digest, write_atomically

Kind = Literal["retracted", "reproduced", "replicated"]


class Statement(BaseModel):
    """One statement about records."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    schema_version: Literal[1] = 1
    id: str = Field(pattern=r"^[a-z]+-[0-9T]+-[0-9a-f]+$")
    kind: Kind
    records: dict[str, str] = Field(min_length=1)
    """SHA-256 of each record's file, by the record's identifier."""
    reason: str = Field(min_length=1)
    """Why it is made: what is wrong with the records, or how they were verified."""
    evidence: list[str] = []
    """What was seen: one sentence each."""
    at: str
    """UTC, ISO 8601."""


@dataclass(frozen=True)
class Said:
    """What all statements together say of records, by identifier."""

    trust: Mapping[str, Trust]
    retractions: Mapping[str, Retraction]


def make_statement(
    kind: Kind, store: Store, ids: Iterable[str], reason: str, evidence: Sequence[str] = ()
) -> Statement:
    """A statement about records of `store`. Raises StoreError for an identifier that it does not hold, and for no
    reason at all."""
    if not reason.strip():
        raise StoreError("a statement needs a reason; say why with --reason 'TEXT'")
    where = {path.stem: path for path in store.paths()}
    paths = [where.get(identity) or store.find(Path(identity).name) for identity in ids]
    digests = {path.stem: file_digest(path) for path in paths}
    now = datetime.now(UTC)
    return Statement(
        id=f"{kind}-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}", kind=kind, records=dict(sorted(digests.items())),
        reason=redact(reason.strip()), evidence=[redact(e) for e in evidence], at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
    )  # fmt: skip


class Statements:
    """The statements of one results folder."""

    def __init__(self, root: str | Path) -> None:
        self.folder = Path(root) / "statements"

    def add(self, statement: Statement) -> Path:
        """Write it. Raises StoreError where that is not possible."""
        path = self.folder / f"{statement.id}.json"
        if path.exists():
            raise StoreError(f"{path} is there already; statements are never changed: make another one")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, (json.dumps(statement.model_dump(mode="json"), indent=1) + "\n").encode())
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}") from None
        return path

    def load(self) -> tuple[list[Statement], list[BrokenRecord]]:
        """All statements in order of time, and the files that hold none."""
        statements, broken = [], []
        for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ():
            try:
                statement = Statement.model_validate_json(path.read_bytes())
                if statement.id != path.stem:
                    raise ValueError(f"it calls itself {statement.id}")
                statements.append(statement)
            except ValidationError as error:
                first = error.errors()[0]
                broken.append(BrokenRecord(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}"))
            except (OSError, ValueError) as error:
                broken.append(BrokenRecord(path, str(error)))
        return sorted(statements, key=lambda s: (s.at, s.id)), broken


def said_by(statements: Iterable[Statement]) -> Said:
    """What statements, oldest first, say of each record."""
    trust: dict[str, Trust] = {}
    retractions: dict[str, Retraction] = {}
    for statement in statements:
        for record in statement.records:
            if statement.kind == "retracted":
                retractions.setdefault(record, Retraction(record, statement.reason, statement.at))
            else:
                trust[record] = max(trust.get(record, "self-reported"), statement.kind, key=TRUSTS.index)
    return Said(trust, retractions)
