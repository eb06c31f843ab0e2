"""Claims about the noise canary."""

from __future__ import annotations

import gc

import pytest

from harness.measure import canary as module
from harness.measure.canary import CANARY_VERSION, CanarySample, canary, drift, summarise


def sample(*wall_ns: int, version: int = CANARY_VERSION) -> CanarySample:
    return CanarySample(version, wall_ns, wall_ns)


def test_every_round_is_timed_and_does_the_same_work() -> None:
    result = canary(3)
    assert len(result.wall_ns) == len(result.cpu_ns) == 3
    assert min(result.wall_ns) > 0
    assert min(result.cpu_ns) > 0
    assert module._round() == module._round() == module._EXPECTED


def test_a_machine_that_computes_wrongly_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EXPECTED", 0)
    with pytest.raises(ArithmeticError, match="broken"):
        canary()
    assert gc.isenabled()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_left_as_it_was(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    try:
        canary()
        assert gc.isenabled() is enabled
    finally:
        gc.enable()


def test_no_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        canary(0)


def test_a_summary_pools_the_rounds_of_all_samples() -> None:
    summary = summarise([sample(100, 110), sample(90)])
    assert (summary.n, summary.median_ns) == (3, 100)
    assert summary.cov == pytest.approx(0.1)
    assert summarise([sample(100)]).cov is None


def test_time_without_a_core_is_told_apart() -> None:
    assert summarise([CanarySample(CANARY_VERSION, (100, 100), (100, 50))]).waited == pytest.approx(0.25)


def test_drift_is_a_ratio_to_the_reference() -> None:
    assert drift(sample(110, 110), sample(100, 100)) == pytest.approx(1.1)


def test_versions_are_never_compared() -> None:
    other = sample(100, version=CANARY_VERSION + 1)
    assert drift(other, sample(100)) is None
    with pytest.raises(ValueError, match="one version"):
        summarise([other, sample(100)])
    with pytest.raises(ValueError, match="at least one"):
        summarise([])


def test_a_run_s_opening_can_be_made_shorter_and_never_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(module, "_median_ns", lambda rounds: taken.append(rounds) or 1.0)
    for said in ("3", "", "many", "0", "900"):
        monkeypatch.setenv("HARNESS_CANARY_ROUNDS", said)
        module.CanaryClock().closing_drift()
    assert taken == [3, 3, 20, 20, 20, 20, 1, 1, 20, 20]
