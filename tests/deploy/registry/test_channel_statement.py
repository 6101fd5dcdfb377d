"""Signers of a channel on the controller: thresholds, rotation and revocation, as a device accepts them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.cli.publish import parse_signers
from toolkit.deploy.registry.channel_statement import StatementOptions, channel_documents, inherit_rules, is_due
from toolkit.device.errors import DeviceError
from toolkit.device.layout import RELEASE, RELEASE_SIGNATURE
from toolkit.device.release.cohort import CohortEntry, CohortRule
from toolkit.device.release.freshness import STATEMENT, check_freshness, parse_statement
from toolkit.device.release.signature import RELEASE as RELEASE_NAMESPACE
from toolkit.errors import UsageError
from toolkit.hashing import sha256_bytes
from toolkit.system.ssh_signatures import sign

CONTENT, OTHER = b'{"bundle": "b"}', b'{"bundle": "a"}'
NAMES = ("ann", "bob", "cid", "dan")
Publish = Callable[..., str]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("keys")
    for name in NAMES:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    return {name: folder / name for name in NAMES}


@pytest.fixture
def publish(tmp_path: Path, keys: dict[str, Path]) -> Publish:
    """publish(*signers, **options): publish the next statement to a channel, and let a device judge it."""
    lines = [f"{name} {keys[name].with_suffix('.pub').read_text()}" for name in NAMES]
    (tmp_path / "allowed_signers").write_text("".join(lines))
    counters, held = iter(range(1, 100)), [b""]

    def present(*signers: str, **options: object) -> str:
        paths = tuple(keys[name] for name in signers)
        wished = StatementOptions(counter=next(counters), **options)  # type: ignore[arg-type] - as a test gives them
        rules = inherit_rules(held[0], wished, len(paths))
        documents = documents_of(CONTENT, paths, rules)
        message = check_freshness(tmp_path, documents, sha256_bytes(CONTENT), "stable", "registry")
        held[0] = documents[STATEMENT]
        return message

    return present


def documents_of(content: bytes, keys: tuple[Path, ...], options: StatementOptions) -> dict[str, bytes]:
    """What a channel holds for the release with this release.json, each document signed by each key."""
    signatures = b"".join(sign(content, key, RELEASE_NAMESPACE) for key in keys)
    statement = channel_documents(sha256_bytes(content), "stable", keys, options)
    return {RELEASE: content, RELEASE_SIGNATURE: signatures, **statement}


def test_threshold_stays_until_another_one_is_given(publish: Publish) -> None:
    publish("ann", signers=("ann", "bob", "cid"), threshold=2)
    assert "stated by bob, cid" in publish("bob", "cid")
    assert "stated by ann, cid" in publish("ann", "cid")
    with pytest.raises(UsageError, match="requires 2 signatures, but 1 key is given"):
        publish("ann")
    publish("ann", "bob", threshold=1)
    publish("cid")


def test_signers_are_rotated_by_the_earlier_ones(publish: Publish) -> None:
    publish("ann", signers=("ann", "bob"), threshold=2)
    with pytest.raises(DeviceError, match="dan may not sign for this channel"):
        publish("ann", "dan", signers=("ann", "dan"))
    publish("ann", "bob", signers=("ann", "dan"))
    assert "stated by ann, dan" in publish("ann", "dan")
    with pytest.raises(DeviceError, match="bob may not sign for this channel"):
        publish("ann", "bob")


def test_revoked_key_counts_no_longer_and_the_others_go_on(
    publish: Publish, tmp_path: Path, keys: dict[str, Path]
) -> None:
    publish("ann", signers=("ann", "bob", "cid"), threshold=2)
    (tmp_path / "revoked_signers").write_text(keys["cid"].with_suffix(".pub").read_text())
    with pytest.raises(DeviceError, match="1 of 2 required signatures"):
        publish("bob", "cid")
    publish("ann", "bob", signers=("ann", "bob", "dan"))
    assert "stated by bob, dan" in publish("bob", "dan")


def test_threshold_above_the_number_of_signers_is_refused(publish: Publish) -> None:
    with pytest.raises(UsageError, match="3 of 2 signers cannot sign"):
        publish("ann", signers=("ann", "bob"), threshold=3)


def test_permit_for_a_downgrade_needs_the_threshold_too(
    tmp_path: Path, publish: Publish, keys: dict[str, Path]
) -> None:
    publish("ann", signers=("ann", "bob"), threshold=2)
    publish("ann", "bob")
    rules = StatementOptions(counter=1, allow_downgrade=True)
    both = documents_of(OTHER, (keys["ann"], keys["bob"]), rules)
    one = documents_of(OTHER, (keys["ann"],), rules)
    permit = {name: content for name, content in one.items() if name.startswith("downgrade")}
    with pytest.raises(DeviceError, match=r"downgrade.json has 1 of 2 required signatures"):
        check_freshness(tmp_path, both | permit, sha256_bytes(OTHER), "stable", "registry")
    assert "downgrade from 2 permitted" in check_freshness(tmp_path, both, sha256_bytes(OTHER), "stable", "registry")


def test_statement_carries_the_stage_and_is_due_when_it_changes(tmp_path: Path, keys: dict[str, Path]) -> None:
    stage = CohortRule(2, 5.0, (CohortEntry("kitchen", 1.0), CohortEntry("", 1 / 3)), ("22:00-05:00",))
    options = StatementOptions(signers=(), threshold=1, rollout=stage)
    content = documents_of(CONTENT, (keys["ann"],), options)[STATEMENT]
    assert parse_statement(content, "here").rollout == stage
    assert not is_due(content, options)
    for other in (None, replace(stage, halted=True), replace(stage, batch=3)):
        assert is_due(content, replace(options, rollout=other))


@pytest.mark.parametrize(
    "change", [{"halted": True}, {"windows": []}, {"cohort": [{"group": "", "share": 1}]}, {"batch": 9}]
)
def test_stage_is_part_of_what_signers_sign(
    tmp_path: Path, publish: Publish, keys: dict[str, Path], change: dict[str, object]
) -> None:
    publish("ann")
    stage = CohortRule(1, 5.0, (CohortEntry("", 0.01),), ("22:00-05:00",))
    documents = documents_of(CONTENT, (keys["ann"],), StatementOptions(counter=50, rollout=stage))
    forged = json.loads(documents[STATEMENT])
    forged["rollout"].update(change)
    with pytest.raises(DeviceError, match=r"channel.json has 0 of 1 required signatures"):
        check_freshness(
            tmp_path, {**documents, STATEMENT: json.dumps(forged).encode()}, sha256_bytes(CONTENT), "stable", "here"
        )
    check_freshness(tmp_path, documents, sha256_bytes(CONTENT), "stable", "here")


def test_parse_signers_reads_names_between_commas() -> None:
    assert parse_signers("ann@x, bob@y,") == ("ann@x", "bob@y")
    assert parse_signers(None) is None
