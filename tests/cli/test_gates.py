"""Rows that miss a gate, records that searches asked for, and cases whose parameters the user changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import UsageError
from harness.findings import findings_of
from harness.plan import Request, chosen_cases
from harness.registry import load_registry
from harness.table import rows_of
from harness.task import Case


def score(name, value, **more):
    return {"name": name, "value": value, "interval": None, "unit": "", "higher_is_better": True, "best": 1.0,
            "main": name == "exact_match", "n": 0, **more}  # fmt: skip


def answered(made_record, row, seed, in_distribution, **more):
    scores = [score("exact_match", 0.5), score("exact_match[10]", in_distribution),
              score("in_distribution", in_distribution, gate=0.95, below="not trained")]  # fmt: skip
    case = {"name": "sort-l10", "params": {"problem": "sort-unique", "longest": 10, "furthest": 50}}
    return made_record(row, seed=seed, **{"scores": scores, "case": case, "task__name": "length", **more})


def within(made_record, row, n, value, **more):
    params = {"problem": "sort-unique", "longest": 10, "furthest": 50, "lengths": str(n)}
    case = {"name": f"sort-l10-at-{n}", "within": "sort-l10", "params": params}
    return made_record(row, scores=[score(f"exact_match[{n}]", value)], task__name="length", case=case, **more)


def test_a_row_under_its_gate_in_the_mean_over_draws_says_so_and_has_no_rank(made_record) -> None:
    records = [answered(made_record, "nope", seed, 0.99 - 0.001 * seed) for seed in range(6)]
    records += [answered(made_record, "rope", seed, 1.0) for seed in range(6)]
    records += [answered(made_record, "lstm", seed, (1.0, 0.8)[seed % 2]) for seed in range(6)]
    rows = {row.baseline: row for row in rows_of(records)}
    assert rows["lstm"].unranked == "not trained: in_distribution 0.90, 0.95 needed" and rows["lstm"].rank is None
    assert rows["nope"].unranked == "" and rows["nope"].rank is not None
    assert list(rows)[-1] == "lstm", "what is not ranked stands last"


def test_what_a_search_asked_for_has_no_table_and_is_in_the_curve(made_record) -> None:
    records = [answered(made_record, "nope", 0, 1.0), within(made_record, "nope", 30, 0.4)]
    assert [row.case for row in rows_of(records)] == ["sort-l10"]
    [found] = findings_of(records, load_registry().tasks)
    [(_, point)] = found.breaking_points()
    assert "30: 0.4" in point.beside and point.text == "1 x 10"


def test_one_case_is_shown_with_what_its_searches_have_found(made_record, harness_cli, tmp_path) -> None:
    from harness.store import Store

    store = Store(tmp_path / "r")
    store.prepare_to_write()
    for record in (answered(made_record, "nope", 0, 1.0), within(made_record, "nope", 30, 0.97)):
        store.add(record, b"")
    shown = harness_cli("show", "--results", tmp_path / "r", "--case", "sort-l10")
    assert "30: 0.97" in shown.out and ">= 3 x 10" in shown.out


def test_lengths_that_an_older_source_answered_are_no_part_of_the_curve(made_record) -> None:
    old, new = {"baseline__source_digest": "old"}, {"baseline__source_digest": "new"}
    records = [answered(made_record, "mine", 0, 1.0, **old), within(made_record, "mine", 30, 0.1, **old),
               answered(made_record, "mine", 0, 1.0, **new), within(made_record, "mine", 30, 0.9, **new)]  # fmt: skip
    [found] = findings_of(records, load_registry().tasks)
    [(_, point)] = found.breaking_points()
    assert "30: 0.9" in point.beside and "30: 0.1" not in point.beside


def test_a_row_on_two_devices_is_two_curves(made_record) -> None:
    records = [answered(made_record, "nope", 0, 1.0), answered(made_record, "nope", 0, 1.0, device="cuda")]
    [found] = findings_of(records, load_registry().tasks)
    assert [row for row, _ in found.breaking_points()] == ["nope on cpu", "nope on cuda"]


def test_every_plugin_of_ours_can_be_used() -> None:
    assert [(broken.path.name, broken.reason) for broken in load_registry().broken] == []


CASES = (Case("a", {"steps": 10, "rate": 0.5, "plain": True}), Case("b", {"rate": 0.5, "kind": "x"}))


def request(**changed):
    task = replace(load_registry().tasks["length"], cases=CASES, optional={"seconds": 0.0})
    return task, Request([task], {}, changed=changed)


def test_changed_parameters_choose_the_cases_that_have_them_and_are_in_their_names() -> None:
    [case] = chosen_cases(*request(steps="20", rate="1"))
    assert case.name == "a[rate=1,steps=20]" and case.params == {"steps": 20, "rate": 1.0, "plain": True}
    assert [c.name for c in chosen_cases(*request(rate="1"))] == ["a[rate=1]", "b[rate=1]"]
    assert [c.params["seconds"] for c in chosen_cases(*request(seconds="9"))] == [9.0, 9.0]
    assert [c.name for c in chosen_cases(*request())] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("step", "5", "did you mean steps"), ("zzz", "5", "they have kind, plain"), ("steps", "1.5", "is no int"),
     ("plain", "maybe", "is no bool"), ("rate", "high", "is no float")],
)  # fmt: skip
def test_a_parameter_that_no_case_has_or_of_another_kind_is_refused(name: str, value: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        chosen_cases(*request(**{name: value}))
