"""Takes out of a box what its child left there, as one handles what somebody hostile may have made.

When this runs, nothing in the box lives any more. Plain files with the names that a bundle has are copied, whatever
else lies there stays; what the child says of itself is read into a schema, and its samples are written anew.
"""

from __future__ import annotations

import os
import re
import stat
import tokenize
import zipfile
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

_RESULT_BYTES = 4 << 20
_SAMPLES = 4_000_000
_MEMBER = re.compile(r"bundle\.json|\d{4,6}\.(npy|txt)")

Count = Annotated[int, Field(ge=0, lt=1 << 62)]
Name = Annotated[str, StringConstraints(max_length=200)]
Text = Annotated[str, StringConstraints(max_length=2000)]
Scalar = bool | Annotated[int, Field(gt=-(1 << 62), lt=1 << 62)] | float | Text


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, strict=True)


class _Stream(_Part):
    cold_ns: Count | None
    loops: Annotated[int, Field(ge=1, lt=1 << 62)]
    warm_up_calls: Count


class _Stage(_Part):
    name: Name
    self_wall_ns: Count
    self_cpu_ns: Count = 0


class _Said(_Part):
    """What `harness.worker.child` writes, without what only a GPU has."""

    status: Literal["ok", "failed", "oom", "unsupported", "skipped"]
    reason: Annotated[str, StringConstraints(max_length=8000)]
    streams: Annotated[dict[Name, _Stream], Field(max_length=100)] = {}
    phases: Annotated[list[_Stage], Field(max_length=2000)] = []
    loaded: Annotated[list[Text], Field(max_length=2000)] = []
    libraries: Annotated[dict[Name, Name], Field(max_length=5000)] = {}
    threads_used: Annotated[dict[Name, Count], Field(max_length=100)] = {}
    pinned: Annotated[list[Name], Field(max_length=5000)] = []
    description: Annotated[dict[Name, Scalar], Field(max_length=100)] = {}


class Refused(Exception):
    """What lies in the box is not taken; the message says why."""


def take_out(box: Path, place: Path, limit_bytes: int) -> dict[str, Any]:
    """Copy the answer and the samples from `box` to `place`, and return what the child said of itself.

    Empty if it said nothing. What cannot be taken makes of it a failure with a reason.
    """
    folder = os.open(box, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        said = _result(folder)
        if said:
            _samples(folder, said, place / "samples.npz")
            if said["status"] == "ok":
                _answer(folder, place / "answer", limit_bytes)
        return said
    except Refused as refused:
        return {"status": "failed", "reason": f"wrong answer: {refused}"}
    finally:
        os.close(folder)


def _result(folder: int) -> dict[str, Any]:
    try:
        with _plain(folder, "result.json", _RESULT_BYTES) as stream:
            return _Said.model_validate_json(stream.read()).model_dump()
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))[:100]
        raise Refused(f"result.json is not what a child writes: {where}: {first['msg'][:200]}") from None


def _answer(folder: int, into: Path, limit_bytes: int) -> None:
    try:
        answer = os.open("answer", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    except OSError as error:
        raise Refused(f"there is no folder `answer` ({error.strerror})") from None
    try:
        into.mkdir()
        left = limit_bytes
        for name in sorted(os.listdir(answer)):
            if not _MEMBER.fullmatch(name):
                raise Refused(f"{name!r} is no part of an answer")
            with _plain(answer, name, left) as source, (into / name).open("wb") as target:
                left -= _copy(source, target, left)
    finally:
        os.close(answer)


def _samples(folder: int, said: dict[str, Any], into: Path) -> None:
    """Write the streams of whole numbers anew; an archive of the child's own never reaches the parent."""
    kept: dict[str, NDArray[np.int64]] = {}
    try:
        with _plain(folder, "samples.npz", 8 * _SAMPLES + (1 << 20)) as stream, zipfile.ZipFile(stream) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name in said["streams"] and name not in kept:
                    kept[name] = _stored_integers(archive, member)
    except FileNotFoundError:
        return
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, RuntimeError) as error:
        raise Refused(f"samples.npz: {error}") from None
    except (SyntaxError, tokenize.TokenError, TypeError, LookupError, ArithmeticError, MemoryError, OSError) as error:
        # a header is read as Python's literals are
        raise Refused(f"samples.npz cannot be read ({type(error).__name__})") from None
    np.savez(into, **kept)  # type: ignore[arg-type]


def _stored_integers(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[np.int64]:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename!r} is compressed")
    with archive.open(member) as stream:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("another version of .npy")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        if len(shape) != 1 or dtype != np.int64 or not 0 <= shape[0] <= _SAMPLES:
            raise ValueError(f"{member.filename!r} is no list of at most {_SAMPLES} integers")
        array = np.frombuffer(stream.read(8 * shape[0]), np.int64)
    if len(array) != shape[0] or (array < 0).any():
        raise ValueError(f"{member.filename!r} is cut short, or holds negative times")
    return array


def _plain(folder: int, name: str, limit_bytes: int) -> Any:
    """A regular file of that folder, opened to read."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Refused(f"{name} is no plain file ({error.strerror})") from None
    about = os.fstat(fd)
    if not stat.S_ISREG(about.st_mode) or about.st_size > limit_bytes:
        os.close(fd)
        what = "no plain file" if not stat.S_ISREG(about.st_mode) else f"larger than {limit_bytes} bytes"
        raise Refused(f"{name} is {what}")
    return os.fdopen(fd, "rb")


def _copy(source: Any, target: Any, limit_bytes: int) -> int:
    copied = 0
    while chunk := source.read(1 << 20):
        copied += len(chunk)
        if copied > limit_bytes:
            raise Refused(f"more than {limit_bytes} bytes")
        target.write(chunk)
    return copied
