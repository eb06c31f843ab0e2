"""The task as its users meet it: one's own model beside the known ones, searches that train once, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.task import InvalidAnswer
from harness.tasks.length.task import Length

MODEL = '''
from torch import nn
from harness.tasks.length import Network

class Last(nn.Module):
    def __init__(self, vocabulary, width):
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(vocabulary, width), nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens):
        return self.head(self.rnn(self.embedding(tokens))[0]){change}

class Mine(Network):
    """A GRU of one's own."""

    def build(self, setting):
        return Last(setting.vocabulary, setting.width)
'''
PREDICTS = '''
import numpy as np
from harness.tasks.length import SequenceModel

class Counts(SequenceModel):
    """Looks at the first symbol of every question, without torch."""

    def fit(self, problem, examples, setting):
        strings = examples.batch(0)
        return {"always": (strings.y[:, :1] == strings.x[:, :1]).all()[None]}

    def restore(self, weights, setting):
        self.first = bool(weights["always"][0])

    def predict(self, x, most):
        end = np.zeros((len(x), 1), np.int64)
        return np.concatenate([x[:, :1], end], axis=1) if self.first else end
'''
SMALL_TABLE = '''
import torch
from harness.task import Unsupported
from harness.tasks.length import PositionScheme

class Short(PositionScheme):
    """A table of learned positions that ends soon."""

    def parameters(self, setting):
        return {"table": torch.randn(16, setting.width)}

    def embed(self, positions):
        if positions.new.max() >= 16:
            raise Unsupported("the table holds 16 positions")
        return self.learned["table"][positions.new]
