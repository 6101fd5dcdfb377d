"""Train on the newest version of the data set, and compare the new model with the serving one.

The network and the head are those of the serving model. Its last stage decides how far training goes: the top layers on
cached features, of which only those of new images are computed; or also fine-tuning, if it served the serving model,
and then the paired test of `toolkit.train.stage_gate` decides again whether its result is offered.

Both models answer the same test images. A new model that is significantly worse on the old ones, or on the new ones, is
not converted. If the data has classes that the serving model does not know, the new model gets a head for all of them; the
test images of new classes are compared separately, as the serving model cannot get one right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from toolkit import data, hashing, train
from toolkit.artifacts.bundle import Bundle, IrModel
from toolkit.artifacts.captured_image import CapturedImage
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.fleet import Deployment
from toolkit.artifacts.labeling import DatasetVersion, ModelComparison, Retraining
from toolkit.artifacts.model import TrainedModel
from toolkit.errors import ConfigurationError, DataError
from toolkit.experiment.schema import Experiment
from toolkit.experiment.training_schema import Stage, Trial
from toolkit.loop.versions import load_versions, prepare_version
from toolkit.pipeline import choose_bundle, convert_models, validation_score
from toolkit.progress import Progress
from toolkit.stats import intervals
from toolkit.stats.rank_tests import holm
from toolkit.store import Store
from toolkit.workspace import Workspace

OLD, NEW, NEW_CLASSES = "old test images", "new test images", "test images of new classes"


@dataclass(frozen=True, slots=True)
class Answers:
    """The test images of a version with the answers of both models, by the images' digests."""

    truth: Mapping[str, int]
    serving: Mapping[str, int]
    new: Mapping[str, int]


def retrain(
    plan: Experiment,
    workspace: Workspace,
    store: Store,
    progress: Progress,
    *,
    stage: Stage | None = None,
    force: bool = False,
    sweep_options: train.SweepOptions | None = None,
) -> Retraining | None:
    """The new model beside the serving one; None if no label came since that was trained.

    Raises:
        ConfigurationError: nothing was trained for the experiment yet.
        ToolkitError: training or conversion failed.
    """
    serving = serving_model(plan, store)
    version, split = prepare_version(plan, workspace, store, progress)
    if version.split == serving.parent:
        return None
    if serving.labels != split.labels[: len(serving.labels)]:
        raise DataError("the serving model has classes that the data lacks", where=plan.name, remedy="toolkit run")
    trial = _trial_of(plan, serving, len(split.labels))
    last: Stage = stage or serving.stage  # type: ignore[assignment]  # as above
    swept = train.train_trials(plan, [trial], split, workspace, store, progress, last=last, sweep_options=sweep_options)
    new = [model for model in swept.models if not model.withheld][-1]
    progress.log(f"── {new.name} of {version.name} beside the serving model")
    comparisons = compare(serving, new, split, version, workspace, store)
    return _conclude(plan, serving, new, version, split, comparisons, workspace, store, progress, force=force)


def serving_model(plan: Experiment, store: Store) -> TrainedModel:
    """The experiment's model that was deployed last, or its best one on the validation images if none was.

    Raises:
        ConfigurationError: nothing was trained yet.
    """
    for deployment in reversed(store.all(Deployment)):
        model = model_of(deployment.parent, store) if deployment.outcome in {"deployed", "unchanged"} else None
        if model and model.experiment == plan.name and not model.imported:
            return model
    models = [model for model in store.all(TrainedModel) if model.experiment == plan.name and model.history]
    offered = [model for model in models if not model.withheld]
    if not offered:
        remedy = f"toolkit run {plan.origin}"
        raise ConfigurationError("no model of the experiment was trained yet", where=plan.name, remedy=remedy)
    return max(offered, key=validation_score)


def trial_to_retrain(plan: Experiment, store: Store) -> Trial:
    """The trial that `retrain` would train: the serving model's, or the first one if nothing was trained yet."""
    try:
        serving = serving_model(plan, store)
        return _trial_of(plan, serving, len(serving.labels))
    except ConfigurationError:
        return next(plan.trials())


def _trial_of(plan: Experiment, model: TrainedModel, classes: int) -> Trial:
    """The model's network and head; a sigmoid, which tells two classes apart, becomes a softmax for more."""
    head = "softmax" if model.head == "sigmoid" and classes > 2 else model.head
    return plan.trial(model.network, head)  # type: ignore[arg-type]  # a trained model's head is one


def model_of(bundle: str, store: Store) -> TrainedModel | None:
    """The model in the bundle with that digest."""
    made = store.get(Bundle, bundle)
    ir = store.get(IrModel, made.parent) if made else None
    return store.get(TrainedModel, ir.parent) if ir else None


