"""Runs cells in child processes of this machine, through fork servers, and talks to the judge.

A server is started for each set of modules that its cells need imported (light rows do not wait for, nor carry, what
the heavy ones import), and for each environment of `--with`. Ending this process, even by SIGKILL, closes the servers'
input, and they end all below them.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import HarnessError

THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS",
)  # fmt: skip


def child_environment(threads: int, bare: bool = False) -> dict[str, str]:
    """This process's environment with every thread count and the hash seed set, and nothing that calls home; `bare`:
    of the rest only what programs need to run."""
    fixed = {name: str(threads) for name in THREAD_VARIABLES}
    quiet = {
        "OPENBLAS_THREAD_TIMEOUT": "12",  # its threads wake with every fork; let them sleep soon instead of spinning
        "TOKENIZERS_PARALLELISM": "false", "PYTHONHASHSEED": "0", "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip
    own = {name: os.environ[name] for name in _BARE if name in os.environ} if bare else os.environ
    return {**own, **fixed, **quiet}


_BARE = (
    "PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "HOME",
    "XDG_CACHE_HOME",
    *THREAD_VARIABLES,
)


class ServerKey(NamedTuple):
    """What the children of one fork server have in common."""

    preload: tuple[str, ...]
    """Modules that are imported before the fork."""
    site: str = ""
    """Folder of pinned packages, imported from before what is installed."""
    bare: bool = False
    """Whether its environment holds only what programs need to run: nothing that says what the user has where."""


class LocalExecutor:
    """Starts cells and says when they have ended."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._servers: dict[ServerKey, subprocess.Popen[bytes]] = {}
        self._selector = selectors.DefaultSelector()
        self._pending: dict[int, bytes] = {}
        self.server_threads: dict[ServerKey, int] = {}

    def start(self, folder: Path, key: ServerKey) -> None:
        """Run the cell whose `spec.json` lies in `folder`, in a child of that server."""
        server = self._server(key)
        assert server.stdin is not None
        try:
            server.stdin.write(json.dumps({"op": "run", "cell": str(folder)}).encode() + b"\n")
            server.stdin.flush()
        except BrokenPipeError:
            raise HarnessError(f"the fork server ended with code {server.wait()}; run the same command again") from None

    def wait(self, timeout_s: float | None) -> list[dict[str, Any]]:
        """Events since the last call: `done` or `lost`, each with its cell's folder."""
        events: list[dict[str, Any]] = []
        for key, _ in self._selector.select(timeout_s):
            chunk = os.read(key.fd, 1 << 16)
            if not chunk:
                self._selector.unregister(key.fd)
                server = self._servers.pop(key.data)
                events.append({"event": "server-lost", "server": key.data, "code": server.wait()})
                continue
            *lines, rest = (self._pending.get(key.fd, b"") + chunk).split(b"\n")
            self._pending[key.fd] = rest
            for line in lines:
                event = json.loads(line)
                if event["event"] == "ready":
                    self.server_threads[key.data] = event["threads"]
                else:
                    events.append(event)
        return events

    def close(self) -> None:
        """End everything that runs: each server kills all below it when its input closes."""
        for server in self._servers.values():
            assert server.stdin is not None
            try:
                server.stdin.close()
            except BrokenPipeError:
                pass
        for server in self._servers.values():
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        self._servers.clear()

    def _server(self, key: ServerKey) -> subprocess.Popen[bytes]:
        if key not in self._servers:
            variables = child_environment(self._threads, key.bare)
            if key.site:  # before what is installed, for this server and its children only
                variables["PYTHONPATH"] = os.pathsep.join(filter(None, [key.site, os.environ.get("PYTHONPATH")]))
            server = subprocess.Popen(
                [sys.executable, "-P", "-m", "harness.worker.server", json.dumps(key.preload)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=variables, start_new_session=True,
            )  # fmt: skip
            assert server.stdout is not None
            self._selector.register(server.stdout.fileno(), selectors.EVENT_READ, key)
            self._servers[key] = server
        return self._servers[key]


class JudgeError(HarnessError):
    """The judge's refusal: `kind` is a status, `usage`, or `task-error`."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class JudgeClient:
    """The parent's end of the judge. A judge that died is started again; its draws are pure functions."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One request. Raises JudgeError if it was refused, or if the judge itself died of it."""
        process = self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            self._process = None
            raise JudgeError("failed", f"the judge ended with code {process.wait()} while it read this answer")
        reply: dict[str, Any] = json.loads(line)
        if not reply.pop("ok"):
            raise JudgeError(reply["kind"], reply["reason"])
        return reply

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "harness.worker.judge"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, env=child_environment(1), start_new_session=True,
            )  # fmt: skip
        return self._process
