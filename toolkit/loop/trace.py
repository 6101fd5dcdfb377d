"""From a label to the frame, device and release that it came from, and on to the releases that learned from it."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.artifacts.bundle import Bundle, IrModel
from toolkit.artifacts.captured_image import CapturedImage
from toolkit.artifacts.fleet import Deployment
from toolkit.artifacts.labeling import DatasetVersion, LabelDecision
from toolkit.artifacts.model import TrainedModel
from toolkit.errors import UsageError
from toolkit.store import Store


@dataclass(frozen=True, slots=True)
class Lineage:
    """One capture: where it came from, what people decided about it, and what was made from that."""

    capture: CapturedImage
    decisions: tuple[LabelDecision, ...]
    """All of them, oldest first, undone ones too."""
    versions: tuple[DatasetVersion, ...]
    """The versions of data sets that hold it."""
    models: tuple[TrainedModel, ...]
    """The models trained on one of them."""
    bundles: tuple[Bundle, ...]
    deployments: tuple[Deployment, ...]
    """Deployments of these bundles, whatever their outcome."""


def trace_capture(digest: str, store: Store) -> Lineage:
    """The lineage of the capture whose digest begins with `digest`.

    Raises:
        UsageError: no capture matches, or several do.
    """
    matches = store.starting_with(CapturedImage, digest) if len(digest) >= 4 else ()
    if len(matches) != 1:
        what = f"{len(matches)} captures match" if matches else "no such capture"
        raise UsageError(what, where=digest, remedy="give four or more digits of a capture's digest")
    (capture,) = matches
    versions = tuple(version for version in store.all(DatasetVersion) if capture.digest in version.captures)
    models = tuple(model for version in versions for model in store.all(TrainedModel, parent=version.split))
    irs = tuple(ir for model in models for ir in store.all(IrModel, parent=model.digest))
    bundles = tuple(bundle for ir in irs for bundle in store.all(Bundle, parent=ir.digest))
    return Lineage(
        capture=capture,
        decisions=store.all(LabelDecision, parent=capture.digest),
        versions=versions,
        models=models,
        bundles=bundles,
        deployments=tuple(one for bundle in bundles for one in store.all(Deployment, parent=bundle.digest)),
    )


def format_lineage(lineage: Lineage) -> tuple[tuple[str, str], ...]:
    """Steps from the frame to the releases, each with what it is."""
    capture = lineage.capture
    learned = {bundle.digest: bundle.name for bundle in lineage.bundles}
    return (
        ("frame", f"{capture.digest[:12]}, {capture.policy}, {capture.time}, camera {capture.camera}"),
        (
            "device",
            f"{capture.device}, release {capture.parent[:12]} answered {capture.label} ({capture.confidence:.0%})",
        ),
        *(("label", f"{one.label or one.verdict} by {one.who} at {one.at}") for one in lineage.decisions),
        *(("version", f"{one.name}: {one.captures[capture.digest]}") for one in lineage.versions),
        *(("model", f"{one.name} ({one.digest[:12]})") for one in lineage.models),
        *(("bundle", f"{one.name} ({one.short})") for one in lineage.bundles),
        *(
            ("release", f"{one.release[:12]} of {learned[one.parent]} on {one.device}: {one.outcome}")
            for one in lineage.deployments
        ),
    )
