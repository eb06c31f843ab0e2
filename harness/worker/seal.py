"""Seals this process: a decoder that runs under the seal can see nothing of the original that its encoder saw.

Two kernel mechanisms, which need no privileges and hold for all that the process starts later:

* Landlock (Linux 5.13) allows files by a list. What lies below an allowed folder and must not be read is left out by
  allowing its siblings instead. Rights are inherited downwards, so the *names* below a folder that Python must list
  (`site-packages`) can be listed, those in a hidden package among them, and `stat` is never held back. Nothing hidden
  can be opened.
* A seccomp filter denies system calls: sockets, memory and messages that outlive a process, other processes' memory,
  and marks left on files (modes, times, extended attributes), which Landlock does not know.

Seal a freshly forked process, before any code of a method runs in it. A fork has one thread, however many its parent
had, and threads started later inherit the seal. A thread that is there already (importing torch starts one a core)
keeps its sight of the files before Linux 7.0: `missing` then says so, and "files" is not among the layers. The filter
covers all threads. Descriptors and mappings from before the seal stay usable: close them first.

Not covered: how long things take, the page cache, access times, sizes and names of files, the disk's free space.
No compiler, no `/bin/sh`, no GPU and no `/dev/shm` (locks of `multiprocessing`) are to be had under `seal`.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.machinery
import importlib.util
import json
import os
import platform
import stat
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Seal", "hidden_paths", "landlock_abi", "probe", "seal"]


@dataclass(frozen=True)
class Seal:
    """What a process was held to."""

    layers: tuple[str, ...]
    """What holds, of "files" (Landlock), "network" and "ipc" (seccomp)."""
    missing: tuple[str, ...]
    """What does not hold here: the layer, a colon, and the reason in words."""


def seal(readable: Sequence[Path], writable: Sequence[Path], hidden: Sequence[str | Path]) -> Seal:
    """Let this process read Python, its packages and `readable` only, write below `writable` only, and nothing else.

    `readable` and `writable` name folders, with all below them, or single files. `hidden` takes away from what is
    readable: modules by name, as `hidden_paths` finds them, or paths (a string with a slash in it is one). A hidden
    module is no longer importable; one that is imported already stays in memory, which `missing` tells.
    What the kernel lacks is told, not raised. ValueError: a path contradicts another, or is a symbolic link, whose
    target the process to be sealed from could have chosen.
    """
    names = [str(each) for each in hidden if isinstance(each, str) and "/" not in each]
    paths = [Path(each) for each in hidden if not (isinstance(each, str) and "/" not in each)]
    installation = list(_installation())
    rules = _Rules([*hidden_paths(names), *paths, *_other_sites(root for root, whole in installation if whole)])
    for path in [*readable, *writable]:
        if path.is_symlink():
            raise ValueError(f"{path} is a symbolic link: pass the file or folder itself")
    for root in writable:
        if not rules.is_whole(root):
            raise ValueError(
                f"{root} is writable, and a hidden path contains it or lies in it: hide or move one of them"
            )
    for root, whole in installation:
        if whole:
            rules.allow(root, _READ | _EXECUTE, installed=True)
        else:
            rules.allow_code_in(root)
    for root in [*map(Path, _SYSTEM), *(Path("/proc/self", name) for name in _OF_ITSELF), *readable]:
        rules.allow(root, _READ)
    rules.allow(Path("/proc/self"), _READ_DIR)
    rules.allow(Path(os.devnull), _READ | _WRITE_FILE | _TRUNCATE)
    for root in writable:
        rules.allow(root, _READ | _WRITE)
    in_memory = _forget(names)
    unseen, files = _restrict_files(rules.access, _READ | _EXECUTE | _CHANGE)
    filtered = _filter()
    layers = (*(() if unseen else ("files",)), *(() if filtered else ("network", "ipc")))
    missing = [*files, *(f"{layer}: {filtered}" for layer in ("network", "ipc") if filtered)]
    missing += [f"memory: {name} was imported before the seal, and its objects are still here" for name in in_memory]
    return Seal(layers, tuple(missing))


def probe() -> Seal:
    """What `seal` would reach here, found out in a forked process that ends at once."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(theirs, json.dumps(asdict(seal([], [], []))).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as stream:
        said = stream.read()
    os.waitpid(pid, 0)
    if not said:
        return Seal((), tuple(f"{layer}: the attempt to seal ended early" for layer in ("files", "network", "ipc")))
    found = json.loads(said)
    return Seal(tuple(found["layers"]), tuple(found["missing"]))


