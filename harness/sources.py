"""Where plugin files lie, how they are parsed, and which files a plugin's numbers depend on. Nothing is imported."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import zlib
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

from harness.errors import UsageError


def parse(path: Path, kind: str) -> ast.Module:
    """The syntax tree of a plugin file. Raises UsageError, naming file and line, for one that cannot be read."""
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except FileNotFoundError:
        raise UsageError(
            f"{path}: no such {kind} file; `harness list {kind}s` shows those that are installed"
        ) from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except SyntaxError as error:
        raise UsageError(f"{path}:{error.lineno}: syntax error: {error.msg}; mend that line and run again") from None
    except ValueError as error:  # null bytes
        raise UsageError(f"{path}: is not Python source: {error}") from None
    except (RecursionError, MemoryError):  # the parser's words for an expression of thousands of terms
        raise UsageError(f"{path}: an expression in it nests too deeply to be read; split it into several") from None


@cache
def plugin_roots(kind: str) -> tuple[tuple[Path, str], ...]:
    """Folders that hold plugins: our own, and those that installed packages name in the entry point group
    `harness.tasks` or `harness.baselines` (value: the package whose folder is to be read)."""
    found = []
    for module in [f"harness.{kind}", *_entry_points(f"harness.{kind}")]:
        spec = importlib.util.find_spec(module)
        found += [(Path(place), module) for place in (spec.submodule_search_locations or [])] if spec else []
    return tuple(found)


def _entry_points(group: str) -> list[str]:
    found = []
    for text in _entry_point_files():
        section = text.partition(f"[{group}]")[2].partition("\n[")[0]
        found += [line.partition("=")[2].strip() for line in section.splitlines() if "=" in line]
    return found


@cache
def _entry_point_files() -> tuple[str, ...]:
    # importlib.metadata costs 50 ms to import and reads every distribution; only few declare entry points at all.
    places = (path for place in sys.path for path in sorted(Path(place or ".").glob("*.dist-info/entry_points.txt")))
    return tuple(path.read_text("utf-8", errors="replace") for path in places)


def first_party_sources(path: Path) -> tuple[Path, ...]:
    """The file and, transitively, what it imports from plugin folders or from its own folder."""
    seen: set[Path] = set()
    todo = [path.resolve()]
    while todo:
        current = todo.pop()
        if current not in seen:
            seen.add(current)
            status = current.stat()
            todo += _plugins_imported_by(current, status.st_mtime_ns, status.st_size)
    return tuple(sorted(seen))


@lru_cache(maxsize=4096)
def _plugins_imported_by(path: Path, _mtime_ns: int, _size: int) -> tuple[Path, ...]:
    """Files of plugin folders, or of its own folder, that a file imports itself."""
    found: dict[Path, None] = {}
    for node in ast.walk(parse(path, "baseline")):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            stem = "." * node.level + (node.module or "")
            names = [stem, *(f"{stem}.{alias.name}" for alias in node.names)]
        found.update((p, None) for name in names if (p := _plugin_path(name, path)))
    return tuple(found)


def _plugin_path(module: str, importer: Path) -> Path | None:
    for kind in ("tasks", "baselines"):
        for root, root_module in plugin_roots(kind):
            if module.startswith(root_module + "."):
                return _module_file(root, module[len(root_module) + 1 :])
    level = len(module) - len(module.lstrip("."))
    if level:
        return _module_file(importer.parents[level - 1], module.lstrip("."))
    return _module_file(importer.parent, module) if "." not in module else None


def _module_file(root: Path, dotted: str) -> Path | None:
    stem = root.joinpath(*filter(None, dotted.split(".")))
    for candidate in (stem.with_suffix(".py"), stem / "__init__.py"):
        if candidate.is_file():
            return candidate.resolve()
    return None


def compressed_size(paths: Iterable[Path], more: str = "") -> int:
    """Bytes of source files and of `more`, together, after zlib at its highest level."""
    return len(zlib.compress(b"\0".join([*(path.read_bytes() for path in paths), more.encode()]), 9))


def digest_files(paths: tuple[Path, ...]) -> str:
    """Digest of the names and contents of source files, independent of where they lie."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda p: p.name):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
