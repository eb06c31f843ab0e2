"""A retriever that tries to get out. The test puts the paths and numbers of its targets into TARGET.

Each probe returns if it could do what it should not, and raises if it was stopped. What came of it is the method's
description. Those that must not be tried on a machine outside of a box are in `ONLY_INSIDE`.
"""

import ctypes
import glob
import importlib
import mmap
import os
import platform
import resource
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time

import numpy as np

from harness.tasks.limit.retrieval import Hits, Retriever

TARGET = {}
libc = ctypes.CDLL(None, use_errno=True)
KEY_CALLS = {"x86_64": (248, 250), "aarch64": (217, 219)}


def call(name, *arguments):
    result = getattr(libc, name)(*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def in_a_fork(act):
    """What changes a process for good is tried by another one."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise OSError(abs(code), os.strerror(abs(code)))


def read(path):
    with open(path, "rb") as stream:
        return stream.read(1)


def write_and_remove(path):
    with open(path, "x") as stream:
        stream.write("#")
    os.remove(path)


def connect(family, kind, address):
    with socket.socket(family, kind) as end:
        end.settimeout(2)
        end.connect(address)
        end.send(b"x")


def others():
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and os.stat(f"/proc/{pid}").st_uid != os.getuid()]


def is_something(found):
    if not found:
        raise FileNotFoundError("none in sight")
    return found


def secret_in_environments():
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as stream:
                if TARGET["secret"].encode() in stream.read():
                    return
        except OSError:
            pass
    raise FileNotFoundError("in no environment that can be read")


def processes(name):
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as stream:
                found += [path] if name.encode() in stream.read() else []
        except OSError:
            pass
    return is_something(found)


def import_anew(name):
    sys.modules.pop(name, None)
    return importlib.import_module(name)


def listens():
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        end.listen()


def make_device():
    path = os.path.join(tempfile.mkdtemp(), "zero")
    os.mknod(path, 0o666 | 0o020000, os.makedev(1, 5))
    return read(path)


def block_devices():
    found = [e.path for e in os.scandir("/dev") if e.stat(follow_symlinks=False).st_mode & 0o170000 == 0o060000]
    return is_something([read(path) for path in found])


def memory_of(pid):
    with open(f"/proc/{pid}/mem", "rb") as stream, open(f"/proc/{pid}/maps") as maps:
        stream.seek(int(maps.readline().partition("-")[0], 16))
        return stream.read(16)


def key():
    number = KEY_CALLS[platform.machine()][0]
    call("syscall", number, b"user", b"harness-probe", b"x", 1, -4)


def descriptors():
    """Open files and sockets, besides the pipes to the keeper."""
    open_ones = [fd for fd in range(3, 4096) if os.path.lexists(f"/proc/self/fd/{fd}")]
    found = [os.readlink(f"/proc/self/fd/{fd}") for fd in open_ones]
    return is_something([t for t in found if not t.startswith(("pipe:", "/proc", os.devnull))])


def new_descriptors():
    """Whether one that leads out can be had by opening what /proc shows of the process that started this one."""
    found = {os.readlink(path) for path in glob.glob(f"/proc/{os.getppid()}/fd/*")}
    return is_something(
        found - {os.devnull, "anon_inode:[eventfd]"} - {os.readlink(f"/proc/self/fd/{fd}") for fd in (1, 2)}
    )


def startup_file():
    write_and_remove(os.path.join(sysconfig.get_path("purelib"), f"probe-{os.getpid()}.pth"))


def fork_until_refused():
    started = []
    try:
        for _ in range(6000):
            pid = os.fork()
            if pid == 0:
                signal.pause()
                os._exit(0)
            started.append(pid)
    finally:
        for pid in started:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def threads_until_refused():
    stop = threading.Event()
    threads = []
    threading.stack_size(1 << 16)
    try:
        for _ in range(6000):
            threads.append(threading.Thread(target=stop.wait))
            threads[-1].start()
    finally:
        stop.set()
        threading.stack_size(0)


def fill(folder, size):
    path = os.path.join(folder, "filler")
    try:
        with open(path, "wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, size)
    finally:
        os.remove(path)


def many_files(folder):
    try:
        for number in range(5000):
            open(os.path.join(folder, f"f{number}"), "x").close()
    finally:
        for path in glob.glob(os.path.join(folder, "f*")):
            os.remove(path)


def out_folder():
    with open("/proc/self/mountinfo") as lines:
        return next(p for p in (line.split()[4] for line in lines) if p.endswith("/out"))


def core_dump():
    resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))


def priority():
    in_a_fork(lambda: os.nice(-5))


def setuid():
    os.setresuid(0, 0, 0)


PROBES = {
    "tcp": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", TARGET["tcp"])),
    "udp": lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", TARGET["tcp"])),
    "ipv6": lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close(),
    "listen": listens,
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close(),
    "unix-socket": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, TARGET["socket"]),
    "abstract-socket": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + TARGET["abstract"]),
    "name-servers": lambda: read("/etc/resolv.conf"),
    "interfaces": lambda: is_something([n for _, n in socket.if_nameindex() if n != "lo"]),
    "ptrace": lambda: in_a_fork(lambda: call("ptrace", 0x4206, TARGET["process"], 0, 0)),
    "ptrace-the-keeper": lambda: in_a_fork(lambda: call("ptrace", 0x4206, TARGET["keeper"] or os.getppid(), 0, 0)),
    "signal": lambda: os.kill(TARGET["process"], 0),
    "memory-of-another": lambda: memory_of(TARGET["process"]),
    "environment-of-another": secret_in_environments,
    "descriptors-of-another": lambda: os.listdir(f"/proc/{TARGET['process']}/fd"),
    "judge": lambda: processes("harness.worker.server"),
    "other-users": lambda: is_something(others()),
    "results": lambda: read(TARGET["results"]),
    "home": lambda: is_something([read(path) for path in TARGET["home"]]),
    "checkout": lambda: read(TARGET["checkout"]),
    "host-tmp": lambda: read(TARGET["tmp"]),
    "neighbour": lambda: read(TARGET["neighbour"]),
    "other-cell": lambda: read(TARGET["other_cell"]),
    "outcome": lambda: read(TARGET["spec"]),
    "passwords": lambda: read("/etc/shadow"),
    "users": lambda: read("/etc/passwd"),
    "other-task": lambda: import_anew("harness.tasks.hnsw.task"),
    "other-baseline": lambda: import_anew("harness.baselines.limit.retrieval.random"),
    "other-task-file": lambda: read(TARGET["other_task"]),
    "hidden-package": lambda: import_anew("rich.console"),
    "hidden-file": lambda: read(TARGET["hidden"]),
    "write-a-package": lambda: write_and_remove(os.path.join(os.path.dirname(np.__file__), "probe.tmp")),
    "write-the-interpreter": lambda: write_and_remove(os.path.join(os.path.dirname(os.__file__), "probe.tmp")),
    "write-the-harness": lambda: write_and_remove(TARGET["package"] + "/probe.tmp"),
    "write-the-question": lambda: open(TARGET["question"] + "/bundle.json", "a").close(),
    "write-itself": lambda: open(__file__, "a").close(),
    "startup-file": startup_file,
    "preload-file": lambda: open("/etc/ld.so.cache", "r+").close(),
    "clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    "mount": lambda: in_a_fork(lambda: (call("unshare", 0x20000), call("mount", b"none", b"/", None, 0x44000, None))),
    "user-namespace": lambda: in_a_fork(lambda: call("unshare", 0x10000000)),
    "network-namespace": lambda: in_a_fork(lambda: call("unshare", 0x40000000)),
    "chroot": lambda: in_a_fork(lambda: os.chroot("/")),
    "setuid": setuid,
    "make-a-device": make_device,
    "block-devices": block_devices,
    "kernel-memory": lambda: read("/dev/kmsg"),
    "settings-of-the-kernel": lambda: open("/proc/sys/kernel/core_pattern", "r+").close(),
    "keyring": key,
    "shared-memory": lambda: read("/dev/shm/" + TARGET["shared"]),
    "segment": lambda: call("shmget", TARGET["segment"], 0, 0),
    "message-queue": lambda: in_a_fork(lambda: call("mq_open", b"/" + TARGET["shared"].encode(), os.O_RDONLY)),
    "inherited-descriptors": descriptors,
    "descriptors-of-the-starter": new_descriptors,
    "secret-variable": lambda: os.environ["HARNESS_PROBE_SECRET"],
    "core-dump": core_dump,
    "priority": priority,
    "cgroup": lambda: is_something(
        glob.glob("/sys/fs/cgroup/*/cgroup.procs") + glob.glob("/sys/fs/cgroup/cgroup.procs")
    ),
    "shell": lambda: subprocess.run(["/bin/sh", "-c", "true"], check=True),
    "process-bomb": fork_until_refused,
    "thread-bomb": threads_until_refused,
    "fill-scratch": lambda: fill(tempfile.gettempdir(), 3 << 30),
    "fill-shared-memory": lambda: fill("/dev/shm", 3 << 30),
    "fill-the-answer": lambda: fill(out_folder(), 5 << 30),
    "many-files": lambda: many_files(out_folder()),
    "huge-pages": lambda: mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000).close(),
    "tools": lambda: is_something(shutil.which("cc") or shutil.which("bwrap")),
}
ONLY_INSIDE = {"process-bomb", "thread-bomb", "fill-scratch", "fill-shared-memory", "fill-the-answer", "many-files",
               "huge-pages"}  # fmt: skip


def leave_a_process_behind():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for fd in range(3, 64):
                try:
                    os.close(fd)
                except OSError:
                    pass
            time.sleep(600)
        os._exit(0)


def forge_marks():
    """Say on every pipe what the keeper might believe."""
    for text in (
        b'{"mark": "sealed", "layers": ["everything"]}\n', b'{"mark": "begin", "name": "forged", "items": -5}\n',
        b'{"mark": "end"}\n', b'{"mark": "begin", "name": "\\ud800", "items": 1e400}\n', b"[" * 5000 + b"\n", b"\xff\n",
    ):  # fmt: skip
        for fd in map(int, os.listdir("/proc/self/fd")):
            try:
                if fd > 2 and os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:"):
                    os.write(fd, text)
            except OSError:  # it is the end that is read from, or the folder that was listed
                pass


class Probing(Retriever):
    """Tries to get out."""

    def index(self, documents):
        self.n = len(documents)
        self.found = {}
        for name, probe in PROBES.items():
            if name in ONLY_INSIDE and not TARGET["boxed"]:
                continue
            try:
                self.found[name] = f"done: {probe()!r}"[:200]
            except BaseException as error:
                self.found[name] = f"stopped: {type(error).__name__}: {error}"[:200]
        if TARGET["boxed"]:
            leave_a_process_behind()
            forge_marks()

    def search(self, queries, k):
        ids = np.tile(np.arange(k), (len(queries), 1))
        return Hits(ids, np.tile(np.arange(k, 0, -1.0), (len(queries), 1)))

    def describe(self):
        return self.found
