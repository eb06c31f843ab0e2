"""The child: loads one method, lets the task drive it over the question's files, and leaves the answer as files."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import os
import random
import sys
import tempfile
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.random  # loaded lazily otherwise, in every child
from threadpoolctl import ThreadpoolController, threadpool_info

from harness.bundle import BundleError, read_bundle, write_bundle
from harness.errors import MissingPackage, Unsupported
from harness.measure import memory
from harness.task import Baseline, Context, InvalidAnswer
from harness.worker.meter import PipeMeter

_POPULATE_BYTES = 4 << 30
"""Libraries and input that are paged in before the base is read; larger input stays on disk and is charged."""


def run_cell(place: Path, spec: dict[str, Any], marks: int, acks: int, sealed: dict[str, Any] | None = None) -> int:
    """Run one cell; write `result.json`, `answer/` and `samples.npz` into `place`. Returns the exit code.

    `sealed`: how this process has shut itself in already, as a boxed one has.
    """
    sys.path[:] = [p for p in sys.path if p]  # nothing is imported from the folder the run was started in
    result: dict[str, Any] = {"status": "ok", "reason": ""}
    preloaded = set(_first_party_files())  # by the server, for all tasks of the run
    meter = PipeMeter(marks, acks, spec["repeat"], spec["device"], spec["lock"])
    try:
        if spec["seal"] and sealed is None:  # first: a thread that is there already would keep its sight of the files
            sealed = _seal(place, spec)
        _seed(spec["method_seed"])
        _limit_threads(spec["threads"])
        task, method = _load_task(spec), _load_method(spec)
        question = read_bundle(Path(spec["question"]))
        prepared = read_bundle(Path(spec["prepared"])) if spec["prepared"] else None
        # Pages of libraries and of the mapped question belong to the base, not to what the method does with them.
        memory.populate_file_mappings(_POPULATE_BYTES)
        gc.collect()
        gc.freeze()
        if prepared is None or spec["seal"]:  # what is left to do after a shared preparation needs no model
            with meter.phase("load"):
                for name in spec["parts"]:
                    getattr(method, name).load()
                method.load()
        if spec["stage"] == "prepare":
            answer = task.prepare(method, question, meter)
        else:
            answer = task.drive(method, question, meter, prepared)
        write_bundle(place / "answer", dict(answer))
        result["description"] = dict(method.describe()) if prepared is None else {}
    except Unsupported as error:
        result = {"status": "unsupported", "reason": str(error)}
    except MissingPackage as error:
        result = {"status": "skipped", "reason": str(error)}
    except (InvalidAnswer, BundleError) as error:
        result = {"status": "failed", "reason": f"wrong answer: {error}"}
    except Exception as error:
        traceback.print_exc()
        status = "oom" if _is_out_of_memory(error) else "failed"
        result = {"status": status, "reason": f"{type(error).__name__}: {error}"[:2000]}
    result.update(
        streams=meter.streams,
        phases=meter.phases,
        loaded=sorted(set(_first_party_files()) - preloaded),
        libraries=_libraries(),
    )
    result["seal"] = sealed
    result["pinned"] = _imported_from(spec["overlay"])
    result["threads_used"] = _threads_used()
    np.savez(place / "samples.npz", **{n: np.asarray(s, np.int64) for n, s in meter.samples.items()})  # type: ignore[arg-type]
    (place / "result.json").write_text(json.dumps(result), "utf-8")
    sys.stdout.flush()
    sys.stderr.flush()
    return 0


def _load_task(spec: dict[str, Any]) -> Any:
    return getattr(importlib.import_module(spec["task_module"]), spec["task_class"])()


def _seal(place: Path, spec: dict[str, Any]) -> dict[str, Any]:
    """Shut this process in, before any code of the method is loaded (see `harness.task.Task.sealed`)."""
    from harness.worker import seal

    scratch = place / "tmp"
    scratch.mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
    for of in (spec["method"], *spec["parts"].values()):
        _find_beside(of)  # what is on the path can be imported, and nothing else that lies there can be read
    readable = [Path(spec["question"]), *([Path(spec["prepared"])] if spec["prepared"] else []), place]
    return asdict(seal.seal(readable, [place], spec["seal"]["hidden"]))


def _find_beside(of: dict[str, Any]) -> None:
    """A user's file may import its neighbours."""
    folder = str(Path(of["path"]).parent)
    if not of["module"] and folder not in sys.path:
        sys.path.append(folder)


def _load_method(spec: dict[str, Any]) -> Baseline:
    method = _instance(spec["method"], spec)
    for name, part in spec["parts"].items():
        setattr(method, name, _instance(part, spec))
    return method


def _instance(of: dict[str, Any], spec: dict[str, Any]) -> Baseline:
    if of["module"]:
        module = importlib.import_module(of["module"])
    else:
        path = Path(of["path"])
        _find_beside(of)
        found = importlib.util.spec_from_file_location(f"harness_user_{path.stem}", path)
        assert found is not None and found.loader is not None
        module = importlib.util.module_from_spec(found)
        sys.modules[found.name] = module
        found.loader.exec_module(module)
    method: Baseline = getattr(module, of["class"])()
    for name, value in of["params"].items():
        setattr(method, name, value)
    method.context = Context(
        spec["device"], spec["threads"], spec["method_seed"], spec["cache_dir"], spec["checkpoint"]
    )
    return method


def _seed(seed: int) -> None:
    # A forked child inherits the generators' states; every child would draw the same numbers.
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed % 2**63)


_pools = ThreadpoolController()
"""Found once, in the server. What a method loads later was started with the thread variables set."""


def _limit_threads(threads: int) -> None:
    # The server was started with the same number in the environment; libraries that were loaded before the fork are
    # set again here. Rayon, numba and Arrow read the environment only.
    _pools.limit(limits=threads)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    if faiss := sys.modules.get("faiss"):
        faiss.omp_set_num_threads(threads)


def _threads_used() -> dict[str, int]:
    used = {f"{pool['internal_api']}": int(pool["num_threads"]) for pool in threadpool_info()}
    if torch := sys.modules.get("torch"):
        used["torch"] = torch.get_num_threads()
    return used


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or type(error).__name__ in ("OutOfMemoryError", "_ArrayMemoryError")


def _first_party_files() -> list[str]:
    """Files of plugin folders, and user files, that were really loaded: compared with what the key promised."""
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and name.startswith(("harness.tasks.", "harness.baselines.", "harness_user_")):
            found.append(str(Path(file).resolve()))
    return sorted(found)


def _imported_from(folder: str) -> list[str]:
    """Top-level modules that came from the folder of pinned packages, whether or not they state a version."""
    if not folder:
        return []
    found = []
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        origin = getattr(spec, "origin", None) or "".join(
            list(getattr(spec, "submodule_search_locations", None) or [])[:1]
        )
        if "." not in name and str(origin).startswith(folder + "/"):
            found.append(name)
    return sorted(found)


def _libraries() -> dict[str, str]:
    """Versions of imported top-level modules that state one."""
    found = {}
    for name, module in list(sys.modules.items()):
        version = getattr(module, "__version__", None)
        if "." not in name and not name.startswith("_") and isinstance(version, str) and module is not None:
            found[name] = version
    return dict(sorted(found.items()))
