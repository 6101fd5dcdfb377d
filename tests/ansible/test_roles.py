"""The roles without a machine: syntax, accepted values, and preflight's advice."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import REPOSITORY, Play

ROLES = sorted(path.name for path in (Path(__file__).parents[2] / "ansible/roles").iterdir())
PLAYBOOKS = sorted(
    path.name for path in (Path(__file__).parents[2] / "ansible").glob("*.yml") if path.name != "galaxy.yml"
)

GOOD = {
    "machine": "aarch64",
    "bits": 64,
    "system": "debian",
    "release": 13,
    "python": "3.13.5",
    "glibc": "2.41",
    "free_bytes": 8_000_000_000,
    "throttled": 0,
    "systemd": True,
}
BULLSEYE = {"release": 11, "python": "3.9.2", "glibc": "2.31"}


def options_of(ansible_dir: Path, role: str) -> dict[str, dict[str, object]]:
    specs = yaml.safe_load((ansible_dir / "roles" / role / "meta/argument_specs.yml").read_text())
    return specs["argument_specs"]["main"]["options"]


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_playbooks_parse_when_the_example_is_the_inventory(play: Play, playbook: str) -> None:
    done = play("-i", "inventory/example.yml", "--syntax-check", playbook)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("role", ROLES)
def test_argument_specs_and_defaults_agree(ansible_dir: Path, role: str) -> None:
    defaults = yaml.safe_load((ansible_dir / "roles" / role / "defaults/main.yml").read_text())
    options = options_of(ansible_dir, role)
    assert options.keys() == defaults.keys()
    templated = {name for name, value in defaults.items() if "{{" in str(value)}
    assert {name: option.get("default") for name, option in options.items() if name not in templated} == {
        name: value for name, value in defaults.items() if name not in templated
    }


KEYWORDS = {
    "name",
    "listen",
    "when",
    "loop",
    "loop_control",
    "register",
    "notify",
    "vars",
    "block",
    "rescue",
    "tags",
    "throttle",
    "become",
}
KEYWORDS |= {
    "changed_when",
    "failed_when",
    "check_mode",
    "delegate_to",
    "run_once",
    "retries",
    "delay",
    "until",
    "no_log",
}


def modules_of(tasks: list[dict[str, Any]]) -> set[str]:
    inner = [task for outer in tasks for task in [*outer.get("block", []), *outer.get("rescue", [])]]
    return {key for task in [*tasks, *inner] for key in task if key not in KEYWORDS}


OWN_MODULES = {"edge_vision.toolkit.managed_files"}


@pytest.mark.parametrize("role", ROLES)
def test_modules_are_ansible_core_and_named_in_full(ansible_dir: Path, role: str) -> None:
    for path in (ansible_dir / "roles" / role).glob("[th]a[sn]*/*.yml"):
        modules = modules_of(yaml.safe_load(path.read_text()))
        assert {module for module in modules if not module.startswith("ansible.builtin.")} <= OWN_MODULES, path


def test_plays_have_tags_and_modules_of_ansible_core(ansible_dir: Path) -> None:
    modules = {
        module
        for path in (ansible_dir / "tasks").glob("*.yml")
        for module in modules_of(yaml.safe_load(path.read_text()))
    }
    for name in PLAYBOOKS:
        for play in yaml.safe_load((ansible_dir / name).read_text()):
            modules |= modules_of(play.get("tasks", []) + play.get("handlers", []))
            if name != "record-host-keys.yml":
                assert all(part.get("tags") for part in play.get("tasks", []) + play.get("roles", [])), name
    assert {module for module in modules if not module.startswith("ansible.builtin.")} <= OWN_MODULES


@pytest.mark.parametrize(
    ("role", "variables", "message"),
    [
        ("performance", {"performance_governor": "warp"}, "must be one of"),
        ("base", {"base_journal_max_mib": "lots"}, "int"),
        ("ssh", {"ssh_root_login": "yes"}, "must be one of"),
        ("ncs2", {"ncs2_products": {"a": 1}}, "list"),
    ],
)
def test_roles_refuse_values_before_they_do_anything(
    play: Play, tmp_path: Path, role: str, variables: dict[str, object], message: str
) -> None:
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "roles": [{"role": role}]}]))
    done = play("-i", "localhost,", "-c", "local", playbook, "-e", json.dumps(variables))
    assert done.returncode == 2
    assert message in done.stdout + done.stderr
    assert "ok=0" in done.stdout


@pytest.mark.slow
def test_runner_writes_signers_only_when_given(play: Play, tmp_path: Path) -> None:
    signers = ["ci@example.org ssh-ed25519 AAAA", "you@laptop ssh-ed25519 BBBB"]
    task = {"ansible.builtin.include_role": {"name": "runner", "tasks_from": "signers.yml"}}
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    arguments = ("-i", "localhost,", "-c", "local", "--check", "--diff", playbook, "-e")
    here = {"toolkit_root": str(tmp_path), "ansible_python_interpreter": sys.executable}
    done = play(*arguments, json.dumps(here | {"runner_allowed_signers": signers}))
    assert "HANDLER [runner : Restart the runner]" in done.stdout  # which fails where systemd does not run
    assert [line for line in done.stdout.splitlines() if line.startswith("+") and "++" not in line] == [
        "+# Written by the role runner.",
        *(f"+{signer}" for signer in signers),
    ]
    assert f"after: {tmp_path}/allowed_signers" in done.stdout
    assert "changed=0" in play(*arguments, json.dumps(here)).stdout


@pytest.mark.slow
def test_runner_writes_units_that_fetch_with_jitter(play: Play, ansible_dir: Path, tmp_path: Path) -> None:
    templates = ansible_dir / "roles/runner/templates"
    tasks = [
        {
            "ansible.builtin.template": {
                "src": str(templates / f"{unit}.j2"),
                "dest": str(tmp_path / unit),
                "mode": "0644",
            }
        }
        for unit in ("toolkit-pull.service", "toolkit-pull.timer")
    ]
    variables = {
        "runner_channel": "registry.example:5000/vision:stable",
        "runner_channel_login": "fleet:secret",
        "runner_channel_minutes": 5,
        "runner_channel_plain_http": False,
        "runner_root": "/opt/toolkit",
        "runner_python": "/opt/toolkit/venv/bin/python",
        "runner_agent": "/usr/lib/toolkit-agent/toolkit-agent",
        "runner_agent_folder": "/usr/lib/toolkit-agent",
        "runner_login_file": "/etc/toolkit/registry-login",
        "runner_accelerator": "CPU",
        "runner_port": 8081,
        "runner_pull_labels": ["floor=2", "kitchen"],
        "runner_token_file": "/etc/toolkit/token",
        "preflight_facts": {"user": "pi"},
        "ansible_python_interpreter": sys.executable,
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    done = play("-i", "localhost,", "-c", "local", playbook, "-e", json.dumps(variables))
    assert done.returncode == 0, done.stdout
    service, timer = ((tmp_path / unit).read_text() for unit in ("toolkit-pull.service", "toolkit-pull.timer"))
    (start,) = (line for line in service.splitlines() if line.startswith("ExecStart="))
    assert start == (
        "ExecStart=/opt/toolkit/venv/bin/python -I /usr/lib/toolkit-agent/toolkit-agent pull registry.example:5000/vision:stable "
        "--root /opt/toolkit --accelerator CPU --report localhost --label floor=2 --label kitchen --credentials /etc/toolkit/registry-login "
        "--app-url http://127.0.0.1:8081 --app-token-file /etc/toolkit/token"
    )
    assert "secret" not in service
    assert {"RandomizedDelaySec=5min", "FixedRandomDelay=true", "OnUnitInactiveSec=5min"} <= set(timer.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["", "/etc/toolkit/capture.json"])
def test_runner_may_write_captures_only_if_asked(play: Play, ansible_dir: Path, tmp_path: Path, settings: str) -> None:
    role = ansible_dir / "roles/runner"
    unit = {"src": str(role / "templates/toolkit-runner.service.j2"), "dest": str(tmp_path / "unit"), "mode": "0644"}
    folders = {"content": "{{ runner_folders | to_json }}", "dest": str(tmp_path / "folders"), "mode": "0644"}
    tasks = [{"ansible.builtin.template": unit}, {"ansible.builtin.copy": folders}]
    files = [str(role / name / "main.yml") for name in ("defaults", "vars")]
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "vars_files": files, "tasks": tasks}])
    )
    variables = {
        "runner_capture": settings,
        "preflight_facts": {"user": "pi", "group": "pi"},
        "ansible_python_interpreter": sys.executable,
    }
    done = play("-i", "localhost,", "-c", "local", playbook, "-e", json.dumps(variables))
    assert done.returncode == 0, done.stdout
    lines = (tmp_path / "unit").read_text().splitlines()
    (start,) = (line for line in lines if line.startswith("ExecStart="))
    written = {each["dest"]: each for each in json.loads((tmp_path / "folders").read_text())}
    assert ("--capture /etc/toolkit/capture.json" in start) == bool(settings)
    assert ("ReadWritePaths=/opt/toolkit/captures" in lines) == bool(settings)
    assert ("/opt/toolkit/captures" in written) == bool(settings)
    if settings:
        folder = written["/opt/toolkit/captures"]
        assert (folder["owner"], folder["group"], folder["mode"]) == ("toolkit", "pi", "2770")


@pytest.mark.slow
@pytest.mark.parametrize("plugged", [True, False])
def test_container_starts_with_or_without_its_camera(
    play: Play, ansible_dir: Path, tmp_path: Path, plugged: bool
) -> None:
    """With a stand-in for docker, which starts no container with a device that is missing."""
    release, script = tmp_path / "releases/x", tmp_path / "toolkit-runner"
    release.mkdir(parents=True)
    (release / "container-image").write_text("runner:dev")
    (tmp_path / "current").symlink_to("releases/x")
    (tmp_path / "docker").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "docker").chmod(0o755)
    camera = "/dev/null" if plugged else "/dev/no-camera"
    role = ansible_dir / "roles/runner"
    source = {"src": str(role / "templates/toolkit-runner.j2"), "dest": str(script), "mode": "0755"}
    own = {"runner_root": str(tmp_path), "runner_user": "root", "runner_source": camera, "runner_accelerator": "CPU"}
    variables = {**yaml.safe_load((role / "defaults/main.yml").read_text()), **own, "runner_arguments": "serve"}
    playbook = tmp_path / "play.yml"
    tasks = [{"ansible.builtin.template": source}]
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}]))
    done = play("-i", "localhost,", "-c", "local", playbook, "-e", f"ansible_python_interpreter={sys.executable}")
    assert done.returncode == 0, done.stdout
    command = [shutil.which("sh") or "sh", script]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert (f"--device {camera}" in output) == plugged


CASES: list[tuple[dict[str, object], str, list[str]]] = [
    ({}, "CPU", []),
    (BULLSEYE, "CPU", []),
    (BULLSEYE, "MYRIAD", []),
    ({"machine": "x86_64", "release": 12, "python": "3.11.2", "glibc": "2.36"}, "CPU", []),
    ({"machine": "armv7l", "bits": 32}, "CPU", ["32-bit system on armv7l", "Write the 64-bit"]),
    ({"bits": 32}, "CPU", ["32-bit system on aarch64"]),
    ({"system": "alpine", "release": 3, "glibc": ""}, "CPU", ["alpine 3 is not supported", "glibc none"]),
    (
        {"release": 13, "python": "3.13.5"},
        "MYRIAD",
        ["this is Debian 13 with Python 3.13.5", "runner-ncs2 container image"],
    ),
    ({"python": "3.14.0", "glibc": "2.31"}, "CPU", ["No OpenVINO supports CPU with Python 3.14.0 and glibc 2.31"]),
    ({"free_bytes": 300 * 2**20}, "CPU", ["300 MiB are free under /opt/toolkit, and 1500 are needed"]),
    ({"epoch": 1_000_000_000}, "CPU", ["s off, so packages and certificates", "timedatectl set-ntp true"]),
    ({"throttled": 0x50005}, "CPU", ["under-voltage right now"]),
    ({"throttled": 0x50000}, "CPU", []),
    ({"systemd": False}, "CPU", ["does not run systemd"]),
    ({"root_in_memory": True}, "CPU", ["is an overlay in memory", "do_overlayfs 1"]),
    (
        {"machine": "armv7l", "bits": 32, "free_bytes": 0, "throttled": 1},
        "CPU",
        ["32-bit", "0 MiB are free", "under-voltage"],
    ),
    ({"unsafe_parents": ["/home/pi"]}, "CPU", ["/home/pi can be changed by other users than root"]),
    ({"shared_group": True, "user": "anna", "group": "staff"}, "CPU", ["The group staff of anna has other members"]),
]


@pytest.fixture(scope="module")
def advice(play: Play, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Preflight's advice for each case, by host name; one run for all."""
    folder = tmp_path_factory.mktemp("preflight")
    hosts = {
        f"case{number}": {
            "case": {"epoch": time.time(), **GOOD, **change},
            "toolkit_accelerator": accelerator,
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
        }
        for number, (change, accelerator, _) in enumerate(CASES)
    }
    (folder / "fleet.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    playbook = [{"hosts": "all", "gather_facts": False, "roles": [{"role": "preflight"}]}]
    (folder / "play.yml").write_text(json.dumps(playbook))
    variables = json.dumps({"preflight_facts": "{{ case }}", "preflight_clock_seconds": 600})
    done = play("-i", folder / "fleet.yml", folder / "play.yml", "-e", variables)
    assert done.returncode == 2, done.stdout + done.stderr
    output = dict(re.findall(r"^fatal: \[(\w+)\]: FAILED! =>(.*?)(?=^\S|\Z)", done.stdout, re.MULTILINE | re.DOTALL))
    return {host: " ".join(text.partition("msg:")[2].split()) for host, text in output.items()}


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CASES)))
def test_preflight_says_all_that_is_wrong_and_what_to_do(advice: dict[str, str], number: int) -> None:
    _, _, message = CASES[number]
    output = advice.get(f"case{number}", "")
    assert bool(output) == bool(message), output
    assert [arguments for arguments in message if arguments not in output] == [], output


