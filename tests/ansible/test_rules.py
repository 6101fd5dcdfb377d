"""The rules of the role ncs2, read by udev itself: that of Debian 13, which knows `udevadm verify`, unpacked without root."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import jinja2
import pytest
import yaml

from toolkit.progress import Lines
from toolkit.virtual.tools import Tools, get_tools

pytestmark = [pytest.mark.pi, pytest.mark.timeout(600)]

STICK = """\
P: /devices/pci0000:00/0000:00:14.0/usb1/1-1
N: bus/usb/001/002
E: DEVNAME=/dev/bus/usb/001/002
E: DEVTYPE=usb_device
E: MAJOR=189
E: MINOR=1
E: SUBSYSTEM=usb
A: idVendor={vendor}\\n
A: idProduct={product}\\n
A: power/control=auto\\n
"""


@pytest.fixture(scope="module")
def tools() -> Tools:
    return get_tools(Lines(), ("umockdev", "udev"))


@pytest.fixture(scope="module")
def rules(ansible_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    role = ansible_dir / "roles/ncs2"
    template = jinja2.Template((role / "templates/97-myriad-usbboot.rules.j2").read_text(), keep_trailing_newline=True)
    folder = tmp_path_factory.mktemp("rules")
    values = yaml.safe_load((role / "defaults/main.yml").read_text())
    (folder / "97-myriad-usbboot.rules").write_text(template.render(values, ansible_managed="Ansible"))
    return folder


def test_udev_accepts_the_rules(tools: Tools, rules: Path) -> None:
    said = tools.run("udevadm", "verify", rules / "97-myriad-usbboot.rules")
    assert "1 udev rules files have been checked" in said
    assert "Fail: 0" in said


def test_udev_names_what_is_wrong_when_a_rule_is_broken(tools: Tools, tmp_path: Path) -> None:
    broken = tmp_path / "97-broken.rules"
    broken.write_text('SUBSYSTEM=="usb", GROUP="users", MODE="0660", ATTR{idVendor}=="03e7" ENVV{X}="1"\n')
    done = subprocess.run(tools.command("udevadm", "verify", broken), capture_output=True, text=True, check=False)
    assert done.returncode != 0


@pytest.mark.parametrize(
    ("vendor", "product", "applies"),
    [("03e7", "2485", True), ("03e7", "f63b", True), ("03e7", "2150", False), ("046d", "2485", False)],
)
def test_rules_apply_to_both_shapes_of_the_stick_and_to_nothing_else(
    tools: Tools, rules: Path, tmp_path: Path, vendor: str, product: str, applies: bool
) -> None:
    device = tmp_path / "stick.umockdev"
    device.write_text(STICK.format(vendor=vendor, product=product))
    library = tools.root / f"usr/lib/{platform.machine()}-linux-gnu"
    ask = tools.command(
        "udevadm", "test", f"--extra-rules-dir={rules}", "/sys/devices/pci0000:00/0000:00:14.0/usb1/1-1"
    )
    done = subprocess.run(
        tools.command("umockdev-run", "--device", device, "--", *ask),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"LD_LIBRARY_PATH": str(library)},
    )
    said = done.stdout + done.stderr
    assert "idVendor" not in said or "Failed" not in said, said
    assert ("ID_MM_DEVICE_IGNORE=1" in said) == applies, said
    assert ("MODE" in said and "0660" in said) == applies, said
