"""Create bundles: one folder, named by its manifest's digest, with all that a device needs to run and check a model.

    manifest.json   what it is, what it was made from, and the digest of every other file
    model.xml .bin  an IR, or model.tflite
    labels.txt
    golden/         eight test images and the answers to them

Nothing in it depends on when or where it was created: the same model and versions give the same bytes.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit import compat, files, hashing
from toolkit.artifacts.bundle import Bundle, IrModel, Quantization
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import TrainedModel
from toolkit.bundle.resolve import describe_bundle
from toolkit.bundle.verify import FORMAT, model_files, verify_bundle
from toolkit.device.layout import MANIFEST
from toolkit.errors import BundleError
from toolkit.progress import Progress
from toolkit.store import Store
from toolkit.workspace import Workspace

_OF_SOME = ("max_drop", "micro_f1", "reference_micro_f1")
"""Fields of parity that a manifest has only where they apply."""


def write_bundle(
    ir: IrModel,
    model: TrainedModel,
    split: Split,
    golden: tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]],
    workspace: Workspace,
    store: Store,
    progress: Progress,
    extra: Mapping[str, Any] = MappingProxyType({}),
) -> Bundle:
    """Write the bundle of `ir`, or reuse an existing one; a damaged one is replaced.

    `golden` are the golden images, u8 [n,H,W,3], and the answers to them, f32 [n, classes]; `extra` are more fields of the
    manifest.
    """
    with files.part_folder(workspace.folder("bundles")) as partial:
        folder = partial / "new"
        _fill(folder, ir, model, split, golden, workspace, extra)
        digest = hashing.sha256_file(folder / MANIFEST)
        place = workspace.folder("bundles") / digest
        if _intact(place):
            progress.log(f"bundle {bundle_name(ir, model)}: already made ({digest[:12]})")
        else:
            _move(folder, place)
            progress.log(f"bundle {bundle_name(ir, model)}: {digest[:12]}")
    bundle = describe_bundle(place, workspace)
    store.put(bundle)
    return bundle


def bundle_name(ir: IrModel, model: TrainedModel) -> str:
    """For people: network-head-stage-precision, and the target when it is not the current runtime."""
    aimed = "" if ir.target == "cpu" else f"-{ir.target}"
    return f"{model.name}-{ir.precision}{aimed}"


def _intact(place: Path) -> bool:
    if not place.exists():
        return False
    try:
        verify_bundle(place)
    except BundleError:
        return False
    return True


def _move(folder: Path, place: Path) -> None:
    """Rename `folder` to `place`; replacing a damaged one."""
    if place.exists():
        place.rename(folder.with_name("damaged"))
    folder.rename(place)


def _fill(
    folder: Path,
    ir: IrModel,
    model: TrainedModel,
    split: Split,
    golden: tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]],
    workspace: Workspace,
    extra: Mapping[str, Any],
) -> None:
    """Write every file of the bundle, the manifest last."""
    (folder / "golden").mkdir(parents=True)
    path = workspace.absolute(ir.path)
    for name in model_files(ir.target):
        shutil.copyfile(path.with_name(name), folder / name)
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in split.labels), encoding="utf-8")
    inputs, outputs = golden
    np.save(folder / "golden" / "inputs.npy", inputs)
    np.save(folder / "golden" / "outputs.npy", outputs)
    manifest = _manifest(ir, model, split, len(inputs), outputs.shape[1]) | {**extra, "files": file_entries(folder)}
    (folder / MANIFEST).write_bytes(hashing.canonical_json(manifest))


def _manifest(ir: IrModel, model: TrainedModel, split: Split, golden: int, outputs: int) -> dict[str, Any]:
    height, width = model.input_size
    return {
        "format": FORMAT,
        "name": bundle_name(ir, model),
        "precision": ir.precision,
        "target": ir.target,
        "labels": list(split.labels),
        "input": {
            "height": height,
            "width": width,
            "layout": compat.find_target(ir.target).layout,
            "type": "u8",
            "color": "RGB",
            "crop": model.crop,
        },
        "output": {"kind": model.head, "classes": outputs},
        "golden": {
            "count": golden,
            "tolerance": _golden_tolerance(ir),
            "inputs": "golden/inputs.npy",
            "outputs": "golden/outputs.npy",
        },
        "lineage": {
            "ir": ir.digest,
            "model": model.digest,
            "split": split.digest,
            "run": model.run,
            "experiment": model.experiment,
            "network": model.network,
            "head": model.head,
            "stage": model.stage,
            "weights": model.weights,
            "note": model.note,
        }
        | ({} if model.imported is None else {"imported": dataclasses.asdict(model.imported)}),
        "versions": dict(model.versions) | dict(ir.versions),
        "parity": _parity(ir),
    } | _optional(ir, model)


def _optional(ir: IrModel, model: TrainedModel) -> dict[str, Any]:
    """Fields that a manifest has only where they apply."""
    fields: dict[str, Any] = {"forced": ir.forced} if ir.forced else {}
    if model.rejection is not None:
        fields |= {"rejection": model.rejection.to_manifest()}
    return fields | ({} if ir.quantization is None else {"quantization": _quantization(ir.quantization)})


def _golden_tolerance(ir: IrModel) -> dict[str, float]:
    """The target's tolerance, or the parity tolerance if the user set a wider one; INT8, which is compared with itself, keeps the target's."""
    stated = compat.find_target(ir.target).golden_tolerance[ir.precision]
    if ir.precision == "int8":
        return dict(stated)
    return {accelerator: max(limit, ir.parity.tolerance) for accelerator, limit in stated.items()}


def _parity(ir: IrModel) -> dict[str, Any]:
    result = ir.parity
    return {
        "images": result.images,
        "max_abs": result.max_abs,
        "mean_abs": result.mean_abs,
        "top1_agreement": result.top1_agreement,
        "accuracy": result.accuracy,
        "reference_accuracy": result.reference_accuracy,
        "tolerance": result.tolerance,
    } | {name: value for name in _OF_SOME if (value := getattr(result, name)) is not None}


def _quantization(result: Quantization) -> dict[str, Any]:
    """For JSON: lists instead of tuples."""
    return dataclasses.asdict(result) | {"reverted": list(result.reverted)}


def file_entries(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Return the digest and size of each file below a folder, as a manifest lists them."""
    return {
        path.relative_to(folder).as_posix(): {"sha256": hashing.sha256_file(path), "size_bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
