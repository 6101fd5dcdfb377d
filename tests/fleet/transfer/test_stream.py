from __future__ import annotations

import io
import os
import tarfile
import time
import zlib
from pathlib import Path

import pytest

from toolkit.errors import FleetError, UsageError
from toolkit.fleet.transfer.chunks import Chunk
from toolkit.fleet.transfer.stream import RateLimit, compress, parse_rate_limit, tar_stream
from toolkit.hashing import sha256_bytes


def chunk(content: bytes) -> Chunk:
    return Chunk(sha256_bytes(content), len(content), content)


def test_archive_is_read_by_tarfile_when_sizes_are_odd() -> None:
    contents = [b"", os.urandom(512), os.urandom(513)]
    with tarfile.open(fileobj=io.BytesIO(b"".join(tar_stream(map(chunk, contents))))) as result:
        assert {member.name: _content(result, member) for member in result} == {
            sha256_bytes(one): one for one in contents
        }


def test_packed_makes_text_smaller_and_leaves_noise_alone(tmp_path: Path) -> None:
    text = b"<layer/>" * 1000
    content, form = compress(chunk(text))
    assert (form, zlib.decompress(content)) == (".z", text)
    noise = os.urandom(100_000)
    (tmp_path / "weights").write_bytes(b"before" + noise)
    assert compress(Chunk(sha256_bytes(noise), len(noise), tmp_path / "weights", 6)) == (noise, "")


def test_archive_says_so_when_a_file_has_become_shorter(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"short")
    with pytest.raises(FleetError, match="changed while it was being sent"):
        list(tar_stream([Chunk("0" * 64, 100, tmp_path / "weights")]))


@pytest.mark.parametrize(("text", "rate"), [("500k", 500e3), ("2M", 2e6), ("0.5M", 5e5), ("64", 64)])
def test_parse_bandwidth_reads_units(text: str, rate: float) -> None:
    assert parse_rate_limit(text).bytes_per_s == rate


@pytest.mark.parametrize("text", ["", "k", "0", "-1", "5 M", "5mb", "0.001"])
def test_parse_bandwidth_refuses_what_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="is not a valid bandwidth"):
        parse_rate_limit(text)


def test_bandwidth_makes_all_who_share_it_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    monkeypatch.setattr(time, "sleep", slept.append)
    line = RateLimit(1000)
    for _ in range(3):
        line.take(500)
    assert slept == [0.0, 0.5, 1.0]


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    assert stream is not None
    return stream.read()
