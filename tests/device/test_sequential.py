"""The sequential test against simulations: how often it errs with independent and with correlated samples."""

from __future__ import annotations

import random

import pytest

from toolkit.device.sequential import FAIL, PASS, SequentialTest, design_effect

TEST = SequentialTest.above(0.95)


def _series(share: float, correlation: float, seed: int, length: int = 1000) -> list[bool]:
    """A two-state Markov chain with that share of successes and that correlation of neighbors."""
    source = random.Random(seed)
    state = source.random() < share
    states = []
    for _ in range(length):
        states.append(state)
        if source.random() >= correlation:
            state = source.random() < share
    return states


def _decision(share: float, correlation: float, seed: int) -> tuple[str, int]:
    """The decision and the number of samples that it took; looks after every ten, as the gate does."""
    series = _series(share, correlation, seed)
    for end in range(10, len(series) + 1, 10):
        if decision := TEST.decide(series[:end]):
            return decision, end
    return "", len(series)


def _rate(share: float, correlation: float, decision: str, runs: int = 100) -> float:
    return sum(_decision(share, correlation, seed)[0] == decision for seed in range(runs)) / runs


def test_above_puts_the_other_bound_half_way_to_one() -> None:
    assert (TEST.bad, TEST.good, TEST.alpha, TEST.beta) == (0.95, 0.975, 0.01, 0.05)


def test_test_errs_as_seldom_as_it_states() -> None:
    assert _rate(0.95, 0.0, PASS) <= 0.03
    assert _rate(0.975, 0.0, FAIL) <= 0.09
    assert _rate(0.995, 0.0, PASS) >= 0.97
    assert _rate(0.8, 0.0, FAIL) == 1.0


@pytest.mark.parametrize("correlation", [0.5, 0.8])
def test_correlated_samples_do_not_pass_more_often(correlation: float) -> None:
    assert _rate(0.9, correlation, PASS) <= 0.06


def test_test_stops_early_either_way() -> None:
    assert _decision(1.0, 0.0, 1) == (PASS, 180)
    assert _decision(0.0, 0.0, 1) == (FAIL, 30)


def test_too_few_samples_decide_nothing() -> None:
    assert TEST.decide([]) == TEST.decide([False] * 29) == ""
    assert TEST.decide([True] * 60) == ""


def test_design_effect_estimates_what_the_chain_has() -> None:
    assert design_effect(_series(0.5, 0.0, 3, 20_000)) == pytest.approx(1.0, abs=0.1)
    assert design_effect(_series(0.5, 0.5, 3, 20_000)) == pytest.approx(3.0, rel=0.1)
    assert design_effect([True] * 50) == 1.0
