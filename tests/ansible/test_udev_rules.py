"""udev rules of the role ncs2, checked by Debian 13's udev (`udevadm verify`), unpacked without root."""

from __future__ import annotations

import platform
import re
import shlex
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


def verified(tools: Tools, rules: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(tools.command("udevadm", "verify", rules), capture_output=True, text=True, check=False)


def test_udev_accepts_the_rules(tools: Tools, rules: Path) -> None:
    done = verified(tools, rules / "97-myriad-usbboot.rules")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Success: 1" in done.stdout + done.stderr


def test_udev_names_what_is_wrong_when_a_rule_is_broken(tools: Tools, tmp_path: Path) -> None:
    broken = tmp_path / "97-broken.rules"
    broken.write_text('SUBSYSTEM=="usb", ENVV{X}="1"\n')
    done = verified(tools, broken)
    assert done.returncode == 1
    assert "97-broken.rules:1 Invalid key 'ENVV'" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("vendor", "product", "applies"),
    [("03e7", "2485", True), ("03e7", "f63b", True), ("03e7", "2150", False), ("046d", "2485", False)],
)
def test_rules_apply_to_both_ids_of_the_stick_only(
    tools: Tools, rules: Path, tmp_path: Path, vendor: str, product: str, applies: bool
) -> None:
    """The output of `udevadm test` counts: its exit code is 0 regardless. It reads our rules in a /run of its own."""
    device = tmp_path / "stick.umockdev"
    device.write_text(STICK.format(vendor=vendor, product=product))
    ask = tools.command("udevadm", "test", "/sys/devices/pci0000:00/0000:00:14.0/usb1/1-1")
    library = tools.root / f"usr/lib/{platform.machine()}-linux-gnu"
    command_line = f"LD_LIBRARY_PATH={library}:{library}/systemd {shlex.join(tools.command('umockdev-run', '-d', device, '--', *ask))}"
    script = f"mount -t tmpfs none /run && mkdir -p /run/udev && cp -r {shlex.quote(str(rules))} /run/udev/rules.d && {command_line}"
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert "/run/udev/rules.d/97-myriad-usbboot.rules" in output
    assert ("ID_MM_DEVICE_IGNORE=1" in output) == applies, output
    assert bool(re.search(r"97-myriad-usbboot\.rules:\d+ MODE 0660", output)) == applies, output
    assert bool(re.search(r"97-myriad-usbboot\.rules:\d+ GROUP 100", output)) == applies, output
    assert ('power/control}="on"' in output) == applies, output
