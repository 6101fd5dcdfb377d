"""Multi-label metrics: pure functions of logits [n, classes] and labels [n, classes], in NumPy.

Labels are 1 (present), 0 (absent) or -1 (unsure: not counted). A label is predicted if its logit is positive, that is, if
its probability is above 1/2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from toolkit.artifacts.model import Averages, ClassScore, Evaluation, MultilabelMetrics
from toolkit.data.targets import label_bitmask
from toolkit.stats import curves, intervals
from toolkit.train.metrics.multiclass import calibration


def evaluate(logits: np.ndarray, labels: np.ndarray, names: Sequence[str], part: str) -> Evaluation:
    """All that is said of a model on the images of one part; its accuracy is that of whole images (exact match)."""
    predicted, judged = logits > 0, labels >= 0
    shares = probabilities(logits)
    correct = int(exact_match(predicted, labels).sum())
    tables = confusions(predicted, labels)
    return Evaluation(
        subset=part,
        images=len(labels),
        loss=cross_entropy(logits, labels),
        accuracy=correct / max(len(labels), 1),
        interval=intervals.wilson(correct, len(labels)),
        top5=None,
        classes=tuple(_class_score(names[k], tables[k], *_of_label(shares, labels, k)) for k in range(len(names))),
        confusion=(),
        predictions=tuple(label_bitmask(np.flatnonzero(row).tolist()) for row in predicted & judged),
        probabilities=tuple(tuple(row) for row in shares.round(6).tolist()),
        calibration=calibration(np.maximum(shares, 1 - shares)[judged], (predicted == (labels == 1))[judged]),
        multilabel=label_scores(shares, labels, tables),
    )


def probabilities(logits: np.ndarray) -> np.ndarray:
    """The sigmoid of each, float64, without an overflow however large they are."""
    powers = np.exp(-np.abs(logits.astype(np.float64)))
    shares: np.ndarray = np.where(logits >= 0, 1, powers) / (1 + powers)
    return shares


def exact_match(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which images have all of their judged labels right, bool [n]."""
    whole: np.ndarray = ((predicted == (labels == 1)) | (labels < 0)).all(axis=1)
    return whole


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean over images, and over the judged labels of each, of max(z, 0) - z y + log(1 + exp(-|z|)), in nats."""
    z, judged = logits.astype(np.float64), labels >= 0
    losses = np.maximum(z, 0) - z * (labels == 1) + np.log1p(np.exp(-np.abs(z)))
    return float(np.mean((losses * judged).sum(axis=1) / np.maximum(judged.sum(axis=1), 1)))


def confusions(predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts [classes, 2, 2] over the judged images: rows are absent and present, columns not said and said."""
    return np.stack(
        [
            np.stack([((labels == truth) & (predicted == answer)).sum(axis=0) for answer in (False, True)], axis=1)
            for truth in (0, 1)
        ],
        axis=1,
    )


def label_scores(shares: np.ndarray, labels: np.ndarray, tables: np.ndarray) -> MultilabelMetrics:
    """Averages over the labels, and each label's average precision as PASCAL VOC has it."""
    each = [_rates(table) for table in tables]
    trades = [curves.precision_recall_curve(*_of_label(shares, labels, k)) for k in range(labels.shape[1])]
    area = _of_curves(curves.interpolated_average_precision, trades)
    eleven = _of_curves(curves.eleven_point_precision, trades)
    wrong = int(tables[:, 0, 1].sum() + tables[:, 1, 0].sum())
    return MultilabelMetrics(
        hamming_loss=wrong / max(int(tables.sum()), 1),
        micro=_rates(tables.sum(axis=0)),
        macro=Averages(
            precision=float(np.mean([one.precision for one in each])),
            recall=float(np.mean([one.recall for one in each])),
            f1=float(np.mean([one.f1 for one in each])),
        ),
        mean_average_precision=_mean(area),
        mean_eleven_point=_mean(eleven),
        average_precision=area,
        eleven_point=eleven,
        confusions=tuple(((int(a), int(b)), (int(c), int(d))) for (a, b), (c, d) in tables),
    )


def _of_label(shares: np.ndarray, labels: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities of one label and whether it is there, over the images judged for it."""
    judged = labels[:, label] >= 0
    return shares[judged, label], labels[judged, label] == 1


def _class_score(name: str, table: np.ndarray, shares: np.ndarray, positive: np.ndarray) -> ClassScore:
    rates = _rates(table)
    roc = curves.roc_curve(shares, positive)
    trade = curves.precision_recall_curve(shares, positive)
    return ClassScore(
        label=name,
        precision=rates.precision,
        recall=rates.recall,
        f1=rates.f1,
        support=int(table[1].sum()),
        roc_auc=curves.area_under(roc) if len(roc) else None,
        average_precision=curves.average_precision(trade) if len(trade) else None,
    )


def _rates(table: np.ndarray) -> Averages:
    """Precision, recall and F1 of counts [2, 2]; 0 where nothing was said or there is nothing to find."""
    (_, false), (missed, true) = table.tolist()
    return Averages(
        precision=true / max(true + false, 1),
        recall=true / max(true + missed, 1),
        f1=2 * true / max(2 * true + false + missed, 1),
    )


def _of_curves(measure: Callable[[curves.Curve], float], trades: Sequence[curves.Curve]) -> tuple[float | None, ...]:
    return tuple(measure(trade) if len(trade) else None for trade in trades)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
