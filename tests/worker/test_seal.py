"""Claims about the seal. Each act is tried in a forked process without it first, where it must succeed."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.worker import seal as module
from harness.worker.seal import Seal, hidden_paths, probe, seal

HERE = probe()
FILES = pytest.mark.skipif("files" not in HERE.layers, reason="; ".join(HERE.missing) or "sealed")
FILTER = pytest.mark.skipif("ipc" not in HERE.layers, reason="; ".join(HERE.missing) or "sealed")
DONE = "done"
REFUSED = ("PermissionError", "ImportError", "ModuleNotFoundError")

Act = Callable[[], object]
Sealer = Callable[[], Seal]
libc = ctypes.CDLL(None, use_errno=True)


def outcome(act: Act, sealer: Sealer | None = None) -> str:
    """How `act` ends in a forked process: "done", or the name of what it raised."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "not sealed"
        try:
            if sealer is not None:
                sealer()
            act()
            said = DONE
        except BaseException as error:
            said = type(error).__name__
            os.write(2, f"{said}: {error}\n".encode())
        finally:
            os.write(theirs, said.encode())
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as stream:
        said = stream.read()
    os.waitpid(pid, 0)
    return said


def closed() -> Seal:
    return seal([], [], [])


def assert_only_the_seal_stops(act: Act, sealer: Sealer = closed, everywhere: bool = True) -> None:
    """`everywhere`: the act needs nothing that some systems deny to all."""
    before = outcome(act)
    if before != DONE and not everywhere:
        pytest.skip(f"not possible here without a seal either: {before}")
    assert before == DONE
    assert outcome(act, sealer) in REFUSED


