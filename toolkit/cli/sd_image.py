"""`toolkit fleet image`: an SD card image for a Pi, ready for the first login."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.options import JsonOption
from toolkit.cli.output import print_json, print_table

INVENTORY = """\
in the inventory:
  {name}:
    ansible_host: ADDRESS
    ansible_user: {user}
and append {known_hosts} to its known_hosts, with the address in place of the name"""


def image(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Host name of the device.")],
    key: Annotated[list[Path], typer.Option(metavar="FILE", help="Public key that may log in; repeatable.")],
    official: Annotated[
        Path | None,
        typer.Option("--image", metavar="FILE", help="Official Raspberry Pi OS image (.img or .img.xz) to preset."),
    ] = None,
    sha256: Annotated[
        str, typer.Option(metavar="SUM", help="SHA-256 of that image. Default: the sum in FILE.sha256.")
    ] = "",
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Image file to write. Default: NAME.img.")] = None,
    user: Annotated[str, typer.Option(metavar="NAME", help="Login name, with sudo.", show_default=True)] = "pi",
    wifi: Annotated[str, typer.Option(metavar="SSID", help="Wi-Fi network to join; for --image.")] = "",
    wifi_password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the Wi-Fi password.")
    ] = None,
    wifi_country: Annotated[str, typer.Option(metavar="CODE", help="Country of the Wi-Fi, such as PT.")] = "",
    address: Annotated[str, typer.Option(metavar="ADDRESS/PREFIX", help="Static address. Default: DHCP.")] = "",
    gateway: Annotated[str, typer.Option(metavar="ADDRESS", help="Gateway of the static address.")] = "",
    dns: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Name server; repeatable.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write an SD card image for a Pi.

    With --image, presets an official Raspberry Pi OS image of Debian 13 or later, for any model, with user, keys, host
    name and network. Without it, builds a Debian 13 image for a Pi 3 or 4. Also writes the line for known_hosts, so that
    the device is known before it first starts. Needs no root.
    """
    from toolkit.errors import UsageError
    from toolkit.progress import create_progress
    from toolkit.virtual.cloud_init import CardNetwork
    from toolkit.virtual.sd_image import OfficialImage, write_sd_image

    if official is None and (sha256 or wifi or wifi_password_file or address or gateway or dns):
        raise UsageError("SHA-256, Wi-Fi and addresses apply to official images", remedy="add --image FILE")
    password = _read(wifi_password_file) if wifi_password_file else ""
    network = CardNetwork(wifi, password, wifi_country, address, gateway, tuple(dns or ()))
    progress = create_progress(quiet=as_json)
    preset = OfficialImage(official.expanduser(), sha256, network) if official else None
    keys = tuple(_read(path) for path in key)
    written = write_sd_image(name, keys, output or Path(f"{name}.img"), progress, user=user, official=preset)
    if as_json:
        print_json(written)
        return
    print_table(("device", "user", "image"), [(written.name, written.user, written.image)])
    progress.log(
        f"write it to a card: sudo dd if={written.image} of=/dev/DISK bs=4M conv=fsync,sparse; or with Raspberry Pi Imager"
    )
    known_hosts = written.image.with_suffix(".known_hosts")
    progress.log(INVENTORY.format(name=written.name, user=written.user, known_hosts=known_hosts))


def _read(path: Path) -> str:
    from toolkit.errors import UsageError

    try:
        return path.expanduser().read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"the file cannot be read: {error.strerror}", where=str(path)) from None
