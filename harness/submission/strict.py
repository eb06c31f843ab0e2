"""Reading what a stranger wrote: names, JSON and .npz files, with limits, before anything else looks at them.

Everything here raises `Refused` with a sentence, whatever the bytes are.
"""

from __future__ import annotations

import io
import json
import math
import re
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import IO, Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

Json = Any
ModelT = TypeVar("ModelT", bound=BaseModel)
GivenT = TypeVar("GivenT")
ReadT = TypeVar("ReadT")
MAX_MEMBERS = 2_000
"""Arrays in one .npz file."""
MAX_INFLATED = 64 << 20
"""Bytes of one .npz file's arrays."""
MAX_SAMPLES = 1_000_000
"""Samples of one stream."""
_MAX_HEADER = 10_000
_MAX_NAME = 200
_MAX_PARTS = 10
_PART = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,200}")
_ARRAY = re.compile(r"(?:item|latency)/[\w .,:;()\[\]@%+=<>/*^'-]{1,200}\.npy")
_BLOCK = 1 << 16


class Refused(Exception):
    """Why something was not read."""


def shown(text: object) -> str:
    """A stranger's text as it may stand in a sentence: quoted, short, without what a terminal would obey."""
    whole = ascii(str(text))
    return whole if len(whole) <= 130 else f"{whole[:120]}...{whole[-1]}"


def checked_name(name: str) -> str:
    """A relative path of plain parts, as it is. Raises Refused for one that leaves, is absolute, or is odd."""
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        raise Refused(f"{shown(name)} is an absolute path; only relative ones are read")
    parts = name.split("/")
    if ".." in parts or ".." in name.split("\\"):
        raise Refused(f"{shown(name)} leaves the folder; no part of a path may be '..'")
    if len(parts) > _MAX_PARTS or len(name) > _MAX_NAME * 2:
        raise Refused(f"{shown(name)} is too long or too deep a path")
    for part in parts:
        if not _PART.fullmatch(part):
            allowed = "use letters, digits, '_', '-' and, but for the first, '.'"
            raise Refused(f"{shown(name)}: {shown(part)} is no name that is read; {allowed}")
    return name


def read_json(content: bytes) -> Json:
    """Strict JSON: UTF-8, no key twice, no NaN or Infinity, no text that cannot be written. Raises Refused."""

    def members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        made = dict(pairs)
        if len(made) != len(pairs):
            names = [name for name, _ in pairs]
            raise Refused(f"has the key {shown(next(n for n in names if names.count(n) > 1))} twice")
        for name, of in pairs:
            if type(of) is int and abs(of) >= 1 << (128 if name == "seed" else 63):
                raise Refused(f"holds a number that is too large, as its {shown(name)}")
        return made

    def constant(name: str) -> NoReturn:
        raise Refused(f"holds {name}, which is no number of JSON")

    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=members, parse_constant=constant)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeDecodeError:
        raise Refused("is not UTF-8 text") from None
    except UnicodeEncodeError:
        raise Refused("holds half of a surrogate pair, which is no text") from None
    except RecursionError:
        raise Refused("is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise Refused(f"is no JSON: {error.msg} at line {error.lineno}") from None
    except ValueError:
        raise Refused("holds a number that is too large") from None
    return value


def central_directory(file: IO[bytes]) -> int:
    """Bytes that the list of a zip file's members takes, read before `zipfile` makes objects of them.

    Raises Refused for a file that is no plain zip file: `zipfile` would look for its list elsewhere.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 42))
    tail = file.read()
    if len(tail) < 22 or tail[-22:-18] != b"PK\x05\x06":
        raise Refused("does not end as a zip file without a comment does")
    if tail[:4] == b"PK\x06\x07" and len(tail) == 42:
        raise Refused("is a 64-bit zip file, which none needs to be")
    return int.from_bytes(tail[-10:-6], "little")


def read_arrays(content: bytes) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype of the arrays of a .npz file, each of which is whole, numeric, and no larger than said.

    Nothing is unpickled and no array is made. Raises Refused.
    """
    try:
        return _read_arrays(content)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise Refused(f"is no readable .npz file: {shown(error)}") from None
    except (OverflowError, MemoryError, RecursionError, TypeError, LookupError, AttributeError) as error:
        raise Refused(f"is no readable .npz file ({type(error).__name__})") from None
    except (SyntaxError, tokenize.TokenError) as error:  # an array's header is read as Python's literals are
        raise Refused(f"is no readable .npz file: a header is no literal ({type(error).__name__})") from None


def inflated_bytes(arrays: Mapping[str, tuple[tuple[int, ...], str]]) -> int:
    """Bytes of arrays as they are worked on: eight for each number, whatever it was packed as."""
    return sum(8 * math.prod(shape) for shape, _ in arrays.values())


def _read_arrays(content: bytes) -> dict[str, tuple[tuple[int, ...], str]]:
    file = io.BytesIO(content)
    if central_directory(file) > MAX_MEMBERS * 1_000:
        raise Refused(f"lists too many arrays; {MAX_MEMBERS} are read")
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    total = 0
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            raise Refused(f"holds {len(members)} arrays; {MAX_MEMBERS} are read")
        for member in members:
            if not _ARRAY.fullmatch(member.filename) or ".." in member.filename.split("/"):
                raise Refused(f"holds {shown(member.filename)}; only item/NAME.npy and latency/NAME.npy are read")
            if member.filename in found:
                raise Refused(f"holds {shown(member.filename)} twice")
            total += member.file_size
            if total > MAX_INFLATED:
                raise Refused(f"says that it inflates to more than {MAX_INFLATED >> 20} MiB")
            found[member.filename] = shape, _ = _array(archive, member)
            if member.filename.startswith("latency/") and shape[0] > MAX_SAMPLES:
                raise Refused(f"holds {shape[0]} samples as {shown(member.filename)}; {MAX_SAMPLES} are read")
    return {name.removesuffix(".npy"): said for name, said in found.items()}


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], str]:
    import numpy as np

    inflated = inflate(archive, member, MAX_INFLATED)
    stream = io.BytesIO(inflated)
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise Refused(f"{shown(member.filename)} is an array of format {version}; 1.0 and 2.0 are read")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(stream, max_header_size=_MAX_HEADER)
    if dtype.hasobject or dtype.kind not in "iuf" or dtype.subdtype is not None:
        raise Refused(f"{shown(member.filename)} is an array of {shown(dtype)}; only numbers are read, and no pickle")
    if len(shape) != 1 or shape[0] * dtype.itemsize != len(inflated) - stream.tell():
        raise Refused(f"{shown(member.filename)} has the shape {shown(shape)}, which its bytes are not")
    return tuple(shape), str(dtype)


