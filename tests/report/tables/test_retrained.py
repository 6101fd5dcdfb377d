"""What the report says of a retraining: both models on the same images, and the chain from labels to releases."""

from __future__ import annotations

import dataclasses

import pytest

from toolkit.artifacts.captured_image import CapturedImage
from toolkit.artifacts.fleet import Deployment
from toolkit.artifacts.labeling import CLASS, DatasetVersion, LabelDecision, ModelComparison, Retraining
from toolkit.experiment.schema import Experiment
from toolkit.report import write_report
from toolkit.report.data.load import load_report
from toolkit.report.tables import retrained
from toolkit.store import Store
from toolkit.workspace import Workspace

BETTER = ModelComparison(
    images_of="new test images",
    images=40,
    serving=0.5,
    serving_interval=(0.35, 0.65),
    new=0.9,
    new_interval=(0.77, 0.96),
    difference=0.4,
    interval=(0.2, 0.56),
    only_serving=1,
    only_new=17,
    p_value=0.00014,
)
WORSE = dataclasses.replace(
    BETTER, images_of="old test images", difference=-0.1, only_serving=9, only_new=0, p_value=0.004
)


@pytest.fixture
def result(store: Store) -> Retraining:
    """A retraining on three captures of two devices."""
    captures = {"a" * 64: "train", "b" * 64: "train", "c" * 64: "test"}
    for number, digest in enumerate(captures):
        store.put(
            CapturedImage(
                digest=digest,
                parent="e" * 64,
                device=f"pi-{number // 2}",
                camera="cam",
                time="2026-11-30T09:00:00+00:00",
                clock_synchronized=True,
                policy="random" if number == 2 else "unsure",
                label="with_mask",
                confidence=0.6,
                probabilities=(0.4, 0.6),
                score=None,
                perceptual_hash=None,
                collected_at="2026-11-30T12:00:00+00:00",
            )
        )
        made = {"digest": f"label-{number}", "parent": digest, "batch": "b", "at": "2026-11-30T12:00:00+00:00"}
        store.put(LabelDecision(verdict=CLASS, label="with_mask", who=("ann", "bob", "bob")[number], **made))
    version = DatasetVersion(digest="v", parent="", experiment="masks", split="s", number=2, captures=captures)
    store.put(version)
    retraining = Retraining(
        digest="r",
        parent="f" * 64,
        experiment="masks",
        version=version.name,
        version_digest="v",
        serving="0" * 64,
        serving_version="masks@v1",
        comparisons=(WORSE, BETTER),
        bundle="d" * 64,
    )
    store.put(retraining)
    return retraining


def texts(rows: tuple[tuple[retrained.Cell, ...], ...]) -> list[list[str]]:
    return [[cell.text for cell in row] for row in rows]


@pytest.mark.slow
def test_report_follows_labels_to_releases(
    workspace: Workspace, store: Store, experiment: Experiment, result: Retraining
) -> None:
    store.put(Deployment(digest="x", parent=result.bundle, device="pi-7", release="9" * 64, outcome="deployed"))
    report = load_report(workspace, store, experiment)
    assert [row[-1] for row in texts(retrained.comparisons(report).rows)] == ["worse", "better"]
    assert "Serving (masks@v1)" in retrained.comparisons(report).columns
    assert texts(retrained.lineage_of_labels(report).rows) == [
        ["pi-0", "e" * 12, "unsure", "ann and bob", "2 in train", "masks@v2", "f" * 12, "pi-7"],
        ["pi-1", "e" * 12, "random", "bob", "1 in test", "masks@v2", "f" * 12, "pi-7"],
    ]
    page = write_report(workspace, store, experiment=experiment).index.read_text()
    assert "Learned from labels" in page
    assert "From labels to releases" in page


def test_report_says_why_a_model_was_not_released(
    workspace: Workspace, store: Store, experiment: Experiment, result: Retraining
) -> None:
    store.put(dataclasses.replace(result, refused="worse on the old test images", bundle=""))
    report = load_report(workspace, store, experiment)
    (cell, *_) = [row[-1] for row in retrained.lineage_of_labels(report).rows]
    assert (cell.text, cell.title) == ("not converted", "worse on the old test images")


def test_report_is_silent_without_a_retraining(workspace: Workspace, store: Store, experiment: Experiment) -> None:
    report = load_report(workspace, store, experiment)
    assert retrained.comparisons(report).rows == ()
    assert retrained.lineage_of_labels(report).rows == ()
