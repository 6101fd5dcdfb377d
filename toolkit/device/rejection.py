"""Rejection: whether an answer is "unknown", by the score and the threshold in the manifest.

    "rejection": {"score": "margin", "temperature": 1.3, "threshold": 0.62, "error": 0.02}

Every score is computed from the probabilities, so that it costs no second output of the network. It is from 0 to below 1,
higher for surer answers. The energy of the logits cannot be one of them: the softmax takes it away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from .errors import DeviceError
from .layout import MANIFEST

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.floating[Any]]

SCORES = ("probability", "margin", "entropy")
"""The largest probability; one minus the second largest divided by the largest; one minus the normalized entropy."""
_SMALLEST = 1e-6
"""Probabilities are raised to this, where float16 no longer tells them apart."""


def of_each_class(answers: Numbers) -> Numbers:
    """Return [n, classes]; a single column is the probability of the second of two classes."""
    import numpy as np

    return answers if answers.shape[1] > 1 else np.hstack([1 - answers, answers])


def scores(answers: Numbers, score: str, temperature: float) -> Numbers:
    """Return how sure each row of probabilities f32 [n, outputs] is, f64 [n]; one output is that of two classes."""
    import numpy as np

    table = of_each_class(answers.astype(np.float64))
    powers = np.clip(table, _SMALLEST, 1) ** (1 / temperature)
    shares = powers / powers.sum(axis=1, keepdims=True)
    if score == "probability":
        return np.asarray(shares.max(axis=1))
    if score == "margin":
        best = np.sort(shares, axis=1)[:, -2:]
        return np.asarray(1 - best[:, 0] / best[:, 1])
    return np.asarray(1 + (shares * np.log(shares)).sum(axis=1) / np.log(shares.shape[1]))


def accepts(answers: Numbers, rule: Dict[str, Any]) -> Any:
    """Return which answers f32 [n, outputs] are given, bool [n]; the others are "unknown".

    Raises:
        DeviceError: the rule is not one that this code knows.
    """
    surenesses, threshold = _scored(answers, rule)
    return (surenesses >= threshold) & (threshold < 1)


def judge(answer: Numbers, manifest: Dict[str, Any]) -> Tuple[Optional[bool], Optional[float]]:
    """Return whether an answer f32 [outputs] is "unknown", and its score; None if the bundle has no rule for that."""
    rule = manifest.get("rejection")
    if rule is None:
        return None, None
    surenesses, threshold = _scored(answer[None], rule)
    return not (surenesses[0] >= threshold and threshold < 1), float(surenesses[0])


def is_unknown(answer: Numbers, manifest: Dict[str, Any]) -> Optional[bool]:
    """Return whether an answer f32 [outputs] is "unknown"; None if the bundle has no rule for that."""
    return judge(answer, manifest)[0]


def _scored(answers: Numbers, rule: Dict[str, Any]) -> Tuple[Numbers, float]:
    """Return the scores, f64 [n], and the threshold."""
    try:
        score, temperature, threshold = str(rule["score"]), float(rule["temperature"]), float(rule["threshold"])
    except (KeyError, TypeError, ValueError):
        raise _unusable() from None
    if score not in SCORES or not temperature > 0:
        raise _unusable()
    return scores(answers, score, temperature), threshold


def _unusable() -> DeviceError:
    return DeviceError(
        "the rule for unknown images is not valid",
        where=f"{MANIFEST}: rejection",
        remedy="deploy the bundle with the toolkit that made it, or a newer one",
    )
