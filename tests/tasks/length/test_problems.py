"""Strings are pure functions of key, length and number; solvers agree with naive ones; chance and trivial answers are
what they are said to be."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.tasks.length.problems import PROBLEMS, make
from harness.tasks.length.problems.base import END, FIRST, PAD, Problem, Strings
from harness.tasks.length.problems.scan import ACTIONS, WORDS, library

Row = list[int]
LENGTHS = {"scan": (1, 8, 22)}
"""Not every number of actions occurs."""


def lengths(name: str) -> tuple[int, ...]:
    return LENGTHS.get(name, (1, 2, 7, 12))


def digest(strings: Strings) -> str:
    """Of the strings, whatever the machine's byte order."""
    state = hashlib.blake2b(digest_size=6)
    for array in (strings.x, strings.y):
        state.update(np.ascontiguousarray(array, dtype="<f4" if array.dtype.kind == "f" else "<i8").tobytes())
    return state.hexdigest()


def answer(row: Row) -> Row:
    """Without what fills it up."""
    assert PAD not in row[: len(row) - row.count(PAD)], "padding stands on the right"
    return [token for token in row if token != PAD]


def naive_parity(x: Row) -> Row:
    return [FIRST + x.count(FIRST + 1) % 2, END]


def naive_mode(x: Row) -> Row:
    (symbol, most), *others = Counter(x).most_common()
    assert all(count < most for _, count in others), "a tie"
    return [symbol, END]


