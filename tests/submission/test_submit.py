"""What `harness submit` sends, what it shows before, and what is left of it when a step fails."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import redact
from harness.cli import main
from harness.errors import UsageError
from harness.record import Record
from harness.redact import Identity
from harness.store import Store
from harness.submission import package
from harness.submission.folder import MANIFEST, open_submission
from harness.submission.package import packaged, remarks_on, steps_of
from harness.submission.requirements import needs_lock, read_lock
from harness.submission.steps import Step, carry_out, make_folder, write_file

METHOD = '''
import numpy as np
from between import between
from harness.tasks.limit.free import FreeEmbedder, Vectors


class Mine(FreeEmbedder):
    """Each query between its two documents."""

    spread: float = 1.0
    variants = {"mine": {}, "mine-wide": {"spread": 2.0}}

    def fit(self, n: int, d: int) -> Vectors:
        points = np.random.default_rng([self.context.seed, n]).standard_normal((n, d)) + 1 / self.spread
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        return Vectors(between(points), points)
'''
BETWEEN = """
import numpy as np
from harness.tasks.limit.free.interface import all_pairs


def between(points):
    first, second = all_pairs(len(points))
    queries = points[first] + points[second]
    return queries / np.linalg.norm(queries, axis=1, keepdims=True)
"""
SMOKE = ["--scale", "smoke"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a method, what it imports, and the records of its smallest case, run as any user runs it."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "mine.py").write_text(METHOD)
    (folder / "between.py").write_text(BETWEEN)
    words = ["run", "--task", "limit/free", "--baseline", str(folder / "mine.py"), *SMOKE, "--alone"]
    assert main([*words, "--results", str(folder / "results" / "local")]) == 0
    return folder


@pytest.fixture
def here(ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to change; it is the folder that one works in."""
    folder = tmp_path / "here"
    shutil.copytree(ran, folder)
    monkeypatch.chdir(folder)
    return folder


def records(folder: Path) -> list[Path]:
    return sorted(folder.glob("results/local/records/*/*/*.json"))


def change(path: Path, **fields: Any) -> None:
    """Another value for fields of a record, where `provenance__run` is the run of its provenance."""
    value = json.loads(path.read_text())
    for name, new in fields.items():
        *above, last = name.split("__")
        at = value
        for key in above:
            at = at[key]
        at[last] = new
    path.write_text(Record.model_validate(value).to_json())


def submit(*words: str) -> int:
    return main(["submit", "mine.py", *SMOKE, *words])


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert submit("--yes", *words) == 2
    assert not Path("submissions").exists()
    return capsys.readouterr().err


