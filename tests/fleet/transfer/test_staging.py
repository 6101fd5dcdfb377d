from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.artifacts.fleet import Device
from toolkit.errors import BundleError, FleetError
from toolkit.fleet import CommandResult, LocalShell, Shell
from toolkit.fleet.ssh.shell import Command, Input, iter_blocks
from toolkit.fleet.transfer import stream
from toolkit.fleet.transfer.chunks import MAX_CHUNK_BYTES, Chunk
from toolkit.fleet.transfer.staging import TransferOptions, read_remote_state, stage
from toolkit.fleet.transfer.stream import RateLimit
from toolkit.fleet.transfer.tree import FileTree, build_tree

PLACE = "images/set"


@pytest.fixture
def tree(tmp_path: Path) -> FileTree:
    weights = tmp_path / "weights"
    weights.write_bytes(os.urandom(300_001))
    return build_tree({"model.bin": weights, "a folder/naïve name.txt": b"hello", "again.txt": b"hello", "empty": b""})


@pytest.fixture(params=["ssh", "local"])
def shell(request: pytest.FixtureRequest) -> Shell:
    form: Shell = request.getfixturevalue(f"{request.param}_shell")
    return form


class CutShell:
    """A shell whose connection is cut at its n-th command: before it (`reached` 0), or after some of its stdin."""

    def __init__(self, shell: Shell, at: int, reached: int = 0) -> None:
        self.device, self._shell, self._left, self._reached = shell.device, shell, at, reached

    def run(self, command: Command, *, stdin: Input = b"", timeout: float | None = None) -> CommandResult:
        self._left -= 1
        if self._left >= 0:
            return self._shell.run(command, stdin=stdin, timeout=timeout)
        if self._reached:
            self._shell.run(command, stdin=b"".join(iter_blocks(stdin))[: self._reached], timeout=timeout)
        raise FleetError("the connection was lost", where=self.device.name)

    def put(self, content: bytes | Path, remote: str, *, timeout: float | None = None) -> None:
        self._shell.put(content, remote, timeout=timeout)

    def background(self, command: Command, *, timeout: float | None = None) -> AbstractContextManager[str]:
        return self._shell.background(command, timeout=timeout)

    def close(self) -> None:
        self._shell.close()


def test_stage_sends_nothing_when_all_is_there(shell: Shell, tree: FileTree) -> None:
    assert stage(shell, shell.device, tree, PLACE) == 300_006
    _is_whole(shell.device, tree)
    assert stage(shell, shell.device, tree, PLACE) == 0
    assert read_remote_state(shell, shell.device, tree, PLACE).damaged == ()


def test_stage_sends_only_what_is_new_to_the_store(shell: Shell, tree: FileTree) -> None:
    stage(shell, shell.device, tree, PLACE)
    other = build_tree({file.path: file.source for file in tree.files} | {"new": b"123"})
    assert stage(shell, shell.device, other, "releases/other") == 3
    root = Path(shell.device.root)
    assert (root / "releases/other/model.bin").samefile(root / PLACE / "model.bin")


def test_stage_leaves_everything_read_only(local_shell: Shell, tree: FileTree) -> None:
    stage(local_shell, local_shell.device, tree, PLACE)
    for path in [place := Path(local_shell.device.root) / PLACE, *place.rglob("*")]:
        assert not path.stat().st_mode & 0o222, path


@pytest.mark.parametrize("reached", [0, 150_000])
@pytest.mark.parametrize("at", range(2))
def test_stage_leaves_no_half_and_heals_when_cut_at_any_step(
    local_shell: Shell, tree: FileTree, at: int, reached: int
) -> None:
    with pytest.raises(FleetError, match="lost"):
        stage(CutShell(local_shell, at, reached), local_shell.device, tree, PLACE)
    place = Path(local_shell.device.root) / PLACE
    assert not place.exists()
    stage(local_shell, local_shell.device, tree, PLACE)
    _is_whole(local_shell.device, tree)
    assert [path.name for path in place.parent.glob(".*")] == [".set.sums"]


def test_stage_takes_two_commands_on_a_bare_device(local_shell: Shell, tree: FileTree) -> None:
    assert stage(CutShell(local_shell, 2), local_shell.device, tree, PLACE) > 0


