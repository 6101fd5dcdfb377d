"""Versions of an experiment's data set: the previous version plus the captures labeled since.

    v1      the split of the experiment's own data
    v2 …    the same images in the same subsets, and captures with a label, each in the subset of its group

A group is what one device saw within one hour, joined with everything that looks the same (toolkit.data.near_duplicates):
no near-twin is ever in two subsets. A group whose images are in a subset already goes there. The test subset never
loses an image, and gains only captures of the policy "random", which show what devices see; all others were chosen
because the model was unsure, and accuracy on them would say nothing of the field.

A class that the experiment's own data does not have (toolkit.loop.added_classes) follows the others in the list of labels once a
capture of it is in the train subset.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from toolkit import data, hashing
from toolkit.artifacts.captured_image import CapturedImage
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.labeling import CLASS, DatasetVersion, LabelDecision
from toolkit.captures import collected, image_path
from toolkit.data.formats.scan import ImageFile
from toolkit.data.near_duplicates import candidate_pairs, confirm_pairs
from toolkit.data.prepare import write_split
from toolkit.data.split_manifest import sort_images
from toolkit.data.splitting import Item, split_dataset
from toolkit.data.validation import validate_images
from toolkit.device.capture_record import RANDOM
from toolkit.errors import ConfigurationError
from toolkit.experiment.schema import Experiment
from toolkit.loop.added_classes import with_added_classes
from toolkit.loop.decisions import standing_decisions
from toolkit.progress import Progress
from toolkit.store import Store
from toolkit.workspace import Workspace

TEST_SHARE = 0.5
"""Of the groups that are at least half of random captures, those that extend the test subset."""
OTHER_CLASS = "no class of this experiment"
NOT_TAUGHT = "a new class without training images"
LIKE_TEST = "looks like, or was taken with, test images"
LIKE_SEVERAL = "looks like images of several subsets"


@dataclass(frozen=True, slots=True)
class Labeled:
    """A capture with the class that holds about it."""

    capture: CapturedImage
    label: str

    @property
    def group(self) -> str:
        """Device and hour, by its own clock: one that is wrong still tells its hours apart."""
        return f"{self.capture.device} {self.capture.time[:13]}"


def prepare_version(
    plan: Experiment, workspace: Workspace, store: Store, progress: Progress
) -> tuple[DatasetVersion, Split]:
    """The version that the labels of now make, recorded if it is new; the newest one if they change nothing.

    Raises:
        ConfigurationError: an experiment whose images may have several labels.
        DataError: the experiment's own data cannot be used.
    """
    if plan.data.multi_label:
        raise ConfigurationError("captures can be labeled only where an image has one label", where=str(plan.origin))
    own = data.prepare_dataset(plan.data, plan.origin, workspace, progress)
    versions = load_versions(store, plan.name)
    if not versions:
        store.put(own)
        versions = (_record(store, plan.name, own, None, {}, {}),)
    elif versions[0].split != own.digest:
        progress.log(
            f"warning: the data of {plan.name} changed since {versions[0].name}; its versions go on from there, "
            "so that no test image is lost; to start from the new data, give the experiment another name"
        )
    before = versions[-1]
    split = store.get(Split, before.split) or own
    first = store.get(Split, versions[0].split) or own
    classes = with_added_classes(first.labels, store, plan.name)
    composed = _Composition(
        before, split, data.read_manifest(split, workspace), first.labels, classes, workspace, progress
    )
    images, labels, captures, left_out = composed.extend(collected(store), standing_decisions(store), plan)
    if images == composed.images and labels == split.labels:
        return before, split
    name = f"{own.name} v{before.number + 1}"
    new = write_split(images, labels, name, split.note, workspace, progress)
    same = next((version for version in versions if version.split == new.digest), None)
    if same is not None:
        return same, store.get(Split, same.split) or new
    store.put(new)
    version = _record(store, plan.name, new, before, captures, left_out)
    progress.log(describe(version))
    for label in labels[len(first.labels) :]:
        missing = [subset for subset in data.SUBSETS if not new.counts.get(subset, {}).get(label)]
        if missing:
            progress.log(
                f"warning: no {' and no '.join(missing)} image shows the new class {label}, so no figure says how well a "
                "model knows it; label captures of several hours, some of them of the policy random"
            )
    return version, new


def describe(version: DatasetVersion) -> str:
    """One line on a version: its captures by subset, and what was left out."""
    counts = Counter(version.captures.values())
    parts = [f"{counts[subset]} in {subset}" for subset in data.SUBSETS if counts[subset]]
    out = [f"{number} left out: {reason}" for reason, number in sorted(version.left_out.items())]
    return f"data set {version.name}: captures {', '.join(parts) or 'none'}{''.join(f'; {text}' for text in out)}"


def load_versions(store: Store, experiment: str) -> tuple[DatasetVersion, ...]:
    """The versions of an experiment's data set, oldest first."""
    versions = (version for version in store.all(DatasetVersion) if version.experiment == experiment)
    return tuple(sorted(versions, key=lambda version: version.number))


