"""A version is the one before it plus labeled captures; no near-twin crosses, and the test subset stays fair."""

from __future__ import annotations

import cv2
import pytest

from toolkit import data
from toolkit.artifacts.captured_image import CapturedImage
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.labeling import CLASS, NOT_SURE, UNKNOWN, DatasetVersion
from toolkit.captures import image_path, present
from toolkit.errors import ConfigurationError, UsageError
from toolkit.experiment.load import load_experiment
from toolkit.experiment.schema import Experiment
from toolkit.loop import versions
from toolkit.loop.added_classes import add_classes
from toolkit.loop.decisions import Choice, record, undo
from toolkit.loop.version_diff import diff_versions
from toolkit.loop.versions import prepare_version
from toolkit.progress import Silent
from toolkit.store import Store
from toolkit.workspace import Workspace

from ..invoke import run
from .conftest import Capturing, draw


class Loop:
    def __init__(self, plan: Experiment, workspace: Workspace, store: Store) -> None:
        self.plan, self.workspace, self.store = plan, workspace, store

    def label(self, *captures: CapturedImage, label: str = "red") -> None:
        record(self.store, [Choice(one.digest, CLASS, label) for one in captures], who="ann")

    def version(self) -> DatasetVersion:
        return prepare_version(self.plan, self.workspace, self.store, Silent())[0]

    def images(self, version: DatasetVersion) -> dict[str, tuple[str, str]]:
        split = self.store.get(Split, version.split)
        assert split is not None
        images = data.read_manifest(split, self.workspace)
        return {image.sha256: (image.subset, split.labels[image.label]) for image in images}

    def test_set(self, version: DatasetVersion) -> set[str]:
        return {digest for digest, (subset, _) in self.images(version).items() if subset == "test"}


@pytest.fixture
def loop(plan: Experiment, workspace: Workspace, store: Store) -> Loop:
    return Loop(plan, workspace, store)


def test_version_stays_when_labels_stay(loop: Loop, capture: Capturing) -> None:
    first = loop.version()
    assert (first.number, first.name, loop.version()) == (1, "colors@v1", first)
    loop.label(capture("red", 100))
    second = loop.version()
    assert second.number == 2
    assert second.parent == first.digest
    assert loop.version() == second
    assert loop.images(first).items() < loop.images(second).items()
    undo(loop.store, who="ann")
    assert loop.version() == first


def test_test_set_gains_from_random_captures_alone(loop: Loop, capture: Capturing) -> None:
    before = loop.test_set(loop.version())
    fair = [capture("red", 100 + n, device=f"fair-{n}", policy="random") for n in range(8)]
    chosen = [capture("red", 200 + n, device=f"chosen-{n}") for n in range(8)]
    requested = capture("red", 300, device="fair-0", policy="requested")
    loop.label(*fair, *chosen, requested)
    version = loop.version()
    after = loop.test_set(version)
    assert before < after
    assert after - before <= {one.digest for one in fair}
    assert len(after - before) == 4
    if version.captures[fair[0].digest] == "test":
        assert requested.digest not in version.captures


def test_devices_and_hours_never_cross(loop: Loop, capture: Capturing) -> None:
    for hour in range(6):
        for seed in range(4):
            policy = "random" if hour % 2 else "unsure"
            loop.label(capture("red", 100 + 10 * hour + seed, hour=hour, policy=policy))
        loop.version()  # a group that comes in turn by turn stays together, too
    seeds = [capture("red", 170 + hour, hour=hour, policy="random") for hour in range(6)]
    loop.label(*seeds)
    version = loop.version()
    subsets: dict[str, set[str]] = {}
    for one in loop.store.all(CapturedImage):
        if one.digest in version.captures:
            subsets.setdefault(one.time[:13], set()).add(version.captures[one.digest])
    assert len(subsets) == 6
    assert all(len(each) == 1 for each in subsets.values())


def test_near_twins_of_test_images_are_not_trained_on(loop: Loop, capture: Capturing) -> None:
    first = loop.version()
    split = loop.store.get(Split, first.split)
    assert split is not None
    images = data.read_manifest(split, loop.workspace)
    twins = {}
    for subset in data.SUBSETS:
        path = next(image.path for image in images if image.subset == subset)
        twins[subset] = capture("red", 0, device=subset, image=cv2.imread(str(path)))
    loop.label(*twins.values())
    version = loop.version()
    assert version.captures == {twins[subset].digest: subset for subset in ("train", "validation")}
    assert version.left_out == {versions.LIKE_TEST: 1}


def test_twins_on_two_devices_stay_together(loop: Loop, capture: Capturing) -> None:
    one = capture("red", 100, device="pi-1", policy="random")
    brighter = cv2.convertScaleAbs(draw("red", 100), alpha=1.1)
    loop.label(one)
    first = loop.version()
    other = capture("red", 0, device="pi-2", policy="random", image=brighter)
    loop.label(other)
    second = loop.version()
    assert second.captures[other.digest] == first.captures[one.digest] == "test"


