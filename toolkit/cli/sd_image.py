"""`toolkit fleet image`: an SD card image for a Pi, ready for the first login."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import JsonOption
from toolkit.cli.output import print_json, print_table


def image(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Host name of the device.")],
    key: Annotated[list[Path], typer.Option(metavar="FILE", help="Public key that may log in; repeatable.")],
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Image file to write. Default: NAME.img.")] = None,
    user: Annotated[str, typer.Option(metavar="NAME", help="Login name, with sudo.", show_default=True)] = "pi",
    as_json: JsonOption = False,
) -> None:
    """Write an SD card image for a Pi.

    Debian 12 for a Pi 3 or 4, with user, keys and host name preset. Also writes the line for known_hosts, so that the
    device is known before it first starts. Needs no root.
    """
    from toolkit.errors import UsageError
    from toolkit.progress import create_progress
    from toolkit.virtual.sd_image import make_card

    try:
        keys = tuple(path.expanduser().read_text(encoding="utf-8").strip() for path in key)
    except OSError as error:
        raise UsageError(f"the key file cannot be read: {error.strerror}", where=str(error.filename)) from None
    progress = create_progress(quiet=as_json)
    made = make_card(name, keys, output or Path(f"{name}.img"), progress, user=user)
    if as_json:
        print_json(made)
        return
    print_table(("device", "user", "image"), [(made.name, made.user, made.image)])
    progress.log(
        f"write it to a card: sudo dd if={made.image} of=/dev/DISK bs=4M conv=fsync,sparse; or with Raspberry Pi Imager"
    )