# --- which paths ----------------------------------------------------------------------------------------------------

_SYSTEM = (
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/timezone", "/etc/passwd",
    "/etc/group", "/etc/nsswitch.conf", "/etc/mime.types", "/etc/os-release", "/etc/ssl/openssl.cnf", "/usr/lib/ssl",
    "/usr/lib/locale", "/usr/share/locale", "/usr/share/zoneinfo", "/dev/zero", "/dev/random", "/dev/urandom",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/uptime", "/proc/version",
    "/proc/filesystems", "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/osrelease", "/proc/sys/kernel/ngroups_max",
    "/proc/sys/kernel/cap_last_cap", "/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage", "/sys/kernel/mm/hugepages",
)  # fmt: skip
_OF_ITSELF = ("auxv", "cgroup", "cmdline", "comm", "environ", "io", "limits", "maps", "mountinfo", "mounts", "smaps",
              "smaps_rollup", "stat", "statm", "status")  # fmt: skip
"""Of /proc/self. Not `net`: connections that the encoder made are listed there for a minute."""
_SITES = ("site-packages", "dist-packages")


def hidden_paths(names: Sequence[str]) -> list[Path]:
    """Folders and files of modules, without importing them: every copy of the top-level package on `sys.path`.

    "package.part.data" is the folder, or the module, of that name below the package. Unknown names are left out.
    """
    found: dict[Path, None] = {}
    for name in names:
        top, *parts = name.split(".")
        for place in _top_level(top):
            below = place.joinpath(*parts)
            for each in [below, *_module_files(below.parent, below.name)] if parts else [place]:
                if each.exists():
                    found[each.resolve()] = None
    return list(found)


def _top_level(name: str) -> Iterator[Path]:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # ValueError: a module without a spec, or one that was taken out
        spec = None
    if spec is not None:
        places = spec.submodule_search_locations
        for place in [spec.origin or ""] if places is None else places:
            path = Path(place)
            while len(path.parts) > 1 and not path.exists():  # in a zip file, which is hidden as a whole
                path = path.parent
            if path == Path(place) or path.is_file():
                yield path
    for entry in filter(None, sys.path):  # shadowed copies
        if os.path.isdir(os.path.join(entry, name)):
            yield Path(entry, name)
        yield from _module_files(Path(entry), name)


def _module_files(folder: Path, name: str) -> Iterator[Path]:
    for suffix in importlib.machinery.all_suffixes():
        path = os.path.join(folder, name + suffix)
        if os.path.exists(path):
            yield Path(path)
            if suffix == ".py":
                yield from (Path(importlib.util.cache_from_source(path, optimization=each)) for each in ("", 1, 2))


def _installation() -> Iterator[tuple[Path, bool]]:
    """What the interpreter, its packages and this project read; False with a folder of which only the code is read."""
    bases = {Path(base) for base in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)}
    stdlib = Path(os.__file__).parent
    ours = {Path(place) for name in ("harness", "harness.tasks", "harness.baselines") for place in _locations(name)}
    whole = {Path(sys.executable), *(base / "pyvenv.cfg" for base in bases), stdlib, *ours}
    whole |= {base / "lib" for base in bases if str(base) not in ("/", "/usr", "/usr/local")}
    whole |= {Path(place) for place in ("/lib64", "/usr/lib64", "/usr/local/lib64")}
    for base in map(Path, ("/lib", "/usr/lib", "/usr/local/lib")):
        whole |= {each for each in _entries(base) if ".so" in each.name or "-linux-" in each.name}
    loader = [*_loader_folders(), *filter(os.path.isabs, os.environ.get("LD_LIBRARY_PATH", "").split(":"))]
    whole |= {Path(place) for place in loader if place.rstrip("/") not in ("/lib", "/usr/lib", "/usr/local/lib")}
    for entry in map(Path, filter(os.path.isabs, sys.path)):
        if _is_install(entry, stdlib):
            whole.add(entry)
        elif entry not in {place.parent for place in ours}:
            yield entry, False
    yield from ((path, True) for path in whole)


