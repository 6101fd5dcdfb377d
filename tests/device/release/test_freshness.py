"""Rollback, freeze, mix-and-match, fast-forward and key compromise, each as an attack on a device's floor."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.device.errors import DeviceError
from toolkit.device.layout import RELEASE, RELEASE_SIGNATURE
from toolkit.device.release import freshness
from toolkit.device.release.freshness import check_freshness, floor_of, parse_statement
from toolkit.device.release.signature import BUNDLE, CHANNEL, DOWNGRADE
from toolkit.device.release.signature import RELEASE as RELEASE_NAMESPACE
from toolkit.system.ssh_signatures import sign

DAY_S = 86400
NEW_JSON, OLD_JSON = b'{"bundle": "new"}', b'{"bundle": "old"}'
NEW, OLD = (hashlib.sha256(content).hexdigest() for content in (NEW_JSON, OLD_JSON))
Check = Callable[..., str]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ann", "bob", "eve"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    return {name: folder / name for name in ("ann", "bob", "eve")}


@pytest.fixture
def root(tmp_path: Path, keys: dict[str, Path]) -> Path:
    lines = [f"{name} {keys[name].with_suffix('.pub').read_text()}" for name in ("ann", "bob")]
    (tmp_path / "allowed_signers").write_text("".join(lines))
    return tmp_path


def statement(counter: int, release: str = NEW, **fields: object) -> bytes:
    times = {"created": time.time(), "expires": time.time() + 90 * DAY_S}
    return json.dumps(
        {"format": 1, "channel": "stable", "counter": counter, "release": release, **times, **fields}
    ).encode()


@pytest.fixture
def check(root: Path, keys: dict[str, Path]) -> Check:
    """check(counter, release): present a statement to the device, signed by ann unless `signers` names others."""

    def present(counter: int, release: str = NEW, signers: tuple[str, ...] = ("ann",), **more: Any) -> str:
        extra, namespace = more.pop("extra", {}), more.pop("namespace", CHANNEL)
        releasers = more.pop("releasers", signers)
        content = statement(counter, release, **more.pop("rules", {}), **more)
        signatures = b"".join(sign(content, keys[name], namespace) for name in signers)
        document = NEW_JSON if release == NEW else OLD_JSON
        released = b"".join(sign(document, keys[name], RELEASE_NAMESPACE) for name in releasers)
        documents = {freshness.STATEMENT: content, freshness.STATEMENT_SIGNATURE: signatures, **extra}
        documents |= {RELEASE: document, RELEASE_SIGNATURE: released}
        return check_freshness(root, documents, release, "stable", "registry")

    return present


def test_floor_rises_with_each_statement_and_refuses_a_rollback(check: Check, root: Path) -> None:
    assert "stable 5, stated by ann" in check(5)
    assert floor_of(root, "stable") == 5
    check(5)
    check(6, OLD)
    with pytest.raises(DeviceError, match="5 is below 6"):
        check(5)
    with pytest.raises(DeviceError, match="6 is below 6"):
        check(6, NEW)
    assert floor_of(root, "stable") == 6


def test_downgrade_passes_only_with_a_permit_signed_for_it(check: Check, root: Path, keys: dict[str, Path]) -> None:
    check(6)
    permit = statement(3, OLD)

    def permitted(content: bytes, name: str = "ann", namespace: str = DOWNGRADE) -> dict[str, bytes]:
        return {freshness.PERMIT: content, freshness.PERMIT_SIGNATURE: sign(content, keys[name], namespace)}

    with pytest.raises(DeviceError, match="the signature is not of this"):
        check(3, OLD, extra=permitted(permit, namespace=CHANNEL))
    with pytest.raises(DeviceError, match="signed with"):
        check(3, OLD, extra=permitted(permit, "eve"))
    with pytest.raises(DeviceError, match="permits another downgrade"):
        check(3, OLD, extra=permitted(statement(2, OLD)))
    with pytest.raises(DeviceError, match="permits another downgrade, or has expired"):
        check(3, OLD, extra=permitted(statement(3, OLD, expires=time.time() - 1)))
    assert "downgrade from 6 permitted" in check(3, OLD, extra=permitted(permit))
    assert floor_of(root, "stable") == 3


def test_statement_is_refused_when_expired_and_clock_is_set_back(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="expired on"):
        check(1, expires=time.time() - 1)
    check(1)
    now = time.time()
    monkeypatch.setattr("toolkit.device.release.freshness.time.time", lambda: now - 400 * DAY_S)
    with pytest.raises(DeviceError, match="expired on"):
        check(2, expires=now - 1)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"channel": "testing"}, 'is stated for channel "testing"'),
        ({"signers": ("eve",), "releasers": ("ann",)}, r"channel\.json has 0 of 1 required signatures; signed with"),
        ({"signers": (), "releasers": ("ann",)}, r"channel\.json has 0 of 1 required signatures; it is not signed"),
        ({"releasers": ("eve",)}, r"release\.json has 0 of 1 required signatures; signed with"),
        ({"namespace": BUNDLE}, "0 of 1 required signatures; the signature is not of this"),
    ],
)
def test_statement_is_refused(check: Check, root: Path, change: dict[str, Any], problem: str) -> None:
    with pytest.raises(DeviceError, match=problem):
        check(1, **change)
    assert floor_of(root, "stable") is None


def test_statement_is_refused_for_another_release(root: Path, keys: dict[str, Path]) -> None:
    content = statement(1, NEW)
    documents = {freshness.STATEMENT: content, freshness.STATEMENT_SIGNATURE: sign(content, keys["ann"], CHANNEL)}
    documents |= {RELEASE: OLD_JSON, RELEASE_SIGNATURE: sign(OLD_JSON, keys["ann"], RELEASE_NAMESPACE)}
    with pytest.raises(DeviceError, match="the two were mixed"):
        check_freshness(root, documents, OLD, "stable", "registry")
    with pytest.raises(DeviceError, match=r"has no channel\.json"):
        check_freshness(root, {}, OLD, "stable", "registry")
    with pytest.raises(DeviceError, match=r"release\.json is not that of release"):
        check_freshness(root, documents, NEW, "stable", "registry")


def test_threshold_of_the_last_statement_holds_for_the_next(check: Check) -> None:
    rules = {"rules": {"signers": ["ann", "bob"], "threshold": 2}}
    check(1, NEW, ("ann",), **rules)
    with pytest.raises(DeviceError, match="1 of 2 required signatures"):
        check(2, NEW, ("ann",), **rules)
    with pytest.raises(DeviceError, match="1 of 2 required signatures"):
        check(2, NEW, ("ann", "ann"), **rules)
    assert "stated by ann, bob" in check(2, NEW, ("bob", "ann"), **rules)


def test_release_needs_the_threshold_of_its_channel_too(check: Check, root: Path) -> None:
    rules = {"rules": {"signers": ["ann", "bob"], "threshold": 2}}
    check(1, NEW, ("ann",), **rules)
    for releasers in ((), ("ann",), ("ann", "ann"), ("ann", "eve")):
        with pytest.raises(DeviceError, match=r"release\.json has [01] of 2 required signatures"):
            check(2, NEW, ("ann", "bob"), releasers=releasers, **rules)
    assert floor_of(root, "stable") == 1
    assert "signed by ann, bob; stable 2" in check(2, NEW, ("ann", "bob"), **rules)


def test_damaged_floors_are_an_error_and_not_a_fresh_start(check: Check, root: Path) -> None:
    check(5)
    (root / "floors.json").write_text("{")
    with pytest.raises(DeviceError, match="cannot be read"):
        check(4)


@pytest.mark.parametrize("lost", [freshness.FLOORS, freshness.FLOORS_COPY])
def test_lost_record_of_floors_is_no_fresh_start(check: Check, root: Path, lost: str) -> None:
    check(5)
    (root / lost).unlink()
    with pytest.raises(DeviceError, match="4 is below 5"):
        check(4)
    check(5)
    assert (root / lost).exists()


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_floor_holds_when_the_power_is_cut_while_it_rises(
    check: Check, root: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    check(5)
    renames, replace = [0], Path.replace

    def cut_off(path: Path, target: Path) -> Path:
        renames[0] += 1
        if renames[0] == cut:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patched, suppress(KeyboardInterrupt):
        patched.setattr(Path, "replace", cut_off)
        check(6)
    assert floor_of(root, "stable") == (5 if cut == 1 else 6)
    with pytest.raises(DeviceError, match="4 is below"):
        check(4)


@given(
    st.dictionaries(
        st.sampled_from(["format", "channel", "counter", "release", "expires", "signers", "threshold"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
    )
)
def test_parse_statement_gives_a_statement_or_a_device_error(fields: dict[str, Any]) -> None:
    try:
        parsed = parse_statement(json.dumps({"format": 1, **fields}).encode(), "test")
    except DeviceError:
        return
    assert parsed.counter >= 0
    assert parsed.threshold >= 1


@given(st.binary(max_size=200))
def test_parse_statement_refuses_any_other_bytes(content: bytes) -> None:
    with pytest.raises(DeviceError):
        parse_statement(content, "test")


@pytest.mark.parametrize(
    "rule",
    [[], {}, {"seconds": 1}, {"seconds": 1801, "agreement": 0.9, "every": 1},
     {"seconds": 1, "agreement": 1, "every": 1}, {"seconds": 1, "agreement": 0.9, "every": 0},
     {"seconds": True, "agreement": 0.9, "every": 1}],
)  # fmt: skip
def test_rules_of_a_comparison_are_checked(rule: object) -> None:
    fields = {"format": 1, "channel": "stable", "counter": 1, "release": "r", "expires": 1}
    good = {"seconds": 600, "agreement": 0.95, "every": 25}
    assert parse_statement(json.dumps({**fields, "shadow": good}).encode(), "test").shadow == good
    assert parse_statement(json.dumps(fields).encode(), "test").shadow is None
    with pytest.raises(DeviceError, match="is not a valid statement"):
        parse_statement(json.dumps({**fields, "shadow": rule}).encode(), "test")