def test_stage_names_the_file_when_a_bit_flips_in_transit(
    local_shell: Shell, tree: FileTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flipped(chunk: Chunk) -> tuple[bytes, str]:
        content = chunk.read()
        return (bytes([content[0] ^ 1]) + content[1:] if chunk == first else content), ""

    first = next(file for file in tree.files if file.path == "model.bin").chunks[0]
    with monkeypatch.context() as patch:
        patch.setattr(stream, "compress", flipped)
        with pytest.raises(FleetError, match=r"local: model\.bin arrived damaged"):
            stage(local_shell, local_shell.device, tree, PLACE)
    assert not (Path(local_shell.device.root) / PLACE).exists()
    assert stage(local_shell, local_shell.device, tree, PLACE) == MAX_CHUNK_BYTES, "the other piece had come right"


def test_stage_mends_the_file_when_a_bit_flipped_on_the_device(local_shell: Shell, tree: FileTree) -> None:
    stage(local_shell, local_shell.device, tree, PLACE)
    path = Path(local_shell.device.root) / PLACE / "model.bin"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    digest = next(file.sha256 for file in tree.files if file.path == "model.bin")
    known = read_remote_state(local_shell, local_shell.device, tree, PLACE)
    assert set(known.damaged) == {"model.bin", f"store/{digest}"}
    assert stage(local_shell, local_shell.device, tree, PLACE, known) == 300_001 - MAX_CHUNK_BYTES
    _is_whole(local_shell.device, tree)


def test_stage_restores_a_file_deleted_on_the_device(local_shell: Shell, tree: FileTree) -> None:
    stage(local_shell, local_shell.device, tree, PLACE)
    shutil.rmtree(Path(local_shell.device.root) / PLACE / "a folder")
    assert stage(local_shell, local_shell.device, tree, PLACE) == 0
    _is_whole(local_shell.device, tree)


def test_stage_sends_nothing_when_there_is_no_room(local_shell: Shell, tree: FileTree) -> None:
    keeps_all = replace(local_shell.device, variables={"toolkit_reserve_bytes": 1 << 60})
    with pytest.raises(FleetError, match=r"local: no room: .* to stay free"):
        stage(local_shell, keeps_all, tree, PLACE)
    crowded = replace(read_remote_state(local_shell, local_shell.device, tree, PLACE), free_inodes=3)
    with pytest.raises(FleetError, match="no room: 3 free inodes"):
        stage(local_shell, local_shell.device, tree, PLACE, crowded)
    assert not Path(local_shell.device.root).exists()


def test_stage_says_so_when_a_file_changes_while_it_is_sent(local_shell: Shell, tree: FileTree) -> None:
    Path(str(next(f.source for f in tree.files if f.path == "model.bin"))).write_bytes(b"shorter")
    with pytest.raises(FleetError, match="changed while it was being sent"):
        stage(local_shell, local_shell.device, tree, PLACE)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../up", "a//b", "./a", "line\nend", "tab\tbed", " outer", "back\\slash"]
)
def test_tree_of_refuses_names_that_a_device_could_misread(path: str) -> None:
    with pytest.raises(BundleError):
        build_tree({path: b""})


def test_stage_goes_on_where_it_was_cut_when_pieces_had_come(local_shell: Shell, tmp_path: Path) -> None:
    tree = build_tree({"weights": os.urandom(10 * MAX_CHUNK_BYTES)})
    with pytest.raises(FleetError, match="lost"):
        stage(CutShell(local_shell, 1, reached=5 * MAX_CHUNK_BYTES), local_shell.device, tree, PLACE)
    sent = stage(local_shell, local_shell.device, tree, PLACE)
    assert 5 * MAX_CHUNK_BYTES <= sent <= 7 * MAX_CHUNK_BYTES
    _is_whole(local_shell.device, tree)


def test_stage_sends_only_new_chunks_of_a_similar_file(local_shell: Shell) -> None:
    backbone = os.urandom(4 * MAX_CHUNK_BYTES)
    stage(local_shell, local_shell.device, build_tree({"a.bin": backbone + b"head"}), PLACE)
    other = build_tree({"b.bin": backbone + b"another head"})
    assert stage(local_shell, local_shell.device, other, "images/other") == len(b"another head")
    assert (Path(local_shell.device.root) / "images/other/b.bin").read_bytes() == backbone + b"another head"


def test_stage_sends_a_fraction_when_only_the_head_changed(local_shell: Shell, tmp_path: Path) -> None:
    backbone = [os.urandom(size) for size in (900_000, 300_000, 3_000, 70_000)]
    first, second = (_ir(tmp_path / name, [os.urandom(size), *backbone]) for name, size in (("a", 2_000), ("b", 5_000)))
    stage(local_shell, local_shell.device, build_tree(first), PLACE)
    sent = stage(local_shell, local_shell.device, build_tree(second), "images/other")
    assert sent < 0.15 * sum(path.stat().st_size for path in second.values())


def _ir(folder: Path, tensors: list[bytes]) -> dict[str, Path]:
    """Weights, and an .xml that says where they lie."""
    folder.mkdir()
    places = [f'<data offset="{sum(map(len, tensors[:n]))}" size="{len(one)}"/>' for n, one in enumerate(tensors)]
    (folder / "model.xml").write_text("<net>" + "".join(places) + "</net>")
    (folder / "model.bin").write_bytes(b"".join(tensors))
    return {name: folder / name for name in ("model.xml", "model.bin")}


def test_stage_sends_a_chunk_that_is_gone_since_the_survey(local_shell: Shell) -> None:
    backbone = os.urandom(2 * MAX_CHUNK_BYTES)
    stage(local_shell, local_shell.device, build_tree({"a.bin": backbone + b"head"}), PLACE)
    other = build_tree({"b.bin": backbone + b"another head"})
    known = read_remote_state(local_shell, local_shell.device, other, "images/other")
    assert len(known.chunks) == 2
    shutil.rmtree(Path(local_shell.device.root) / "store")
    sent = stage(local_shell, local_shell.device, other, "images/other", known)
    assert sent == len(b"another head") + 2 * MAX_CHUNK_BYTES


def test_stage_keeps_to_the_bandwidth(local_shell: Shell, tree: FileTree, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(RateLimit, "take", lambda self, size: taken.append(size))
    stage(local_shell, local_shell.device, tree, PLACE, transfer=TransferOptions(bandwidth=RateLimit(1e9)))
    assert sum(taken) >= 300_006


def test_read_remote_state_is_empty_without_the_devices_python(local_shell: Shell, tree: FileTree) -> None:
    bare = replace(local_shell.device, python="/nowhere/python")
    known = read_remote_state(local_shell, bare, tree, PLACE)
    assert (known.intact, known.stored, known.current) == (frozenset(), frozenset(), None)
    assert known.free_bytes > 0


def _is_whole(device: Device, tree: FileTree) -> None:
    shell = LocalShell(device)
    assert read_remote_state(shell, device, tree, PLACE).intact == {file.path for file in tree.files}
    assert set(_files(Path(device.root) / PLACE)) == {file.path for file in tree.files}
    assert not list((Path(device.root) / "store").glob("*.part"))


def _files(folder: Path) -> Iterator[str]:
    yield from (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
