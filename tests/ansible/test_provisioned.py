"""Every role on Debian 12 and 13 containers that systemd runs, over real SSH: `just test-ansible`."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from toolkit.bundle.signing import sign_bundle
from toolkit.deploy.offline import write_archive
from toolkit.system import debian_packages

from ..bundles import sealed
from .conftest import BIN, CACHE, REPOSITORY, Play, changed, wheelhouse_of

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

PACKAGES = "systemd,systemd-sysv,dbus,udev,python3-minimal,python3-apt,openssh-server,sudo,ca-certificates,iproute2"
PYTHONS = {"trixie": ("3.13", 41), "bookworm": ("3.11", 36)}
"""Python and the minor version of glibc, by suite."""
DATA = "/data"
"""Where another file system than the root is mounted."""
Shell = Callable[[str], str]


def run(*argv: str | Path, stdin: str | None = None) -> str:
    return subprocess.run(
        argv, check=True, input=stdin, stdout=subprocess.PIPE, text=True
    ).stdout  # pytest shows stderr


@pytest.fixture(scope="module", params=list(PYTHONS))
def suite(request: pytest.FixtureRequest) -> str:
    """The Debian release of the container."""
    return str(request.param)


@pytest.fixture(scope="module")
def container_image(suite: str) -> str:
    """A bare machine; built again when its recipe changes."""
    recipe = Path(__file__).with_name("Dockerfile")
    digest = hashlib.sha256(recipe.read_bytes() + PACKAGES.encode()).hexdigest()[:12]
    tag = f"edge-vision-bare:{suite}-{digest}"
    if not run("docker", "images", "--quiet", tag):
        folder = CACHE / "bare" / suite
        folder.mkdir(parents=True, exist_ok=True)
        root = folder / "rootfs.tar"
        sources = debian_packages.sources(suite)
        run("mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", suite, root, "-", stdin=sources)
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
        "--volume",
        DATA,
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
def inventory(machine: str, suite: str, shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Path:
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
        "openvino_wheelhouse": str(wheelhouse_of(os.uname().machine, "device", *PYTHONS[suite])),
        "monitoring_enabled": True,
        "performance_governor": "performance",
        "base_timezone": "US/Eastern",  # an older name: a package of its own in Debian 13
        "container_engine_enabled": True,
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


def test_service_that_reloads_counts_as_running(
    provisioned: Path, ansible_dir: Path, machine: str, shell: Shell
) -> None:
    """Debian 13's sshd says that it reloads; a second run that came meanwhile started ssh.service again."""
    drop_in = "/run/systemd/system/ssh.service.d"
    slow = "[Service]\\nExecReload=\\nExecReload=/bin/sleep 60\\n"
    shell(f"mkdir -p {drop_in} && printf '{slow}' >{drop_in}/slow.conf && systemctl daemon-reload")
    shell("systemctl reload --no-block ssh.service")
    assert shell("systemctl is-active ssh.service || true").strip() == "reloading"
    facts = (ansible_dir / "roles/preflight/files/facts.py").read_text()
    measured = json.loads(run("docker", "exec", "--interactive", machine, "python3", "-", "/opt/toolkit", stdin=facts))
    shell(f"rm -r {drop_in} && systemctl daemon-reload && systemctl restart ssh.service")
    assert "ssh.service" in measured["running_units"]


def test_check_agrees_when_the_machine_is_as_it_should_be(play: Play, provisioned: Path) -> None:
    assert changed(play("-i", provisioned, "provision-pi.yml", "--check", "--diff")) == 0


def test_check_reports_an_edited_file_and_changes_nothing(play: Play, provisioned: Path, shell: Shell) -> None:
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
    assert "which is not its pinned or expected key" in " ".join(done.stdout.split())


def test_ssh_takes_keys_only(provisioned: Path, shell: Shell) -> None:
    settings = shell("sshd -T").splitlines()
    assert {"passwordauthentication no", "kbdinteractiveauthentication no", "x11forwarding no"} <= set(settings)


