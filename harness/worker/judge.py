"""The judge: makes questions, keeps the truth in its memory, reads answers, scores them.

One trusted process a run. It never runs a baseline's code. It reads one JSON request a line and answers with one line.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from harness.bundle import BundleError, read_bundle, sealed_beside, write_bundle
from harness.errors import HarnessError, MissingPackage, Unsupported
from harness.task import Case, Draw, InvalidAnswer, Outcome, Task
from harness.worker.linux import die_with_parent

_KEPT_DRAWS = 8
ARTIFACT = "artifact"
"""The one thing that a sealed task's first child hands to its second."""


class Judge:
    """Answers requests about tasks. Draws are cached, since many cells share one."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, str], Task[Any]] = {}
        self._draws: OrderedDict[str, Draw] = OrderedDict()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Dispatch one request by its `op`."""
        task = self._task(request["task"])
        match request["op"]:
            case "draw":
                draw = self._draw(task, request)
                write_bundle(folder := Path(request["folder"]), draw.question)
                if draw.sealed:
                    write_bundle(sealed_beside(folder), draw.sealed)
                return {"digest": draw.digest, "about": dict(draw.about)}
            case "score":
                answer = read_bundle(Path(request["answer"]))
                if artifact := request.get("artifact"):  # as it was handed on, whatever the second child says of it
                    answer[ARTIFACT] = read_bundle(Path(artifact))[ARTIFACT]
                return self._score(task, request, answer)
            case "hand_on":
                write_bundle(Path(request["folder"]), {ARTIFACT: _artifact(read_bundle(Path(request["answer"])))})
                return {}
            case "oracle":
                case, draw = _case(request["case"]), self._draw(task, request)
                best = task.oracle(case, draw)
                if best is None:
                    raise Unsupported("this case has no oracle")
                return self._score(task, request, best)
            case "refine":
                outcomes = [Outcome(_case(o["case"]), o["seed"], o["status"], o["values"]) for o in request["outcomes"]]
                return {"cases": [asdict(c) for c in task.refine(outcomes)]}
            case "check":
                for fields in request["cases"]:
                    task.check(_case(fields))
                return {}
            case "data_cases":
                return {"cases": [asdict(c) for c in task.data_cases(request["path"], **request.get("options", {}))]}
            case other:
                raise ValueError(f"unknown request {other!r}")

    def _task(self, named: dict[str, str]) -> Task[Any]:
        key = (named["module"], named["class"])
        if key not in self._tasks:
            self._tasks[key] = getattr(importlib.import_module(key[0]), key[1])()
        return self._tasks[key]

    def _draw(self, task: Task[Any], request: dict[str, Any]) -> Draw:
        key = json.dumps([request["task"], request["case"], request["seed"]], sort_keys=True)
        if key in self._draws:
            self._draws.move_to_end(key)
        else:
            self._draws[key] = task.draw(_case(request["case"]), request["seed"])
            while len(self._draws) > _KEPT_DRAWS:
                self._draws.popitem(last=False)
        return self._draws[key]

    def _score(self, task: Task[Any], request: dict[str, Any], answer: dict[str, Any] | Any) -> dict[str, Any]:
        scored = task.score(_case(request["case"]), self._draw(task, request), answer)
        for name, value in scored.values.items():
            if not np.isfinite(value):
                raise InvalidAnswer(f"the score {name} is {value}")
        np.savez(request["items"], **{n: np.asarray(v, np.float64) for n, v in scored.items.items()})  # type: ignore[arg-type]
        values = {k: float(v) for k, v in scored.values.items()}
        if "code_bytes" in request:
            values["code_bytes"] = float(request["code_bytes"])
        return {"values": values, "notes": list(scored.notes), "independent": scored.independent,
                "intervals": {k: [float(end) for end in ends] for k, ends in scored.intervals.items()}}  # fmt: skip


def _artifact(answer: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """What the first child of a sealed task hands to the second: bytes, and nothing else."""
    if set(answer) != {ARTIFACT}:
        raise InvalidAnswer(
            f"prepare returned {', '.join(map(repr, answer))}; of a sealed task it returns '{ARTIFACT}'"
        )
    artifact = answer[ARTIFACT]
    if not isinstance(artifact, np.ndarray) or artifact.dtype != np.uint8 or artifact.ndim != 1:
        raise InvalidAnswer("the artifact is no one-dimensional array of bytes (uint8)")
    return np.array(artifact)


def _case(fields: dict[str, Any]) -> Case:
    return Case(**fields)


def main() -> None:
    """Serve until standard input closes."""
    die_with_parent()
    replies = os.dup(1)
    os.dup2(2, 1)
    judge = Judge()
    for line in sys.stdin:
        try:
            reply = {"ok": True, **judge.answer(json.loads(line))}
        except (InvalidAnswer, BundleError) as error:
            reply = {"ok": False, "kind": "failed", "reason": f"wrong answer: {error}"}
        except Unsupported as error:
            reply = {"ok": False, "kind": "unsupported", "reason": str(error)}
        except MissingPackage as error:
            reply = {"ok": False, "kind": "skipped", "reason": str(error)}
        except HarnessError as error:
            reply = {"ok": False, "kind": "usage", "reason": str(error)}
        except Exception as error:
            import traceback

            traceback.print_exc()
            reply = {"ok": False, "kind": "task-error", "reason": f"{type(error).__name__}: {error}"}
        os.write(replies, json.dumps(reply).encode() + b"\n")


if __name__ == "__main__":
    main()
