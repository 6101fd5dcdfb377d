"""A release in a file, installed by the device code as a stick would bring it: the same gates, no network."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toolkit
from toolkit.artifacts.fleet import Device
from toolkit.cli.main import main
from toolkit.deploy import deploy, rollback, status
from toolkit.deploy.offline import write_archive
from toolkit.deploy.registry.channel_statement import StatementOptions
from toolkit.errors import UsageError
from toolkit.workspace import Workspace

Install = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def install(devices: tuple[Device, ...]) -> Install:
    """install(file): the exit code and what it said; on the first device, which has nothing yet."""

    def run(file: Path, *argv: str) -> tuple[int, dict[str, Any]]:
        command = [
            sys.executable,
            "-B",
            "-m",
            "toolkit.device",
            "install",
            str(file),
            "--root",
            devices[0].root,
            *argv,
        ]
        folder = Path(toolkit.__file__).parents[1]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        return done.returncode, json.loads(done.stdout)

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "stick" / "release.tar"


def rewritten(file: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """The archive with each member's content changed."""
    changed = file.with_name("changed.tar")
    with tarfile.open(file) as archive, tarfile.open(changed, "w") as other:
        for member in archive:
            content = change(member.name, archive.extractfile(member).read())  # type: ignore[union-attr]
            member.size = len(content)
            other.addfile(member, io.BytesIO(content))
    return changed


