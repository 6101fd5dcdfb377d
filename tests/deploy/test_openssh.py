"""The same client code against OpenSSH's own sshd, and Ansible on the local fleet: neither knows the other."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.captures.conftest import jpeg, put
from toolkit.artifacts.fleet import Device
from toolkit.captures import image_path
from toolkit.captures.collect import CollectOptions, collect
from toolkit.deploy import deploy, rollback, status
from toolkit.errors import FleetError
from toolkit.fleet import connect, load_inventory
from toolkit.fleet.inventory.ansible import ansible_command
from toolkit.fleet.local_fleet.control import LocalFleet
from toolkit.store import Store
from toolkit.workspace import Workspace

pytestmark = pytest.mark.openssh
__all__ = ["put"]  # a fixture


@pytest.fixture(scope="module")
def openssh_device(openssh: Callable[..., AbstractContextManager[Device]]) -> Iterator[Device]:
    """This machine behind an sshd of the test's own, as the user who runs the tests."""
    with openssh() as device:
        yield device


def test_deploy_and_rollback_work_when_the_server_is_openssh(
    openssh_device: Device, bundle: Path, other_bundle: Path
) -> None:
    one = (openssh_device,)
    for path in (bundle, other_bundle):
        result = deploy(path, one)
        assert not result.failed, result.failed
        assert result.ok[openssh_device].outcome == "deployed"
    assert deploy(other_bundle, one).ok[openssh_device].outcome == "unchanged"
    assert not rollback(one).failed
    assert status(one).ok[openssh_device].bundle == bundle.name


def test_collect_works_when_the_server_is_openssh(
    openssh_device: Device, put: Callable[..., str], workspace: Workspace
) -> None:
    content = jpeg(1, quality=100, size=1500)
    digest = put(openssh_device, content)
    with Store(workspace.database) as store:
        result = collect((openssh_device,), workspace, store, CollectOptions(delete=True))
    assert not result.failed, result.failed
    done = result.ok[openssh_device]
    assert (done.stored, done.deleted, done.received_bytes) == (1, 1, len(content))
    assert image_path(workspace, digest).read_bytes() == content


def test_shell_keeps_its_promises_when_the_server_is_openssh(openssh_device: Device, tmp_path: Path) -> None:
    with connect(openssh_device) as shell:
        result = shell.run("wc -c; echo err >&2; exit 5", stdin=bytes(5_000_000))
        assert (result.stdout.strip(), result.stderr, result.code) == ("5000000", "err\n", 5)
        assert shell.run("kill -9 $$").code == -1
        with pytest.raises(FleetError, match="no answer within 1 s"):
            shell.run("sleep 3", timeout=1)
    gone = tmp_path / "gone"
    with connect(openssh_device) as shell, shell.background(f"echo here; cat > /dev/null; touch '{gone}'"):
        shell.close()
        _wait_for(gone)


def test_ansible_reaches_the_local_fleet_by_its_inventory(local_fleet: LocalFleet, tmp_path: Path) -> None:
    argv = [*ansible_command("adhoc"), "-i", local_fleet.inventory, "all", "-m"]
    ping = subprocess.run([*argv, "ping"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ping.stdout.count('"ping": "pong"') == 3, ping.stdout + ping.stderr
    copy = [*argv, "copy", "-a", "content=hello dest=copied", "--limit", "local-1"]
    done = subprocess.run(copy, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (local_fleet.inventory.parent / "devices/local-1/copied").read_text() == "hello"


def test_load_inventory_gives_the_devices_that_up_gave(local_fleet: LocalFleet) -> None:
    assert load_inventory(local_fleet.inventory) == local_fleet.devices


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