def _record(
    store: Store,
    experiment: str,
    split: Split,
    before: DatasetVersion | None,
    captures: Mapping[str, str],
    left_out: Mapping[str, int],
) -> DatasetVersion:
    version = DatasetVersion(
        digest=hashing.sha256_json({"experiment": experiment, "split": split.digest}),
        parent=before.digest if before else "",
        experiment=experiment,
        split=split.digest,
        number=before.number + 1 if before else 1,
        captures=captures,
        left_out=left_out,
    )
    store.put(version)
    return version


@dataclass(frozen=True, slots=True)
class _Composition:
    """Makes a version from the one before it."""

    before: DatasetVersion
    split: Split
    images: tuple[data.Image, ...]
    own: tuple[str, ...]
    """The classes of the first version, which every version has."""
    classes: tuple[str, ...]
    """`own`, and the classes that were added since."""
    workspace: Workspace
    progress: Progress

    def extend(
        self, captures: Sequence[CapturedImage], decisions: Mapping[str, LabelDecision], plan: Experiment
    ) -> tuple[tuple[data.Image, ...], tuple[str, ...], Mapping[str, str], Mapping[str, int]]:
        """The images, their classes, the subset of each capture among them, and the number left out by reason."""
        labels = {digest: one.label for digest, one in decisions.items() if one.verdict == CLASS}
        stay = tuple(image for image in (self._relabeled(image, labels) for image in self.images) if image)
        present = {image.sha256 for image in self.images}
        fresh = [Labeled(one, labels[one.digest]) for one in captures if one.digest in labels.keys() - present]
        usable = [one for one in fresh if one.label in self.classes]
        left_out = Counter({OTHER_CLASS: len(fresh) - len(usable)})
        dealt: dict[str, str] = {}
        for unit, subset, reason in self._deal(usable, captures, plan):
            for one in unit:
                if subset and (subset != "test" or one.capture.policy == RANDOM):
                    dealt[one.capture.digest] = subset
                else:
                    left_out[reason or LIKE_TEST] += 1
        added = [self._image(one, dealt[one.capture.digest]) for one in usable if one.capture.digest in dealt]
        classes = self._learned([*stay, *added])
        untaught = {image.sha256 for image in added if self.classes[image.label] not in classes}
        left_out[NOT_TAUGHT] = len(untaught)
        taught = [image for image in (*stay, *added) if image.sha256 not in untaught]
        images = sort_images([replace(image, label=classes.index(self.classes[image.label])) for image in taught])
        digests = {image.sha256 for image in images}
        subsets = {**self.before.captures, **dealt}
        return images, classes, {one: subset for one, subset in subsets.items() if one in digests}, +left_out

    def _learned(self, images: Sequence[data.Image]) -> tuple[str, ...]:
        """The first version's classes, and of those added the ones that train or earlier test images show."""
        known = {image.sha256 for image in self.images}
        shown = {image.label for image in images if image.subset == "train"}
        shown |= {image.label for image in images if image.subset == "test" and image.sha256 in known}
        return tuple(name for number, name in enumerate(self.classes) if name in self.own or number in shown)

    def _relabeled(self, image: data.Image, labels: Mapping[str, str]) -> data.Image | None:
        """An image of the version before with the label of now; None if it has none and is not of the test subset."""
        before = self.split.labels[image.label]
        if image.sha256 not in self.before.captures:
            return replace(image, label=self.classes.index(before))
        label = labels.get(image.sha256)
        if label in self.classes:
            return replace(image, label=self.classes.index(str(label)))
        return replace(image, label=self.classes.index(before)) if image.subset == "test" else None

    def _image(self, one: Labeled, subset: str) -> data.Image:
        path = image_path(self.workspace, one.capture.digest)
        return data.Image(path, one.capture.digest, self.classes.index(one.label), subset, one.group)

    def _deal(
        self, fresh: Sequence[Labeled], captures: Sequence[CapturedImage], plan: Experiment
    ) -> Iterator[tuple[Sequence[Labeled], str, str]]:
        """Every unit of new captures with its subset, or with none and the reason for that."""
        fair: list[Sequence[Labeled]] = []
        chosen: list[Sequence[Labeled]] = []
        for unit, subsets in self._units(fresh, captures):
            if len(subsets) > 1:
                yield unit, "", LIKE_SEVERAL
            elif subsets:
                yield unit, next(iter(subsets)), ""
            elif 2 * sum(one.capture.policy == RANDOM for one in unit) >= len(unit):
                fair.append(unit)
            else:
                chosen.append(unit)
        shares = plan.data.split
        train = shares.train / ((shares.train + shares.validation) or 1) or 1.0
        learn = {"train": train, "validation": 1 - train}
        yield from _dealt(chosen, learn, plan.data.seed)
        tested = {"test": TEST_SHARE} | {subset: (1 - TEST_SHARE) * share for subset, share in learn.items()}
        yield from _dealt(fair, tested, plan.data.seed)

    def _units(
        self, fresh: Sequence[Labeled], captures: Sequence[CapturedImage]
    ) -> Iterator[tuple[Sequence[Labeled], frozenset[str]]]:
        """New captures that belong together, with the subsets that images of theirs are in already."""
        subset_of: dict[str, set[str]] = defaultdict(set)
        for image in self.images:
            if image.sha256 in self.before.captures and image.group:
                subset_of[image.group].add(image.subset)
        touched = [set(subset_of[one.group]) for one in fresh]
        first_of = {one.group: index for index, one in reversed(list(enumerate(fresh)))}
        links = [(index, first_of[one.group]) for index, one in enumerate(fresh)]
        for one, other in self._near_duplicates(fresh, captures):
            if other < len(fresh):
                links.append((one, other))
            else:
                touched[one].add(self.images[other - len(fresh)].subset)
        for members in _connected(len(fresh), links):
            yield [fresh[index] for index in members], frozenset().union(*(touched[index] for index in members))

    def _near_duplicates(self, fresh: Sequence[Labeled], captures: Sequence[CapturedImage]) -> list[tuple[int, int]]:
        """Pairs of places in new captures and, behind them, in the images of before; the first is a new capture."""
        if not fresh:
            return []
        known = {capture.digest: capture.perceptual_hash for capture in captures}
        own = [image for image in self.images if image.sha256 not in known]
        root = self.workspace.absolute(self.split.path)
        checked, _ = validate_images(
            [ImageFile(image.path, self.split.labels[image.label], None) for image in own],
            root.with_name(self.before.experiment),
            self.workspace,
            self.progress,
        )
        known |= {one.sha256: one.hash for one in checked}
        digests = [one.capture.digest for one in fresh] + [image.sha256 for image in self.images]
        paths = [image_path(self.workspace, one.capture.digest) for one in fresh] + [i.path for i in self.images]
        kinds: list[object] = [*range(len(fresh)), *(["before"] * len(self.images))]
        pairs = confirm_pairs(candidate_pairs([known.get(d) for d in digests], kinds), paths, self.progress)
        return [(pair.one, pair.other) for pair in pairs]


def _dealt(
    units: Sequence[Sequence[Labeled]], shares: Mapping[str, float], seed: int
) -> Iterator[tuple[Sequence[Labeled], str, str]]:
    items = [
        Item(one.capture.digest, one.capture.digest, one.label, str(number))
        for number, unit in enumerate(units)
        for one in unit
    ]
    subsets = split_dataset(items, {subset: share for subset, share in shares.items() if share > 0}, seed)
    for unit in units:
        yield unit, subsets[unit[0].capture.digest], ""


def _connected(number: int, links: Sequence[tuple[int, int]]) -> Sequence[list[int]]:
    """The places 0 … `number` - 1 in lists of those that links join, directly or not."""
    parents = list(range(number))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = place = parents[parents[place]]
        return place

    for one, other in links:
        parents[root(one)] = root(other)
    joined: dict[int, list[int]] = defaultdict(list)
    for place in range(number):
        joined[root(place)].append(place)
    return list(joined.values())
