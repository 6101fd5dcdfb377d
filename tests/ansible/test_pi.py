"""provision-pi.yml on a booted arm64 Debian 13, over real SSH: `just test-pi`."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import Path

import pytest

from toolkit.virtual.machine import wait_for_ssh

from .conftest import Pi, Play, changed, deploy

pytestmark = [pytest.mark.pi, pytest.mark.timeout(5400)]  # provisioning takes 30 minutes where two cores do other work


def test_check_agrees_and_a_second_run_changes_nothing(play: Play, provisioned: Pi) -> None:
    assert changed(play("-i", provisioned.inventory, "provision-pi.yml", "--check", "--diff")) == 0
    assert changed(play("-i", provisioned.inventory, "provision-pi.yml")) == 0


def test_services_run_and_start_with_the_machine(provisioned: Pi) -> None:
    for name in ("ssh", "systemd-timesyncd", "prometheus-node-exporter", "toolkit-metrics.timer"):
        assert provisioned.host.service(name).is_running, name
        assert provisioned.host.service(name).is_enabled, name
    assert provisioned.host.service("toolkit-runner").is_enabled
    assert provisioned.sh("systemctl --failed --no-legend") == ""


def test_files_have_their_owners_and_modes(provisioned: Pi) -> None:
    expected = {
        "/opt/toolkit": ("root", "pi", 0o1775),
        "/opt/toolkit/releases": ("pi", "toolkit", 0o755),
        "/opt/toolkit/store": ("pi", "toolkit", 0o755),
        "/opt/toolkit/venv/requirements.txt": ("root", "root", 0o644),
        "/usr/lib/toolkit-agent/toolkit-agent": ("root", "root", 0o755),
        "/etc/systemd/system/toolkit-runner.service": ("root", "root", 0o644),
        "/etc/ssh/sshd_config.d/10-toolkit.conf": ("root", "root", 0o644),
        "/etc/systemd/journald.conf.d/50-toolkit.conf": ("root", "root", 0o644),
        "/etc/logrotate.d/toolkit-runner": ("root", "root", 0o644),
    }
    files = {name: provisioned.host.file(name) for name in expected}
    assert {name: (file.user, file.group, file.mode) for name, file in files.items()} == expected


def test_accounts_have_the_groups_they_need_and_no_shell(provisioned: Pi) -> None:
    runner = provisioned.host.user("toolkit")
    assert set(runner.groups) == {"toolkit", "video", "users"}
    assert runner.shell == "/usr/sbin/nologin"
    assert "video" in provisioned.host.user("pi").groups


def test_ports_are_ssh_and_nothing_else_from_outside(provisioned: Pi) -> None:
    listening = {line.split()[3] for line in provisioned.sh("ss -Hltn").splitlines()}
    assert {one for one in listening if not one.startswith("127.")} == {"0.0.0.0:22", "[::]:22"}
    assert "127.0.0.1:9100" in listening


def test_ssh_takes_keys_only(provisioned: Pi) -> None:
    settings = provisioned.sh("sshd -T").splitlines()
    assert {"passwordauthentication no", "kbdinteractiveauthentication no", "permitemptypasswords no"} <= set(settings)


def test_runner_is_exposed_to_little(provisioned: Pi) -> None:
    output = provisioned.sh("systemd-analyze security --no-pager toolkit-runner.service | tail -1")
    assert float(re.findall(r"([0-9.]+) ", output)[-1]) <= 2.0


def test_logs_are_put_aside_as_the_runners_user(provisioned: Pi) -> None:
    provisioned.sh("install -d -o toolkit -g toolkit -m 750 /var/log/toolkit-runner")
    provisioned.sh("sudo -u toolkit sh -c 'seq 200000 >/var/log/toolkit-runner/app.log'")
    provisioned.sh("logrotate --force /etc/logrotate.d/toolkit-runner")
    assert provisioned.host.file("/var/log/toolkit-runner/app.log").size == 0
    assert provisioned.host.file("/var/log/toolkit-runner/app.log.1").size > 1_000_000


def test_machines_watchdog_is_asked_for(provisioned: Pi) -> None:
    assert "RuntimeWatchdogUSec=15s" in provisioned.sh("systemctl show --property=RuntimeWatchdogUSec")


def test_bundle_is_deployed_and_reproduces_its_golden_answers(
    provisioned: Pi, tiny_bundle: Path, tmp_path: Path
) -> None:
    deploy(provisioned, tiny_bundle, tmp_path)
    golden = "cd /opt/toolkit/current && /opt/toolkit/venv/bin/python -B -m device golden ."
    assert '"ok": true' in provisioned.sh(golden)
    assert provisioned.sh("systemctl is-active toolkit-runner.service").strip() == "active"


def test_metrics_tell_of_the_release_and_the_stick(provisioned: Pi) -> None:
    provisioned.sh("systemctl start toolkit-metrics.service")
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9100/metrics').read().decode())"
    output = provisioned.sh(f'python3 -c "{ask}"')
    assert "\ntoolkit_up 1\n" in output
    assert re.search(r'\ntoolkit_release_info\{bundle="[0-9a-f]{64}",release="[0-9a-f]{64}"\} 1\n', output)
    assert '\ntoolkit_sticks{product="2485"} 1\n' in output


def test_everything_is_as_it_was_after_a_restart(provisioned: Pi) -> None:
    before = provisioned.sh("cat /proc/sys/kernel/random/boot_id")
    with suppress(RuntimeError):  # the connection may go before the answer comes
        provisioned.host.run("systemctl reboot")
    deadline = time.monotonic() + 240
    while boot_id(provisioned) in {before, ""}:
        assert time.monotonic() < deadline
        time.sleep(1)
    wait_for_ssh(provisioned.machine)
    assert provisioned.sh("systemctl is-system-running --wait || true").strip() == "running"
    assert provisioned.sh("findmnt --noheadings --output FSTYPE /tmp").strip() == "tmpfs"
    assert provisioned.sh("systemctl is-active toolkit-runner.service").strip() == "active"


def boot_id(pi: Pi) -> str:
    """Changes with each boot; "" while the device cannot be reached."""
    with suppress(RuntimeError):
        return pi.sh("cat /proc/sys/kernel/random/boot_id")
    return ""


APT_REPOSITORY = r"""
mkdir -p /srv/updates/content/DEBIAN && cd /srv/updates
for version in 1 2; do
    printf '%s\n' 'Package: kitchen-clock' "Version: $version" 'Architecture: all' \
        'Maintainer: A test <test@localhost>' 'Description: which a test brings up to date' >content/DEBIAN/control
    dpkg-deb --build --root-owner-group content clock-$version.deb
