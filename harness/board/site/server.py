"""Looking at a site over HTTP, on this machine alone."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness.errors import UsageError


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what is looked at is nobody's business."""


def make_server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of `folder` at 127.0.0.1; port 0 takes one that is free. Raises UsageError."""
    if not (folder / "index.html").is_file():
        raise UsageError(f"{folder} holds no index.html; `harness board build --to {folder}` makes one")
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise UsageError(f"port {port} cannot be had ({error}); try --port 0, which takes a free one") from None


def serve(folder: Path, port: int = 8000) -> int:
    """Serve until interrupted, after saying where."""
    with make_server(folder, port) as server:
        print(f"http://127.0.0.1:{server.server_port}/ (Ctrl-C ends)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0
