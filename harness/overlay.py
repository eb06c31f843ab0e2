"""Environments of `--with`: pinned packages in a cached folder that children import before what is installed.

A folder holds only what differs from the running environment: pip is asked what it would change, with every other
installed version as a constraint, and that alone is installed beside. It is made under a temporary name and renamed, so
that it is there whole or not at all, and two runs may make it at once. Its name is a digest of the pins and of what
they were put on top of: another interpreter, or another set of installed packages, has folders of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from harness import paths

URL = re.compile(r"\b\w+://[^\s'\"]+|host='[^']*'")
_DIST_INFO = re.compile(r"(?P<name>[A-Za-z0-9][\w.]*)-(?P<version>[^-]+)(?:-py[\d.]+)?\.(?:dist|egg)-info")
_NO_CONTENT = re.compile(r"\.dist-info/(?:RECORD|INSTALLER|REQUESTED|direct_url\.json)$")
"""Written by the installer, not by the package."""


@dataclass(frozen=True)
class Overlay:
    """Pinned packages on top of the running environment. One without a `lock` is still to be made."""

    requirements: tuple[str, ...]
    """`name==version`, sorted."""
    folder: Path
    lock: str = ""
    """SHA-256 of the names, versions and files of all packages in it."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Versions of what was installed: what was pinned and what that needs otherwise than it is here."""
    modules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Import names of each of them."""
    note: str = ""
    """What a reader of its results should know."""
    problem: str = ""
    """Why it could not be made, and what to type next."""

    @property
    def label(self) -> str:
        return ",".join(self.requirements)

    @property
    def site(self) -> Path:
        """The folder to import from."""
        return self.folder / "site"

    def version_of(self, module: str) -> str | None:
        """Version of the package in it that provides an import name."""
        return next((self.packages[name] for name, found in self.modules.items() if module in found), None)


class _PipError(Exception):
    """pip did not do it; the message is for the user, `output` for us."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


def find(requirements: tuple[str, ...]) -> Overlay:
    """The environment of some pins: ready if it was made before."""
    place = [sys.implementation.cache_tag, sysconfig.get_platform(), sorted(requirements), sorted(installed().items())]
    digest = hashlib.sha256(json.dumps(place).encode()).hexdigest()[:24]
    overlay = Overlay(tuple(sorted(requirements)), paths.overlays_root() / digest)
    try:
        made = json.loads((overlay.folder / "overlay.json").read_text("utf-8"))
        modules = {name: tuple(found) for name, found in made["modules"].items()}
        return replace(overlay, lock=made["lock"], packages=made["packages"], modules=modules, note=made["note"])
    except (OSError, ValueError, KeyError):
        return overlay


def make(overlay: Overlay) -> Overlay:
    """Install it. What comes back is ready, or says in `problem` why not; only an interrupt is raised."""
    root = overlay.folder.parent
    making = root / f".making-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        making.mkdir(parents=True)
        chosen, note = _resolve(overlay.requirements, making)
        _pip(["install", "--no-deps", "--target", str(making / "site"), *chosen], overlay.requirements)
        made = replace(described(overlay, making / "site"), note=note)
        written = {
            k: v for k, v in asdict(made).items() if k in ("requirements", "lock", "packages", "modules", "note")
        }
        (making / "overlay.json").write_text(json.dumps(written, indent=1), "utf-8")
        if overlay.folder.exists() and not find(overlay.requirements).lock:
            shutil.rmtree(overlay.folder)  # something that is no environment lies in its place
        try:
            os.rename(making, overlay.folder)
        except OSError:
            if not find(overlay.requirements).lock:
                raise
        return find(overlay.requirements)  # ours, or that of another run that was faster
    except _PipError as error:
        return replace(overlay, problem=str(error))
    except OSError as error:
        return replace(overlay, problem=f"no environment with {overlay.label} could be written under the cache: "
                       f"{error.strerror or error}; `harness results path` shows where it lies")  # fmt: skip
    finally:
        shutil.rmtree(making, ignore_errors=True)


def installed() -> Mapping[str, str]:
    """Versions of all installed distributions by normalised name, as the running interpreter would find them."""
    found: dict[str, str] = {}
    for place in sys.path:
        try:
            names = os.listdir(place or ".")
        except OSError:
            continue
        for match in filter(None, map(_DIST_INFO.fullmatch, sorted(names))):
            found.setdefault(normalised(match["name"]), match["version"])
    return found