def naive_addition(base: int) -> Callable[[Row], Row]:
    def solve(x: Row) -> Row:
        at = x.index(FIRST + base)
        total = sum((x[i] + x[at + 1 + i] - 2 * FIRST) * base**i for i in range(at))
        return [FIRST + total // base**i % base for i in range(at + 1)] + [END]

    return solve


def naive_polynomial(x: Row) -> Row:
    value = x[0] - FIRST - 12
    return [FIRST + sum((c - FIRST - 18) * value ** (d - FIRST - 22) for c, d in zip(x[1::2], x[2::2])) % 10, END]  # noqa: B905


def naive_cycle(x: Row) -> Row:
    place = 0
    for step in x:
        place = {0: place, 1: 0 if place == 4 else place + 1, 2: 4 if place == 0 else place - 1}[step - FIRST]
    return [FIRST + 3 + place, END]


def naive_permutations(x: Row) -> Row:
    every = sorted(unpicked([], 5))
    things = list(range(5))
    for token in x:
        things = [every[token - FIRST][thing] for thing in things]
    return [FIRST + every.index(things), END]


def unpicked(picked: Row, degree: int) -> list[Row]:
    """All orders of 0 ... `degree` - 1 that begin so."""
    if len(picked) == degree:
        return [picked]
    return [row for i in range(degree) if i not in picked for row in unpicked([*picked, i], degree)]


def naive_lego(x: Row) -> Row:
    plus = FIRST + 256
    value = {plus + 2: 1}
    clauses = [x[i : i + 3] for i in range(0, len(x) - 1, 3)]
    while clauses:
        variable, sign, source = clause = next(c for c in clauses if c[2] in value)
        value[variable] = value[source] * (1 if sign == plus else -1)
        clauses.remove(clause)
    return [plus if value[x[-1]] == 1 else plus + 1, END]


def naive_scan(x: Row) -> Row:
    return [FIRST + len(WORDS) + ACTIONS.index(act) for act in acts([WORDS[t - FIRST] for t in x if t != PAD])] + [END]


def acts(words: list[str]) -> list[str]:
    """The rules of interpretation, from the outermost inwards."""
    if "and" in words:
        return acts(words[: words.index("and")]) + acts(words[words.index("and") + 1 :])
    if "after" in words:
        return acts(words[words.index("after") + 1 :]) + acts(words[: words.index("after")])
    if words[-1] in ("twice", "thrice"):
        return acts(words[:-1]) * (2 if words[-1] == "twice" else 3)
    verb = [] if words[0] == "turn" else [words[0].upper()]
    if len(words) == 1:
        return verb
    turn = [words[-1][0].upper() + "TURN"]
    return {"opposite": turn * 2 + verb, "around": (turn + verb) * 4}.get(words[1], turn + verb)


def naive_target(x: Row) -> Row:
    return [x[0]] * int("".join(str(digit - FIRST - 10) for digit in x[1:])) + [END]


NAIVE: dict[str, Callable[[Row], Row]] = {
    "copy": lambda x: [*x, END],
    "copy-unique": lambda x: [*x, END],
    "repeat-token": lambda x: [x[0]] * len(x) + [END],
    "reverse": lambda x: [*reversed(x), END],
    "sort": lambda x: [*sorted(x), END],
    "sort-unique": lambda x: [*sorted(x), END],
    "mode": naive_mode,
    "sort-floats": lambda x: sorted(range(len(x)), key=lambda i: x[i]),
    "addition": naive_addition(10),
    "modular-sum": lambda x: [FIRST + sum(token - FIRST for token in x) % 10, END],
    "polynomial": naive_polynomial,
    "parity": naive_parity,
    "even-pairs": lambda x: [FIRST + (x[0] != x[-1]), END],
    "cycle": naive_cycle,
    "aa-star": lambda x: [FIRST + len(x) % 2, END],
    "permutations": naive_permutations,
    "lego": naive_lego,
    "scan": naive_scan,
    "recall-one": lambda x: [x[0], END],
    "recall-list": lambda x: [dict(zip(x[:-1:2], x[1::2], strict=True))[x[-1]], END],
    "target-length": naive_target,
}

OTHERS: list[tuple[str, dict[str, Any], Callable[[Row], Row]]] = [
    ("addition", {"base": 2}, naive_addition(2)),
    ("addition", {"base": 2, "carries": "balanced"}, naive_addition(2)),
    ("addition", {"carries": "balanced"}, naive_addition(10)),
    ("lego", {"shuffled": True}, naive_lego),
    ("recall-one", {"marked": True}, lambda x: [x[x.index(FIRST + 10) + 1], END]),
    ("target-length", {"encoding": "unary"}, lambda x: [x[0]] * (len(x) - 1) + [END]),
]

DIGESTS = {
    "copy": "7b70f9538a1f 54ec2d4796c9 9ee48a618041 eb2844998c25",
    "copy-unique": "8c91484e0a60 452c3615b2a8 543b8792668d 02d24f4dab43",
    "repeat-token": "9c7c3ec289de ddbd73a4bb62 f71d2860ff62 668261d5a985",
    "reverse": "0be63908d354 dd1b2daf2c80 347d21ae8d8b 6b17cd14dcca",
    "sort": "b5737a2338d6 77cd682fd194 52d88fdfe806 3a4f1ad82722",
    "sort-unique": "f2b256c84b18 04d2c5fc0339 a05f1514778e f40bb56fefd6",
    "mode": "90ba1293b9e9 9aa7d098bfe5 99663dc6e127 87ca5caa0d60",
    "sort-floats": "047840f24e38 15b8735fba40 55bc91c2cef6 8c22550abaa8",
    "addition": "3bec81a7d299 254125df00be 875e4c58d8f5 c7bd2fd36841",
    "modular-sum": "d3f2e75f47c4 b99ccba778b6 4a050b16d124 c7ed383ccf3d",
    "polynomial": "e35ac8d5b5e6 151281c8e310 f578a7182a91 2643b5dbcef5",
    "parity": "4620aca3bb62 e5f597d16337 c5e5e201182c 28b002841bd2",
    "even-pairs": "93c7a3d3aaa6 4289ee2c0ebc a58d5c7e49c8 b517dde69c3b",
    "cycle": "816e719e2f4e fc5499b65783 17370c8aa3ea 1491544c12bc",
    "aa-star": "8cab377402de fb317e60fdfb cb7122ca8dbb 9f128e61b6a8",
    "permutations": "b02496a4f212 1f2288e6e439 e81c8be3ff33 f8d97bba7ed8",
    "lego": "d2189e737c81 1672ecc1225d fbe3c2e429a7 cfdcba2a0ff2",
    "scan": "d50227760ac8 0613256a2ae3 919ab5bde5e7",
    "recall-one": "1c4ac9d9a92c 260f9bec40f4 a418225611dc c95513a3695e",
    "recall-list": "b4704c236c36 c4a2239f7393 76c1bb71cff7 169b866034da",
    "target-length": "d6f434e5f08e b9b033f53fa5 6ac6f067e85f dce5d41c1961",
}


def test_every_problem_has_a_naive_solver_here() -> None:
    assert set(NAIVE) == set(DIGESTS) == set(PROBLEMS)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_strings_are_these_on_every_platform(name: str) -> None:
    problem = make(name)
    drawn = [digest(problem.sample("pinned", length, 0, 64)) for length in lengths(name)]
    assert " ".join(drawn) == DIGESTS[name]


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_solver_agrees_with_a_naive_one(name: str) -> None:
    problem = make(name)
    for length in lengths(name):
        strings = problem.sample("solver", length, 0, 200)
        agree(problem, strings, NAIVE[name], length)


@pytest.mark.parametrize(("name", "params", "naive"), OTHERS)
def test_the_solver_agrees_with_other_parameters_too(
    name: str, params: dict[str, Any], naive: Callable[[Row], Row]
) -> None:
    problem = make(name, **params)
    for length in lengths(name):
        agree(problem, problem.sample("solver", length, 0, 200), naive, length)


def agree(problem: Problem, strings: Strings, naive: Callable[[Row], Row], length: int) -> None:
    assert [naive(x) for x in strings.x.tolist()] == [answer(y) for y in strings.y.tolist()]
    assert all(y.all() for y in problem.judge(strings.x, strings.y).values())
    assert strings.y.shape[1] <= problem.most(length)
    if problem.kind == "pointing":
        assert strings.x.dtype == np.float32 and strings.x.min() >= 0 and strings.x.max() < 1
    else:
        assert strings.x.dtype == strings.y.dtype == np.int64
        own = strings.x[strings.x != PAD]
        assert own.min() >= FIRST and max(own.max(), strings.y.max()) < problem.mark < problem.vocabulary


@pytest.mark.parametrize("name", PROBLEMS)
@settings(max_examples=8)
@given(data=st.data())
def test_a_string_does_not_depend_on_which_others_are_drawn(name: str, data: st.DataObject) -> None:
    problem, length = make(name), data.draw(st.sampled_from(lengths(name)))
    start, rows = data.draw(st.integers(0, 90)), data.draw(st.integers(1, 10))
    np.random.seed(data.draw(st.integers(0, 9)))
    some, every = problem.sample("key", length, start, rows), problem.sample("key", length, 0, 100)
    assert np.array_equal(some.x, every.x[start : start + rows])
    assert np.array_equal(some.y, every.y[start : start + rows])


@pytest.mark.parametrize("name", sorted(set(PROBLEMS) - {"aa-star"}))
def test_other_keys_and_numbers_give_other_strings(name: str) -> None:
    problem, length = make(name), lengths(name)[-1]
    one = problem.sample("one", length, 0, 50).x
    assert not np.array_equal(one, problem.sample("two", length, 0, 50).x)
    assert not np.array_equal(one, problem.sample("one", length, 50, 50).x)


@pytest.mark.parametrize("name", sorted(set(PROBLEMS) - {"aa-star"}))
def test_the_trivial_rule_is_well_formed_and_often_wrong(name: str) -> None:
    problem, length = make(name), lengths(name)[-1]
    x = problem.sample("trivial", length, 0, 500).x
    answers = problem.trivial(x, problem.most(length))
    assert answers.shape == (500, problem.most(length)) and answers.dtype == np.int64
    if problem.kind == "tokens":
        assert (answers == END).any(axis=1).all()
    assert problem.judge(x, answers)["exact_match"].mean() < 0.7


def test_the_trivial_rule_for_a_language_of_one_letter_is_right_at_every_second_length() -> None:
    problem = make("aa-star")
    right = []
    for length in range(1, 9):
        x = problem.sample("trivial", length, 0, 3).x
        right.append(bool(problem.judge(x, problem.trivial(x, 2))["exact_match"].all()))
    assert right == [False, True] * 4


@pytest.mark.parametrize(
    ("name", "params", "length"),
    [
        ("copy", {"symbols": 3}, 3),
        ("copy-unique", {"symbols": 4}, 2),
        ("repeat-token", {"symbols": 4}, 9),
        ("reverse", {"symbols": 2}, 4),
        ("sort", {"symbols": 3}, 3),
        ("sort-unique", {"symbols": 6}, 3),
        ("mode", {}, 7),
        ("sort-floats", {}, 4),
        ("addition", {"base": 2}, 4),
        ("addition", {"base": 3, "carries": "balanced"}, 3),
        ("modular-sum", {}, 5),
        ("polynomial", {}, 6),
        ("parity", {}, 9),
        ("even-pairs", {}, 9),
        ("cycle", {}, 9),
        ("permutations", {"degree": 4}, 5),
        ("lego", {}, 5),
        ("recall-one", {}, 5),
        ("recall-list", {}, 5),
    ],
)
def test_chance_is_one_over_the_number_of_answers(name: str, params: dict[str, Any], length: int) -> None:
    problem = make(name, **params)
    answers = np.unique(problem.sample("chance", length, 0, 8000).y, axis=0)
    assert problem.chance(length) == pytest.approx(1 / len(answers))
    # A guess at one of them, whatever the question, is right so often.
    asked = problem.sample("asked", length, 0, 8000).x
    guesses = answers[np.arange(8000) * 7919 % len(answers)]
    right = problem.judge(asked, guesses)["exact_match"].mean()
    assert abs(right - problem.chance(length)) < 4 * (problem.chance(length) / 8000) ** 0.5


@pytest.mark.parametrize("name", PROBLEMS)
def test_chance_is_a_probability_however_long_the_string(name: str) -> None:
    for length in (1, 100, 250):
        assert 0 <= make(name).chance(length) <= 1


@pytest.mark.parametrize("name", sorted(set(PROBLEMS) - {"sort-floats", "target-length"}))
def test_an_answer_without_its_end_or_with_more_before_it_is_wrong(name: str) -> None:
    problem, length = make(name), lengths(name)[-1]
    strings = problem.sample("judge", length, 0, 50)
    endless = np.where(strings.y == END, FIRST, strings.y)
    longer = np.concatenate([endless, np.zeros((50, 1), np.int64)], axis=1)
    trailing = np.concatenate([strings.y, np.full((50, 3), FIRST)], axis=1)
    assert not problem.judge(strings.x, endless)["exact_match"].any()
    assert not problem.judge(strings.x, longer)["exact_match"].any()
    assert not problem.judge(strings.x, strings.y[:, :-1])["exact_match"].any()
    assert problem.judge(strings.x, trailing)["exact_match"].all()


def test_symbols_are_all_different_where_they_should_be_and_all_symbols_are_used() -> None:
    for name in ("copy-unique", "sort-unique"):
        x = make(name, symbols=20).sample("unique", 15, 0, 400).x
        assert all(len(set(row)) == 15 for row in x.tolist())
        assert set(x.ravel().tolist()) == set(range(FIRST, FIRST + 20))
        counts = np.bincount(x[:, 0] - FIRST, minlength=20)
        assert counts.min() > 5 and counts.max() < 45, "the first symbol is any of them"
        assert (np.sort(make(name, symbols=15).sample("all", 15, 0, 5).x) == np.arange(FIRST, FIRST + 15)).all()


def test_a_mode_at_every_length_is_any_symbol() -> None:
    for length in (1, 2, 3, 5, 30):
        y = make("mode").sample("mode", length, 0, 2000).y[:, 0]
        assert np.bincount(y - FIRST, minlength=5).min() > 300


def longest_carry(x: Row, base: int) -> int:
    """Of the run of places that carry."""
    length, carry, run, longest = len(x) // 2, 0, 0, 0
    for a, b in zip(x[:length], x[length + 1 :], strict=True):
        carry = int(a + b - 2 * FIRST + carry >= base)
        run = run + 1 if carry else 0
        longest = max(longest, run)
    return longest


@pytest.mark.parametrize("base", [2, 10])
def test_balanced_carries_run_through_every_number_of_places_as_often(base: int) -> None:
    rows, length = 3600, 8
    x = make("addition", base=base, carries="balanced").sample("carries", length, 0, rows).x
    runs = np.bincount([longest_carry(row, base) for row in x.tolist()], minlength=length + 1)
    assert len(runs) == length + 1
    assert np.abs(runs - rows / (length + 1)).max() < 5 * (rows / (length + 1)) ** 0.5
    digits = np.bincount(np.delete(x, length, axis=1).ravel() - FIRST, minlength=base)
    assert len(digits) == base and digits.min() > 0.5 * digits.max(), "no digit is left out"
    plain = make("addition", base=base).sample("carries", length, 0, rows).x
    full = sum(longest_carry(row, base) == length for row in plain.tolist())
    assert full < 0.5 * runs[length], "independent digits seldom carry all the way"


def test_scan_has_20910_commands_of_up_to_48_actions_and_its_published_length_split() -> None:
    known = library()
    assert len(np.unique(known.commands, axis=0)) == len(known.commands) == 20910
    assert known.lengths.max() == 48 and (known.commands != PAD).sum(axis=1).max() == 9
    assert (known.lengths <= 22).sum() == 16990 and (known.lengths > 22).sum() == 3920
    scan = make("scan")
    assert max(scan.training_lengths(22)) == 22 and min(scan.training_lengths(22)) == 1
    assert min(set(scan.training_lengths(48)) - set(scan.training_lengths(22))) == 24
    for x, y in zip(known.commands[::17].tolist(), known.actions[::17].tolist(), strict=True):
        assert naive_scan(x) == [token for token in y if token != PAD] + [END]


def test_scan_pads_questions_on_the_right_and_answers_them_at_any_width() -> None:
    scan = make("scan")
    assert scan.ragged and not make("copy").ragged
    strings = scan.sample("ragged", 16, 0, 300)
    widths = (strings.x != PAD).sum(axis=1)
    assert len(set(widths.tolist())) > 2
    for width in set(widths.tolist()):
        rows = widths == width
        assert (strings.x[rows, :width] != PAD).all() and (strings.x[rows, width:] == PAD).all()
        assert np.array_equal(scan.solve(strings.x[rows, :width]), strings.y[rows])
    mixed = np.concatenate([strings.x[:3], scan.sample("ragged", 24, 0, 3).x])
    assert [answer(row) for row in scan.solve(mixed).tolist()] == [naive_scan(row) for row in mixed.tolist()]
    with pytest.raises(UsageError, match=r"no command of SCAN takes 23 actions.* 22, 24"):
        scan.sample("ragged", 23, 0, 1)
    with pytest.raises(UsageError, match="no command"):
        scan.solve(np.array([[FIRST + 5]]))


def test_lego_asks_for_the_second_half_of_a_chain_in_order_or_shuffled() -> None:
    for length in (1, 4, 5):
        x = make("lego").sample("lego", length, 0, 300).x
        asked = {row[:-1:3].index(row[-1]) for row in x.tolist()}
        assert asked == set(range(length // 2, length))
    shuffled = make("lego", shuffled=True).sample("lego", 5, 0, 300).x
    one = FIRST + 256 + 2
    assert {row[2::3].index(one) for row in shuffled.tolist()} == set(range(5))


def test_a_flag_may_stand_before_any_symbol() -> None:
    problem = make("recall-one", marked=True)
    x = problem.sample("flag", 6, 0, 300).x
    assert x.shape == (300, 7) and ((x == FIRST + 10).sum(axis=1) == 1).all()
    assert set((x == FIRST + 10).argmax(axis=1).tolist()) == set(range(6))


@pytest.mark.parametrize("name", [name for name in PROBLEMS if make(name).scratchpads])
def test_states_can_be_written_out_between_the_letters_or_after_them(name: str) -> None:
    problem, naive = make(name), NAIVE[name]
    strings = problem.sample("scratchpad", 7, 0, 60)
    inter, after = (problem.written_out(strings, kind) for kind in ("interleaved", "states"))
    for row, x in enumerate(strings.x.tolist()):
        states = [naive(x[: i + 1])[0] for i in range(len(x))]
        tail = [problem.mark, states[-1], END]
        assert inter.y[row].tolist() == [token for pair in zip(x, states, strict=True) for token in pair] + tail
        assert after.y[row].tolist() == states + tail
    assert np.array_equal(inter.x, strings.x) and np.array_equal(after.x, strings.x)
    with pytest.raises(UsageError, match="knows no scratchpad 'aloud'; it knows interleaved, states"):
        problem.written_out(strings, "aloud")


def naive_hint(hint: str, x: Row, mark: int) -> Row:
    at = x.index(mark)
    listed, rest = x[:at], x[at + 1 :]
    if hint == "successor":
        return [min((token for token in listed if token > rest[0]), default=mark), END]
    if hint == "count":
        return [FIRST - 1 + listed.count(rest[0]), END]
    if hint == "fill":
        return [sorted(listed)[rest.index(mark)], END]
    return [*reversed(listed), END]


@pytest.mark.parametrize("name", ["sort", "sort-unique"])
def test_hints_ask_about_the_list_in_its_own_vocabulary(name: str) -> None:
    problem = make(name, symbols=12)
    for hint in problem.hints:
        hinted = problem.hinted(hint)
        assert hinted.vocabulary == problem.vocabulary and hinted.mark == problem.mark
        for length in (1, 2, 9):
            strings = hinted.sample("hint", length, 0, 200)
            assert [naive_hint(hint, x, problem.mark) for x in strings.x.tolist()] == strings.y.tolist()
            assert strings.y.shape[1] == hinted.most(length) and strings.y.max() <= problem.mark
            assert 0 <= hinted.chance(length) <= 1
        answers = hinted.trivial(strings.x, hinted.most(9))
        assert hinted.judge(strings.x, answers)["exact_match"].mean() < 0.8
    with pytest.raises(UsageError, match=r"knows no hint 'whisper'; it knows successor"):
        problem.hinted("whisper")


def test_problems_without_hints_or_scratchpads_say_so() -> None:
    with pytest.raises(UsageError, match="copy knows no hint 'successor'; it has none"):
        make("copy").hinted("successor")
    with pytest.raises(UsageError, match="copy knows no scratchpad 'states'; it has none"):
        make("copy").written_out(make("copy").sample("k", 3, 0, 2), "states")


def said(count: int, width: int) -> Row:
    return [FIRST] * count + [END] + [PAD] * (width - count)


@pytest.mark.parametrize(
    ("target", "precise", "flexible"),
    [
        (10, (1, 20), (1, 20)),
        (50, (41, 60), (41, 60)),
        (80, (71, 90), (61, 100)),
        (150, (131, 170), (101, 200)),
        (700, (631, 770), (601, 800)),
        (40, (37, 44), (33, 48)),
        (5, (5, 5), (5, 6)),
        (1, (1, 1), (1, 1)),
    ],
)
def test_target_length_is_judged_within_half_open_ranges(
    target: int, precise: tuple[int, int], flexible: tuple[int, int]
) -> None:
    problem = make("target-length")
    counts = range(2 * target + 1)
    x = problem.sample("target", target, 0, 1).x.repeat(len(counts), axis=0)
    judged = problem.judge(x, np.array([said(count, 2 * target) for count in counts]))
    found = {name: (np.flatnonzero(right).min(), np.flatnonzero(right).max()) for name, right in judged.items()}
    assert found == {"exact_match": (target, target), "precise_match": precise, "flexible_match": flexible}
    assert all(right.sum() == high - low + 1 or low == 1 for right, (low, high) in zip(judged.values(), found.values()))  # noqa: B905


def test_a_target_length_that_is_never_ended_or_holds_padding_is_missed() -> None:
    problem = make("target-length")
    x = problem.sample("target", 3, 0, 1).x
    for row in ([4, 4, 4], [4, 4, PAD, END]):
        assert not any(right.any() for right in problem.judge(x, np.array([row])).values())
    assert all(right.all() for right in problem.judge(x, np.array([[4, 9, 5, END, 7]])).values()), "any symbols do"


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("copy", {"symbols": 1}, r"copy takes symbols as a whole number in 2 \.\.\. 65536, not 1"),
        ("copy", {"symbols": "many"}, "not 'many'"),
        ("copy", {"symbols": True}, "not True"),
        ("copy", {"symbol": 4}, "copy has no parameter 'symbol'; it takes symbols"),
        ("parity", {"symbols": 4}, "parity has no parameter 'symbols'; it takes none"),
        ("addition", {"base": 1}, "addition takes base"),
        ("addition", {"carries": "long"}, "addition takes carries as 'random' or 'balanced', not 'long'"),
        ("modular-sum", {"modulus": 2}, "modular-sum takes modulus"),
        ("cycle", {"places": 2}, "cycle takes places"),
        ("permutations", {"degree": 6}, r"degree as a whole number in 2 \.\.\. 5, not 6"),
        ("lego", {"shuffled": 1}, "lego takes shuffled as True or False, not 1"),
        ("recall-list", {"items": 1}, "recall-list takes items"),
        ("target-length", {"encoding": "roman"}, "'digits' or 'unary', not 'roman'"),
        ("sort-uniqe", {}, "unknown problem 'sort-uniqe'; did you mean 'sort-unique'"),
    ],
)
def test_bad_parameters_are_refused_with_the_known_ones(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make(name, **params)


@pytest.mark.parametrize(
    ("name", "params", "length", "message"),
    [
        ("copy", {}, 0, "a length of 0"),
        ("sort-unique", {"symbols": 8}, 9, "sort-unique of length 9 needs as many different symbols, and there are 8"),
        ("copy-unique", {"symbols": 8}, 9, "copy-unique of length 9"),
        ("recall-list", {"keys": 3}, 4, "recall-list of length 4"),
        ("lego", {"variables": 3}, 4, "lego of length 4"),
        ("target-length", {}, 10_000, "writes the length in 4 digits, and 10000 has more"),
    ],
)
def test_lengths_for_which_there_is_no_string_are_refused(
    name: str, params: dict[str, Any], length: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make(name, **params).sample("k", length, 0, 2)


def test_a_hint_that_counts_needs_as_many_symbols_as_places() -> None:
    with pytest.raises(UsageError, match="counts by symbols, and there are 4"):
        make("sort", symbols=4).hinted("count").sample("k", 5, 0, 2)
