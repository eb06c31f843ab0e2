"""Public sets are fetched once, and what is read is what was pinned."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from harness.errors import DataError, MissingPackage, UsageError
from harness.tasks.hnsw.public import SETS, PublicSet, load_public, read_set

RNG = np.random.default_rng(0)
TRAIN = RNG.standard_normal((60, 4)).astype(np.float32)
TEST = RNG.standard_normal((7, 4)).astype(np.float32)


@dataclass
class Server:
    """A server of one file, which counts how often it was asked and may stop in the middle."""

    url: str
    content: bytes
    sent: int = -1
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "made.hdf5", "w") as file:
        file["train"], file["test"] = TRAIN, TEST

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(served.content)))
            self.end_headers()
            self.wfile.write(served.content[: served.sent] if served.sent >= 0 else served.content)

        def log_message(self, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Server(f"http://127.0.0.1:{listening.server_port}/made.hdf5", (tmp_path / "made.hdf5").read_bytes())
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield served
    listening.shutdown()
    listening.server_close()
    thread.join()


def pinned(server: Server) -> PublicSet:
    return PublicSet(server.url, "l2", hashlib.sha256(server.content).hexdigest(), len(server.content))


def test_a_set_is_fetched_once_and_read_from_the_cache_after_that(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    data = read_set(pinned(server), folder)
    again = read_set(pinned(server), folder)
    assert len(server.asked) == 1
    assert (data.vectors == TRAIN).all() and (data.queries == TEST).all() and data.digest() == again.digest()
    assert data.about["sha256"] == pinned(server).sha256 and data.about["pinned_by"] == "published digest"
    assert [path.name for path in folder.iterdir()] == ["made.hdf5"]


def test_only_the_first_points_and_all_queries_if_asked(server: Server, tmp_path: Path) -> None:
    data = read_set(replace(pinned(server), metric="cosine"), tmp_path / "cache", first=20)
    assert data.vectors.shape == (20, 4) and data.queries.shape == (7, 4)
    assert np.allclose(np.linalg.norm(data.vectors, axis=1), 1, atol=1e-6)


def test_another_file_on_the_server_is_not_kept(server: Server, tmp_path: Path) -> None:
    expected = pinned(server)
    server.content = server.content[::-1]
    with pytest.raises(DataError, match=rf"SHA-256 {pinned(server).sha256}.* not the file .*{expected.sha256}"):
        read_set(expected, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_changed_file_in_the_cache_is_refused(server: Server, tmp_path: Path) -> None:
    read_set(pinned(server), tmp_path)
    with (tmp_path / "made.hdf5").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"made\.hdf5: its SHA-256 is .*: remove it, so that it is fetched again"):
        read_set(pinned(server), tmp_path)


def test_a_set_without_a_published_digest_is_pinned_at_first_sight(server: Server, tmp_path: Path) -> None:
    unknown, folder = replace(pinned(server), sha256="", size_bytes=0), tmp_path / "cache"
    assert read_set(unknown, folder).about["pinned_by"] == "first download"
    noted = (folder / "made.hdf5.sha256").read_text()
    assert noted == f"{pinned(server).sha256}  made.hdf5\n"
    (folder / "made.hdf5").unlink()
    server.content += b"x"
    with pytest.raises(DataError, match=r"if it was replaced on purpose, remove .*made\.hdf5\.sha256 as well"):
        read_set(unknown, folder)


def test_a_connection_that_ends_early_leaves_nothing_behind(server: Server, tmp_path: Path) -> None:
    server.sent = 1000
    with pytest.raises(MissingPackage, match=f"1,000 of {len(server.content):,} bytes"):
        read_set(replace(pinned(server), sha256=""), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_a_network_it_says_what_to_put_where(tmp_path: Path) -> None:
    absent = PublicSet("http://127.0.0.1:1/made.hdf5", "l2", "0" * 64, 227_528_288)
    where = re.escape(str(tmp_path / "made.hdf5"))
    with pytest.raises(MissingPackage, match=rf"127.0.0.1:1/made\.hdf5 .*by hand \(228 MB\) and put it at {where}$"):
        read_set(absent, tmp_path)


def test_every_set_has_a_name_like_its_file_and_those_of_ann_benchmarks_a_digest() -> None:
    for name, public in SETS.items():
        assert public.url.endswith(f"/{name}.hdf5")
        if "ann-benchmarks.com" in public.url:
            assert re.fullmatch("[0-9a-f]{64}", public.sha256) and public.size_bytes > 1e8
    assert any(public.out_of_distribution for public in SETS.values())


def test_an_unknown_set_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'sift-128-euclidean'"):
        load_public("sift-128-euclid", tmp_path)
