"""Decide whether a model returns probabilities or logits, from its answers and from its last operations.

Parity cannot detect a wrong decision, because both sides would apply the same softmax. Therefore nothing is assumed: answers
that are already probabilities get no second softmax, and if answers and operations are ambiguous, the user must decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from toolkit.errors import DataError, UsageError

if TYPE_CHECKING:
    import openvino as ov

PROBABILITIES, LOGITS = "probabilities", "logits"
_ROUNDING = 0.01
"""How far an output in eight bits may lie outside 0…1: some steps of 1/256."""
_SHAPING = {
    *("Reshape", "Squeeze", "Unsqueeze", "Convert", "Transpose", "FakeQuantize", "Clamp", "Minimum", "Maximum"),
    *("StridedSlice", "Slice", "VariadicSplit"),
}
"""Operations that leave what numbers mean as it is."""
_WEIGHTED = {"MatMul", "Convolution", "GroupConvolution", "Parameter", "Constant", "Einsum"}
_TO_PROBABILITIES = {"Softmax", "Sigmoid", "HardSigmoid", "HSigmoid", "Exp", "LogSoftmax"}


@dataclass(frozen=True, slots=True)
class Tail:
    """What follows a model's last layer with weights."""

    last: str
    """The last operation that is more than a change of shape, type or range."""
    operations: frozenset[str]
    """All that lies between the last weights and the output."""


def tail_of(graph: ov.Model) -> Tail:
    """The operations after the last weights of a model with one output."""
    node = graph.get_results()[0].input_value(0).get_node()
    last = node
    while last.get_type_name() in _SHAPING and last.get_input_size():
        last = last.input_value(0).get_node()
    return Tail(str(last.get_type_name()), frozenset(_since_the_weights(node)))


def _since_the_weights(start: Any) -> set[str]:
    kinds: set[str] = set()
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() in seen or node.get_type_name() in _WEIGHTED:
            continue
        seen.add(node.get_friendly_name())
        kinds.add(str(node.get_type_name()))
        waiting += [value.get_node() for value in node.input_values()]
    return kinds


def decide(answers: npt.NDArray[np.float32], tail: Tail, requested: str | None, slack: float) -> str:
    """What `answers`, f32 [n, classes], are: "probabilities" or "logits".

    `requested` is what the user says, `slack` how far probabilities may be from a sum of 1.

    Raises:
        UsageError: it cannot be told; asks the user to say it.
        DataError: the answers are not what the user says, or neither of both.
    """
    if requested == PROBABILITIES:
        return _checked_probabilities(answers, slack)
    proven = looks_like_probabilities(answers, slack) and (answers.shape[1] > 1 or tail.last == "Sigmoid")
    if requested == LOGITS:
        if proven:
            what = (
                "already returns probabilities (from 0 to 1, with a sum of 1), and a second softmax would change them"
            )
            raise DataError(what, remedy="leave --output out, or use --output probabilities")
        return LOGITS
    if tail.last == "Softmax":
        return _checked_probabilities(answers, slack)
    if proven:
        return PROBABILITIES
    if tail.last == "LogSoftmax" or tail.operations >= {"Softmax", "Log"}:
        return LOGITS  # a softmax of logarithms gives the probabilities back
    _refuse_doubtful(answers, tail)
    return LOGITS


def looks_like_probabilities(answers: npt.NDArray[np.float32], slack: float) -> bool:
    """Return whether all outputs are within 0…1 and, for several classes, add up to 1 within `slack`."""
    rounding = min(slack, _ROUNDING)  # the slack of a sum grows with the classes; that of one output does not
    inside = bool(answers.min() >= -rounding and answers.max() <= 1 + rounding)
    return inside and (answers.shape[1] == 1 or bool(np.abs(answers.sum(axis=1) - 1).max() <= slack))


def _refuse_doubtful(answers: npt.NDArray[np.float32], tail: Tail) -> None:
    """Ask where answers might be something else than logits."""
    made = sorted(tail.operations & _TO_PROBABILITIES)
    sums = answers.sum(axis=1)
    inside = answers.min() >= 0 and answers.max() <= 1
    steady = len(answers) > 1 and answers.shape[1] > 1 and float(np.ptp(sums)) < 1e-3 * max(1.0, abs(float(sums[0])))
    if made:
        why = f"its last operations ({', '.join(made)}) make something other than logits"
    elif inside:
        why = "they may be probabilities, or logits that happen to be small"
    elif steady and abs(float(sums[0])) > 1e-2:
        why = "their sum is the same for every image, unlike that of logits"
    else:
        return
    raise UsageError(
        f"returns numbers from {answers.min():.3g} to {answers.max():.3g}, in sum {sums.min():.3g} to {sums.max():.3g}: {why}",
        remedy="--output logits if a softmax (a sigmoid for one number) has to follow; "
        + (
            "--output probabilities if not"
            if inside and answers.shape[1] == 1
            else "otherwise export the model with one"
        ),
    )


def _checked_probabilities(answers: npt.NDArray[np.float32], slack: float) -> str:
    if looks_like_probabilities(answers, slack):
        return PROBABILITIES
    sums = answers.sum(axis=1)
    raise DataError(
        f"gives {answers.min():.3g} to {answers.max():.3g}, in sum {sums.min():.3g} to {sums.max():.3g}, which are not the "
        "probabilities of classes",
        remedy="use --output logits; several labels per image are supported only for models trained by the toolkit",
    )
