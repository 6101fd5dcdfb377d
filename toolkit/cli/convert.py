"""`toolkit convert`: a trained model to IR and bundles."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption
from toolkit.cli.output import print_json, print_table


class Layout(StrEnum):
    """The order of an input's axes."""

    NHWC = "NHWC"
    NCHW = "NCHW"


class Color(StrEnum):
    """The order of an input's channels."""

    RGB = "RGB"
    BGR = "BGR"


class Output(StrEnum):
    """What a model gives."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"


class Crop(StrEnum):
    """How an image becomes a model's size."""

    RESIZE = "resize"
    CENTER = "center"


def convert(
    model: Annotated[
        str,
        typer.Argument(
            help="A digest's first digits, NETWORK-HEAD-STAGE, or a path in the workspace. With --labels a model that was "
            "not trained here: a .keras, .onnx or .tflite file, or a SavedModel folder."
        ),
    ],
    precision: Annotated[
        list[str] | None, typer.Option(help="fp32, fp16 or int8; may be given several times. Default: fp32 and fp16.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Which runtime it is for, such as cpu or ncs2. Default: cpu.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="The largest allowed difference of a probability from Keras'.")
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(min=0, help="The accuracy that int8 may lose, a fraction of all images. Default: 0.01, a point."),
    ] = None,
    sign: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Sign the bundles with this SSH key, for `check --allowed-signers`."
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Not trained here: its labels, one a line, in the order of its outputs.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Not trained here: class folders, or a folder of images, to prove its answers on."),
    ] = None,
    scaling: Annotated[
        str | None,
        typer.Option(help="Not trained here: none, unit, symmetric, caffe, torch, or MEAN/STD of pixels in 0 to 255."),
    ] = None,
    layout: Annotated[
        Layout | None, typer.Option(help="Not trained here: the axes of its input. Default: what its shape says.")
    ] = None,
    color: Annotated[
        Color | None, typer.Option(help="Not trained here: the order of its channels. Default: RGB; of caffe, BGR.")
    ] = None,
    output: Annotated[
        Output | None, typer.Option(help="Not trained here: what it gives. Default: what its last operation says.")
    ] = None,
    input_size: Annotated[
        str | None, typer.Option(help="Not trained here: 224 or HEIGHTxWIDTH, where its input takes any size.")
    ] = None,
    crop: Annotated[Crop, typer.Option(help="Not trained here: how images become that size.")] = Crop.RESIZE,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Turn a trained model into OpenVINO IR, prove on the test images that it answers alike, and bundle it."""
    from toolkit import compat, progress
    from toolkit.bundle.create import make_bundle
    from toolkit.bundle.signing import sign_bundle
    from toolkit.convert import Said, convert_model, find_or_bring_in, read_size
    from toolkit.convert.conversion import split_of
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    wanted = [(aim, kind) for aim in target or ["cpu"] for kind in precision or ["fp32", "fp16"]]
    for aim, kind in wanted:
        compat.check_precision(compat.find_target(aim), kind)
    said = Said(
        labels=labels,
        images=images,
        scaling=scaling,
        layout=layout and layout.value,
        color=color and color.value,
        output=output and output.value,
        size=read_size(input_size),
        crop=crop.value,
    )
    room = Workspace(workspace)
    talk = progress.create_progress(quiet=as_json)
    with Store(room.database) as store:
        trained = find_or_bring_in(model, said, room, store, talk)
        split = split_of(trained, store)
        made = [
            (ir, make_bundle(ir, trained, split, room, store, talk))
            for aim, kind in wanted
            for ir in [convert_model(trained, kind, aim, room, store, talk, tolerance, max_drop)]
        ]
    if sign is not None:
        for _, bundle in made:
            sign_bundle(room.absolute(bundle.path), sign)
    if as_json:
        print_json([{"ir": ir, "bundle": bundle} for ir, bundle in made])
        return
    print_table(
        ("bundle", "name", "MB", "max difference", "same top-1", "accuracy", "before"),
        (
            (
                bundle.short,
                bundle.name,
                f"{bundle.size_bytes / 1e6:.1f}",
                f"{ir.parity.max_abs:.1e}",
                f"{ir.parity.top1_agreement:.2%}",
                f"{ir.parity.accuracy:.5f}",
                f"{ir.parity.reference_accuracy:.5f}",
            )
            for ir, bundle in made
        ),
        title=trained.note,
    )
