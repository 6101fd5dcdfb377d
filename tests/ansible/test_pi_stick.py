"""The role ncs2 on a booted arm64 machine, with a virtual Neural Compute Stick 2 in its virtual USB port."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Pi, Play, changed

pytestmark = [pytest.mark.pi, pytest.mark.timeout(1200)]

USER = Path(__file__).parents[1] / "fakes/stick_user.py"
NODE = """
for device in /sys/bus/usb/devices/*; do
    [ "$(cat $device/idVendor 2>/dev/null)" = 03e7 ] || continue
    printf '%s /dev/bus/usb/%03d/%03d' "$(cat $device/idProduct)" "$(cat $device/busnum)" "$(cat $device/devnum)"
done
"""
DROP_IN = """\
[Unit]
ConditionPathExists=
[Service]
Type=simple
WatchdogSec=0
WorkingDirectory=/
Restart=always
RestartSec=1
ExecStartPre=
ExecStart=
ExecStart=/usr/bin/python3 /opt/toolkit/stick_user.py /var/log/toolkit-runner/stick.json
"""


@pytest.fixture(scope="module")
def prepared(provisioned: Pi, play: Play, tmp_path_factory: pytest.TempPathFactory) -> Pi:
    """A device with the role ncs2 and the runner service of a stick."""
    roles = [{"role": "preflight"}, {"role": "ncs2"}]
    roles.append({"role": "runner", "vars": {"toolkit_accelerator": "MYRIAD"}})
    playbook = tmp_path_factory.mktemp("ncs2") / "ncs2.yml"
    playbook.write_text(json.dumps([{"hosts": "all", "become": True, "gather_facts": False, "roles": roles}]))
    assert changed(play("-i", provisioned.inventory, playbook)) > 0
    assert changed(play("-i", provisioned.inventory, playbook)) == 0
    return provisioned


def wait(pi: Pi, true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, pi.sh("dmesg | tail -20; journalctl -n 20 --no-pager")
        time.sleep(0.5)


def plugged(pi: Pi) -> tuple[str, str]:
    """USB product id and device file of the stick; both empty without one."""
    product, _, node = pi.sh(NODE).partition(" ")
    return product, node


def wait_for(pi: Pi, product: str) -> str:
    """Device file of the stick, once udev has applied its rules."""
    wait(pi, lambda: plugged(pi)[0] == product)
    pi.sh("udevadm settle")
    return plugged(pi)[1]


def may_open(pi: Pi, user: str, node: str) -> bool:
    """Whether a new process of that user may open it."""
    return pi.host.run("sudo -u %s sh -c %s", user, f": <>{node}").rc == 0


def assert_opened_by_the_right_ones(pi: Pi, node: str) -> None:
    assert {user: may_open(pi, user, node) for user in ("toolkit", "pi", "stranger")} == {
        "toolkit": True,
        "pi": True,
        "stranger": False,
    }
    file = pi.host.file(node)
    assert (file.user, file.group, file.mode) == ("root", "users", 0o660)


def test_stick_may_be_opened_by_the_runner_and_by_no_stranger(prepared: Pi) -> None:
    node = wait_for(prepared, "2485")
    assert_opened_by_the_right_ones(prepared, node)
    properties = prepared.sh(f"udevadm info --query=property {node}").splitlines()
    assert "ID_MM_DEVICE_IGNORE=1" in properties


def test_rules_apply_once_the_firmware_runs(prepared: Pi) -> None:
    wait_for(prepared, "2485")
    prepared.host.run("true")
    send(prepared, USER, "/opt/toolkit/stick_user.py")
    output = prepared.sh("sudo -u toolkit python3 /opt/toolkit/stick_user.py --boot-only")
    assert json.loads(output)["sent_bytes"] > 1_000_000
    assert prepared.stick.state().firmware_bytes == json.loads(output)["sent_bytes"]
    assert_opened_by_the_right_ones(prepared, wait_for(prepared, "f63b"))


def test_service_recovers_when_the_stick_is_replugged(prepared: Pi) -> None:
    pi = prepared
    send(pi, USER, "/opt/toolkit/stick_user.py")
    pi.sh("mkdir -p /run/systemd/system/toolkit-runner.service.d")
    pi.sh(f"printf %s '{DROP_IN}' >/run/systemd/system/toolkit-runner.service.d/stick.conf && systemctl daemon-reload")
    try:
        pi.stick.unplug()
        wait(pi, lambda: plugged(pi) == ("", ""))
        pi.stick.plug_in()
        pi.sh("systemctl restart toolkit-runner.service")
        first = answering(pi)
        pi.stick.unplug()
        wait(pi, lambda: plugged(pi) == ("", ""))
        time.sleep(3)  # it fails and is started again, while there is no stick
        pi.stick.plug_in()
        second = answering(pi, after=first)
        assert second["answers"] > first["answers"]
    finally:
        pi.sh("rm -r /run/systemd/system/toolkit-runner.service.d; systemctl daemon-reload")
        pi.sh("systemctl restart toolkit-runner.service || true")


def answering(pi: Pi, after: dict[str, float] | None = None) -> dict[str, float]:
    """What the service reports once the stick has answered it: another start of it than `after`."""
    counts: dict[str, float] = {}

    def is_new() -> bool:
        done = pi.host.run("cat /var/log/toolkit-runner/stick.json")
        counts.update(json.loads(done.stdout) if done.rc == 0 and done.stdout else {})
        before = after or {"answers": 0, "started": 0}
        return counts.get("answers", 0) > before["answers"] and counts["started"] != before["started"]

    wait(pi, is_new, 120)
    return dict(counts)


def send(pi: Pi, path: Path, remote: str) -> None:
    content = path.read_text().replace("'", "'\"'\"'")
    pi.sh(f"printf %s '{content}' >{remote} && chmod 644 {remote}")