def test_folders_keep_what_belongs_to_root(provisioned: Path, shell: Shell) -> None:
    stat = shell("stat -c '%U:%G %a' /opt/toolkit /opt/toolkit/releases /opt/toolkit/store").splitlines()
    assert stat == ["root:pi 1775", "pi:toolkit 755", "pi:toolkit 755"]
    shell("echo ci >/opt/toolkit/allowed_signers")
    for command in ("rm -f {}", "mv {} /opt/toolkit/other", "truncate --size 0 {}"):
        for file in ("/opt/toolkit/allowed_signers", "/opt/toolkit/venv", "/usr/lib/toolkit-agent/toolkit-agent"):
            shell(f"! su pi -c '{command.format(file)}' 2>/dev/null")
    shell("rm /opt/toolkit/allowed_signers")
    shell("su pi -c 'ln -s releases/a /opt/toolkit/current && ln -s releases/b /opt/toolkit/next'")
    shell("su pi -c 'mv -T /opt/toolkit/next /opt/toolkit/current && rm /opt/toolkit/current'")
    assert "toolkit : toolkit video users" in shell("id -nG toolkit | sed 's/^/toolkit : /'")


HOSTILE = "import os; open('/run/hostile' if os.getuid() == 0 else '/tmp/hostile', 'w').write('ran')"
"""Code of a release that leaves a trace when it runs."""


def test_health_never_runs_code_of_a_release(play: Play, provisioned: Path, shell: Shell, tmp_path: Path) -> None:
    release = "/opt/toolkit/releases/x"
    shell(
        f"mkdir -p {release}/device && ln -sfn releases/x /opt/toolkit/current && echo '{{}}' >{release}/release.json"
    )
    shell(f'for name in json.py device/__init__.py device/__main__.py; do echo "{HOSTILE}" >{release}/$name; done')
    playbook = tmp_path / "play.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "all", "become": True, "gather_facts": False, "roles": ["health"]}]))
    done = play("-i", provisioned, playbook)
    shell(f"rm -r /opt/toolkit/current {release}")
    assert done.returncode == 2
    assert "The current release is not what was deployed" in " ".join(done.stdout.split())
    assert "Traceback" not in done.stdout
    assert shell("ls /run/hostile /tmp/hostile 2>/dev/null || true") == ""


def test_environment_is_rebuilt_without_a_package(play: Play, provisioned: Path, shell: Shell) -> None:
    shell("rm -r /opt/toolkit/venv/lib/python3*/site-packages/numpy*")
    assert changed(play("-i", provisioned, "provision-pi.yml", "--tags", "openvino", "--check")) >= 1
    assert changed(play("-i", provisioned, "provision-pi.yml", "--tags", "openvino")) >= 1
    assert shell("/opt/toolkit/venv/bin/python -c 'import numpy, openvino; print(1)'").strip() == "1"


def test_docker_command_and_time_zone_exist(provisioned: Path, shell: Shell) -> None:
    assert "Docker version" in shell("docker --version")
    assert shell("readlink /etc/localtime").strip() == "/usr/share/zoneinfo/US/Eastern"
    assert shell("date +%Z").strip() in {"EST", "EDT"}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ("base_timezone=Europe/Lisbonn", "Europe/Lisbonn is not a time zone"),
        ('{"performance_config": {"arm_boost": 1}}', "neither /boot/firmware/config.txt nor /boot/config.txt"),
        ("openvino_wheelhouse=/nowhere", "has no wheels of"),
        ("toolkit_root=/home/pi/toolkit", "/home/pi can be changed by other users than root"),
    ],
)
def test_impossible_settings_are_refused_by_name(play: Play, provisioned: Path, variables: str, message: str) -> None:
    done = play("-i", provisioned, "provision-pi.yml", "--tags", "base,performance", "-e", variables)
    assert done.returncode == 2
    assert message in " ".join(done.stdout.split())


def test_missing_sudo_password_is_explained(play: Play, provisioned: Path, shell: Shell) -> None:
    shell("sed -i 's/NOPASSWD: //' /etc/sudoers.d/pi")
    try:
        done = play("-i", provisioned, "provision-pi.yml")
    finally:
        shell("echo 'pi ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/pi")
    assert done.returncode == 2
    assert "--ask-become-pass (-K)" in " ".join(done.stdout.split())


def test_upgrade_to_another_release_is_refused(play: Play, provisioned: Path, shell: Shell, suite: str) -> None:
    other = "trixie" if suite == "bookworm" else "bookworm"
    shell("cp -a /etc/apt /root/apt")
    shell(f"find /etc/apt -name '*.list' -exec sed -i 's/{suite}/{other}/g' {{}} +; apt-get update -qq")
    done = play("-i", provisioned, "update.yml", "--check")
    shell("cp -a /root/apt/. /etc/apt && rm -r /root/apt && apt-get update -qq")
    assert done.returncode == 2
    assert f"name {other}, and it runs {suite}" in " ".join(done.stdout.split())