def test_measure_prints_json_when_the_folder_is_not_there_yet(ansible_dir: Path) -> None:
    script = ansible_dir / "roles/preflight/files/facts.py"
    done = subprocess.run(
        [sys.executable, script, "/nowhere/yet", "toolkit"], check=True, capture_output=True, text=True
    )
    measured = json.loads(done.stdout)
    assert measured["bits"] == 64
    assert measured["free_bytes"] > 0
    assert set(GOOD) <= measured.keys()


ROOT = ("/", "ext4", ["rw"])
UPPER = ["rw", "lowerdir=/media/root-ro", "upperdir=/media/root-rw/overlay", "workdir=/media/root-rw/work"]


@pytest.mark.parametrize(
    ("mounted", "container", "in_memory"),
    [
        ([ROOT, ("/tmp", "tmpfs", ["rw"])], False, False),
        ([ROOT, ("/", "tmpfs", ["rw"])], False, True),
        ([ROOT, ("/media/root-rw", "tmpfs", ["rw"]), ("/", "overlay", UPPER)], False, True),
        ([ROOT, ("/media/root-rw", "ext4", ["rw"]), ("/", "overlay", UPPER)], False, False),
        ([("/", "overlay", UPPER)], False, True),
        ([("/", "overlay", UPPER), ("/run", "tmpfs", ["rw"])], True, False),
    ],
)
def test_root_in_memory_is_one_that_a_restart_forgets(
    ansible_dir: Path, mounted: list[tuple[str, str, list[str]]], container: bool, in_memory: bool
) -> None:
    facts = runpy.run_path(str(ansible_dir / "roles/preflight/files/facts.py"))
    assert facts["root_in_memory"](mounted, container) == in_memory
    assert any(target == "/" for target, _, _ in facts["mounts"]())