def inflate(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    """A member's bytes, at most as many as it says and as `most`. Raises Refused, BadZipFile, zlib.error..."""
    check_member(member)
    if member.file_size > most:
        raise Refused(f"{shown(member.filename)} inflates to {member.file_size} bytes; {most} are read")
    taken = io.BytesIO()
    with archive.open(member) as stream:
        while block := stream.read(_BLOCK):
            taken.write(block)
            if taken.tell() > member.file_size:
                raise Refused(f"{shown(member.filename)} inflates to more than it says")
    if taken.tell() != member.file_size:
        raise Refused(f"{shown(member.filename)} ends early")
    return taken.getvalue()


def check_member(member: zipfile.ZipInfo) -> None:
    """Raises Refused for a member that is encrypted, or packed in a way that we do not read."""
    if member.flag_bits & 0x1:
        raise Refused(f"{shown(member.filename)} is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refused(f"{shown(member.filename)} is packed by method {member.compress_type}; use plain deflate")


# Whole files ----------------------------------------------------------------------------------------------------------


def validated(name: str, model: type[ModelT], content: bytes) -> ModelT:
    """The model in a file, whose values are all of the kind that they are written as."""
    value = in_file(name, read_json, content)
    try:
        made = model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Refused(f"{name}: {shown(where)}: {shown(first['msg'])}") from None
    if where := _difference(value, made.model_dump(mode="json")):
        raise Refused(f"{name}: {shown(where)} is written as another kind of value than it is")
    return made


def _difference(given: Json, meant: Json, where: str = "") -> str:
    """Where a value is not, in type or content, what it was understood as; empty if nowhere."""
    if type(given) is not type(meant):
        return where or "it"
    if isinstance(given, dict):
        pairs = [(given[key], meant.get(key), f"{where}.{key}".strip(".")) for key in given]
    elif isinstance(given, list):
        pairs = [(g, m, f"{where}.{i}") for i, (g, m) in enumerate(zip(given, meant, strict=True))]
    else:
        return "" if given == meant else where
    return next((found for pair in pairs if (found := _difference(*pair))), "")


def in_file(name: str, read: Callable[[GivenT], ReadT], argument: GivenT) -> ReadT:
    """What `read` makes of it; a refusal then names the file."""
    try:
        return read(argument)
    except Refused as error:
        raise Refused(f"{name} {error}" if not str(error).startswith("'") else f"{name}: {error}") from None