def test_ports_are_ssh_and_nothing_else_from_outside(provisioned: Path, shell: Shell) -> None:
    listening = {line.split()[3] for line in shell("ss -Hltn").splitlines()}
    assert {address for address in listening if not address.startswith("127.")} == {"0.0.0.0:22", "[::]:22"}
    assert "127.0.0.1:9100" in listening


def test_runner_is_locked_in_and_still_loads_openvino(provisioned: Path, shell: Shell, machine: str) -> None:
    exposure = shell("systemd-analyze security --no-pager toolkit-runner.service | tail -1")
    assert float(re.findall(r"([0-9.]+) ", exposure)[-1]) <= 2.0
    shell("mkdir -p /opt/toolkit/releases/x && ln -sfn releases/x /opt/toolkit/current")
    run("docker", "cp", REPOSITORY / "toolkit/device", f"{machine}:/opt/toolkit/releases/x/device")
    shell("echo '{}' >/opt/toolkit/releases/x/release.json")
    shell("systemctl cat toolkit-runner | grep -q verify")
    shell("mkdir -p /run/systemd/system/toolkit-runner.service.d")
    probe = "[Service]\\nType=oneshot\\nRestart=no\\nExecStartPre=\\nExecStart=\\nExecStart=/opt/toolkit/venv/bin/python -m device probe\\n"
    shell(f"printf '{probe}' >/run/systemd/system/toolkit-runner.service.d/probe.conf && systemctl daemon-reload")
    shell("systemctl restart toolkit-runner.service || true")
    output = shell("journalctl --output=cat --unit=toolkit-runner.service")
    assert '"openvino": "20' in output, output
    assert '"accelerators": ["CPU"' in output
    shell("rm -r /run/systemd/system/toolkit-runner.service.d /opt/toolkit/current /opt/toolkit/releases/x")


@dataclass(frozen=True)
class Trusting:
    """A provisioned machine that runs signed releases only, and whose deployer may run nothing but what the role allows."""

    inventory: Path
    key: Path
    bundles: tuple[Path, Path]

    def toolkit(self, *arguments: str | Path) -> tuple[int, Any, str]:
        """Run a verb on the machine; return its exit code, its JSON and its log."""
        own = ["--fleet", "--inventory", self.inventory, "--workspace", self.inventory.parent / "workspace", "--json"]
        command = [BIN / "toolkit", *arguments, *own]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout or "{}"), done.stderr


@pytest.fixture(scope="module")
def trusting(play: Play, provisioned: Path, shell: Shell, tiny_bundle: Path) -> Iterator[Trusting]:
    key, folder = provisioned.parent / "signer", provisioned.parent / "bundles"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    signer = " ".join(["ci@example.org", *key.with_suffix(".pub").read_text().split()[:2]])
    channel = {"runner_channel": "127.0.0.1:9/x:stable", "runner_channel_plain_http": True}
    variables = json.dumps({"runner_allowed_signers": [signer], **channel})
    done = play("-i", provisioned, "provision-pi.yml", "--tags", "runner", "-e", variables)
    assert done.returncode == 0, done.stdout + done.stderr
    bundles = []
    for name in ("first", "second"):
        copy = shutil.copytree(tiny_bundle, folder / name)
        (copy / "manifest.json").chmod(0o644)
        bundles.append(sealed(copy, json.loads((tiny_bundle / "manifest.json").read_bytes()) | {"name": name}))
        sign_bundle(bundles[-1], key)
    shell("systemctl stop toolkit-pull.timer && mv /etc/sudoers.d/pi /root/sudoers-of-pi")
    try:
        yield Trusting(provisioned, key, (bundles[0], bundles[1]))
    finally:
        shell("mv /root/sudoers-of-pi /etc/sudoers.d/pi; systemctl disable toolkit-pull.timer; systemctl reset-failed")
        shell(
            "systemctl stop toolkit-runner; test ! -e /opt/toolkit || "
            "{ cd /opt/toolkit && rm -rf allowed_signers current previous releases/* store/*; }"
        )