def test_changed_mind_relabels_and_removes(loop: Loop, capture: Capturing) -> None:
    trained, tested = capture("red", 100), capture("red", 101, device="pi-2", policy="random")
    loop.label(trained, tested)
    second = loop.version()
    assert second.captures == {trained.digest: "train", tested.digest: "test"}
    loop.label(tested, label="blue")
    record(loop.store, [Choice(trained.digest, UNKNOWN)], who="bob")
    third = loop.version()
    assert loop.images(third)[tested.digest] == ("test", "blue")
    assert trained.digest not in third.captures
    record(loop.store, [Choice(tested.digest, UNKNOWN)], who="bob")
    assert loop.images(loop.version())[tested.digest] == ("test", "blue")


def test_other_classes_and_many_labels_are_left_out(loop: Loop, capture: Capturing) -> None:
    loop.label(capture("red", 100), label="green")
    version = loop.version()
    assert version.number == 1
    multi = loop.plan.model_copy(update={"data": loop.plan.data.model_copy(update={"source": "csv", "separator": ";"})})
    with pytest.raises(ConfigurationError, match="one label"):
        prepare_version(multi, loop.workspace, loop.store, Silent())


def test_versions_go_on_when_the_own_data_changes(loop: Loop, capture: Capturing) -> None:
    first = loop.version()
    cv2.imwrite(str(loop.plan.origin.parent / "images" / "red" / "new.png"), draw("red", 77))
    loop.plan = load_experiment(loop.plan.origin)
    loop.label(capture("red", 100))
    second = loop.version()
    assert loop.images(first).items() < loop.images(second).items()
    assert len(loop.images(second)) == len(loop.images(first)) + 1


def test_diff_names_what_changed(loop: Loop, capture: Capturing, capsys: pytest.CaptureFixture[str]) -> None:
    loop.version()
    one, other = capture("red", 100), capture("red", 101, device="pi-2", policy="random")
    loop.label(one, other)
    second = loop.version()
    loop.label(one, label="blue")
    loop.version()
    added = diff_versions("v1", "colors@v2", loop.workspace, loop.store)
    assert (added.first, added.second) == ("colors@v1", "colors@v2")
    assert added.counts() == {("added", "test", "red"): 1, ("added", "train", "red"): 1}
    changed = diff_versions(second.split[:12], "v3", loop.workspace, loop.store)
    assert changed.counts() == {("changed", "train", "red → blue"): 1}
    assert diff_versions("v2", "v2", loop.workspace, loop.store).changes == ()
    with pytest.raises(UsageError, match="no such version"):
        diff_versions("v1", "v9", loop.workspace, loop.store)
    assert run("data", "diff", "v1", "v2", "--workspace", loop.workspace.root) == 0
    assert "colors@v1" in (printed := capsys.readouterr().out)
    assert "added   test" in printed


def test_new_class_follows_the_others_once_it_is_trained(loop: Loop, capture: Capturing) -> None:
    first = loop.version()
    green = [capture("red", 100 + n, device=f"pi-{n}", policy=("unsure", "random")[n % 2]) for n in range(12)]
    loop.label(*green, label="amber")
    assert loop.version() == first
    for bad in ("", " amber", "a/b", "RED"):
        with pytest.raises(UsageError):
            add_classes(loop.store, "colors", ["amber", bad], ("blue", "red"), who="ann")
    add_classes(loop.store, "colors", ["zinc", "amber", "red"], ("blue", "red"), who="ann")
    add_classes(loop.store, "others", ["pink"], (), who="ann")
    second = loop.version()
    split = loop.store.get(Split, second.split)
    assert split is not None
    assert split.labels == ("blue", "red", "amber")
    assert [split.counts[subset]["amber"] > 0 for subset in data.SUBSETS] == [True] * 3
    assert loop.images(first).items() < loop.images(second).items()
    loop.label(*green, label="red")
    third = loop.version()
    tested = {digest for digest, subset in second.captures.items() if subset == "test"}
    assert {label for _, label in loop.images(third).values()} == {"blue", "red"}
    assert {digest for digest, subset in third.captures.items() if subset == "test"} == tested


def test_new_class_waits_for_a_training_image(loop: Loop, capture: Capturing) -> None:
    first = loop.version()
    fair = [capture("red", 100 + n, device=f"fair-{n}", policy="random") for n in range(8)]
    loop.label(*fair)
    version = loop.version()
    tested = next(one for one in fair if version.captures[one.digest] == "test")
    add_classes(loop.store, "colors", ["amber"], ("blue", "red"), who="ann")
    twin = capture("red", 200, device=tested.device)
    loop.label(twin, label="amber")
    assert twin.digest not in loop.version().captures
    assert loop.test_set(first) < loop.test_set(loop.version())


def test_an_image_that_no_label_uses_can_be_deleted(loop: Loop, capture: Capturing) -> None:
    one, other = capture("red", 100), capture("red", 101)
    loop.label(one, other)
    assert one.digest in loop.version().captures
    record(loop.store, [Choice(one.digest, NOT_SURE)], who="ann")
    assert one.digest not in loop.version().captures
    image_path(loop.workspace, one.digest).unlink()
    assert present(loop.store, loop.workspace) == (other,)
    loop.label(capture("red", 102, device="pi-2"))
    version = loop.version()
    assert version.number == 4
    assert one.digest not in version.captures
