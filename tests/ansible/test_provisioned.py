"""provision-pi.yml over real SSH against a bare Debian that systemd runs, in a container of this processor."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from .conftest import CACHE, HOUSE, Play, changed, wheelhouse_of

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

PACKAGES = "systemd,systemd-sysv,dbus,udev,python3-minimal,python3-apt,openssh-server,sudo,ca-certificates,iproute2"
Shell = Callable[[str], str]


def run(*words: str | Path, stdin: str | None = None) -> str:
    return subprocess.run(words, check=True, input=stdin, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def container_image() -> str:
    """The bare machine; built once for each change of its recipe."""
    recipe = Path(__file__).with_name("Dockerfile")
    tag = "edge-vision-bare:" + hashlib.sha256(recipe.read_bytes() + PACKAGES.encode()).hexdigest()[:12]
    if not run("docker", "container_images", "--quiet", tag):
        folder = CACHE / "bare"
        folder.mkdir(parents=True, exist_ok=True)
        root = folder / "rootfs.tar"
        run("mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root)
        shutil.copy(recipe, folder)
        run("docker", "build", "--quiet", "--tag", tag, folder)
        root.unlink()
    return tag


@pytest.fixture(scope="module")
def machine(container_image: str) -> Iterator[str]:
    name = f"edge-vision-bare-{os.getpid()}"
    private = ["--cap-add", "SYS_ADMIN", "--cgroupns=private", "--tmpfs", "/run", "--tmpfs", "/run/lock"]
    run(
        "docker",
        "run",
        "--detach",
        "--name",
        name,
        *private,
        "--tmpfs",
        "/tmp",
        "--publish",
        "127.0.0.1::22",
        container_image,
    )
    try:
        yield name
    finally:
        run("docker", "rm", "--force", "--volumes", name)


@pytest.fixture(scope="module")
def shell(machine: str) -> Shell:
    """Run a line of sh on the machine, as root."""
    return lambda line: run("docker", "exec", machine, "sh", "-c", line)


@pytest.fixture(scope="module")
def inventory(machine: str, shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inventory")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
    key = (folder / "key.pub").read_text().strip()
    shell(f"install -d -m700 -o pi /home/pi/.ssh && echo '{key}' >/home/pi/.ssh/authorized_keys")
    shell("chown -R pi:pi /home/pi/.ssh")
    port = run("docker", "port", machine, "22").splitlines()[0].rpartition(":")[2]
    variables = {
        "ansible_user": "pi",
        "ansible_ssh_private_key_file": str(folder / "key"),
        "toolkit_known_hosts": str(folder / "known_hosts"),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={folder / 'known_hosts'} -o StrictHostKeyChecking=yes",
        "openvino_wheelhouse": str(wheelhouse_of(os.uname().machine)),
        "monitoring_enabled": True,
        "performance_governor": "performance",
    }
    host = {"ansible_host": "127.0.0.1", "ansible_port": int(port)}
    path = folder / "fleet.yml"
    path.write_text(yaml.safe_dump({"all": {"vars": variables, "hosts": {"box": host}}}))
    return path


@pytest.fixture(scope="module")
def provisioned(play: Play, inventory: Path, shell: Shell) -> Path:
    """The machine after its key was pinned and the playbook has run once."""
    wait_until(lambda: "ssh" in shell("systemctl is-active ssh.service >/dev/null && echo ssh; true"))
    pinned = play("-i", inventory, "record-host-keys.yml")
    assert pinned.returncode == 0, pinned.stdout + pinned.stderr
    done = play("-i", inventory, "provision-pi.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    return inventory


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_provisioning_changes_nothing_when_run_again(play: Play, provisioned: Path) -> None:
    assert changed(play("-i", provisioned, "provision-pi.yml")) == 0


def test_check_agrees_when_the_machine_is_as_it_should_be(play: Play, provisioned: Path) -> None:
    assert changed(play("-i", provisioned, "provision-pi.yml", "--check", "--diff")) == 0


def test_check_sees_a_change_and_makes_none_when_a_file_was_edited(play: Play, provisioned: Path, shell: Shell) -> None:
    drop_in = "/etc/systemd/journald.conf.d/50-toolkit.conf"
    shell(f"sed -i s/64M/65M/ {drop_in}")
    done = play("-i", provisioned, "provision-pi.yml", "--check", "--diff", "--tags", "base")
    assert changed(done) >= 1
    assert "65M" in done.stdout
    assert "65M" in shell(f"cat {drop_in}")
    assert changed(play("-i", provisioned, "provision-pi.yml", "--tags", "base")) >= 1
    assert "65M" not in shell(f"cat {drop_in}")


def test_host_key_is_refused_when_it_is_not_the_pinned_one(play: Play, provisioned: Path, tmp_path: Path) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other")
    entry = (provisioned.parent / "known_hosts").read_text().split()[0]
    wrong = tmp_path / "known_hosts"
    wrong.write_text(f"{entry} {(tmp_path / 'other.pub').read_text()}")
    done = play("-i", provisioned, "record-host-keys.yml", "-e", f"toolkit_known_hosts={wrong}")
    assert done.returncode == 2
    assert "which is not the key it had" in " ".join(done.stdout.split())


def test_ssh_takes_keys_only(provisioned: Path, shell: Shell) -> None:
    settings = shell("sshd -T").splitlines()
    assert {"passwordauthentication no", "kbdinteractiveauthentication no", "x11forwarding no"} <= set(settings)


def test_folders_belong_to_who_deploys_and_the_runner_reads_them(provisioned: Path, shell: Shell) -> None:
    assert (
        shell("stat -c '%U:%G %a' /opt/toolkit /opt/toolkit/releases /opt/toolkit/store").split("\n")[:3]
        == ["pi:toolkit 755"] * 3
    )
    assert "toolkit : toolkit video users" in shell("id -nG toolkit | sed 's/^/toolkit : /'")


def test_ports_are_ssh_and_nothing_else_from_outside(provisioned: Path, shell: Shell) -> None:
    listening = {line.split()[3] for line in shell("ss -Hltn").splitlines()}
    assert {address for address in listening if not address.startswith("127.")} == {"0.0.0.0:22", "[::]:22"}
    assert "127.0.0.1:9100" in listening


def test_runner_is_locked_in_and_still_loads_openvino(provisioned: Path, shell: Shell, machine: str) -> None:
    exposure = shell("systemd-analyze security --no-pager toolkit-runner.service | tail -1")
    assert float(re.findall(r"([0-9.]+) ", exposure)[-1]) <= 2.0
    shell("mkdir -p /opt/toolkit/releases/x && ln -sfn releases/x /opt/toolkit/current")
    run("docker", "cp", HOUSE / "toolkit/device", f"{machine}:/opt/toolkit/releases/x/device")
    shell("echo '{}' >/opt/toolkit/releases/x/release.json")
    shell("systemctl cat toolkit-runner | grep -q verify")
    shell("mkdir -p /run/systemd/system/toolkit-runner.service.d")
    probe = "[Service]\\nType=oneshot\\nRestart=no\\nExecStartPre=\\nExecStart=\\nExecStart=/opt/toolkit/venv/bin/python -m device probe\\n"
    shell(f"printf '{probe}' >/run/systemd/system/toolkit-runner.service.d/probe.conf && systemctl daemon-reload")
    shell("systemctl restart toolkit-runner.service || true")
    said = shell("journalctl --output=cat --unit=toolkit-runner.service")
    assert '"openvino": "20' in said, said
    assert '"accelerators": ["CPU"' in said
    shell("rm -r /run/systemd/system/toolkit-runner.service.d /opt/toolkit/current /opt/toolkit/releases/x")


def test_nothing_failed(provisioned: Path, shell: Shell) -> None:
    assert shell("systemctl --failed --no-legend") == ""
