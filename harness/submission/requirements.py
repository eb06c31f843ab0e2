"""Packages that a submission needs: a `requirements.lock` of exact versions with digests, installed from wheels alone.

A wheel is unpacked; nothing of it runs until a boxed cell imports it. A source distribution would run its own build
code here, and a URL, a path or an option would have pip fetch what nobody has looked at: all of these are refused.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from harness import overlay
from harness.errors import UsageError
from harness.overlay import Overlay, normalised
from harness.registry import BaselineSpec
from harness.submission.strict import Refused, central_directory

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==(?P<version>(?:\d+!)?\d+(?:\.\d+)*[A-Za-z0-9.+]*)"
    r"(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{64})+)"
)
_MAKE = "uv pip compile --generate-hashes --no-header --no-annotate requirements.in -o requirements.lock"
_CODING = re.compile(r"coding[:=]")
_OURS = ("limits-harness", "pip", "setuptools")
_NOT_THEIRS = {"harness", "sitecustomize", "usercustomize", "site", "os", "sys", "importlib", "encodings", "codecs"}
_PIP_SOURCES = ("PIP_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CERT")
_MAX_LINES, _MAX_BYTES = 500, 1 << 20
_UNPACKED_BYTES, _TIMEOUT_S = 8 << 30, 900
_FILE_BYTES, _MEMORY_BYTES = 4 << 30, 8 << 30
"""One wheel, or one file of it; and what pip may map."""
_MEMBERS, _LIST_BYTES = 200_000, 64 << 20
"""Files of a wheel, and the list of them."""


class Requirement(NamedTuple):
    """One package of a lock."""

    name: str
    version: str
    hashes: tuple[str, ...]
    """SHA-256 of each wheel that will do."""

    @property
    def line(self) -> str:
        return " ".join([f"{self.name}=={self.version}", *(f"--hash=sha256:{each}" for each in self.hashes)])


def read_lock(lock: Path) -> list[Requirement]:
    """The packages of a lock, by name. Raises UsageError as `parse_lock` does."""
    try:
        return parse_lock(lock.read_bytes(), lock)
    except OSError as error:
        raise UsageError(f"{lock}: cannot be read: {error.strerror}; name a lock file with --requirements") from None


def parse_lock(data: bytes, lock: Path) -> list[Requirement]:
    """The packages of a lock's text, by name. Raises UsageError, naming file (`lock`) and line, for anything but
    `name==version --hash=sha256:...`."""
    if len(data) > _MAX_BYTES:
        raise UsageError(f"{lock}: is larger than {_MAX_BYTES} bytes")
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise UsageError(f"{lock}: cannot be read: {error}; only ASCII is taken") from None
    if coding := _CODING.search(text):  # pip would read the file in that encoding, and see other lines than we do
        at = text.count("\n", 0, coding.start()) + 1
        raise UsageError(f"{lock}:{at}: a line that looks like a declaration of an encoding is not taken; leave it out")
    found: dict[str, Requirement] = {}
    for number, line in _lines(text):
        match = _PIN.fullmatch(line)
        if match is None:
            raise UsageError(f"{lock}:{number}: {_why(line)}: {line[:100]!a}; make the file anew: {_MAKE}")
        name = normalised(match["name"])
        if name in _OURS:
            raise UsageError(f"{lock}:{number}: {name} is installed already, and is not replaced; leave the line out")
        if name in found:
            raise UsageError(f"{lock}:{number}: {name} stands here twice; leave one of the lines")
        hashes = re.findall(r"sha256:([0-9a-f]{64})", match["hashes"])
        found[name] = Requirement(name, match["version"], tuple(sorted(set(hashes))))
        if len(found) > _MAX_LINES:
            raise UsageError(f"{lock}: names more than {_MAX_LINES} packages")
    return [found[name] for name in sorted(found)]


def install_locked(lock: Path, into: Path) -> Overlay:
    """Download the wheels of a lock, check their digests, and unpack them into `into/site`.

    What comes back can be a row's `environment`: its `site` is imported from before what is installed, in boxed
    children once they were admitted. Raises UsageError for a line that is refused, a package without a wheel for this
    interpreter, a digest that differs, or a wheel that brings what is not its own.
    """
    wanted = read_lock(lock)
    site, wheels, pinned = into / "site", into / "wheels", into / "pinned.txt"
    for folder in (site, wheels):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    # written anew: pip is shown what was understood, not what somebody wrote
    pinned.write_text("".join(f"{each.line}\n" for each in wanted), "utf-8")
    if wanted:
        alone = ["--only-binary", ":all:", "--require-hashes", "--no-deps", "-r", str(pinned)]
        _pip(lock, ["download", "--dest", str(wheels), *alone])
        _look_into(lock, wheels)
        here = ["--no-index", "--find-links", str(wheels)]  # what was looked at, and nothing else
        _pip(lock, ["install", "--target", str(site), "--no-compile", *here, *alone], sources=False)
        _look(lock, site)
    shutil.rmtree(wheels, ignore_errors=True)
    requirements = tuple(f"{each.name}=={each.version}" for each in wanted)
    made = overlay.described(Overlay(requirements, into), site)
    if set(made.packages) != {each.name for each in wanted}:
        raise UsageError(f"{lock}: what was installed is {', '.join(sorted(made.packages))}, not what the lock names")
    return made


def _lines(text: str) -> list[tuple[int, str]]:
    """Logical lines with the number of their first: comments left out, continued ones joined."""
    found: list[tuple[int, str]] = []
    open_line = False
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        continued = line.endswith("\\")
        line = line.removesuffix("\\").strip()
        if open_line:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line}".strip())
        elif line:
            found.append((number, line))
        open_line = continued and bool(found)
    return found


def _why(line: str) -> str:
    """What is wrong with a line, for its writer."""
    if line.startswith("-"):
        return "an option, or an editable or other file, is not taken"
    if re.search(r"\w+://|@|^[./~]|\.(whl|zip|tar|gz)\b", line):
        return "a URL or a path is not taken"
    if ";" in line:
        return "a marker is not taken; lock for one platform"
    if "[" in line:
        return "extras mean nothing in a lock, which names every package"
    if re.search(r"--hash=(?!sha256:[0-9a-f]{64}(\s|$))", line):
        return "a digest is not sha256 with 64 digits"
    if "--hash" not in line:
        return "there is no --hash=sha256:..."
    return "not `name==version --hash=sha256:...`"


def _look_into(lock: Path, wheels: Path) -> None:
    """Refuse wheels that would unpack to too much, by their own lists of files, before anything unpacks them."""
    left = _UNPACKED_BYTES
    for path in sorted(wheels.iterdir()):
        if path.suffix != ".whl" or path.is_symlink() or not path.is_file():
            raise UsageError(
                f"{lock}: what was found for it holds {path.name}, which is no wheel; only wheels are taken"
            )
        try:
            with open(path, "rb") as file:
                if central_directory(file) > _LIST_BYTES:
                    raise Refused("lists too many files")
                with zipfile.ZipFile(file) as archive:
                    members = archive.infolist()
            if len(members) > _MEMBERS:
                raise Refused(f"holds {len(members)} files; at most {_MEMBERS} are taken")
        except (Refused, zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
            raise UsageError(f"{lock}: {path.name} {error}; name another version") from None
        left -= sum(member.file_size for member in members)
        if left < 0:
            raise UsageError(f"{lock}: its wheels unpack to more than {_UNPACKED_BYTES >> 20} MiB, with {path.name}")


def _limited() -> None:
    """What pip may write as one file, and map: it runs outside of any box."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))