done
dpkg --install clock-1.deb
{
    cat content/DEBIAN/control
    printf '%s\n' 'Filename: ./clock-2.deb' "Size: $(stat --format=%s clock-2.deb)" \
        "SHA256: $(sha256sum clock-2.deb | cut -d ' ' -f 1)"
} >Packages
echo 'deb [trusted=yes] file:/srv/updates ./' >/etc/apt/sources.list.d/kitchen.list
apt-get update -o Dir::Etc::sourcelist=sources.list.d/kitchen.list -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0
"""
"""Install a package, and offer a newer version to apt."""


def test_update_upgrades_a_package_on_a_healthy_device(play: Play, provisioned: Pi) -> None:
    provisioned.sh(APT_REPOSITORY)
    try:
        assert changed(play("-i", provisioned.inventory, "update.yml", "--check", "--diff")) == 1
        assert changed(play("-i", provisioned.inventory, "update.yml")) == 1
        assert provisioned.sh("dpkg-query --show --showformat='${Version}' kitchen-clock") == "2"
        assert provisioned.sh("systemctl --failed --no-legend") == ""
    finally:
        provisioned.sh("rm -r /srv/updates /etc/apt/sources.list.d/kitchen.list; dpkg --purge kitchen-clock")


def test_update_touches_nothing_when_a_service_failed(play: Play, provisioned: Pi) -> None:
    provisioned.sh("systemd-run --unit=broken --quiet --wait false || true")
    done = play("-i", provisioned.inventory, "update.yml")
    provisioned.sh("systemctl reset-failed broken.service")
    assert done.returncode == 2
    assert "broken.service failed" in " ".join(done.stdout.split())
    assert "Update its packages" not in done.stdout
