from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from toolkit.artifacts.model import TrainedModel
from toolkit.experiment.schema import Experiment
from toolkit.report.charts import roc_pr_calibration
from toolkit.report.data import misclassified
from toolkit.report.data.load import ReportData, load_report
from toolkit.report.tables import class_tables
from toolkit.stats import curves
from toolkit.store import Store
from toolkit.workspace import Workspace

SHARES = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=60)


@given(SHARES)
def test_thinned_keeps_the_area_under_a_curve(drawn: list[tuple[float, bool]]) -> None:
    curve = curves.roc_curve([share for share, _ in drawn], [positive for _, positive in drawn])
    thin = roc_pr_calibration.thinned(curve)
    assert len(thin) <= len(curve)
    assert abs(curves.area_under(thin) - curves.area_under(curve)) <= 4 * roc_pr_calibration.STEP


def test_worst_puts_the_surest_mistake_first(store: Store) -> None:
    model = store.all(TrainedModel)[0]
    judged = dataclasses.replace(
        model.evaluation, predictions=(1, 0, 1, 0), probabilities=((0.7,), (0.1,), (0.9,), (0.4,))
    )
    model = dataclasses.replace(model, evaluation=judged)
    assert misclassified.worst(model, (0, 1, 1, 1)) == [1, 0, 3]
    assert misclassified.probability(model, 1, 0) == 0.9
    assert misclassified.worst(model, (0, 1)) == []


def test_contact_embeds_each_image_once(workspace: Workspace, store: Store, experiment: Experiment) -> None:
    result = misclassified.contact(load_report(workspace, store, experiment))
    shown = [mistake.image for worst in result.models for mistake in worst.mistakes]
    assert set(shown) == set(result.images)
    assert len(shown) > len(result.images)
    assert all(data.startswith("data:image/jpeg;base64,") for data in result.images.values())


def test_contact_is_empty_when_the_images_are_gone(workspace: Workspace, store: Store, experiment: Experiment) -> None:
    for image in (workspace.root / "data" / "x").iterdir():
        image.unlink()
    assert misclassified.contact(load_report(workspace, store, experiment)).models == ()


def of_three(report: ReportData) -> ReportData:
    """The first model alone, as if it told three classes apart."""
    model = report.models[0]
    judged = dataclasses.replace(
        model.evaluation,
        confusion=((5, 1, 0), (2, 3, 0), (0, 0, 4)),
        probabilities=((0.2, 0.5, 0.3),) * len(model.evaluation.probabilities),
    )
    model = dataclasses.replace(model, evaluation=judged, labels=("a", "b", "c"))
    return dataclasses.replace(report, models=(model,))


def test_confused_lists_what_is_taken_for_what(workspace: Workspace, store: Store, experiment: Experiment) -> None:
    shown = class_tables.confused(of_three(load_report(workspace, store, experiment)))
    assert [tuple(cell.text for cell in row[1:]) for row in shown.rows] == [
        ("b", "a", "2", "40.0 %"),
        ("a", "b", "1", "16.7 %"),
    ]


def test_ranked_puts_the_likeliest_class_first(workspace: Workspace, store: Store, experiment: Experiment) -> None:
    (row,) = class_tables.ranked(of_three(load_report(workspace, store, experiment))).rows
    assert [cell.text for cell in row[2:]] == ["b 50.00 %", "c 30.00 %", "a 20.00 %", "\N{EN DASH}"]