def call(name: str, *arguments: object) -> int:
    """A function of libc; OSError with its errno where it fails."""
    result = int(getattr(libc, name)(*arguments))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "outside" / "original.txt"
    path.parent.mkdir()
    path.write_text("the original")
    return path


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    path = tmp_path / "inside"
    path.mkdir()
    return path


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages on sys.path: `shown` with data, and `veiled`."""
    site = tmp_path / "prefix" / "site-packages"
    for name in ("shown_pkg", "shown_pkg/data", "shown_pkg/other", "veiled_pkg"):
        (site / name).mkdir(parents=True)
    (site / "shown_pkg" / "__init__.py").write_text("VALUE = 3\n")
    (site / "shown_pkg" / "data" / "table.csv").write_text("1,2\n")
    (site / "shown_pkg" / "other" / "table.csv").write_text("3,4\n")
    (site / "veiled_pkg" / "__init__.py").write_text("VALUE = 5\n")
    (site / "veiled_file.py").write_text("VALUE = 7\n")
    monkeypatch.syspath_prepend(str(site))
    return site


# --- what still works -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["numpy", "json", "sqlite3", "xml.dom.minidom", "harness.worker.child", "harness.tasks"]
)
def test_an_installed_module_is_imported_under_the_seal(name: str) -> None:
    program = f"from harness.worker.seal import seal; seal([], [], []); import {name}"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@FILES
def test_a_matrix_product_by_torch_and_a_search_by_faiss_work_under_the_seal(inside: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("faiss")
    program = (
        "import os, sys; from pathlib import Path; from harness.worker.seal import seal\n"
        f"os.environ['TMPDIR'] = {str(inside)!r}\n"
        f"assert 'files' in seal([], [Path({str(inside)!r})], ['sympy']).layers\n"
        "import torch, numpy, faiss\n"
        "assert float((torch.ones(300, 300) @ torch.ones(300, 300))[0, 0]) == 300\n"
        "index = faiss.IndexFlatL2(4); index.add(numpy.eye(4, dtype='float32'))\n"
        "assert index.search(numpy.eye(4, dtype='float32'), 1)[1].ravel().tolist() == [0, 1, 2, 3]\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_python_can_be_started_under_the_seal() -> None:
    def act() -> None:
        subprocess.run([sys.executable, "-P", "-c", "import numpy, harness"], check=True)

    assert outcome(act, closed) == DONE


def test_what_a_process_reads_of_itself_and_of_the_machine_stays_readable() -> None:
    def act() -> None:
        for path in ("/proc/self/status", "/proc/self/maps", "/proc/cpuinfo", "/proc/meminfo", "/dev/urandom"):
            with open(path, "rb") as stream:
                assert stream.read(16)
        assert os.listdir("/proc/self/fd")
        Path("/dev/null").write_text("gone")

    assert outcome(act, closed) == DONE


def test_a_pair_of_connected_sockets_is_still_given() -> None:
    def act() -> None:
        left, right = socket.socketpair()
        left.sendall(b"x")
        assert right.recv(1) == b"x"

    assert outcome(act, closed) == DONE


# --- files ----------------------------------------------------------------------------------------------------------


@FILES
def test_a_file_whose_path_is_known_cannot_be_read(secret: Path) -> None:
    assert_only_the_seal_stops(secret.read_text)
    assert_only_the_seal_stops(lambda: os.listdir(secret.parent))


@FILES
def test_a_file_that_was_given_can_be_read_and_its_neighbours_cannot(secret: Path) -> None:
    neighbour = secret.with_name("neighbour.txt")
    neighbour.write_text("not given")
    assert outcome(secret.read_text, lambda: seal([secret], [], [])) == DONE
    assert_only_the_seal_stops(neighbour.read_text, lambda: seal([secret], [], []))


@FILES
def test_a_given_folder_can_be_listed_and_read_but_not_what_is_hidden_in_it(secret: Path) -> None:
    (secret.parent / "kept.txt").write_text("kept")

    def sealer() -> Seal:
        return seal([secret.parent], [], [secret])

    assert outcome((secret.parent / "kept.txt").read_text, sealer) == DONE
    assert_only_the_seal_stops(secret.read_text, sealer)
    assert outcome(lambda: os.listdir(secret.parent), lambda: seal([secret.parent], [], [])) == DONE


@FILES
def test_neither_a_symbolic_nor_a_hard_link_leads_around_the_seal(secret: Path, inside: Path) -> None:
    (inside / "link").symlink_to(secret)
    assert_only_the_seal_stops((inside / "link").read_text, lambda: seal([inside], [inside], []))

    def hard() -> None:
        (inside / "hard").unlink(missing_ok=True)
        os.link(secret, inside / "hard")
        (inside / "hard").read_text()

    assert outcome(hard) == DONE
    (inside / "hard").unlink()
    assert outcome(hard, lambda: seal([], [inside], [])) in ("PermissionError", "OSError")
    with pytest.raises(ValueError, match="symbolic link"):
        seal([inside / "link"], [], [])


@FILES
def test_a_file_in_shared_memory_cannot_be_read() -> None:
    path = Path(f"/dev/shm/seal-test-{os.getpid()}")
    try:
        path.write_text("left behind")
    except OSError as error:
        pytest.skip(f"no /dev/shm: {error}")
    try:
        assert_only_the_seal_stops(path.read_text)
    finally:
        path.unlink()


@FILES
@pytest.mark.parametrize("entry", ["environ", "mem", "maps", "root/etc/hostname"])
def test_nothing_of_the_parent_process_can_be_read(entry: str) -> None:
    parent = os.getpid()
    address = id(parent)

    def act() -> None:
        with open(f"/proc/{parent}/{entry}", "rb", buffering=0) as stream:
            if entry == "mem":
                stream.seek(address)
            assert stream.read(8)

    assert_only_the_seal_stops(act, everywhere=False)


@FILES
def test_writing_works_below_the_writable_folder_only(secret: Path, inside: Path) -> None:
    def sealer() -> Seal:
        return seal([secret], [inside], [])

    def work() -> None:
        (inside / "deep").mkdir(exist_ok=True)
        (inside / "deep" / "file").write_text("new")
        (inside / "deep" / "file").rename(inside / "moved")
        assert (inside / "moved").read_text() == "new"
        (inside / "moved").unlink()

    assert outcome(work, sealer) == DONE
    for mode in ("w", "a", "r+"):
        assert_only_the_seal_stops(lambda mode=mode: open(secret, mode).close(), sealer)  # type: ignore[misc]
        secret.write_text("again")
    assert_only_the_seal_stops(lambda: (secret.parent / "new").write_text("x"), sealer)


@FILES
def test_what_a_sealed_process_starts_is_sealed_too(secret: Path) -> None:
    def act() -> None:
        program = f"import sys\ntry: open({str(secret)!r}).read()\nexcept PermissionError: sys.exit(13)"
        if subprocess.run([sys.executable, "-c", program], check=False).returncode == 13:
            raise PermissionError

    assert_only_the_seal_stops(act)


@FILES
def test_a_thread_from_before_the_seal_is_told() -> None:
    def act() -> None:
        end = threading.Event()
        thread = threading.Thread(target=end.wait, daemon=True)
        thread.start()
        found = seal([], [], [])
        if module.landlock_abi() < 8:
            assert "files" not in found.layers
            assert any(each.startswith("files: 1 thread") for each in found.missing)
        else:
            assert "files" in found.layers

    assert outcome(act) == DONE


# --- hidden ---------------------------------------------------------------------------------------------------------


def test_hidden_paths_are_found_without_an_import_and_unknown_names_are_left_out(packages: Path) -> None:
    assert hidden_paths(["veiled_pkg"]) == [packages / "veiled_pkg"]
    assert hidden_paths(["veiled_file"]) == [packages / "veiled_file.py"]
    assert hidden_paths(["shown_pkg.data", "shown_pkg.none", "no_such_package"]) == [packages / "shown_pkg" / "data"]
    assert "veiled_pkg" not in sys.modules
    assert "shown_pkg" not in sys.modules


@FILES
@pytest.mark.parametrize("name", ["veiled_pkg", "veiled_file"])
def test_a_hidden_module_is_neither_imported_nor_opened_and_its_neighbour_is(packages: Path, name: str) -> None:
    path = next(each for each in [packages / name / "__init__.py", packages / f"{name}.py"] if each.exists())

    def sealer() -> Seal:
        return seal([], [], [name])

    assert_only_the_seal_stops(lambda: importlib.import_module(name), sealer)
    assert_only_the_seal_stops(path.read_text, sealer)
    assert outcome(lambda: importlib.import_module("shown_pkg"), sealer) == DONE
    assert outcome(lambda: importlib.util.find_spec(name), sealer) == DONE


@FILES
def test_hidden_data_below_an_allowed_package_cannot_be_read_and_its_other_data_can(packages: Path) -> None:
    def sealer() -> Seal:
        return seal([], [], ["shown_pkg.data"])

    assert_only_the_seal_stops((packages / "shown_pkg" / "data" / "table.csv").read_text, sealer)
    assert outcome((packages / "shown_pkg" / "other" / "table.csv").read_text, sealer) == DONE
    assert outcome(lambda: importlib.import_module("shown_pkg"), sealer) == DONE


@FILES
def test_a_copy_of_a_hidden_package_further_back_on_the_path_is_hidden_too(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = tmp_path / "older" / "site-packages" / "veiled_pkg" / "__init__.py"
    older.parent.mkdir(parents=True)
    older.write_text("VALUE = 4\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(older.parent.parent)])
    assert outcome(older.read_text, closed) == DONE
    assert_only_the_seal_stops(older.read_text, lambda: seal([], [], ["veiled_pkg"]))


@FILES
def test_packages_of_another_interpreter_cannot_be_read(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = packages.parent / "lib" / "python3.0" / "site-packages" / "old.py"
    other.parent.mkdir(parents=True)
    other.write_text("")
    library = packages.parent / "lib" / "libold.so"
    library.write_text("")
    monkeypatch.setattr(sys, "exec_prefix", str(packages.parent))
    assert outcome(library.read_text, closed) == DONE
    assert_only_the_seal_stops(other.read_text)


@FILES
def test_of_a_folder_of_ones_own_the_code_is_read_and_the_data_beside_it_is_not(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = secret.with_name("neighbour_module.py")
    code.write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(str(secret.parent))
    assert outcome(lambda: importlib.import_module("neighbour_module"), closed) == DONE
    assert_only_the_seal_stops(secret.read_text)


def test_a_hidden_module_that_is_imported_already_is_told() -> None:
    def act() -> None:
        found = seal([], [], ["json"])
        assert [each for each in found.missing if each.startswith("memory: json")]
        assert importlib.import_module("json") is sys.modules["json"]

    assert outcome(act) == DONE


def test_a_writable_folder_with_something_hidden_in_it_is_refused(secret: Path) -> None:
    with pytest.raises(ValueError, match="hidden"):
        seal([], [secret.parent], [secret])


# --- network and what outlives a process ----------------------------------------------------------------------------


@FILTER
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK])
def test_no_socket_can_be_made(family: int) -> None:
    assert_only_the_seal_stops(lambda: socket.socket(family, socket.SOCK_DGRAM).close(), everywhere=False)


@FILTER
def test_a_listening_server_cannot_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert_only_the_seal_stops(lambda: socket.create_connection(server.getsockname(), timeout=5).close())


@FILTER
def test_a_pair_that_could_address_others_is_refused() -> None:
    assert_only_the_seal_stops(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))


@pytest.fixture
def segment() -> Iterator[int]:
    """A System V shared memory segment made before."""
    try:
        number = call("shmget", 0, 4096, 0o1600)
    except OSError as error:
        pytest.skip(f"no System V shared memory: {error}")
    yield number
    call("shmctl", number, 0, None)


@FILTER
@pytest.mark.parametrize("sealer", [closed], ids=["seal"])
def test_shared_memory_that_was_made_before_can_be_neither_attached_nor_made(segment: int, sealer: Sealer) -> None:
    libc.shmat.restype = ctypes.c_ssize_t
    assert_only_the_seal_stops(lambda: call("shmat", segment, None, 0), sealer)

    def make() -> None:
        call("shmctl", call("shmget", 0, 4096, 0o1600), 0, None)

    assert_only_the_seal_stops(make, sealer)


NUMBERS = {"x86_64": {"keyctl": 250, "mq_open": 240}, "aarch64": {"keyctl": 219, "mq_open": 180}}


@FILTER
@pytest.mark.parametrize("sealer", [closed], ids=["seal"])
def test_keyrings_and_message_queues_are_out_of_reach(sealer: Sealer) -> None:
    numbers = NUMBERS[platform.machine()]
    name = f"seal-test-{os.getpid()}".encode()

    def queue() -> None:
        call("syscall", numbers["mq_open"], name, os.O_CREAT | os.O_RDWR, 0o600, None)

    assert outcome(lambda: call("syscall", numbers["keyctl"], 0, -3, 0), sealer) == "PermissionError"
    assert outcome(queue, sealer) == "PermissionError"


@FILTER
@pytest.mark.parametrize("sealer", [closed], ids=["seal"])
def test_a_read_of_another_processes_memory_by_system_call_is_refused(sealer: Sealer) -> None:
    parent, text = os.getpid(), ctypes.create_string_buffer(b"secret")

    def act() -> None:
        local = ctypes.create_string_buffer(6)
        here = (ctypes.c_size_t * 2)(ctypes.addressof(local), 6)
        there = (ctypes.c_size_t * 2)(ctypes.addressof(text), 6)
        call("process_vm_readv", parent, here, 1, there, 1, 0)

    assert_only_the_seal_stops(act, sealer, everywhere=False)


@FILES
@FILTER
def test_a_process_outside_cannot_be_signalled() -> None:
    if module.landlock_abi() < 6:
        pytest.skip("signals are not held back before Linux 6.12")
    parent = os.getpid()
    assert_only_the_seal_stops(lambda: os.kill(parent, 0))
    assert outcome(lambda: os.kill(os.getpid(), signal.SIGCONT), closed) == DONE


# --- the encoder ----------------------------------------------------------------------------------------------------


@FILES
def test_a_sealed_process_writes_only_inside(secret: Path, inside: Path) -> None:
    def sealer() -> Seal:
        return seal([], [inside], [])

    assert outcome((inside / "new").touch, sealer) == DONE
    assert_only_the_seal_stops(lambda: (secret.parent / "new").write_text("x"), sealer)
    assert_only_the_seal_stops(lambda: os.truncate(secret, 3), sealer)
    (secret.parent / "new").write_text("x")
    assert outcome((secret.parent / "new").unlink, sealer) == "PermissionError"
    assert outcome((secret.parent / "new").unlink) == DONE


@FILES
def test_a_sealed_process_leaves_nothing_in_shared_memory() -> None:
    path = Path(f"/dev/shm/seal-test-{os.getpid()}")
    try:
        assert_only_the_seal_stops(lambda: path.write_text("x"), lambda: seal([], [], []), everywhere=False)
    finally:
        path.unlink(missing_ok=True)


@FILES
def test_a_sealed_process_makes_temporary_files_where_tmpdir_points(inside: Path) -> None:
    def act() -> None:
        import tempfile

        os.environ["TMPDIR"] = str(inside)
        tempfile.tempdir = None
        seal([], [inside], [])
        with tempfile.TemporaryDirectory() as folder:
            assert Path(folder).parent == inside
            (Path(folder) / "file").write_text("x")

    assert outcome(act) == DONE
    assert not list(inside.iterdir())


@FILTER
def test_a_sealed_process_leaves_no_mark_on_a_file_that_it_cannot_write(secret: Path, inside: Path) -> None:
    def act() -> None:
        secret.chmod(0o640)
        os.utime(secret, ns=(7, 7))

    secret.chmod(0o600)
    before = secret.stat()
    assert outcome(act, lambda: seal([], [inside], [])) == DONE  # it is told that it had its way
    assert (secret.stat().st_mode, secret.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert outcome(act) == DONE
    assert (secret.stat().st_mode & 0o777, secret.stat().st_mtime_ns) == (0o640, 7)
    assert_only_the_seal_stops(
        lambda: os.setxattr(secret, "user.mark", b"x"), lambda: seal([], [inside], []), everywhere=False
    )


# --- what does not hold ---------------------------------------------------------------------------------------------


def test_a_kernel_without_either_mechanism_is_told_and_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CREATE_RULESET", 100_000)  # a system call that no kernel has
    monkeypatch.setattr(module, "_MACHINES", {})
    found = probe()
    assert found.layers == ()
    assert [each.partition(":")[0] for each in found.missing] == ["files", "network", "ipc"]
    assert "no Landlock" in found.missing[0]


def test_trying_the_seal_leaves_this_process_unsealed(secret: Path) -> None:
    probe()
    assert secret.read_text() == "the original"
    socket.socket().close()
