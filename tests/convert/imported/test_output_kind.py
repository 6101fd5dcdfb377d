"""Random answers through every usual tail: what is accepted must be what the model's own runtime means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.convert.imported.output_kind import Tail, decide
from toolkit.errors import DataError, ToolkitError, UsageError


def softmax(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def tail(last: str, *operations: str) -> Tail:
    return Tail(last, frozenset({last, *operations}))


PROBABILITIES = {
    "softmax": (softmax, tail("Softmax")),
    "clip": (lambda scores: np.clip(softmax(scores), 1e-7, 1), tail("Softmax", "Clamp")),
    "mean of two": (lambda scores: (softmax(scores) + softmax(scores * 2)) / 2, tail("Multiply", "Softmax", "Add")),
    "reordered": (lambda scores: softmax(scores)[:, ::-1], tail("Gather", "Softmax")),
    "exp over sum": (softmax, tail("Divide", "Exp", "ReduceSum")),
    "dequantized": (lambda scores: np.round(softmax(scores) * 256) / 256, tail("Softmax", "FakeQuantize")),
}
OTHERS = {
    "sigmoids": (lambda scores: 1 / (1 + np.exp(-scores)), tail("Sigmoid")),
    "percent": (lambda scores: 100 * softmax(scores), tail("Multiply", "Softmax")),
    "some of the classes": (lambda scores: softmax(scores)[:, 1:], tail("Gather", "Softmax")),
    "exp": (np.exp, tail("Exp")),
    "narrow clip": (lambda scores: np.clip(softmax(scores), 0.2, 0.4), tail("Softmax", "Clamp")),
}
LOGITS = {
    "scores": (lambda scores: scores, tail("Add")),
    "logarithms": (lambda scores: np.log(softmax(scores)), tail("Log", "Softmax")),
    "log-softmax": (lambda scores: np.log(softmax(scores)), tail("LogSoftmax")),
}
seeds = st.integers(0, 2**32 - 1)


def scores_of(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    shape = (int(random.integers(3, 20)), int(random.integers(3, 30)))
    return (random.normal(0, random.uniform(0.5, 4), shape) + random.normal()).astype(np.float32)


@pytest.mark.parametrize("name", PROBABILITIES)
@given(seeds)
@settings(max_examples=60, deadline=None)
def test_decide_takes_probabilities_as_they_are(name: str, seed: int) -> None:
    make, following = PROBABILITIES[name]
    answers = make(scores_of(seed))
    slack = 0.05 + answers.shape[1] / 512 if name == "dequantized" else 1e-3
    assert decide(answers, following, None, slack) == "probabilities"
    with pytest.raises(DataError, match="already returns probabilities"):
        decide(answers, following, "logits", slack)


@pytest.mark.parametrize("name", OTHERS)
@given(seeds)
@settings(max_examples=60, deadline=None)
def test_decide_asks_or_refuses_when_neither_is_certain(name: str, seed: int) -> None:
    make, following = OTHERS[name]
    answers = make(scores_of(seed))
    if np.abs(answers.sum(axis=1) - 1).max() <= 1e-3:  # the class that is left out is never likely
        assert decide(answers, following, None, 1e-3) == "probabilities"
        return
    with pytest.raises(ToolkitError, match=r"not the probabilities|something other than logits"):
        decide(answers, following, None, 1e-3)


@pytest.mark.parametrize("name", LOGITS)
@given(seeds)
@settings(max_examples=60, deadline=None)
def test_decide_gives_logits_their_softmax(name: str, seed: int) -> None:
    make, following = LOGITS[name]
    assert decide(make(scores_of(seed)), following, None, 1e-3) == "logits"


def test_decide_asks_when_one_number_could_be_either() -> None:
    single = np.array([[0.2], [0.7]], np.float32)
    assert decide(single, tail("Sigmoid"), None, 1e-3) == "probabilities"
    with pytest.raises(UsageError, match="logits that happen to be small"):
        decide(single, tail("Add"), None, 1e-3)
    assert decide(single, tail("Add"), "logits", 1e-3) == "logits"
    assert decide(single * 9, tail("Add"), None, 1e-3) == "logits"


def test_decide_refuses_what_the_user_calls_probabilities() -> None:
    with pytest.raises(DataError, match="not the probabilities of classes"):
        decide(np.array([[2.0, -1.0]], np.float32), tail("Add"), "probabilities", 1e-3)


def test_decide_takes_no_logits_for_probabilities() -> None:
    logits = np.random.default_rng(1).uniform(-1.5, 1.5, (12, 1000)).astype(np.float32)
    logits -= logits.mean(axis=1, keepdims=True)
    assert decide(logits, tail("FakeQuantize"), None, 1000 / 512) == "logits"
