"""Which files a boxed child is shown, as words for bubblewrap, and whether what is mounted is what was meant."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from harness.sources import plugin_roots
from harness.worker import seal

SCRATCH = ("/box", "/dev/shm")
"""What can be written to besides the answer's folder; of the box itself. Not /tmp, where people keep checkouts, too."""
_SCRATCH_BYTES, _SHARED_BYTES = 2 << 30, 1 << 30
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "pts", "shm")


class Layout:
    """Which files are shown where: the same words for both bubblewraps."""

    def __init__(self, shown: Sequence[Path], out: Path, hidden: Sequence[Path]) -> None:
        self._out, self._words = out, list[str]()
        self._bound: list[Path] = []
        self._points = {Path("/"), Path("/proc"), Path("/dev"), *(Path("/dev", name) for name in _DEVICES),
                        *map(Path, SCRATCH), out}  # fmt: skip
        self._made = {Path("/"), Path("/dev"), Path("/proc")}
        self._words += ["--perms", "0755", "--dir", "/tmp"]  # bubblewrap itself needs it
        self._made.add(Path("/tmp"))
        self._links()
        for path in sorted({*_installation(), *_of_the_system()}, key=lambda each: len(each.parts)):
            self._show(path)
        plugins = [root.resolve() for kind in ("tasks", "baselines") for root, _ in plugin_roots(kind)]
        closed = list(self._cover([*plugins, *hidden]))
        for path in shown:
            self._show(path)
        for path in closed:
            self._words += ["--remount-ro", str(path)]
        self._parents(out)
        self._words += ["--bind", str(out), str(out)]

    def command(self, user: int, variables: dict[str, str], program: Sequence[str]) -> list[str]:
        """bwrap, setpriv, bwrap, and the program."""
        bwrap, setpriv = shutil.which("bwrap"), shutil.which("setpriv")
        if bwrap is None or setpriv is None:
            raise OSError("namespaces: bwrap or setpriv is not installed; type: apt-get install bubblewrap util-linux")
        # the first one's world holds what the programs after it need; the second one's does not
        of_programs = ("/bin", "/lib", "/lib64", "/usr", os.path.dirname(bwrap), os.path.dirname(setpriv))
        first = [bwrap, "--die-with-parent", "--dev-bind", "/proc", "/proc", "--dev-bind", "/dev", "/dev"]
        for path in of_programs:
            if os.path.isdir(path) and not os.path.islink(path):
                first += ["--ro-bind", path, path]
        first += self._words
        become = [setpriv, "--reuid", str(user), "--regid", str(user), "--clear-groups", "--inh-caps=-all",
                  "--bounding-set=-all", "--no-new-privs"]  # fmt: skip
        second = [bwrap, "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session",
                  "--hostname", "box", "--clearenv", *(w for pair in variables.items() for w in ("--setenv", *pair)),
                  "--proc", "/proc", "--dev", "/dev",
                  "--size", str(_SHARED_BYTES), "--perms", "0700", "--tmpfs", "/dev/shm",
                  "--size", str(_SCRATCH_BYTES), "--perms", "0700", "--tmpfs", "/box",
                  *self._words, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/box"]  # fmt: skip
        return [*first, "--", *become, "--", *second, "--", *program]

    def differences(self, mountinfo: str) -> Iterator[str]:
        """What is mounted that was not asked for, or could be written to."""
        found = set()
        for line in mountinfo.splitlines():
            fields = line.split(" ")
            point, options = Path(fields[4].encode().decode("unicode_escape")), fields[5].split(",")
            found.add(point)
            if point not in self._points and not any(point.is_relative_to(each) for each in self._bound):
                yield f"files: {point} is mounted"
            of_the_box = point in {self._out, Path("/proc"), *map(Path, SCRATCH)} or point.parent == Path("/dev")
            if "ro" not in options and not of_the_box:
                yield f"files: {point} can be written to"
            if "nosuid" not in options:
                yield f"files: programs in {point} can change the user"
        for each in {self._out, *map(Path, SCRATCH)} - found:
            yield f"files: {each} is not of the box alone"

    def _links(self) -> None:
        for name in ("/bin", "/lib", "/lib64", "/lib32", "/sbin"):
            if os.path.islink(name):
                self._words += ["--symlink", os.readlink(name), name]
                self._made.add(Path(name))

    def _show(self, path: Path) -> None:
        """Bind it, read-only, where it lies. A link is followed, and shown as well where it leads to."""
        for each in dict.fromkeys((path, Path(os.path.realpath(path)))):
            if not each.exists() or self._is_shown(each):
                continue
            if any(parent in self._made and parent.is_symlink() for parent in (each, *each.parents)):
                continue  # /lib/x, which is shown as /usr/lib/x
            self._parents(each)
            self._words += ["--ro-bind", str(each), str(each)]
            self._bound.append(each)
            self._points.add(each)

    def _cover(self, paths: Iterable[Path]) -> Iterator[Path]:
        """Lay something empty over what lies in a folder that is shown."""
        for path in dict.fromkeys(Path(os.path.realpath(each)) for each in paths):
            if not any(path.is_relative_to(each) for each in self._bound):
                continue
            self._points.add(path)
            if path.is_dir():
                self._words += ["--perms", "0755", "--tmpfs", str(path)]
                self._made.add(path)
                yield path
            else:
                self._words += ["--ro-bind", os.devnull, str(path)]

    def _is_shown(self, path: Path) -> bool:
        """Whether it lies in something that is shown already, and was not covered since."""
        nearest = next((each for each in [path, *path.parents] if each in self._bound or each in self._made), Path("/"))
        return nearest in self._bound

    def _parents(self, path: Path) -> None:
        """Folders on the way, open to another user."""
        for each in reversed(path.parents):
            if each not in self._made and not self._is_shown(each):
                self._words += ["--perms", "0755", "--dir", str(each)]
                self._made.add(each)


def _installation() -> Iterator[Path]:
    """The interpreter, its packages and this project. Tasks and baselines are covered, and shown one by one."""
    plugins = [root.resolve() for kind in ("tasks", "baselines") for root, _ in plugin_roots(kind)]
    for path, whole in seal._installation():
        if whole and path.exists() and path.resolve() not in plugins:
            yield path
    yield Path(sys.base_prefix, "bin", os.path.basename(os.path.realpath(sys.executable)))


def _of_the_system() -> Iterator[Path]:
    names_users = ("/etc/passwd", "/etc/group")
    for name in (*seal._SYSTEM, "/etc/alternatives"):
        if name.startswith(("/etc/", "/usr/", "/sys/devices/", "/sys/kernel/")) and name not in names_users:
            yield Path(name)
