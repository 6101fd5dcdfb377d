"""What is plugged in, read from folders that are as sysfs and /dev are; no real stick was here."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from toolkit.device.runtime import ncs2_usb
from toolkit.device.runtime.ncs2_usb import BOOTED, FIRST_GENERATION, UNBOOTED


@pytest.fixture
def usb(tmp_path: Path) -> Path:
    """A machine with a hub, a keyboard and no stick."""
    for number, (vendor, product) in enumerate((("1d6b", "0003"), ("046d", "c31c"))):
        plug(tmp_path, vendor, product, number)
    return tmp_path


def plug(usb: Path, vendor: str, product: str, number: int, speed: str = "480", mode: int | None = 0o600) -> Path:
    folder = usb / "sys" / f"1-{number}"
    folder.mkdir(parents=True)
    for name, text in (("idVendor", vendor), ("idProduct", product), ("speed", speed), ("busnum", "1")):
        (folder / name).write_text(f"{text}\n")
    (folder / "devnum").write_text(f"{number}\n")
    node = usb / "dev" / "001" / f"{number:03}"
    node.parent.mkdir(parents=True, exist_ok=True)
    if mode is not None:
        node.touch(mode=mode)
    return node


def seen(usb: Path) -> list[ncs2_usb.Ncs2]:
    return ncs2_usb.find(usb / "sys", usb / "dev")


def test_sticks_are_none_when_other_devices_are_plugged_in(usb: Path) -> None:
    assert seen(usb) == []
    assert seen(usb / "nothing") == []
    assert ncs2_usb.why_unavailable([])[0] == "no Neural Compute Stick is plugged in"


def test_sticks_tell_product_speed_and_node(usb: Path) -> None:
    node = plug(usb, "03e7", BOOTED, 7, "5000")
    assert seen(usb) == [ncs2_usb.Ncs2(BOOTED, 5000.0, node)]


def test_reason_is_the_generation_when_it_is_the_first(usb: Path) -> None:
    plug(usb, "03e7", FIRST_GENERATION, 7)
    assert "first generation" in ncs2_usb.why_unavailable(seen(usb))[0]


def test_reason_is_the_container_when_the_node_is_missing(usb: Path) -> None:
    plug(usb, "03e7", UNBOOTED, 7, mode=None)
    what, remedy = ncs2_usb.why_unavailable(seen(usb))
    assert what.endswith("dev/001/007 is not")
    assert "c 189:* rmw" in remedy


def test_reason_is_permission_when_node_may_not_be_opened(usb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plug(usb, "03e7", UNBOOTED, 7)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may open anything
    what, remedy = ncs2_usb.why_unavailable(seen(usb))
    assert what.startswith("this user may not open the stick (")
    assert "udev rule" in remedy


def test_reason_names_the_process_that_has_it(usb: Path) -> None:
    node = plug(usb, "03e7", BOOTED, 7)
    holder = usb / "proc" / "4711"
    (holder / "fd").mkdir(parents=True)
    (holder / "comm").write_text("benchmark_app\n")
    (holder / "fd" / "5").symlink_to(node)
    assert ncs2_usb.why_unavailable(seen(usb), usb / "proc")[0] == "the stick is in use by benchmark_app (process 4711)"
    shutil.rmtree(usb / "proc")
    assert "left running" in ncs2_usb.why_unavailable(seen(usb), usb / "proc")[0]


def test_reason_is_port_or_power_when_all_else_is_right(usb: Path) -> None:
    plug(usb, "03e7", UNBOOTED, 7)
    what, remedy = ncs2_usb.why_unavailable(seen(usb))
    assert what == "the stick is there and does not start"
    assert "USB 3" in remedy


@pytest.mark.parametrize(
    ("product", "speed", "expected"), [(BOOTED, "480", True), (BOOTED, "5000", False), (UNBOOTED, "480", False)]
)
def test_slow_is_told_of_a_running_stick_only(usb: Path, product: str, speed: str, expected: bool) -> None:
    plug(usb, "03e7", product, 7, speed)
    assert bool(ncs2_usb.usb_speed_warning(seen(usb))) == expected
