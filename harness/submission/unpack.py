"""Archives of a stranger's, unpacked into a folder of ours: nothing but plain files, inside, and no more than said."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

from harness.submission.strict import Refused, central_directory, check_member, checked_name, shown

MAX_FILES = 20_000
MAX_BYTES = 512 << 20
"""All files of a submission together, unpacked."""
MAX_ARCHIVE = 256 << 20
_BLOCK = 1 << 16


def is_archive(path: Path) -> bool:
    """Whether a path is named like one that is read."""
    return path.name.endswith((".zip", ".tar", ".tar.gz", ".tgz"))


def unpack(path: Path, into: Path) -> None:
    """Unpack a .zip, .tar or .tar.gz into `into`, which is made. Raises Refused; what is there by then is the caller's
    to remove."""
    if path.stat().st_size > MAX_ARCHIVE:
        raise Refused(f"is larger than {MAX_ARCHIVE >> 20} MiB")
    into.mkdir()
    writer = _Writer(into)
    try:
        with open(path, "rb") as file:
            if path.name.endswith(".zip"):
                _unzip(file, writer)
            elif path.name.endswith(".tar"):
                _untar(file, writer)
            else:
                with gzip.GzipFile(fileobj=file) as inflated:
                    _untar(inflated, writer)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise Refused(f"is no readable archive: {shown(error)}") from None
    except (NotImplementedError, RuntimeError, OverflowError, MemoryError, TypeError, LookupError) as error:
        raise Refused(f"is no readable archive ({type(error).__name__}: {shown(error)})") from None


class _Writer:
    """Writes members, and counts."""

    def __init__(self, root: Path) -> None:
        self.root, self.names, self.left = root, set[str](), MAX_BYTES

    def declared(self, name: str, size: int) -> str:
        """The name, checked; and that there is room for what is said of its size."""
        checked_name(name)
        if name.lower() in self.names:
            raise Refused(f"holds {shown(name)} twice")
        self.names.add(name.lower())
        if len(self.names) > MAX_FILES:
            raise Refused(f"holds more than {MAX_FILES} files")
        if size > self.left:
            raise Refused(f"unpacks to more than {MAX_BYTES >> 20} MiB")
        return name

    def write(self, name: str, size: int, stream: IO[bytes]) -> None:
        """The member's bytes, which are as many as it said."""
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with open(target, "xb") as file:
            while block := stream.read(_BLOCK):
                written += len(block)
                if written > size:
                    raise Refused(f"{shown(name)} is larger than it says")
                file.write(block)
        if written != size:
            raise Refused(f"{shown(name)} ends early")
        self.left -= written


def _unzip(file: IO[bytes], writer: _Writer) -> None:
    if central_directory(file) > MAX_FILES * 500:
        raise Refused(f"lists more than {MAX_FILES} files")
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            folder = member.filename.endswith("/")
            if kind not in (0, stat.S_IFDIR if folder else stat.S_IFREG):
                raise Refused(f"holds {shown(member.filename)}, which is a link or a device; only files are read")
            check_member(member)
            name = writer.declared(member.filename.rstrip("/") if folder else member.filename, member.file_size)
            if folder:
                if member.file_size:
                    raise Refused(f"holds a folder {shown(name)} with bytes of its own")
                (writer.root / name).mkdir(parents=True, exist_ok=True)
                continue
            with archive.open(member) as stream:
                writer.write(name, member.file_size, stream)


def _untar(file: IO[bytes] | gzip.GzipFile, writer: _Writer) -> None:
    # As a stream, through a gate: headers of headers are read into memory by their own word for how long they are.
    with tarfile.open(fileobj=_Gate(file, MAX_BYTES + (MAX_FILES << 11)), mode="r|") as archive:
        for member in archive:
            plain = member.name.removeprefix("./")
            if member.isdir():
                if plain != ".":  # the folder itself, of `tar -C FOLDER .`
                    (writer.root / writer.declared(plain, 0)).mkdir(parents=True, exist_ok=True)
                continue
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
                kind = "hard link" if member.islnk() else "symbolic link" if member.issym() else "device or the like"
                raise Refused(f"holds {shown(member.name)}, which is a {kind}; only files are read")
            name = writer.declared(plain, member.size)
            stream = archive.extractfile(member)
            if stream is None:
                raise Refused(f"{shown(name)} cannot be read")
            writer.write(name, member.size, stream)


class _Gate(io.RawIOBase):
    """Lets so many bytes through, in pieces of at most 16 MiB."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, most: int) -> None:
        self._file, self._left = file, most

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= 1 << 24:
            raise Refused("has a header that says it is very long")
        block = self._file.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise Refused(f"unpacks to more than {MAX_BYTES >> 20} MiB")
        return block
