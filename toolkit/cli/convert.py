"""`toolkit convert`: from a trained or imported model to OpenVINO IR and bundles."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from toolkit.cli.output import print_json, print_table
from toolkit.progress import format_bytes

IMPORTED = "Imported models"


class Layout(StrEnum):
    """The order of an input's axes."""

    NHWC = "NHWC"
    NCHW = "NCHW"


class Color(StrEnum):
    """The order of an input's channels."""

    RGB = "RGB"
    BGR = "BGR"


class Output(StrEnum):
    """What a model returns."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"


class Crop(StrEnum):
    """How an image is brought to a model's input size."""

    RESIZE = "resize"
    CENTER = "center"


def convert(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Digest, NETWORK-HEAD-STAGE or path of a trained model; with --images a .keras, .h5, .onnx, .tflite, .pb or "
            ".xml file, or a SavedModel folder.",
        ),
    ],
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="fp32, fp16 or int8; repeatable. Default: fp32 and fp16; for litert fp32 and int8."
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Runtime to convert for: cpu, cpu-2022, litert or ncs2; repeatable. Default: cpu."
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(metavar="X", help="Largest allowed difference between a probability and the original model's."),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SHARE", help="Accuracy that int8 may lose, as a share of all images. Default: 0.01."
        ),
    ] = None,
    sign: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, metavar="KEY", help="SSH key to sign the bundles with."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Labels in the order of the outputs, one per line or as JSON.",
            rich_help_panel=IMPORTED,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Test images for parity, preferably in class folders.", rich_help_panel=IMPORTED
        ),
    ] = None,
    scaling: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Input scaling: none, unit, symmetric, caffe, torch, or MEAN/STD of pixels from 0 to 255.",
            rich_help_panel=IMPORTED,
        ),
    ] = None,
    layout: Annotated[
        Layout | None,
        typer.Option(help="Axes of the input. Default: from its shape.", rich_help_panel=IMPORTED),
    ] = None,
    color: Annotated[
        Color | None,
        typer.Option(help="Order of the channels. Default: RGB; with caffe scaling BGR.", rich_help_panel=IMPORTED),
    ] = None,
    output: Annotated[
        Output | None,
        typer.Option(help="What the model returns. Default: from its last operation.", rich_help_panel=IMPORTED),
    ] = None,
    input_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="224 or HEIGHTxWIDTH, for inputs of any size.", rich_help_panel=IMPORTED),
    ] = None,
    crop: Annotated[
        Crop | None,
        typer.Option(help="How images are fitted to the input size. Default: resize.", rich_help_panel=IMPORTED),
    ] = None,
    signature: Annotated[
        str | None, typer.Option(metavar="NAME", help="Signature of a SavedModel.", rich_help_panel=IMPORTED)
    ] = None,
    force: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Convert despite chance-level accuracy or FP16 overflow."),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Convert a model to OpenVINO bundles.

    A bundle is created only if the converted model gives the same answers as the original on the test images.
    """
    from toolkit import compat, progress
    from toolkit.bundle.signing import sign_bundle
    from toolkit.convert import ImportOptions, convert_model, find_or_import, parse_size
    from toolkit.convert.bundling import create_bundle
    from toolkit.convert.conversion import split_of
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    variants = [
        (name, kind) for name in target or ["cpu"] for kind in precision or compat.find_target(name).precisions[:2]
    ]
    for name, kind in variants:
        compat.check_precision(compat.find_target(name), kind)
    import_options = ImportOptions(
        labels=labels,
        images=images,
        scaling=scaling,
        layout=layout and layout.value,
        color=color and color.value,
        output=output and output.value,
        size=parse_size(input_size),
        crop=crop and crop.value,
        signature=signature or "",
        force=force or "",
    )
    place = Workspace(workspace)
    log = progress.create_progress(quiet=as_json)
    with Store(place.database) as store:
        trained = find_or_import(model, import_options, place, store, log)
        split = split_of(trained, store)
        bundles = [
            (ir, create_bundle(ir, trained, split, place, store, log))
            for name, kind in variants
            for ir in [convert_model(trained, kind, name, place, store, log, tolerance, max_drop, force or "")]
        ]
    if sign is not None:
        for _, bundle in bundles:
            sign_bundle(place.absolute(bundle.path), sign)
    if as_json:
        print_json([{"ir": ir, "bundle": bundle} for ir, bundle in bundles])
        return
    print_table(
        ("bundle", "name", "size", "max difference", "same top-1", "accuracy", "original"),
        (
            (
                bundle.short,
                bundle.name,
                format_bytes(bundle.size_bytes),
                f"{ir.parity.max_abs:.1e}",
                f"{ir.parity.top1_agreement:.2%}",
                f"{ir.parity.accuracy:.5f}",
                f"{ir.parity.reference_accuracy:.5f}",
            )
            for ir, bundle in bundles
        ),
        title=trained.note,
    )