'''


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory):
    """One run of users' files at smoke scale, and its records."""
    from harness.api import load_results, run

    folder = tmp_path_factory.mktemp("length")
    for name, text in (("mine", MODEL.format(change="")), ("counts", PREDICTS), ("nan", MODEL.format(change=" / 0")),
                       ("narrow", MODEL.format(change="[..., :3]"))):  # fmt: skip
        (folder / f"{name}.py").write_text(text, "utf-8")
    run("length", [*map(str, sorted(folder.glob("*.py"))), "trivial"], scale="smoke", results=folder / "r", threads=1)
    return load_results(folder / "r", records=True)


def of(records, row, case="recall-one-l4"):
    return records[(records.baseline == row) & (records.case == case) & (records.kind == "cell")]


def test_a_module_of_ones_own_learns_and_is_searched_to_the_furthest_length(ran):
    [record] = of(ran, "mine").to_dict("records")
    assert record["status"] == "ok" and record["in_distribution"] > 0.95
    lengths = {int(name[12:-1]) for name in ran.columns if name.startswith("exact_match[")}
    assert {2, 4, 5, 6, 7, 8, 12, 20} <= lengths


def test_a_search_trains_once(ran):
    mine = ran[(ran.baseline == "mine")]
    assert (mine.kind == "prepare").sum() == 1
    assert set(mine[mine.kind == "cell"].case) >= {"recall-one-l4", "recall-one-l4-at-12"}
    assert len(mine[mine.kind == "cell"].case) >= 3


def test_what_fits_and_predicts_without_torch_is_a_model_too(ran):
    [record] = of(ran, "counts").to_dict("records")
    assert record["status"] == "ok" and record["exact_match"] == 1.0


def test_a_trivial_rule_is_beaten(ran):
    assert of(ran, "trivial").exact_match.item() < 0.5 < of(ran, "mine").exact_match.item()


def test_a_search_that_was_cut_off_goes_on_when_the_same_is_asked_again(tmp_path: Path):
    from harness.api import make_run
    from harness.runner import Options

    (tmp_path / "counts.py").write_text(PREDICTS, "utf-8")
    said = ("length", [str(tmp_path / "counts.py")], "", "smoke", None, "cpu", 1, tmp_path / "r")
    found = []
    for options in (Options(search=False), Options(), Options()):
        runner, request = make_run(*said, options)
        found.append([r.case.name for r in runner.run(request).records if r.kind == "cell"])
    assert found == [["recall-one-l4"], ["recall-one-l4-at-12", "recall-one-l4-at-20"], []]


@pytest.mark.parametrize(
    ("row", "says"), [("nan", "the loss is no number at step 0"), ("narrow", "as many as setting.vocabulary says")]
)
def test_a_model_that_cannot_be_trained_fails_with_what_to_change(ran, row, says):
    [record] = of(ran, row).to_dict("records")
    assert record["status"] == "failed" and says in record["reason"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "steps=0"], "steps is 0; give 1 or more"),
        (["--set", "furthest=0"], "furthest is 0; give 1 or more"),
        (["--set", "longest=0"], "longest is 0; give 1 or more"),
        (["--set", "furthest=11"], "give at least --set furthest=20"),
        (["--set", "symbols=19"], "symbols"),
        (["--set", "rates=fast"], "give learning rates"),
        (["--set", "heads=7"], "no multiple of 7 heads"),
        (["--set", "step=5"], "steps"),
        (["--set", "lengths=0 20"], "a test length of 0; lengths are 1 or more"),
        (["--set", "lengths=far"], "give whole numbers"),
        (["--set", "rates=nan"], "give learning rates"),
        (["--set", "steps=many"], "'many' is no int"),
        (["--set", "steps"], "NAME=VALUE"),
    ],
)
def test_settings_that_make_no_training_are_refused_before_anything_runs(harness_cli, tmp_path: Path, words, says):
    found = harness_cli(
        "run", "--task", "length", "--case", "sort-unique-l10", "--baseline", "nope", *words, "--results", tmp_path
    )
    assert found.code == 2 and says in found.err and "Traceback" not in found.err
    assert not list(tmp_path.rglob("*.json"))


def test_a_length_beyond_a_table_of_positions_is_a_status_and_the_curve_before_it_stays(harness_cli, tmp_path: Path):
    (tmp_path / "short.py").write_text(SMALL_TABLE, "utf-8")
    found = harness_cli("run", "--task", "length", "--scale", "smoke", "--baseline", tmp_path / "short.py",
                        "--set", "steps=1", "furthest=40", "longest=10", "--results", tmp_path / "r")  # fmt: skip
    [record] = [r for r in map(json.loads, (p.read_text() for p in (tmp_path / "r").rglob("*.json"))) if "case" in r
                and r["kind"] == "cell"]  # fmt: skip
    assert record["status"] == "unsupported" and "16" in record["reason"]
    assert found.code == 0, "a row that says what it cannot do is no failure of the run"


def test_the_same_seed_draws_the_same_and_another_draws_other_strings():
    task, case = Length(), Length.cases[1]
    one, again, other = task.draw(case, 0), task.draw(case, 0), task.draw(case, 1)
    assert one.digest == again.digest != other.digest
    assert one.question["key"] not in json.dumps({k: v for k, v in one.sealed.items() if not k.startswith("x-")})


def test_training_is_shown_neither_the_test_nor_its_lengths():
    draw = Length().draw(Length.cases[1], 0)
    assert set(draw.question) == {"problem", "options", "setting", "key"}
    assert "furthest" not in draw.question["setting"]
    assert not any(name.startswith("y") for name in draw.sealed), "answers are shown to the model"


def test_the_strings_of_a_length_do_not_depend_on_which_others_are_tested():
    from dataclasses import replace

    task, case = Length(), Length.cases[1]
    alone = task.draw(replace(case, params={**case.params, "lengths": "30"}, within=case.name), 0)
    assert (alone.sealed["x-30"] == task.draw(case, 0).sealed["x-30"]).all()


def test_the_solver_scores_one_and_an_answer_without_its_end_nothing():
    task, case = Length(), Length.cases[0]
    draw = task.draw(case, 0)
    best = task.oracle(case, draw)
    assert task.score(case, draw, best).values["exact_match"] == 1.0
    endless = {name: np.concatenate([y[:, :1], y[:, :1], y], axis=1) for name, y in best.items()}
    assert task.score(case, draw, endless).values["exact_match"] == 0.0
    with pytest.raises(InvalidAnswer, match="y-4"):
        task.score(case, draw, {**best, "y-4": best["y-4"].astype(float)})
    with pytest.raises(InvalidAnswer, match="y-4"):
        task.score(case, draw, {**best, "y-4": best["y-4"][:3]})


def test_an_answer_that_goes_beyond_its_target_has_room_and_is_judged_flexibly():
    task = Length()
    [case] = [c for c in task.cases if c.name == "target-length-l30"]
    draw = task.draw(case, 0)
    assert draw.sealed["most"][draw.sealed["lengths"].index(30)] > 36
    answers = {f"y-{n}": np.full((len(x), n + 2), 5) for n, x in draw.truth["x"].items()}
    longer = {name: np.concatenate([y, np.zeros((len(y), 1), int)], axis=1) for name, y in answers.items()}
    values = task.score(case, draw, longer).values
    assert values["exact_match[30]"] == 0 and values["precise_match[30]"] == values["flexible_match[30]"] == 1


def test_questions_that_come_twice_count_once():
    from dataclasses import replace

    task = Length()
    [case] = [c for c in task.cases if c.name == "repeat-token-l10"]
    draw = task.draw(replace(case, params={**case.params, "symbols": 4}), 0)
    assert len(task.score(case, draw, task.oracle(case, draw)).items["exact_match[20]"]) == 4


def test_what_of_scan_is_seen_in_training_is_told():
    task = Length()
    [case] = [c for c in task.cases if c.name == "scan-l22-published"]
    about = task.draw(case, 0).about
    assert about["of the test at L seen in training"] == 1.0


def test_every_declared_case_can_be_drawn():
    task = Length()
    for case in task.cases:
        task.check(case)
