"""The verbs as a user types them, on real SSH servers."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from toolkit.artifacts.bundle import Bundle
from toolkit.artifacts.fleet import Deployment, Device
from toolkit.bundle.resolve import bundle_folder
from toolkit.cli.main import main
from toolkit.deploy import deploy
from toolkit.errors import UsageError
from toolkit.store import Store
from toolkit.workspace import Workspace

pytestmark = pytest.mark.slow

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(workspace: Workspace, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """run(*words): exit code, stdout, stderr."""
    monkeypatch.setenv("TOOLKIT_WORKSPACE", str(workspace.root))

    def run(*argv: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in argv])
        out, err = capfd.readouterr()
        return int(str(caught.value.code)), out, re.sub(r"^toolkit \w+: loading\n", "", err)  # said on a slow machine

    return run


def test_verbs_print_a_row_for_an_unreachable_device(
    run: Run,
    devices: tuple[Device, ...],
    unreachable: Device,
    bundle: Path,
    write_inventory: Callable[..., Path],
) -> None:
    fleet = ("--fleet", "--inventory", write_inventory((devices[0], unreachable)))
    code, out, err = run("deploy", bundle, *fleet, "--dry-run")
    assert code == 1
    assert "send: " in out
    assert not Path(devices[0].root).exists()
    planned = [line.split()[:2] for line in out.splitlines()[1:] if line.split()[0] in {"local-1", "unreachable"}]
    code, out, err = run("deploy", bundle, *fleet)
    assert code == 1
    outcomes = [line.split()[:2] for line in out.splitlines()[1:]]
    assert planned == outcomes == [["local-1", "deployed"], ["unreachable", "failed"]]
    again = run("deploy", bundle, *fleet, "--dry-run")[1]
    assert ["local-1", "unchanged"] in [line.split()[:2] for line in again.splitlines()]
    assert "error: unreachable: 127.0.0.1 port 1 refuses connections" in err
    code, out, _ = run("deploy", bundle, *fleet, "--limit", "local-1", "--json")
    assert (code, json.loads(out)["devices"][0]["outcome"]) == (0, "unchanged")
    code, out, _ = run("status", *fleet, "--json")
    output = json.loads(out)
    assert (code, output["failed"], output["devices"][0]["name"]) == (1, 1, "tiny")
    assert output["devices"][1]["error"]["where"] == "unreachable"
    code, _, err = run("rollback", *fleet)
    assert code == 1
    assert "local-1: has no previous release" in err


def test_deploy_tells_batches_beforehand_and_drift_afterwards(
    run: Run, devices: tuple[Device, ...], bundle: Path, write_inventory: Callable[..., Path]
) -> None:
    fleet = ("--fleet", "--inventory", write_inventory(devices), "--json")
    code, out, _ = run("deploy", bundle, *fleet, "--dry-run", "--batch", "2")
    assert (code, [device["batch"] for device in json.loads(out)["devices"]]) == (0, [1, 1, 2])
    code, out, err = run("deploy", bundle, *fleet, "--batch", "2")
    output = json.loads(out)
    assert (code, err, output["stopped"], output["failed"]) == (0, "", "", 0)
    assert [device["gates"]["verify"] for device in output["devices"]] == ["whole"] * 3
    code, out, _ = run("status", *fleet)
    assert (code, [device["drift"] for device in json.loads(out)["devices"]]) == (0, [[]] * 3)
    labels = Path(devices[1].root) / "current" / "labels.txt"
    labels.chmod(0o644)
    labels.write_text("other\n")
    code, out, _ = run("status", *fleet[:-1])
    assert (code, out.count("labels.txt was changed")) == (1, 1)
    assert run("status", *fleet, "--quick")[0] == 0
    code, out, _ = run("rollback", *fleet[:-1], "--dry-run")
    assert (code, out.count("failed")) == (1, 3)
    assert run("deploy", bundle, *fleet, "--batch", "0")[0] == 2


def test_fleet_exec_speaks_for_each_device(
    run: Run, devices: tuple[Device, ...], unreachable: Device, write_inventory: Callable[..., Path]
) -> None:
    fleet = ("--fleet", "--inventory", write_inventory((*devices[:2], unreachable)))
    code, out, err = run("fleet", "exec", *fleet, "--limit", "local-*", "--", "echo", "it's $HOME")
    assert (code, out) == (0, "local-1 | it's $HOME\nlocal-2 | it's $HOME\n")
    code, out, err = run("fleet", "exec", *fleet, "--", "echo here; echo there >&2; exit 3")
    assert (code, out) == (1, "local-1 | here\nlocal-2 | here\n")
    assert "local-1 | there" in err
    assert "error: local-2: exit code 3" in err
    assert "error: unreachable: 127.0.0.1 port 1 refuses connections" in err
    code, out, _ = run("fleet", "exec", *fleet, "--json", "--", "true")
    assert (code, [device.get("code") for device in json.loads(out)["devices"]]) == (1, [0, 0, None])
    assert run("fleet", "exec", *fleet, "--dry-run", "--", "true")[1].split() == [
        "local-1",
        "local-2",
        "unreachable",
    ]
    assert "no target selected" in run("fleet", "exec", "--", "true")[2]


def test_fleet_logs_tells_what_was_done_to_each_device(
    run: Run,
    devices: tuple[Device, ...],
    unreachable: Device,
    bundle: Path,
    write_inventory: Callable[..., Path],
) -> None:
    deploy(bundle, devices[:2])
    fleet = ("--fleet", "--inventory", write_inventory((*devices[:2], unreachable)))
    code, out, _ = run("fleet", "logs", *fleet, "--limit", "local-1")
    assert (code, json.loads(out.removeprefix("local-1 | "))["outcome"]) == (0, "deployed")
    code, out, _ = run("fleet", "logs", *fleet, "--json", "-n", 0)
    assert (code, [device.get("lines") for device in json.loads(out)["devices"]]) == (1, [[], [], None])


def test_fleet_logs_follows_until_it_is_interrupted(
    devices: tuple[Device, ...],
    bundle: Path,
    other_bundle: Path,
    write_inventory: Callable[..., Path],
    workspace: Workspace,
) -> None:
    deploy(bundle, devices[:1])
    toolkit = str(Path(sys.executable).with_name("toolkit"))
    argv = [toolkit, "fleet", "logs", "-f", "--fleet", "-i", str(write_inventory(devices[:1])), "--json"]
    argv += ["--workspace", str(workspace.root)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        deploy(other_bundle, devices[:1])
        second = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert (first["device"], second["device"]) == ("local-1", "local-1")
    assert json.loads(second["line"])["replaced"] == json.loads(first["line"])["release"]


def test_fleet_verbs_start_list_probe_and_stop(run: Run, workspace: Workspace) -> None:
    try:
        code, out, err = run("fleet", "up", "--count", 1)
        assert (code, out.splitlines()[1].split()[0], err) == (0, "local-1", "started\n")
        assert "already running, nothing to do" in run("fleet", "up")[2]
        assert json.loads(run("fleet", "list", "--json")[1])[0]["name"] == "local-1"
        code, out, _ = run("fleet", "probe")
        assert (code, "CPU" in out) == (0, True)
    finally:
        stopped = run("fleet", "down")
    assert stopped == (0, "", "stopped\n")
    assert run("fleet", "down")[2] == "not running, nothing to do\n"


def test_deploy_asks_where_when_neither_fleet_nor_limit_is_given(run: Run, bundle: Path) -> None:
    code, _, err = run("deploy", bundle)
    assert (code, "no target selected" in err) == (2, True)


@pytest.fixture
def store(workspace: Workspace) -> Iterator[Store]:
    with Store(workspace.database) as store:
        for digit in "ab":
            bundle = Bundle(
                digest=digit * 64,
                parent="",
                name="net",
                precision="fp32",
                target="cpu",
                path=f"bundles/{digit * 64}",
                size_bytes=1,
            )
            store.put(bundle)
        yield store


def test_find_bundle_takes_a_folder_digest_or_name(workspace: Workspace, store: Store, bundle: Path) -> None:
    assert bundle_folder(str(bundle), workspace, store) == bundle
    assert bundle_folder("aaaa", workspace, store) == workspace.root / "bundles" / ("a" * 64)
    assert bundle_folder("net", workspace, store) == workspace.root / "bundles" / ("b" * 64)
    with pytest.raises(UsageError, match=r"is not a bundle's folder(.|\n)*net \(aaaaaaaaaaaa\), net \(bbbbbbbbbbbb\)"):
        bundle_folder("typo", workspace, store)


def test_status_lists_the_devices_that_run_a_component(
    run: Run,
    workspace: Workspace,
    devices: tuple[Device, ...],
    unreachable: Device,
    bundle: Path,
    write_inventory: Callable[..., Path],
) -> None:
    fleet = ("--fleet", "--inventory", write_inventory((devices[0], unreachable)), "--json")
    assert run("deploy", bundle, *fleet[:-1], "--limit", devices[0].name)[0] == 0
    code, out, _ = run("status", *fleet, "--component", "numpy<99")
    rows = {row["device"]: row for row in json.loads(out)["devices"]}
    assert code == 1
    assert rows[devices[0].name]["packages"][0]["name"] == "numpy"
    assert "error" in rows["unreachable"], "nobody knows what it runs"
    with Store(workspace.database) as store:
        (record,) = store.all(Deployment)
        store.put(dataclasses.replace(record, device="unreachable", digest="0" * 64))
    code, out, _ = run("status", *fleet, "--component", "numpy<99")
    row = json.loads(out)["devices"][1]
    assert (code, row["source"], row["packages"][0]["name"]) == (1, "locked", "numpy")
    code, out, _ = run("status", *fleet, "--limit", devices[0].name, "--component", "numpy<0.1")
    assert (code, json.loads(out)["devices"][0]["packages"]) == (0, [])
