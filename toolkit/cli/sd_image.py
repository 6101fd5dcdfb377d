"""`toolkit fleet card`: an SD card's image for a Pi, with everything preset that a first login needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import JsonOption
from toolkit.cli.output import print_json, print_table


def card(
    name: Annotated[str, typer.Argument(help="The device's host name.")],
    key: Annotated[list[Path], typer.Option(help="A public key's file: it may log in. May be given several times.")],
    output: Annotated[Path | None, typer.Option(help="Where to write the image. Default: NAME.img here.")] = None,
    user: Annotated[str, typer.Option(help="Who logs in, and may use sudo.", show_default=True)] = "pi",
    as_json: JsonOption = False,
) -> None:
    """Write an SD card's image for a Pi 3 or 4: Debian 12, arm64, with user, key and host name preset.

    Beside it comes the line for known_hosts, so that the device is known before it first starts. Needs no root.
    """
    from toolkit.errors import UsageError
    from toolkit.progress import create_progress
    from toolkit.virtual.sd_image import make_card

    try:
        keys = tuple(path.expanduser().read_text(encoding="utf-8").strip() for path in key)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(error.filename)) from None
    progress = create_progress(quiet=as_json)
    made = make_card(name, keys, output or Path(f"{name}.img"), progress, user=user)
    if as_json:
        print_json(made)
        return
    print_table(("device", "user", "image"), [(made.name, made.user, made.image)])
    progress.log(
        f"write it to a card: sudo dd if={made.image} of=/dev/DISK bs=4M conv=fsync,sparse; or with Raspberry Pi Imager"
    )