def test_deployer_may_run_as_others_only_what_the_role_allows(trusting: Trusting, shell: Shell) -> None:
    allowed = shell("su pi -c 'sudo -n -l'")
    assert sorted(re.findall(r"\((\w+)\) NOPASSWD: (.*)", allowed)) == [
        ("root", "/usr/bin/systemctl restart toolkit-runner.service"),
        ("root", '/usr/lib/toolkit-agent/toolkit-floor ""'),
        ("toolkit", "/usr/lib/toolkit-agent/toolkit-gate"),
    ]
    for command in ("sh", "/usr/lib/toolkit-agent/toolkit-floor x", "-u toolkit sh", "systemctl stop toolkit-runner"):
        shell(f"! su pi -c 'sudo -n {command}' 2>/dev/null")
    assert shell("find /usr/lib/toolkit-agent /var/lib/toolkit-agent ! -user root -o -perm /022 ! -type l") == ""


def test_deploy_goes_through_the_installed_agent(trusting: Trusting, shell: Shell) -> None:
    code, answer, log = trusting.toolkit("deploy", trusting.bundles[0], "--health-seconds", "3")
    assert (code, answer["devices"][0]["outcome"]) == (0, "deployed"), (answer, log)
    _, state, _ = trusting.toolkit("status")
    assert state["devices"][0]["agent"] == "root", state
    gates = shell("journalctl --output=cat _COMM=sudo | grep toolkit-gate")
    assert "USER=toolkit" in gates
    assert " golden " in gates
    owners = shell("stat -c '%U %n' /opt/toolkit/* /opt/toolkit/releases/*").split("\n")
    own = {"current", "releases", "store", "audit.jsonl"}
    assert {line.rpartition("/")[2] for line in owners if line.startswith("pi ")} >= own, owners
    assert {line.rpartition("/")[2] for line in owners if line.startswith("root ")} >= {"allowed_signers", "venv"}
    assert shell("find /opt/toolkit/releases/ -mindepth 1 ! -user pi") == ""


def test_gate_runs_as_a_user_who_changes_no_release(trusting: Trusting, shell: Shell) -> None:
    gate = "sudo -n -u toolkit /usr/lib/toolkit-agent/toolkit-gate /opt/toolkit/current"
    assert shell(f"su pi -c '{gate} id -un'").strip() == "toolkit"
    for place in ("x", "/opt/toolkit/x", "/opt/toolkit/store/x", "/var/lib/toolkit-agent/x", "model.bin"):
        shell(f"! su pi -c '{gate} touch {place}' 2>/dev/null")


def test_installed_agent_refuses_what_was_tampered_with(trusting: Trusting, shell: Shell) -> None:
    """The account that deploys changes a release on the machine itself, then asks the agent to serve it."""
    code, answer, log = trusting.toolkit("deploy", trusting.bundles[1], "--health-seconds", "0")
    assert code == 0, (answer, log)
    serving = shell("readlink /opt/toolkit/current")
    tampering = "chmod u+w . && cp model.bin x && chmod u+w x && echo more >>x && mv -f x model.bin"
    shell(f"cd $(readlink -f /opt/toolkit/previous) && su pi -c '{tampering}'")
    code, answer, log = trusting.toolkit("rollback")
    assert code == 1, (answer, log)
    assert "model.bin" in json.dumps(answer) + log
    assert shell("readlink /opt/toolkit/current") == serving
    _, answer, log = trusting.toolkit("deploy", unsigned(trusting), "--health-seconds", "0")
    assert "not signed" in json.dumps(answer) + log
    assert shell("readlink /opt/toolkit/current") == serving


def unsigned(trusting: Trusting) -> Path:
    """A bundle without its signature."""
    place = trusting.inventory.parent / "unsigned"
    return Path(
        shutil.copytree(trusting.bundles[0], place / trusting.bundles[0].name, ignore=shutil.ignore_patterns("*.sig"))
    )