def _pip(lock: Path, words: list[str], sources: bool = True) -> None:
    """Run pip as this interpreter's module, with no settings but where its packages come from, if it may have any."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON"))}
    given = {k: os.environ[k] for k in _PIP_SOURCES if sources and k in os.environ}
    quiet = {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0", "PIP_NO_CACHE_DIR": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pip", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", env={**kept, **given, **quiet}, check=False, timeout=_TIMEOUT_S,
            preexec_fn=_limited,  # a fork of the command line's only thread
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UsageError(f"{lock}: not installed within {_TIMEOUT_S} s; try again, or name fewer packages") from None
    if done.returncode == 0:
        return
    said = overlay.URL.sub("<address>", done.stderr + done.stdout)
    if "DO NOT MATCH THE HASHES" in said:
        why = "a package that was found has another digest than the lock; it is not the file that was locked"
    elif re.search(r"No matching distribution|from versions", said):
        name = next(iter(re.findall(r"requirement ([\w.-]+==[\w.+!-]+)", said)), "one of them")
        why = f"{name} has no wheel for this Python, or there is no such version; only wheels are installed"
    else:
        errors = [line for line in said.splitlines() if line.lower().startswith("error")]
        why = (errors or ["pip failed"])[-1][:300]
    raise UsageError(f"{lock}: {why}; see what there is: pip download --only-binary :all: --no-deps -r {lock}")


def _look(lock: Path, site: Path) -> None:
    """Refuse what a wheel has no business to bring: code that Python runs at its start, and names of others."""
    size = 0
    for folder, names, files in os.walk(site):
        for name in (*names, *files):
            path = Path(folder, name)
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise UsageError(f"{lock}: a wheel brings {path.relative_to(site)}, which is no plain file")
            size += path.stat().st_size
    if size > _UNPACKED_BYTES:
        raise UsageError(f"{lock}: its wheels unpack to {size >> 20} MiB; at most {_UNPACKED_BYTES >> 20} are taken")
    for path in sorted(site.iterdir()):
        if path.suffix == ".pth" or path.name.partition(".")[0] in _NOT_THEIRS:
            raise UsageError(f"{lock}: a wheel brings {path.name}, which would change what others import; leave it out")


def needs_lock(rows: Sequence[BaselineSpec]) -> list[str]:
    """Modules that rows require and that no package of this project's, or of its extras, brings."""
    from importlib import metadata

    modules = {module.partition(".")[0] for row in rows for module in row.requires}
    if not modules:
        return []
    provides = metadata.packages_distributions()
    known = _with_dependencies(_OURS[0])
    return sorted(m for m in modules if not {normalised(name) for name in provides.get(m, [])} & known)


def _with_dependencies(name: str) -> set[str]:
    """Distributions that one needs, those of its extras too; of the others only what they always need."""
    from importlib import metadata

    todo, found = [name], set[str]()
    while todo:
        current = todo.pop()
        if current in found:
            continue
        found.add(current)
        try:
            said = metadata.requires(current) or []
        except metadata.PackageNotFoundError:
            continue
        for text in said:
            match = re.match(r"[\w.-]+", text)
            if match and (current == name or "extra ==" not in text):
                todo.append(normalised(match[0]))
    return found