def normalised(name: str) -> str:
    """A distribution's name as all spellings of it compare (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _resolve(requirements: Sequence[str], scratch: Path) -> tuple[list[str], str]:
    """What has to be installed so that the pins hold, and a note if installed packages had to give way."""
    pinned = {r.partition("==")[0] for r in requirements}
    constraints = scratch / "constraints.txt"
    kept = {n: v for n, v in installed().items() if n not in pinned and n != "limits-harness"}
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in sorted(kept.items())), "utf-8")
    report = scratch / "report.json"
    ask = ["install", "--dry-run", "--report", str(report), "--prefer-binary", *requirements]
    try:
        _pip([*ask, "--constraint", str(constraints)], requirements)
    except _PipError as error:
        if "conflict" not in error.output.lower():
            raise
        _pip(ask, requirements)
    chosen = dict(r.split("==") for r in requirements)
    for entry in json.loads(report.read_text("utf-8"))["install"]:
        chosen[normalised(entry["metadata"]["name"])] = entry["metadata"]["version"]
    changed = [f"{n} {v} -> {chosen[n]}" for n, v in sorted(kept.items()) if chosen.get(n, v) != v]
    note = f"{','.join(requirements)} does not go with what is installed; changed for it: {', '.join(changed)}"
    constraints.unlink()
    report.unlink()
    return [f"{name}=={version}" for name, version in sorted(chosen.items())], note if changed else ""


def _pip(words: Sequence[str], requirements: Sequence[str]) -> None:
    """Run pip without questions. Raises _PipError with its last word and what to do about it."""
    # settings of the user's own that contradict --target
    variables = {**os.environ, "PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "pip", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env=variables, start_new_session=True,
    )  # fmt: skip
    try:
        output = process.communicate()[0].decode("utf-8", errors="replace")
    except BaseException:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # what it builds with, too
            process.wait()
        raise
    if process.returncode:
        raise _PipError(_explain(output, requirements), output)


def _explain(output: str, requirements: Sequence[str]) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error:")] or lines[-1:]
    # the resolver's last line is a link to its manual; the first says what contradicts what
    said = errors[0] if "conflicting" in errors[0] else errors[-1]
    said = URL.sub("<address>", re.sub(r"^error:\s*", "", said, flags=re.IGNORECASE)).rstrip(".")
    if "No module named pip" in output:
        hint = "run: python -m ensurepip"
    elif re.search(r"from versions: none|NewConnectionError|Temporary failure|Max retries|ProxyError", output):
        hint = ("there is no such package, or none for this Python, or no package index was reached; where there is no "
                "network, name a folder of wheels in PIP_FIND_LINKS")  # fmt: skip
    elif "No matching distribution" in output:
        hint = f"see which versions there are: pip index versions {requirements[0].partition('==')[0]}"
    else:
        hint = f"see all that pip says: pip download --no-deps {' '.join(requirements)}"
    return f"pip cannot install {','.join(requirements)}: {said[:300]}; {hint}"


def described(overlay: Overlay, site: Path) -> Overlay:
    """The overlay with versions, import names and lock of the packages that pip installed into the folder `site`."""
    packages: dict[str, str] = {}
    modules: dict[str, tuple[str, ...]] = {}
    content: list[str] = []
    for info in sorted(site.glob("*.dist-info")):
        match = _DIST_INFO.fullmatch(info.name)
        if match is None:
            continue
        name = normalised(match["name"])
        packages[name] = match["version"]
        content.append(f"{name}=={match['version']}")
        tops: set[str] = set()
        for line in (info / "RECORD").read_text("utf-8").splitlines():
            path, digest = line.rsplit(",", 2)[:2]
            # bytecode has no digest, and scripts outside name the interpreter: neither is the same everywhere
            if digest and not path.startswith(("..", "bin/")) and not _NO_CONTENT.search(path):
                content.append(f"{path} {digest}")
                top, _, below = path.strip('"').partition("/")
                if below and not top.endswith((".dist-info", ".data", ".libs")):
                    tops.add(top)
                elif not below and top.endswith((".py", ".so")):
                    tops.add(top.partition(".")[0])
        modules[name] = tuple(sorted(tops))
    lock = hashlib.sha256("\n".join(sorted(content)).encode()).hexdigest()
    return replace(overlay, lock=lock, packages=packages, modules=modules)
