"""The package that `harness new task` writes: a small task that runs, one method, a control, and their test.

Tasks are found in installed packages, by the entry points `harness.tasks` and `harness.baselines`, so a task of one's
own is a package. What it asks, so that there is something to change: which number occurs most often in a list, of
which a method may read only the beginning; the lists get longer until reading so little no longer does.
"""

from __future__ import annotations

from harness.submission.templates import names_of


def files_of_task(name: str) -> dict[str, str]:
    """Text by relative path."""
    row, module, class_name = names_of(name)
    package = f"{module}_harness"
    return {
        path.replace("PACKAGE", package).replace("MODULE", module): text.replace("PACKAGE", package)
        .replace("MODULE", module).replace("CLASS", class_name).replace("ROW", row)
        for path, text in _FILES.items()
    }  # fmt: skip


_PYPROJECT = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "ROW-harness"
version = "0.1.0"
dependencies = ["limits-harness"]

# By these the harness finds what is inside; the value is the package whose folder it reads.
[project.entry-points."harness.tasks"]
MODULE = "PACKAGE.tasks"

[project.entry-points."harness.baselines"]
MODULE = "PACKAGE.baselines"

[tool.setuptools.packages.find]
include = ["PACKAGE*"]
"""
_INTERFACE = '''"""What a method of ROW implements."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from harness.task import Baseline


class Method(Baseline):
    """Says which number occurs most often in each list."""

    def answer(self, lists: NDArray[Any]) -> NDArray[Any]:
        """(n_lists,) numbers, of (n_lists, length) numbers."""
        raise NotImplementedError
'''
_TASK = '''"""ROW: what is asked, how a method is driven, and how its answer is scored."""

from __future__ import annotations

from hashlib import sha256

import numpy as np

from harness.task import Answer, Case, Draw, InvalidAnswer, Meter, Question, Score, Scored, Task
from PACKAGE.tasks.MODULE.interface import Method

LISTS = 400


class CLASS(Task[Method]):
    """Which number occurs most often? This line is shown by `harness list tasks`."""

    version = 1  # raise it when data, protocol or metric change: results of two versions are never compared
    scores = (Score("accuracy", best=1.0, main=True),)  # what is reported; one is the main one
    cases = (  # the problems, and the smallest scale at which light and heavy methods take part in each
        Case("length-20", {"length": 20}, light="smoke", heavy="smoke"),
        Case("length-200", {"length": 200}),
        Case("length-2000", {"length": 2000}),
    )

    def draw(self, case: Case, seed: int) -> Draw:
        """The question, which methods see, and the truth, which stays here. The same seed gives the same draw."""
        rng = np.random.default_rng(seed)
        lists = rng.integers(0, 4, (LISTS, int(case.params["length"] or 0)))
        favourite = rng.integers(0, 4, LISTS)
        lists = np.where(rng.random(lists.shape) < 0.05, favourite[:, None], lists)
        counts = np.stack([(lists == number).sum(axis=1) for number in range(4)], axis=1)
        return Draw({"lists": lists}, {"most": counts == counts.max(axis=1, keepdims=True)},
                    sha256(lists.astype("<i8").tobytes()).hexdigest())  # fmt: skip

    def drive(self, method: Method, question: Question, meter: Meter, prepared: Answer | None) -> Answer:
        """Runs in the method's process: a phase is timed, and its memory is read."""
        lists = np.asarray(question["lists"])
        with meter.phase("answer", items=len(lists)):
            answer = method.answer(lists)
        meter.each("query", list(lists[:, None]), method.answer)  # one list at a time: its latency
        return {"answer": np.asarray(answer)}

    def score(self, case: Case, draw: Draw, answer: Answer) -> Scored:
        """Scores, and the values of single items behind them. InvalidAnswer for what breaks the contract."""
        given = answer["answer"]
        if given.shape != (LISTS,) or given.dtype.kind not in "iu" or given.min() < 0 or given.max() > 3:
            raise InvalidAnswer(f"{LISTS} numbers from 0 to 3 were asked for, not {given.dtype} of shape {given.shape}")
        right = draw.truth["most"][np.arange(LISTS), given].astype(np.float64)
        return Scored({"accuracy": float(right.mean())}, {"accuracy": right}, independent=True)

    def oracle(self, case: Case, draw: Draw) -> Answer:
        """The best answer there is, from the truth: the ceiling in every table."""
        return {"answer": draw.truth["most"].argmax(axis=1)}
'''
_RANDOM = '''"""Control: answers drawn at random."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from PACKAGE.tasks.MODULE.interface import Method


class Random(Method):
    """Random numbers (control)."""

    def answer(self, lists: NDArray[Any]) -> NDArray[Any]:
        return np.random.default_rng([self.context.seed, len(lists)]).integers(0, 4, len(lists))
'''
_TEMPLATE = '''"""What the method is and where it comes from (authors, year, section), for who opens the file."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from PACKAGE.tasks.MODULE.interface import Method


class MyMethod(Method):
    """Counts in the beginning of each list. This line is shown by `harness list baselines`."""

    read: int = 15  # an annotated attribute is a parameter; its default is a literal
    variants = {  # rows of the table, and how their parameters differ from the defaults
        "my-method": {},
        "my-method-100": {"read": 100},
    }
    version = 1  # raise it when the numbers change

    def answer(self, lists: NDArray[Any]) -> NDArray[Any]:
        counts = [(lists[:, : self.read] == number).sum(axis=1) for number in range(4)]
        return np.stack(counts, axis=1).argmax(axis=1)
'''
_TEST = '''"""ROW: the controls stand where they must, and what reads less finds less."""

from pathlib import Path

import harness


def test_more_reading_finds_more_and_nothing_beats_the_truth(tmp_path: Path) -> None:
    table = harness.run("MODULE", case="length-200", seeds=2, results=tmp_path).set_index("baseline")
    assert (table["status"] == "ok").all()
    score = table["score"]
    assert score["random"] < score["counting"] < score["counting-100"] < score["oracle"] == 1.0
'''
_FILES = {
    "pyproject.toml": _PYPROJECT,
    "PACKAGE/__init__.py": "",
    "PACKAGE/tasks/__init__.py": "",
    "PACKAGE/tasks/MODULE/__init__.py": "from PACKAGE.tasks.MODULE.interface import Method as Method\n",
    "PACKAGE/tasks/MODULE/interface.py": _INTERFACE,
    "PACKAGE/tasks/MODULE/task.py": _TASK,
    "PACKAGE/tasks/MODULE/template.py.txt": _TEMPLATE,
    "PACKAGE/baselines/__init__.py": "",
    "PACKAGE/baselines/MODULE/random.py": _RANDOM,
    "PACKAGE/baselines/MODULE/counting.py": _TEMPLATE.replace("MyMethod", "Counting").replace("my-method", "counting"),
    "tests/test_MODULE.py": _TEST,
}