def _is_install(entry: Path, stdlib: Path) -> bool:
    known = entry == stdlib or entry.name in (*_SITES, "lib-dynload") or entry.is_file()
    return known or next(entry.glob("*.dist-info"), None) is not None


def _other_sites(roots: Iterable[Path]) -> Iterator[Path]:
    """Folders of packages, of other interpreters mostly, that are not on `sys.path`, though in an allowed folder."""
    searched = {os.path.realpath(entry) for entry in filter(None, sys.path)}
    for root in roots:
        versions = [each for each in _entries(root) if each.name.startswith("python")] if "lib" in root.name[:3] else []
        for found in [folder / name for folder in [root, *versions] for name in _SITES]:
            if found.is_dir() and os.path.realpath(found) not in searched:
                yield found


def _locations(name: str) -> list[str]:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return []
    return list(spec.submodule_search_locations or []) if spec else []


def _loader_folders() -> Iterator[str]:
    for path in Path("/etc/ld.so.conf.d").glob("*.conf"):
        try:
            yield from (
                line.strip() for line in path.read_text("utf-8", "replace").splitlines() if line.startswith("/")
            )
        except OSError:
            pass


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _forget(names: Iterable[str]) -> list[str]:
    """Make hidden modules unknown to `import`; return those that are imported already."""
    loaded = [name for name in names if sys.modules.get(name) is not None]
    for name in names:
        # As if not installed: a library that could use it goes on without, where a PermissionError would end it.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    return loaded


class _Rules:
    """The allow-list: path to rights. What is denied, or lies below what is denied, stays out of it."""

    def __init__(self, denied: Iterable[Path]) -> None:
        self.access: dict[str, int] = {}
        self._denied = {os.path.realpath(path) for path in denied}
        self._descend = {str(parent) for path in self._denied for parent in Path(path).parents}

    def is_whole(self, path: Path) -> bool:
        """Whether nothing of what lies below `path`, nor the path itself, is denied."""
        real = os.path.realpath(path)
        return real not in self._descend and not self._is_denied(real)

    def allow(self, path: Path, rights: int, installed: bool = False) -> None:
        """Allow `path` and what lies below it.

        `installed`: nobody but who installed it wrote there, so that links in it are followed, and Python lists it:
        an `import` finds nothing in a folder that it cannot list.
        """
        real = os.path.realpath(path)
        if self._is_denied(real):
            return
        if real not in self._descend:
            self.access[real] = self.access.get(real, 0) | rights
            return
        if installed:
            self.access[real] = self.access.get(real, 0) | _READ_DIR
        try:
            entries = list(os.scandir(real))
        except OSError:
            return
        for entry in entries:
            if entry.path in self._descend or (installed and entry.is_symlink()):
                self.allow(Path(entry.path), rights, installed)
            elif entry.path not in self._denied and not entry.is_symlink():
                self.access[entry.path] = self.access.get(entry.path, 0) | rights

    def allow_code_in(self, folder: Path) -> None:
        """Allow the modules and packages of somebody's own folder, not the data that lie beside them."""
        self.access[os.path.realpath(folder)] = _READ_DIR
        for each in _entries(folder):
            if each.suffix in (".py", ".so"):
                self.allow(each, _READ | _EXECUTE)
            elif (each / "__init__.py").exists() and not each.is_symlink():
                self.allow_code_in(each)

    def _is_denied(self, real: str) -> bool:
        return any(real == each or real.startswith(each.rstrip(os.sep) + os.sep) for each in self._denied)


# --- files: Landlock ------------------------------------------------------------------------------------------------

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_MAKE_DEVICE = 1 << 6 | 1 << 11
_READ = _READ_FILE | _READ_DIR
_CHANGE = _WRITE_FILE | _TRUNCATE | _REFER | _IOCTL_DEV | sum(1 << bit for bit in range(4, 13))
_WRITE = _CHANGE & ~_MAKE_DEVICE  # root would make itself the disk
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on both machines
_ABI_OF_THREADS = 8
_PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_held: list[int] = []
"""Descriptors on /proc: a rule is bound to an inode, and those of /proc last only as long as somebody holds them."""


