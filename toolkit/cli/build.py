"""`toolkit build`: build the container images."""

from __future__ import annotations

from typing import Annotated

import typer

from toolkit.cli.options import JsonOption


def build(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET",
            help="Images, such as runner, runner-cross, train or all (default: runner); options of buildx after `--`.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Build container images with BuildKit.

    Prints name and digest of each image. Needs a container engine with buildx, and mmdebstrap. Environment variables
    such as REGISTRY, TAG and BASE are those of `just build` in a checkout.
    """
    from toolkit.cli.output import print_json, print_table, to_json
    from toolkit.errors import ExitCode
    from toolkit.system.image_build import build_images

    result = build_images(arguments or ())
    if as_json:
        print_json(to_json(result))
    elif result.images:
        print_table(("image", "digest"), result.images.items())
    if result.exit_code:
        known = {ExitCode.USAGE, ExitCode.ENVIRONMENT}
        raise typer.Exit(result.exit_code if result.exit_code in known else ExitCode.SOME_FAILED)
