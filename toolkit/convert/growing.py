"""Which image a bundle's answers are furthest off on, and where along the network they come to be so."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolkit import hashing
from toolkit.artifacts.bundle import LayerErrorReport
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import TrainedModel
from toolkit.bundle.verify import verify_bundle
from toolkit.convert import layer_errors, parity
from toolkit.convert.reference import Source, test_images
from toolkit.errors import DataError
from toolkit.progress import Progress
from toolkit.store import Store
from toolkit.workspace import Workspace


def find_growth(folder: Path, workspace: Workspace, store: Store, progress: Progress) -> LayerErrorReport:
    """Compare the IR of the bundle in `folder` with the float32 graph that it was made from, and keep what was found.

    Raises:
        BundleError: its bytes are not what its manifest says.
        DataError: the model or its test images are not in this workspace.
    """
    manifest = verify_bundle(folder)
    lineage = manifest["lineage"]
    model, split = store.get(TrainedModel, lineage["model"]), store.get(Split, lineage["split"])
    if model is None or split is None:
        raise DataError(
            f"this workspace has not the model and images that {manifest['name']} was made from",
            where=str(workspace.root),
            remedy="name the workspace that it was made in with --workspace",
        )
    test = test_images(model, split, workspace)
    graph, xml = Source(model, workspace, progress).graph, folder / "model.xml"
    differences = np.abs(parity.run(xml, test.chunks()) - parity.run(graph, test.chunks())).max(axis=1)
    worst = int(differences.argmax())
    errors = layer_errors.layer_errors(graph, xml, test.pixels[worst])
    threshold = layer_errors.THRESHOLD[manifest["precision"]]
    found = LayerErrorReport(
        digest=hashing.sha256_json({"ir": lineage["ir"], "split": split.digest, "kind": "growth"}),
        parent=lineage["ir"],
        bundle=manifest["name"],
        image=str(test.images[worst].path),
        difference=float(differences[worst]),
        threshold=threshold,
        first=layer_errors.first_beyond(errors, threshold),
        largest_increases=layer_errors.steepest(errors),
        layers=errors,
    )
    store.put(found)
    return found
