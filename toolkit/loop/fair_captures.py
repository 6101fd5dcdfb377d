"""Labeled captures that fairly compare a candidate with the serving release (`toolkit deploy --shadow-gate accuracy=…`).

Those count whose frame the serving release has answered, which were chosen at random (the others were chosen because that
release was unsure, which would favor any other), whose label is a class, and which the candidate has not learned from: neither
from them nor from anything that the same device captured within the same hour.
"""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.artifacts.dataset import Split
from toolkit.artifacts.labeling import CLASS
from toolkit.captures import image_path, present
from toolkit.data import read_manifest
from toolkit.deploy.gates.shadow_gate import LabeledCapture
from toolkit.device.capture_record import RANDOM
from toolkit.errors import ConfigurationError
from toolkit.loop.decisions import standing_decisions
from toolkit.loop.retrain import model_of
from toolkit.loop.versions import Labeled
from toolkit.store import Store
from toolkit.workspace import Workspace


@dataclass(frozen=True, slots=True)
class FairCaptures:
    """The labeled captures of a workspace; those of now at each call, since labels may come in meanwhile."""

    workspace: Workspace
    store: Store

    def __call__(self, bundle: str, serving: str) -> tuple[LabeledCapture, ...]:
        """Return the captures for a candidate, the digest of its bundle, beside a release, oldest first.

        Raises:
            ConfigurationError: this workspace does not know what the candidate has learned from.
        """
        decisions = standing_decisions(self.store)
        labeled = [
            Labeled(one, decisions[one.digest].label)
            for one in present(self.store, self.workspace)
            if one.digest in decisions and decisions[one.digest].verdict == CLASS
        ]
        learned = self._learned(bundle)
        return tuple(
            LabeledCapture(
                digest=one.capture.digest,
                image=image_path(self.workspace, one.capture.digest),
                truth=one.label,
                serving=one.capture.label,
            )
            for one in sorted(labeled, key=lambda one: (one.capture.time, one.capture.digest))
            if one.capture.parent == serving
            and one.capture.policy == RANDOM
            and learned.isdisjoint((one.capture.digest, one.group))
        )

    def _learned(self, bundle: str) -> set[str]:
        """Return the digests and the groups of the images that the candidate was trained or validated on."""
        model = model_of(bundle, self.store)
        split = self.store.get(Split, model.parent) if model else None
        if split is None:
            raise ConfigurationError(
                "no record says what the candidate has learned from, so no labeled capture can judge its accuracy",
                where=bundle[:12],
                remedy="deploy it from the workspace that trained it, or leave out --shadow-gate accuracy",
            )
        images = [image for image in read_manifest(split, self.workspace) if image.subset != "test"]
        return {image.sha256 for image in images} | {image.group for image in images if image.group}