@pytest.mark.slow
def test_install_makes_the_release_current_once(
    install: Install, devices: tuple[Device, ...], bundle: Path, other_bundle: Path, file: Path
) -> None:
    one = devices[:1]
    written = write_archive(bundle, file)
    code, output = install(file)
    assert (code, output["outcome"], output["release"], output["bundle"]) == (
        0,
        "deployed",
        written.release,
        bundle.name,
    )
    assert set(output["gates"]) == {"verify", "golden", "healthy"}
    assert status(one).ok[one[0]].bundle == bundle.name
    assert install(file)[1]["outcome"] == "unchanged"
    assert [result.outcome for result in deploy(bundle, one).ok.values()] == ["unchanged"], (
        "the same release as over SSH"
    )
    write_archive(other_bundle, file)
    assert install(file)[1]["outcome"] == "deployed"
    assert not rollback(one).failed
    assert status(one).ok[one[0]].bundle == bundle.name
    state = json.loads((Path(one[0].root) / "state.json").read_text())
    assert (state["source"], state["outcome"]) == ("install", "deployed")
    log = (Path(one[0].root) / "audit.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["what"] == "install" for line in log) == 2


@pytest.mark.slow
def test_install_keeps_the_old_release_when_golden_fails(
    install: Install, devices: tuple[Device, ...], bundle: Path, make_bundle: Callable[..., Path], file: Path
) -> None:
    write_archive(bundle, file)
    install(file)
    write_archive(make_bundle("wrong", golden_shift=0.2), file)
    code, output = install(file)
    assert (code, "golden check failed: max_abs 0.2" in output["error"]["what"]) == (1, True)
    assert status(devices[:1]).ok[devices[0]].bundle == bundle.name
    assert not (Path(devices[0].root) / "deploy.lock").exists()


@pytest.mark.slow
def test_install_takes_nothing_that_nobody_trusted_has_signed(
    install: Install, devices: tuple[Device, ...], bundle: Path, signed: Callable[[Path], Path], key: Path, file: Path
) -> None:
    root = Path(devices[0].root)
    trusts(devices[0], key)
    whole = signed(bundle)
    write_archive(whole, file)
    code, output = install(file)
    assert (code, "is not signed" in output["error"]["what"]) == (1, True)
    assert not (root / "store").exists()
    assert write_archive(whole, file, key).signed
    code, output = install(file)
    assert (code, output["outcome"]) == (0, "deployed")
    assert "signed by ci@example.org" in output["signature"]


def test_install_refuses_changed_device_code(
    install: Install, devices: tuple[Device, ...], bundle: Path, signed: Callable[[Path], Path], key: Path, file: Path
) -> None:
    trusts(devices[0], key)
    write_archive(signed(bundle), file, key)

    def another_release(name: str, content: bytes) -> bytes:
        return content.replace(b'"device"', b'"Device"', 1) if name == "release.json" else content

    code, output = install(rewritten(file, another_release))
    assert (code, "is not to be trusted" in output["error"]["what"]) == (1, True)

    def other_code(name: str, content: bytes) -> bytes:
        return content if name.endswith((".json", ".sig")) else content[:-1] + b"?"

    code, output = install(rewritten(file, other_code))
    assert (code, "damaged" in output["error"]["what"]) == (1, True)
    assert not (Path(devices[0].root) / "current").exists()


@pytest.mark.parametrize(
    ("change", "output"),
    [
        (lambda layout: layout | {"place": "../../etc"}, "another release"),
        (lambda layout: layout | {"files": layout["files"][1:]}, "different files"),
        (
            lambda layout: layout | {"files": [file | {"path": "../" + file["path"]} for file in layout["files"]]},
            "elsewhere",
        ),
        (
            lambda layout: layout | {"files": [file | {"chunks": [["../x", 1]]} for file in layout["files"]]},
            "not a digest",
        ),
        (lambda layout: {"files": 5}, "describes no release"),
    ],
)
def test_install_refuses_a_layout_that_lies(
    install: Install, bundle: Path, file: Path, change: Callable[[Any], Any], output: str
) -> None:
    write_archive(bundle, file)

    def lie(name: str, content: bytes) -> bytes:
        return json.dumps(change(json.loads(content))).encode() if name == "layout.json" else content

    code, answer = install(rewritten(file, lie))
    assert (code, output in answer["error"]["what"]) == (1, True)


@pytest.mark.slow
def test_install_keeps_what_came_when_the_file_is_cut(install: Install, bundle: Path, file: Path) -> None:
    write_archive(bundle, file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    code, output = install(file)
    assert (code, "the others are stored" in output["error"]["what"]) == (1, True)
    file.write_bytes(b"no archive")
    assert install(file)[0] == 1
    file.write_bytes(whole)
    assert install(file)[1]["outcome"] == "deployed"


@pytest.mark.slow
def test_install_refuses_without_room_or_while_locked(
    install: Install, devices: tuple[Device, ...], bundle: Path, file: Path
) -> None:
    write_archive(bundle, file)
    code, output = install(file, "--reserve-bytes", str(1 << 60))
    assert (code, "no room" in output["error"]["what"]) == (1, True)
    lock = Path(devices[0].root) / "deploy.lock"
    lock.mkdir()
    (lock / "info").write_text('{"who": "me@desk", "since": "today", "why": "a reason"}')
    (lock / "boot").write_text(Path("/proc/sys/kernel/random/boot_id").read_text())
    code, output = install(file)
    assert (code, "locked by me@desk" in output["error"]["what"]) == (1, True)
    (lock / "boot").write_text("another boot\n")
    assert install(file)[0] == 0


def test_deploy_verb_writes_a_file_and_reaches_no_device(
    bundle: Path, file: Path, key: Path, workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    argv = ("deploy", bundle, "--offline", file, "--sign", key, "--json", "--workspace", workspace.root)
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in argv])
    output = json.loads(capfd.readouterr().out)
    assert (caught.value.code, output["bundle"], output["signed"]) == (0, bundle.name, True)
    assert output["size_bytes"] == file.stat().st_size


@pytest.mark.slow
def test_archive_inherits_the_signers_of_the_last_one(
    install: Install,
    devices: tuple[Device, ...],
    bundle: Path,
    signed: Callable[[Path], Path],
    key: Path,
    tmp_path: Path,
) -> None:
    """Of the last one that was written, wherever it went, and of the one that is replaced."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "bob")], check=True)
    trusts(devices[0], key)
    with (Path(devices[0].root) / "allowed_signers").open("a") as allowed:
        allowed.write(f"bob {(tmp_path / 'bob.pub').read_text()}")
    whole, records = signed(bundle), tmp_path / "channels"
    rules = StatementOptions(signers=("ci@example.org", "bob"), threshold=2)
    write_archive(whole, tmp_path / "1.tar", key, options=rules, records=records)
    assert install(tmp_path / "1.tar")[0] == 0
    for place, where in ((tmp_path / "2.tar", records), (tmp_path / "1.tar", None)):
        with pytest.raises(UsageError, match="requires 2 signatures, but 1 key is given"):
            write_archive(whole, place, key, records=where)
    both = StatementOptions(cosigners=(tmp_path / "bob",))
    write_archive(whole, tmp_path / "2.tar", key, options=both, records=records)
    code, output = install(tmp_path / "2.tar")
    assert (code, "signed by bob, ci@example.org" in output["signature"]) == (0, True)
    write_archive(whole, tmp_path / "3.tar", key)
    code, output = install(tmp_path / "3.tar")
    assert (code, "release.json has 1 of 2 required signatures" in output["error"]["what"]) == (1, True)


def test_write_archive_says_so_when_the_key_is_none(bundle: Path, file: Path, tmp_path: Path) -> None:
    (tmp_path / "no key").write_text("no key")
    with pytest.raises(UsageError, match="cannot sign with this key"):
        write_archive(bundle, file, tmp_path / "no key")
    assert not file.exists()


def trusts(device: Device, key: Path) -> None:
    kind, public, *_ = key.with_suffix(".pub").read_text().split()
    Path(device.root).mkdir(parents=True, exist_ok=True)
    (Path(device.root) / "allowed_signers").write_text(f"ci@example.org {kind} {public}\n")
