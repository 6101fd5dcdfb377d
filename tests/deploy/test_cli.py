"""The verbs as a user types them, on real SSH servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from toolkit.artifacts import Bundle, Device, Workspace
from toolkit.cli.main import main
from toolkit.deploy import find_bundle
from toolkit.errors import UsageError
from toolkit.store import Store

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(workspace: Workspace, capfd: pytest.CaptureFixture[str]) -> Run:
    """run(*words): exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in (*words, "--workspace", workspace.root)])
        return int(str(caught.value.code)), *capfd.readouterr()

    return run


def test_deploy_status_and_rollback_print_a_row_per_device_when_one_is_unreachable(
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
    code, out, err = run("deploy", bundle, *fleet)
    assert code == 1
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["embedded-1", "deployed"],
        ["unreachable", "failed"],
    ]
    assert "error: unreachable: 127.0.0.1 port 1 refuses connections" in err
    code, out, _ = run("deploy", bundle, *fleet, "--limit", "embedded-1", "--json")
    assert (code, json.loads(out)["devices"][0]["outcome"]) == (0, "unchanged")
    code, out, _ = run("status", *fleet, "--json")
    said = json.loads(out)
    assert (code, said["failed"], said["devices"][0]["name"]) == (1, 1, "tiny")
    assert said["devices"][1]["error"]["where"] == "unreachable"
    code, _, err = run("rollback", *fleet)
    assert code == 1
    assert "embedded-1: has no previous release" in err


def test_fleet_verbs_start_list_probe_and_stop(run: Run, workspace: Workspace) -> None:
    try:
        code, out, err = run("fleet", "up", "--count", 1)
        assert (code, out.splitlines()[1].split()[0], err) == (0, "embedded-1", "started\n")
        assert "it runs already: nothing to do" in run("fleet", "up")[2]
        assert json.loads(run("fleet", "list", "--json")[1])[0]["name"] == "embedded-1"
        code, out, _ = run("fleet", "probe")
        assert (code, "CPU" in out) == (0, True)
    finally:
        stopped = run("fleet", "down")
    assert stopped == (0, "", "stopped\n")
    assert run("fleet", "down")[2] == "none runs: nothing to do\n"


def test_deploy_asks_where_when_neither_fleet_nor_limit_is_given(run: Run, bundle: Path) -> None:
    code, _, err = run("deploy", bundle)
    assert (code, "say where" in err) == (2, True)


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


def test_find_bundle_takes_a_folder_a_digest_or_the_newest_of_a_name(
    workspace: Workspace, store: Store, bundle: Path
) -> None:
    assert find_bundle(str(bundle), workspace, store) == bundle
    assert find_bundle("aaaa", workspace, store) == workspace.root / "bundles" / ("a" * 64)
    assert find_bundle("net", workspace, store) == workspace.root / "bundles" / ("b" * 64)
    with pytest.raises(UsageError, match=r"neither a bundle's folder(.|\n)*net \(aaaaaaaaaaaa\), net \(bbbbbbbbbbbb\)"):
        find_bundle("typo", workspace, store)
