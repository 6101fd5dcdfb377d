"""Signed bundles on devices behind real SSH servers, signed and verified by ssh-keygen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.artifacts.fleet import Device
from toolkit.deploy import deploy, plan_rollout, rollback, status
from toolkit.fleet import load_inventory

Signed = Callable[[Path], Path]


def trust(device: Device, key: Path) -> None:
    kind, public, *_ = key.with_suffix(".pub").read_text().split()
    path = Path(device.root) / "allowed_signers"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"ci@example.org {kind} {public}\n")


@pytest.mark.slow
def test_deploy_serves_a_signed_bundle_and_refuses_an_unsigned(
    devices: tuple[Device, ...], bundle: Path, other_bundle: Path, signed: Signed, key: Path
) -> None:
    one = devices[:1]
    trust(one[0], key)
    whole = signed(bundle)
    assert [result.outcome for result in deploy(whole, one).ok.values()] == ["deployed"]
    assert [result.outcome for result in deploy(whole, one).ok.values()] == ["unchanged"]
    problem = deploy(other_bundle, one).failed[one[0]]
    assert "the device refuses the release: manifest.json.sig: the bundle is not signed" in problem.what
    assert "signed" in problem.remedy
    assert status(one).ok[one[0]].bundle == bundle.name


@pytest.mark.slow
def test_deploy_makes_another_release_of_a_signed_bundle(
    devices: tuple[Device, ...], bundle: Path, signed: Signed, key: Path
) -> None:
    one = devices[:1]
    deploy(bundle, one)
    trust(one[0], key)
    (outcome,) = deploy(signed(bundle), one).ok.values()
    assert (outcome.outcome, outcome.parent) == ("deployed", bundle.name)
    assert outcome.sent_bytes < 20_000  # release.json, which lists the device code, and the signature
    assert "not signed" in rollback(one).failed[one[0]].what


def test_deploy_sends_nothing_unsigned_if_signing_is_required(devices: tuple[Device, ...], bundle: Path) -> None:
    device = replace(devices[0], variables={**devices[0].variables, "toolkit_require_signature": True})
    problem = deploy(bundle, (device,)).failed[device]
    assert problem.what == "the bundle is not signed, and toolkit_require_signature is set"
    assert "not signed" in plan_rollout(bundle, (device,)).failed[device].what
    assert not Path(device.root).exists()


@pytest.mark.slow
def test_deploy_refuses_a_device_that_checks_no_signature(
    devices: tuple[Device, ...], bundle: Path, signed: Signed, key: Path
) -> None:
    device = replace(devices[0], variables={**devices[0].variables, "toolkit_require_signature": "yes"})
    whole = signed(bundle)
    problem = deploy(whole, (device,)).failed[device]
    assert "the device checks no signature: signed, and not checked" in problem.what
    assert "runner_allowed_signers" in problem.remedy
    assert status((device,)).ok[device].release is None
    trust(device, key)
    assert not deploy(whole, (device,)).failed


def test_inventory_gives_the_policy_to_devices_and_groups(
    write_inventory: Callable[..., Path], devices: tuple[Device, ...]
) -> None:
    path = write_inventory(devices[:2], toolkit_require_signature=True)
    assert [device.variables["toolkit_require_signature"] for device in load_inventory(path)] == [True, True]