def test_pull_service_installs_and_root_holds_its_floor(trusting: Trusting, shell: Shell, machine: str) -> None:
    """The service's own sandbox and account; its ExecStart takes the release from a file, as there is no registry."""
    unit = shell("systemctl cat toolkit-pull.service")
    assert "User=pi" in unit
    assert "/usr/lib/toolkit-agent/toolkit-agent pull 127.0.0.1:9/x:stable --root /opt/toolkit" in unit
    assert shell("systemctl is-enabled toolkit-pull.timer").strip() == "enabled"
    file = trusting.inventory.parent / "release.tar"
    write_archive(trusting.bundles[0], file, trusting.key)
    run("docker", "cp", file, f"{machine}:/srv/release.tar")
    agent = re.search(r"ExecStart=(.* /usr/lib/toolkit-agent/toolkit-agent) ", unit)
    assert agent is not None
    drop_in = "/run/systemd/system/toolkit-pull.service.d"
    start = f"[Service]\\nExecStart=\\nExecStart={agent[1]} install /srv/release.tar --root /opt/toolkit\\n"
    shell(f"mkdir -p {drop_in} && printf '{start}' >{drop_in}/file.conf && systemctl daemon-reload")
    shell("systemctl start toolkit-pull.service || true")
    output = shell("journalctl --output=cat --unit=toolkit-pull.service")
    shell(f"rm -r {drop_in} && systemctl daemon-reload")
    assert '"outcome": "deployed"' in output, output
    floors = "/var/lib/toolkit-agent/floors.json"
    assert shell(f"stat -c '%U %a' {floors}").strip() == "root 644"
    assert "offline" in json.loads(shell(f"cat {floors}"))["channels"]
    for command in (f"rm -f {floors}", f'sh -c "echo {{}} >{floors}"'):
        shell(f"! su pi -c '{command}' 2>/dev/null")


@pytest.fixture
def with_sudo(shell: Shell) -> None:
    """The user may use sudo again, which the tests of the agent take away for as long as their machine is set up so."""
    shell("test ! -e /root/sudoers-of-pi || cp -p /root/sudoers-of-pi /etc/sudoers.d/pi")


@pytest.mark.parametrize("suite", ["trixie"], indirect=True)  # the overlay is for the current Debian
@pytest.mark.usefixtures("with_sudo")
def test_data_lies_outside_of_the_overlay(play: Play, provisioned: Path, shell: Shell) -> None:
    argv = ("-i", provisioned, "provision-pi.yml", "--tags", "data_partition,overlay_root", "-e")
    done = play(*argv, "toolkit_overlay_root=true")
    assert done.returncode == 2
    assert "LABEL=toolkit-data is not there" in " ".join(done.stdout.split())
    shell("echo '{}' >/var/lib/toolkit-agent/floors.json")
    before = shell("stat -c '%U:%G %a' /opt/toolkit /opt/toolkit/releases /opt/toolkit/venv/bin/python")
    protected = json.dumps({"toolkit_overlay_root": True, "data_partition_source": DATA})
    assert changed(play(*argv, protected)) > 0
    assert shell("stat -c '%U:%G %a' /opt/toolkit /opt/toolkit/releases /opt/toolkit/venv/bin/python") == before
    assert shell("/opt/toolkit/venv/bin/python -c 'import openvino; print(1)'").strip() == "1"
    for folder in ("/opt/toolkit", "/var/lib/toolkit-agent", "/var/lib/systemd/timesync"):
        shell(f"mountpoint {folder} && test {folder} -ef {DATA}{folder}")
    assert shell(f"cat {DATA}/var/lib/toolkit-agent/floors.json").strip() == "{}"
    assert shell("cat /etc/overlayroot.local.conf").strip() == 'overlayroot="tmpfs:recurse=0"'
    assert shell("apt-config shell state APT::Periodic::Enable").strip() == "state='0'"
    assert changed(play(*argv, protected)) == 0
    assert changed(play(*argv, protected, "--check")) == 0


@pytest.mark.parametrize("suite", ["trixie"], indirect=True)  # the overlay is for the current Debian
@pytest.mark.usefixtures("with_sudo")
def test_decommissioned_data_partition_is_empty(play: Play, provisioned: Path, shell: Shell) -> None:
    protected = json.dumps({"data_partition_source": DATA, "decommission_confirmed": True})
    assert changed(play("-i", provisioned, "decommission.yml", "--tags", "services,files", "-e", protected)) > 0
    assert (
        shell(f"find {DATA} -type f; grep toolkit /etc/fstab; ls -d /opt/toolkit /etc/overlayroot.local.conf; true")
        == ""
    )


def test_nothing_failed(provisioned: Path, shell: Shell) -> None:
    assert shell("systemctl --failed --no-legend") == ""