def test_a_submission_holds_the_file_its_neighbour_all_records_and_opens(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit("--yes") == 0
    said = capsys.readouterr().out
    with open_submission(here / "submissions" / "mine") as submission:
        assert submission.manifest.baselines == ["baselines/limit/free/mine.py"]
        assert submission.manifest.rows == ["mine", "mine-wide"] and submission.manifest.tasks == {"limit/free": 1}
        files = {name.split("/")[0] for name in submission.manifest.files}
        assert files == {"baselines", "records", "environments"}
        assert "baselines/limit/free/between.py" in submission.manifest.files
        sent, broken = submission.store.load()
        assert {r.baseline.name for r in sent} == {"mine", "mine-wide"} and not broken
    assert "rows: mine, mine-wide; 2 records" in said and "cpu_model" in said
    assert "git commit -m 'Submit mine for limit/free'" in said and "harness verify" in said


def test_nothing_is_written_without_a_yes(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert submit() == 2  # nobody is there to ask
    assert "say --yes" in capsys.readouterr().err
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    for answer in ("", "n", "yes please"):
        monkeypatch.setattr("builtins.input", lambda _prompt, said=answer: said)
        assert submit() == 1
        assert "nothing was written" in capsys.readouterr().out
    assert not (here / "submissions").exists()
    monkeypatch.setattr("builtins.input", lambda _prompt: "y")
    assert submit() == 0
    assert (here / "submissions" / "mine" / MANIFEST).is_file()


def test_a_folder_that_is_there_is_never_touched(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "mine-out").mkdir()
    (here / "mine-out" / "precious").write_text("x")
    assert submit("--yes", "--out", "mine-out") == 2
    assert "is left as it is" in capsys.readouterr().err
    (here / "link").symlink_to(here / "nowhere")
    assert submit("--yes", "--out", "link") == 2
    assert [p.name for p in (here / "mine-out").iterdir()] == ["precious"] and not (here / "nowhere").exists()


def snapshot(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_a_failure_at_any_step_leaves_nothing(here: Path) -> None:
    made = packaged(Path("mine.py"), Path("results/local"), "smoke")
    before, n_steps = snapshot(here), len(steps_of(made, here / "new" / "deep"))
    assert n_steps > 12
    for index in range(n_steps):
        for late in (False, True):
            steps = steps_of(made, here / "new" / "deep")
            do = steps[index].do

            def fail(do: Callable[[], object] = do, late: bool = late) -> None:
                if late:
                    do()
                raise OSError(28, "No space left on device")

            steps[index] = Step(steps[index].what, fail, steps[index].undo)
            with pytest.raises(UsageError, match="No space left on device; nothing was left behind"):
                carry_out(steps)
            assert snapshot(here) == before
    carry_out(steps_of(made, here / "new" / "deep"))
    assert (here / "new" / "deep" / MANIFEST).is_file()


def test_an_interrupt_undoes_the_steps_and_goes_on(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out([make_folder(tmp_path / "a"), write_file(tmp_path / "a" / "b", b""), Step("wait", interrupt)])
    assert not list(tmp_path.iterdir())


def test_what_another_wrote_into_the_folder_meanwhile_is_kept_and_named(tmp_path: Path) -> None:
    def intrude() -> None:
        (tmp_path / "a" / "foreign").write_text("x")
        raise OSError(5, "Input/output error")

    with pytest.raises(UsageError, match="could not be removed: make the folder"):
        carry_out([make_folder(tmp_path / "a"), write_file(tmp_path / "a" / "b", b""), Step("wait", intrude)])
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["foreign"]


def test_a_step_does_not_undo_what_it_did_not_do(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("precious")
    with pytest.raises(UsageError, match="File exists"):
        carry_out([write_file(tmp_path / "x", b"new")])
    with pytest.raises(UsageError, match="File exists"):
        carry_out([make_folder(tmp_path)])
    assert (tmp_path / "x").read_text() == "precious"


def test_a_file_that_was_changed_after_its_run_is_refused_with_the_command(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("mine.py", "a", encoding="utf-8") as file:
        file.write("# more\n")
    said = refusal(capsys)
    assert "2 of 2 cells" in said and "of an earlier text of the file" in said
    assert "harness run --task limit/free --baseline mine.py --scale smoke --results results/local" in said


def test_a_neighbour_that_was_changed_counts_as_well(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "between.py").write_text(BETWEEN + "\n")
    assert "of an earlier text of the file, or of what it imports" in refusal(capsys)


def test_a_cell_that_is_missing_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    next(p for p in records(here) if p.parent.name == "mine-wide").unlink()
    assert "1 of 2 cells" in (said := refusal(capsys)) and "d4 mine-wide seed 0" in said


def test_a_cell_that_was_skipped_or_killed_is_missing_but_a_failure_is_a_result(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for status in ("skipped", "killed"):
        change(records(here)[0], status=status, reason="so it was")
        assert "1 of 2 cells" in refusal(capsys)
    change(records(here)[0], status="failed", reason="raised something")
    assert submit("--yes") == 0


def test_a_scale_that_was_not_run_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "mine.py", "--yes"]) == 2
    assert "cells of scale standard" in capsys.readouterr().err


def test_the_newest_record_of_a_cell_is_sent_and_no_other(here: Path) -> None:
    store, old = Store("results/local"), records(here)[0]
    record = Record.model_validate_json(old.read_bytes())
    provenance = record.provenance.model_copy(update={"started": "2030-01-01T00:00:00Z"})
    newer = record.model_copy(update={"id": store.new_id(record.key), "provenance": provenance})
    store.add(newer, old.with_suffix(".npz").read_bytes() if record.sidecar else b"")
    made = packaged(Path("mine.py"), Path("results/local"), "smoke")
    assert made.n_records == 2 and any(newer.id in name for name in made.files)
    assert not any(old.stem in name for name in made.files)


def test_records_of_pins_of_own_data_and_of_changed_cases_are_left_out_with_the_reason(here: Path) -> None:
    store, template = Store("results/local"), records(here)[0]
    pinned = {"requirements": ["numpy==1.0"], "lock": "a" * 64, "packages": {}}
    for fields in (
        {"baseline__pinned": pinned},
        {"case__name": "mine", "case__params": {"path": "/somewhere/mine"}},
        {"case__name": "d4[d=5]", "case__params": {"d": 5}, "provenance__command": "harness run --set=d=5"},
        {"case__params": {"d": 5}, "provenance__command": "harness run '"},
        {"task__version": 99},
    ):
        identity = store.new_id(json.loads(template.read_text())["key"])
        path = template.with_name(f"{identity}.json")
        shutil.copy(template, path)
        change(path, id=identity, sidecar="", **fields)
    made = packaged(Path("mine.py"), Path("results/local"), "smoke")
    assert made.n_records == 2 and len(made.left_out) == 5
    assert [part for part in ("--with", "data of your own", "changed parameters", "version 99")
            if any(part in line for line in made.left_out)] == [
        "--with", "data of your own", "changed parameters", "version 99"]  # fmt: skip


def test_a_method_that_loads_what_its_source_does_not_show_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(records(here)[0], provenance__sources_mismatch=["hidden.py"])
    assert "loaded hidden.py, which its source does not show" in refusal(capsys)


def test_rows_of_a_sealed_task_that_were_not_sealed_are_refused(here: Path) -> None:
    from dataclasses import replace

    from harness.registry import load_registry

    task = replace(load_registry().tasks["limit/free"], sealed=True)
    change(records(here)[0], notes=["not sealed against the network: no user namespaces"])
    of = [Record.model_validate_json(path.read_bytes()) for path in records(here)]
    with pytest.raises(UsageError, match="runs sealed, and this machine could not"):
        package._refuse_unfit(task, of, "harness run")
    package._refuse_unfit(load_registry().tasks["limit/free"], of, "harness run")


def test_a_broken_record_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records(here)[0].write_text("{")
    assert "holds no valid record" in refusal(capsys)


def test_a_row_that_is_there_already_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "random.py").write_text(METHOD.replace('    variants = {"mine": {}, "mine-wide": {"spread": 2.0}}\n', ""))
    assert main(["submit", "random.py", "--yes", *SMOKE]) == 2
    assert "declares the row random, which is a control" in capsys.readouterr().err


def test_a_row_that_others_have_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "moment_curve.py").write_text(METHOD.replace('"mine": {}', '"Moment-Curve": {}'))
    assert main(["submit", "moment_curve.py", "--yes", *SMOKE]) == 2
    assert "differs from moment_curve.py as it is here; say version = 2" in capsys.readouterr().err
    (here / "moment_curve.py").rename(here / "other.py")
    assert main(["submit", "other.py", "--yes", *SMOKE]) == 2
    assert "which moment_curve.py has here; give it another name" in capsys.readouterr().err


def test_draws_are_sent_as_a_range_and_none_is_chosen(here: Path) -> None:
    store = Store("results/local")
    for path in records(here):
        record = Record.model_validate_json(path.read_bytes())
        for seed in (1, 2, 7) if record.baseline.name == "mine" else (3,):
            key = f"{seed:064x}"
            new = record.model_copy(update={"id": store.new_id(key), "key": key, "seed": seed, "sidecar": ""})
            store.add(new)
    made = packaged(Path("mine.py"), Path("results/local"), "smoke")
    sent = [json.loads(content) for name, content in made.files.items() if name.startswith("records/")
            and name.endswith(".json")]  # fmt: skip
    assert sorted((r["baseline"]["name"], r["seed"]) for r in sent) == [
        ("mine", 0), ("mine", 1), ("mine", 2), ("mine-wide", 0)]  # fmt: skip
    assert "2 records: not finished, or of draws that are not a range" in " ".join(made.left_out)


def test_a_source_that_nests_without_end_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "mine.py").write_text(METHOD + "\nx = " + "+".join(["1"] * 30_000) + "\n")
    assert "nests too deeply" in refusal(capsys)


def test_an_import_from_outside_of_the_folder_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "outer.py").write_text("x = 1\n")
    (here / "inner").mkdir()
    (here / "inner" / "other.py").write_text("from ..outer import x\n" + METHOD.replace("mine", "other"))
    shutil.copy("between.py", "inner")
    assert main(["submit", "inner/other.py", "--yes", *SMOKE]) == 2
    assert "no finished record" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"imports outer\.py from outside of its folder"):
        package._sources(here / "inner" / "other.py")