def compare(
    serving: TrainedModel, new: TrainedModel, split: Split, version: DatasetVersion, workspace: Workspace, store: Store
) -> tuple[ModelComparison, ...]:
    """Both models on the old test images, on the new ones, on those of new classes, and on those of each device."""
    tests = [image for image in data.read_manifest(split, workspace) if image.subset == "test"]
    old = _predictions(serving, store, workspace)
    answers = Answers(
        truth={image.sha256: image.label for image in tests},
        serving=old | _predict(serving, [image for image in tests if image.sha256 not in old], workspace),
        new={image.sha256: answer for image, answer in zip(tests, new.evaluation.predictions, strict=True)},
    )
    known = {image for image, label in answers.truth.items() if label < len(serving.labels)}
    groups = {OLD: [image for image in answers.truth if image in old and image in known]}
    groups[NEW] = [image for image in answers.truth if image not in old and image in known]
    groups[NEW_CLASSES] = [image for image in answers.truth if image not in known]
    devices: dict[str, list[str]] = {}
    for digest, subset in version.captures.items():
        if subset == "test" and digest in known and (capture := store.get(CapturedImage, digest)):
            devices.setdefault(f"device {capture.device}", []).append(digest)
    overall = [_compared(name, images, answers) for name, images in groups.items() if images]
    return *overall, *_adjusted([_compared(name, devices[name], answers) for name in sorted(devices)])


def _predictions(model: TrainedModel, store: Store, workspace: Workspace) -> dict[str, int]:
    """The answers to the test images of its own split, as they were recorded."""
    split = store.get(Split, model.parent)
    if split is None:
        return {}
    tests = [image for image in data.read_manifest(split, workspace) if image.subset == "test"]
    return {image.sha256: answer for image, answer in zip(tests, model.evaluation.predictions, strict=True)}


def _predict(model: TrainedModel, images: Sequence[data.Image], workspace: Workspace) -> dict[str, int]:
    if not images:
        return {}
    answers = train.predict(workspace.absolute(model.path), [image.path for image in images])
    unread = next((answer for answer in answers if answer.error), None)
    if unread is not None:
        raise DataError(unread.error, where=unread.image, remedy="toolkit collect --fleet fetches it again")
    labels = [model.labels.index(answer.ranking[0].label) for answer in answers]
    return {image.sha256: label for image, label in zip(images, labels, strict=True)}


def _compared(name: str, images: Sequence[str], answers: Answers) -> ModelComparison:
    pairs = [
        (answers.serving[image] == answers.truth[image], answers.new[image] == answers.truth[image]) for image in images
    ]
    both, only_serving, only_new = (pairs.count(pair) for pair in ((True, True), (True, False), (False, True)))
    total = len(pairs)
    difference, low, high = intervals.paired_difference(
        both, only_new, only_serving, total - both - only_serving - only_new
    )
    return ModelComparison(
        images_of=name,
        images=total,
        serving=(both + only_serving) / total,
        serving_interval=intervals.wilson(both + only_serving, total),
        new=(both + only_new) / total,
        new_interval=intervals.wilson(both + only_new, total),
        difference=difference,
        interval=(low, high),
        only_serving=only_serving,
        only_new=only_new,
        p_value=intervals.mcnemar(only_serving, only_new),
    )


def _adjusted(comparisons: Sequence[ModelComparison]) -> Iterator[ModelComparison]:
    adjusted = holm({one.images_of: one.p_value for one in comparisons})
    return (replace(one, p_value=adjusted[one.images_of]) for one in comparisons)


def _conclude(
    plan: Experiment,
    serving: TrainedModel,
    new: TrainedModel,
    version: DatasetVersion,
    split: Split,
    comparisons: tuple[ModelComparison, ...],
    workspace: Workspace,
    store: Store,
    progress: Progress,
    *,
    force: bool,
) -> Retraining:
    """Convert the model unless it is worse, and record the outcome."""
    lost = [one for one in comparisons if one.lost and one.images_of in {OLD, NEW}]
    refused = "" if force else "; ".join(map(_lost, lost))
    bundles = {} if refused else convert_models(plan, [new], split, workspace, store, progress)
    trained_on = {one.split: one.name for one in load_versions(store, plan.name)}
    result = Retraining(
        digest=hashing.sha256_json([serving.digest, new.digest]),
        parent=new.digest,
        experiment=plan.name,
        version=version.name,
        version_digest=version.digest,
        serving=serving.digest,
        serving_version=trained_on.get(serving.parent, f"split {serving.parent[:12]}"),
        comparisons=comparisons,
        refused=refused,
        bundle=choose_bundle(bundles).digest if bundles else "",
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    store.put(result)
    return result


def _lost(one: ModelComparison) -> str:
    return (
        f"worse on the {one.images_of}: {one.only_serving} of {one.images} are no longer right and {one.only_new} newly "
        f"are (McNemar p = {one.p_value:.2g})"
    )
