from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.artifacts.fleet import Device
from toolkit.deploy import deploy, rollback
from toolkit.deploy.hooks import NAMES, Hooks
from toolkit.errors import ConfigurationError, FleetError
from toolkit.progress import Silent

Write = Callable[..., Path]


@pytest.fixture
def write_hook(tmp_path: Path) -> Write:
    """write_hook(name, script): a program of the folder that it gives."""

    def write(name: str, script: str, mode: int = 0o755) -> Path:
        path = tmp_path / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(mode)
        return path.parent

    return write


def test_run_gives_a_hook_what_is_documented(write_hook: Write) -> None:
    progress = Silent()
    folder = write_hook("pre-deploy", "env | grep ^TOOLKIT_ | sort; echo beside >&2")
    hooks = Hooks(folder, "abc", progress, {"TOOLKIT_BUNDLE": "b" * 64})
    hooks.run("pre-deploy", [Device(name="pi-1", host="a"), Device(name="pi-2", host="b")], TOOLKIT_BATCH="1/2")
    text = "\n".join(progress.messages)
    for line in (
        "HOOK=pre-deploy",
        "ROLLOUT=abc",
        f"BUNDLE={'b' * 64}",
        "DEVICES=pi-1,pi-2",
        "BATCH=1/2",
        "WHO=",
        "AT=",
    ):
        assert f"pre-deploy: TOOLKIT_{line}" in text
    assert "pre-deploy: beside" in text


def test_run_does_nothing_when_there_is_no_hook(tmp_path: Path, write_hook: Write) -> None:
    for folder in (None, tmp_path / "missing", write_hook("other", "exit 1")):
        progress = Silent()
        Hooks(folder, "abc", progress, {}).run("pre-deploy", [])
        assert progress.messages == []


def test_run_says_what_to_do_when_the_file_is_no_program(write_hook: Write) -> None:
    folder = write_hook("pre-deploy", "true", mode=0o644)
    with pytest.raises(ConfigurationError, match=r"is not executable(.|\n)*chmod \+x"):
        Hooks(folder, "abc", Silent(), {}).run("pre-deploy", [])


@pytest.mark.slow
def test_deploy_touches_no_device_when_pre_deploy_fails(
    devices: tuple[Device, ...], bundle: Path, write_hook: Write
) -> None:
    with pytest.raises(FleetError, match=r"the hook pre-deploy failed \(exit code 3\)"):
        deploy(bundle, devices, hooks=write_hook("pre-deploy", "exit 3"))
    assert not any((Path(device.root) / "current").exists() for device in devices)


@pytest.mark.slow
def test_deploy_reverts_when_a_later_pre_batch_fails(
    devices: tuple[Device, ...], bundle: Path, other_bundle: Path, write_hook: Write
) -> None:
    deploy(bundle, devices)
    folder = write_hook("pre-batch", '[ "$TOOLKIT_BATCH" = 1/3 ]')
    result = deploy(other_bundle, devices, hooks=folder)
    assert [each.outcome for each in result.outcomes.values()] == ["rolled-back", "skipped", "skipped"]
    assert result.stopped == "the hook pre-batch failed (exit code 1)"


@pytest.mark.slow
def test_hooks_run_in_order_around_what_they_are_named_after(
    devices: tuple[Device, ...], bundle: Path, other_bundle: Path, write_hook: Write, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    script = f'echo "$TOOLKIT_HOOK $TOOLKIT_BATCH $TOOLKIT_OUTCOME" >> {log}'
    for name in NAMES:
        folder = write_hook(name, f"{script}; exit 0")
    deploy(bundle, devices[:2], hooks=folder)
    calls = log.read_text().splitlines()
    assert [line.split() for line in calls] == [
        ["pre-deploy"],
        ["pre-batch", "1/2"],
        ["post-batch", "1/2", "done"],
        ["pre-batch", "2/2"],
        ["post-batch", "2/2", "done"],
        ["post-deploy", "done"],
    ]
    deploy(other_bundle, devices[:2])
    log.unlink()
    rollback(devices[:2], hooks=folder)
    assert [line.split() for line in log.read_text().splitlines()] == [["pre-rollback"], ["post-rollback", "done"]]