def test_what_looks_personal_is_shown_before_and_not_changed_in_silence(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert submit() == 2
    assert "nothing in it looks personal" in capsys.readouterr().out
    who = Identity(homes=("/home/wanda",), names=("wanda",), hosts=("box7",))
    monkeypatch.setattr(redact, "current_identity", lambda: who)
    source = METHOD + '\n# Written by Wanda on box7, wanda@example.org\nDATA = "/home/wanda/vectors.npy"\n'
    files = {"baselines/limit/free/mine.py": source.encode(), "records/a/b/c.json": b'{"notes": ["of /home/wanda/x"]}'}
    remarks = list(remarks_on(files))
    assert [r.where.rpartition("/")[2] for r in remarks] == ["mine.py:18", "mine.py:19", "c.json: notes.0"]
    assert remarks[0].otherwise == "# Written by <user> on <host>, <email>" and remarks[2].otherwise == "of <path>/x"


def test_a_lock_file_goes_along_and_one_with_anything_else_in_it_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = f"# made by a tool\nsome-package==1.2 \\\n    --hash=sha256:{'a' * 64} \\\n    --hash=sha256:{'b' * 64}\n"
    (here / "lock.txt").write_text(good)
    for line in ("other==1.0", "--index-url x", "other @ file:///x", f"other>=1 --hash=sha256:{'a' * 64}", "-e ."):
        (here / "bad.txt").write_text(good + line + "\n")
        assert "bad.txt:5: " in refusal(capsys, "--requirements", "bad.txt")
    assert submit("--yes", "--requirements", "lock.txt") == 0
    with open_submission(here / "submissions" / "mine") as submission:
        assert submission.requirements is not None
        assert [r.name for r in read_lock(submission.requirements)] == ["some-package"]


def test_a_method_that_needs_what_the_harness_does_not_install_needs_a_lock(here: Path) -> None:
    from dataclasses import replace

    from harness.registry import load_registry, read_baseline_file

    row = read_baseline_file(here / "mine.py", load_registry().tasks)[0]
    assert needs_lock([row]) == [] and needs_lock([replace(row, requires=("numpy", "pandas.core"))]) == []
    assert needs_lock([replace(row, requires=("numpy", "absent_package.x"))]) == ["absent_package"]