def landlock_abi() -> int:
    """The version of Landlock that this kernel speaks; 0 where it has none, or where it may not be used."""
    return max(0, _syscall(_CREATE_RULESET, None, 0, 1))


def _restrict_files(access: dict[str, int], handled: int) -> tuple[bool, list[str]]:
    """Restrict this thread to `access`, in what is `handled`; (whether some thread is not restricted, why)."""
    abi = landlock_abi()
    if abi == 0:
        return True, [f"files: {_no_landlock(ctypes.get_errno())}"]
    handled &= ~((_REFER if abi < 2 else 0) | (_TRUNCATE if abi < 3 else 0) | (_IOCTL_DEV if abi < 5 else 0))
    fields = [
        handled,
        3 if abi >= 4 else 0,
        3 if abi >= 6 else 0,
    ]  # TCP: bind, connect; abstract sockets, signals
    attributes = struct.pack("=3Q", *fields)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = _syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return True, [f"files: {_no_landlock(ctypes.get_errno())}"]
    try:
        for path, rights in access.items():
            _add_rule(ruleset, path, rights & handled)
        threads = len(_entries(Path("/proc/self/task")))
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if _syscall(_RESTRICT_SELF, ruleset, 1 << 3 if abi >= _ABI_OF_THREADS else 0) < 0:
            return True, [f"files: {os.strerror(ctypes.get_errno())}"]
    finally:
        os.close(ruleset)
    if threads > 1 and abi < _ABI_OF_THREADS:
        return True, [f"files: {threads - 1} threads from before the seal see all files; seal a freshly forked process"]
    return False, []


def _add_rule(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return  # gone, or not there on this system
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        rights &= _OF_A_FILE
    if rights:  # a failure leaves the path forbidden
        _syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, fd), 0)
    if path.startswith("/proc/"):
        _held.append(fd)
    else:
        os.close(fd)


def _no_landlock(error: int) -> str:
    return {
        errno.ENOSYS: "this kernel has no Landlock (needs Linux 5.13 with it enabled)",
        errno.EOPNOTSUPP: "Landlock is not enabled (start Linux with landlock in lsm=)",
        errno.EPERM: "a filter of the container forbids Landlock",
    }.get(error, f"Landlock does not answer ({os.strerror(error)})")


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return int(_libc.syscall(ctypes.c_long(number), *given))


# --- network and memory that outlives: seccomp ----------------------------------------------------------------------

_MACHINES = {"x86_64": (0xC000003E, 317), "aarch64": (0xC00000B7, 277)}
"""A machine's number in audit records, and that of seccomp(2) on it."""
_Numbers = tuple[int | None, int | None]


def _table(text: str) -> list[_Numbers]:
    """Read "name, number on x86-64, number on aarch64 (- where there is none)", repeated."""
    words = text.split()
    numbers = [None if word == "-" else int(word) for word in words if not word[0].isalpha()]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


