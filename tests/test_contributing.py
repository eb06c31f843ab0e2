"""Claims that the documentation makes about itself."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]


def example() -> str:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    return str(blocks[0])


def test_the_example_baseline_has_at_most_25_lines_of_code() -> None:
    assert len([line for line in example().splitlines() if line.strip()]) <= 25


def test_the_example_baseline_finds_who_likes_what_and_gives_ties_to_the_higher_position() -> None:
    namespace: dict[str, object] = {}
    exec(compile(example(), "word_overlap.py", "exec"), namespace)
    method = namespace["WordOverlap"]()  # type: ignore[operator]
    method.index(["Ann likes Quokkas and Elm Trees.", "Ben likes Tea.", "Cy likes Quokkas, Tea and Rain."])
    hits = method.search(["Who likes Quokkas?", "Who likes Elm Trees?"], 2)
    assert hits.ids.tolist() == [[2, 0], [0, 2]]
    assert np.array_equal(hits.scores, [[2.0, 2.0], [3.0, 1.0]])


def test_every_package_folder_is_in_the_package_list() -> None:
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {
        (prefix + ".".join(path.parent.relative_to(ROOT).parts)).removeprefix("harness.harness")
        for top, prefix in (("harness", ""), ("tasks", "harness."), ("baselines", "harness."))
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert listed == folders


def test_constraints_pin_every_direct_dependency_exactly() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        re.split(r"[<>=!~\[ ]", requirement, maxsplit=1)[0].lower()
        for requirements in (project["dependencies"], *project["optional-dependencies"].values())
        for requirement in requirements
    } - {"limits-harness"}
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert wanted <= {line.partition("==")[0].lower() for line in lines}
    assert "torch==2.13.0" in lines
