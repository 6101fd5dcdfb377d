"""What status tells of a device that is not as it was left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit import hashing
from toolkit.artifacts.fleet import Device
from toolkit.deploy import commands, deploy, status
from toolkit.deploy.status import drift, parse
from toolkit.fleet import LocalShell

names = st.text("abcdef/._- ", min_size=1, max_size=8)


@given(
    st.dictionaries(names, st.binary(max_size=4), max_size=6), st.dictionaries(names, st.binary(max_size=4), max_size=6)
)
def test_differences_names_exactly_what_differs(release_files: dict[str, bytes], there: dict[str, bytes]) -> None:
    listing = json.dumps(
        {"files": {name: {"sha256": hashing.sha256_bytes(content)} for name, content in release_files.items()}}
    )
    release = hashing.sha256_bytes(listing.encode())
    result = {**there, "release.json": listing.encode()}
    answer = f"{listing}\n" + "".join(
        f"{hashing.sha256_bytes(content)}  ./{name}\n" for name, content in result.items()
    )
    changes = drift(answer, release)
    expected = {name for name in {*release_files, *there} if release_files.get(name) != there.get(name)}
    if not release_files:  # a list without files says nothing about others
        expected = set()
    assert len(changes) == len(expected)
    assert all(any(line.startswith(f"{name} ") for line in changes) for name in expected)


def test_differences_tells_a_list_that_was_changed_itself() -> None:
    assert drift("{}\n" + f"{'1' * 64}  ./release.json\n", "0" * 64) == ("release.json was changed",)
    assert drift("", "0" * 64) == ("release.json is missing",)


@pytest.mark.slow
def test_status_tells_files_that_were_changed_on_the_device(devices: tuple[Device, ...], bundle: Path) -> None:
    deploy(bundle, devices)
    changed, lost, more = (Path(device.root) / "current" for device in devices)
    _write(changed / "labels.txt", lambda path: path.write_text("other\n"))
    _write(lost / "labels.txt", lambda path: path.unlink())
    _write(more / "more.txt", lambda path: path.write_text("more\n"))
    changes = [result.drift for result in status(devices).ok.values()]
    assert changes == [
        ("labels.txt was changed",),
        ("labels.txt is missing",),
        ("more.txt is not part of the release",),
    ]
    assert [result.drift for result in status(devices, files=False).ok.values()] == [()] * 3


def _write(path: Path, change: Callable[[Path], object]) -> None:
    path.parent.chmod(0o755)
    if path.exists():
        path.chmod(0o644)
    change(path)


@given(st.text(), st.text())
def test_parse_and_drift_read_whatever_a_device_prints(output: str, release: str) -> None:
    """Hostile output of one device must not end the status of all."""
    current = parse(Device(name="one", host="h"), output)
    assert all(value is None or isinstance(value, str) for value in (current.release, current.bundle, current.name))
    assert all(isinstance(each, str) for each in drift(output, release))


@pytest.mark.parametrize(
    "index", ['{"files": 3}', '{"files": {"a": 3}}', "[" * 100_000, '{"files": {"a": {"sha256": []}}}']
)
def test_drift_reports_a_release_whose_index_is_hostile(index: str) -> None:
    assert drift(f"{index}\n{'0' * 64}  ./a\n", "1" * 64)


@pytest.mark.parametrize(
    "line",
    [
        "current:999999999999 'current' -> 'releases/x'",
        "current:-1 'current' -> 'releases/x'",
        'current/manifest.json:{"name": ["x"]}',
        "current/release.json:" + "[" * 100_000,
        "deploy.lock/info:[1]",
    ],
)
def test_parse_takes_hostile_fields_as_unknown(line: str) -> None:
    current = parse(Device(name="one", host="h"), line)
    assert (current.since, current.bundle, current.name) == (None, None, None)


def test_drift_names_links_and_byte_code(tmp_path: Path) -> None:
    """Nothing may lie in a release that its index does not name."""
    release = tmp_path / "releases/x"
    (release / "device/__pycache__").mkdir(parents=True)
    (release / "device/__pycache__/a.pyc").write_bytes(b"code")
    (release / "link").symlink_to("/etc/passwd")
    (release / "release.json").write_text('{"files": {"a": {"sha256": "0"}}}')
    device = Device(name="one", host="h", root=str(tmp_path))
    differences = drift(LocalShell(device).run(commands.files(device, "x")).stdout, "x")
    assert "device/__pycache__/a.pyc is not part of the release" in differences
    assert "link is not part of the release" in differences
