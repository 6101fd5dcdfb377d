"""Learning curves: loss and accuracy per epoch, both stages on one axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from toolkit.artifacts.model import Epoch, TrainedModel
from toolkit.report import formatting
from toolkit.report.charts import svg
from toolkit.report.charts.results_charts import Panel, floor, styled
from toolkit.report.data.load import STAGES, ReportData


def curves(report: ReportData) -> Iterator[Panel]:
    """Loss and accuracy per epoch, one panel per network and head, both stages on one axis."""
    histories = dict(_histories(report.models))
    losses = [loss for history in histories.values() for epoch in history for loss in (epoch.loss, epoch.val_loss)]
    accuracies = [
        a for history in histories.values() for epoch in history for a in (epoch.accuracy, epoch.val_accuracy)
    ]
    if not losses:
        return
    loss_range, accuracy_range = (0.0, max(losses) * 1.05), (floor(min(accuracies), 0.1), 1.0)
    for (network, head), history in histories.items():
        title = f"{formatting.network(network)} · {head}"
        yield Panel(
            title,
            (
                svg.draw(_curve(history, "loss", loss_range), f"{title}: loss per epoch. {_ends(history, 'loss')}"),
                svg.draw(
                    _curve(history, "accuracy", accuracy_range),
                    f"{title}: accuracy per epoch. {_ends(history, 'accuracy')}",
                ),
            ),
        )


def _histories(models: Sequence[TrainedModel]) -> Iterator[tuple[tuple[str, str], tuple[Epoch, ...]]]:
    for cell in dict.fromkeys((model.network, model.head) for model in models):
        epochs = {
            (STAGES.index(epoch.stage), epoch.number): epoch
            for model in models
            if (model.network, model.head) == cell
            for epoch in model.history
        }
        yield cell, tuple(epochs[key] for key in sorted(epochs))


def _ends(history: Sequence[Epoch], figure: str) -> str:
    last = history[-1]
    return f"Last epoch: training {getattr(last, figure):.3f}, validation {getattr(last, f'val_{figure}'):.3f}."


def _curve(history: Sequence[Epoch], figure: str, domain: tuple[float, float]) -> dict[str, Any]:
    import altair as alt

    rows = [
        {
            "epoch": n,
            "value": getattr(epoch, prefix + figure),
            "part": part,
            "label": f"{formatting.stage(epoch.stage)}, epoch {epoch.number}: {part} {figure} {getattr(epoch, prefix + figure):.4f}",
        }
        for n, epoch in enumerate(history, start=1)
        for part, prefix in (("training", ""), ("validation", "val_"))
    ]
    boundary = sum(epoch.stage == STAGES[0] for epoch in history) + 0.5
    parts = alt.Scale(domain=["training", "validation"], range=[svg.MUTED, svg.SERIES[0]])
    dashes = alt.Scale(domain=["training", "validation"], range=[[4, 3], [1, 0]])
    x = alt.X(
        "epoch:Q", title=None, axis=alt.Axis(grid=False, tickMinStep=1, format="d", tickCount=6), scale=_epochs(history)
    )
    axis = alt.Axis(format="%" if figure == "accuracy" else "", tickCount=4, minExtent=38, maxExtent=38)
    y = alt.Y("value:Q", title=None, axis=axis, scale=alt.Scale(domain=domain, clamp=True))
    base = alt.Chart().encode(x=x, y=y)
    color = alt.Color("part:N", scale=parts, legend=None)
    lines = base.mark_line(strokeWidth=2, aria=False).encode(
        color=color, strokeDash=alt.StrokeDash("part:N", scale=dashes, legend=None)
    )
    dots = base.mark_point(filled=True, size=22, opacity=1).encode(color=color, description=alt.Description("label:N"))
    layers = [lines, dots]
    if 1 < boundary < len(history):
        mark = alt.Chart(alt.Data(values=[{"epoch": boundary}])).encode(x=x)
        layers.insert(0, mark.mark_rule(color=svg.MUTED, strokeDash=[2, 3], aria=False))
        late = boundary > 0.65 * len(history)
        side = (
            {"align": "right", "dx": -5, "text": "top layers"}
            if late
            else {"align": "left", "dx": 5, "text": "fine-tuning"}
        )
        note = mark.mark_text(fontSize=11, color=svg.MUTED, aria=False, **side)
        layers.append(note.encode(y=alt.value(8 if figure == "loss" else 128)))
    return styled(alt.layer(*layers, data=alt.Data(values=tuple(rows))), 262, 172)


def _epochs(history: Sequence[Epoch]) -> Any:
    import altair as alt

    return alt.Scale(domain=(0.7, len(history) + 0.3), nice=False)