_OUTLIVING = _table("""
    shmget 29 194  shmat 30 196  shmctl 31 195  msgget 68 186  msgsnd 69 189  msgrcv 70 188  msgctl 71 187
    semget 64 190  semop 65 193  semctl 66 191  semtimedop 220 192  mq_open 240 180  mq_unlink 241 181
    add_key 248 217  request_key 249 218  keyctl 250 219
    ptrace 101 117  process_vm_readv 310 270  process_vm_writev 311 271  pidfd_getfd 438 438  kcmp 312 272
    io_uring_setup 425 425  io_uring_enter 426 426  io_uring_register 427 427
    setxattr 188 5  lsetxattr 189 6  fsetxattr 190 7  setxattrat 463 463
    removexattr 197 14  lremovexattr 198 15  fremovexattr 199 16  removexattrat 466 466  file_setattr 469 469
""")
"""Ways to leave or to take data past the files' contents, or past this filter."""
_PRIVILEGED = _table("""
    bpf 321 280  perf_event_open 298 241  open_by_handle_at 304 265  fanotify_init 300 262  setns 308 268
    syslog 103 116
    init_module 175 105  finit_module 313 273  delete_module 176 106  kexec_load 246 104  kexec_file_load 320 294
    sethostname 170 161  setdomainname 171 162  settimeofday 164 170  clock_settime 227 112  adjtimex 159 171
    clock_adjtime 305 266  acct 163 89  swapon 167 224  swapoff 168 225  quotactl 179 60  quotactl_fd 443 443
    reboot 169 142
    mount 165 40  umount2 166 39  pivot_root 155 41  chroot 161 51  move_mount 429 429  open_tree 428 428
    fsopen 430 430
    mount_setattr 442 442
""")
"""More such ways, which are open to root only."""
_MARKS = _table("""
    chmod 90 -  fchmod 91 52  fchmodat 268 53  fchmodat2 452 452  chown 92 -  fchown 93 55  lchown 94 -  fchownat 260 54
    utime 132 -  utimes 235 -  futimesat 261 -  utimensat 280 88
""")
"""What changes a file's mode, owner and times."""
_SOCKETS = _table("socket 41 198  bind 49 200  connect 42 203  listen 50 201  accept 43 202  accept4 288 242")
_IOCTL, _FCNTL, _SOCKETPAIR = _table("ioctl 16 29  fcntl 72 25  socketpair 53 199")
_IOCTLS_THAT_MARK = (0x40086602, 0x40046602, 0x40087602, 0x40047602, 0x40086604, 0x401C5820, 0x41009432)
"""Flags, generation, project and label of a file or file system (FS_IOC_SET*), which need no right to write."""
_SET_RW_HINT = 1036  # fcntl: a mark as well
_STREAM, _SEQPACKET = 1, 5  # pairs of these cannot address anybody else

_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_SET_FILTER, _ALL_THREADS = 1, 1


def _filter() -> str:
    """Deny the system calls above in all threads; why that failed, or ""."""
    machine = platform.machine()
    if machine not in _MACHINES or sys.maxsize < 1 << 32:
        return f"no system-call filter was written for {machine}"
    number = _MACHINES[machine][1]
    code = b"".join(struct.pack("=HBBI", *line) for line in _program(machine))
    buffer = ctypes.create_string_buffer(code)
    program = struct.pack("=H6xQ", len(code) // 8, ctypes.addressof(buffer))
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    failed = _syscall(number, _SET_FILTER, _ALL_THREADS, program)
    if failed > 0:
        return f"thread {failed} has another system-call filter"
    if failed < 0:
        return f"the kernel takes no system-call filter ({os.strerror(ctypes.get_errno())})"
    return ""


def _program(machine: str) -> list[tuple[int, int, int, int]]:
    """The filter, as instructions (code, lines to skip if true, if false, operand)."""
    which = list(_MACHINES).index(machine)
    denied = {errno.EPERM: [*_OUTLIVING, *_PRIVILEGED], 0: _MARKS, errno.EACCES: _SOCKETS}
    lines = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, _MACHINES[machine][0]),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),  # 32-bit calls have other numbers
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 0, 1, 1 << 30),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),  # and so have x32's
    ]
    for error, calls in denied.items():
        for call in calls:
            if (number := call[which]) is not None:
                lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | error)]
    lines += _by_argument(_IOCTL[which], 1, _IOCTLS_THAT_MARK, _ERRNO | errno.EPERM, _ALLOW)
    lines += _by_argument(_FCNTL[which], 1, (_SET_RW_HINT,), _ERRNO | errno.EPERM, _ALLOW)
    lines += _by_argument(_SOCKETPAIR[which], 1, (_STREAM, _SEQPACKET), _ALLOW, _ERRNO | errno.EACCES, mask=0xF)
    return [*lines, (_RETURN, 0, 0, _ALLOW)]


def _by_argument(
    number: int | None, argument: int, values: Sequence[int], found: int, otherwise: int, mask: int = 0xFFFFFFFF
) -> list[tuple[int, int, int, int]]:
    """Return `found` from a call whose argument, masked, is one of `values`, else `otherwise`."""
    body = [(_LOAD, 0, 0, 16 + 8 * argument), (_AND, 0, 0, mask)]
    for value in values:
        body += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, found)]
    body.append((_RETURN, 0, 0, otherwise))
    assert number is not None
    return [(_EQUAL, 0, len(body), number), *body]