def test_update_is_refused_where_a_restart_would_undo_it(play: Play) -> None:
    measured = {"update_measured": {"stdout": '{"root_in_memory": true}'}, "ansible_become": False}
    here = ("-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}")
    done = play(*here, "update.yml", "-e", json.dumps(measured))
    assert done.returncode == 2, done.stdout
    assert "the next restart would undo the update" in " ".join(done.stdout.split())
    assert "-e update_reboot=true" in " ".join(done.stdout.split())
    assert "Check the device" not in done.stdout


def test_metrics_are_what_prometheus_reads(ansible_dir: Path, tmp_path: Path) -> None:
    """With a stand-in for systemctl, the only program that the script runs everywhere."""
    stand_in = tmp_path / "bin/systemctl"
    stand_in.parent.mkdir()
    stand_in.write_text("#!/bin/sh\nprintf 'ActiveState=active\nNRestarts=3\nMemoryCurrent=[not set]\n'\n")
    stand_in.chmod(0o755)
    (tmp_path / "root/releases/abc").mkdir(parents=True)
    (tmp_path / "root/releases/abc/release.json").write_text('{"bundle": "def"}')
    (tmp_path / "root/current").symlink_to("releases/abc")
    script = ansible_dir / "roles/monitoring/files/toolkit-metrics.py"
    command = [sys.executable, script, tmp_path / "root", tmp_path / "toolkit.prom"]
    subprocess.run(command, check=True, env={"PATH": str(stand_in.parent)})
    output = (tmp_path / "toolkit.prom").read_text()
    samples = dict(line.rsplit(" ", 1) for line in output.splitlines() if not line.startswith("#"))
    assert samples["toolkit_up"] == "1"
    assert samples["toolkit_restarts_total"] == "3"
    assert samples['toolkit_release_info{release="abc",bundle="def"}'] == "1"
    assert "toolkit_memory_bytes" not in samples
    assert "# TYPE toolkit_restarts_total counter\n" in output
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_handlers_have_names_of_their_own() -> None:
    """A play has one list of handlers: of two with the same name, a role would notify that of another role."""
    files = sorted((REPOSITORY / "ansible" / "roles").glob("*/handlers/main.yml"))
    names = [handler["name"] for file in files for handler in yaml.safe_load(file.read_text())]
    assert sorted(names) == sorted(set(names))
