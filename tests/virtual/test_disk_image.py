"""What goes into the disk. The tier `pi` makes and boots one."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from toolkit.errors import MachineError
from toolkit.progress import Silent
from toolkit.system import debian_packages
from toolkit.virtual.disk_image import (
    LEGACY_SUITE,
    SUITE,
    SUITES,
    early_modules,
    get_disk,
    initrd_entries,
    mmdebstrap_command,
    sources,
)
from toolkit.virtual.tools import Tools

MODULES_DEP = """\
kernel/fs/ext4/ext4.ko: kernel/crypto/crc16.ko kernel/fs/mbcache.ko kernel/fs/jbd2/jbd2.ko
kernel/fs/jbd2/jbd2.ko:
kernel/fs/mbcache.ko:
kernel/crypto/crc16.ko:
kernel/drivers/mmc/host/sdhci-iproc.ko: kernel/drivers/mmc/host/sdhci-pltfm.ko kernel/drivers/mmc/host/sdhci.ko kernel/drivers/mmc/core/mmc_core.ko
kernel/drivers/mmc/core/mmc_core.ko:
"""


def test_early_modules_come_after_what_they_need(tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text(MODULES_DEP)
    names = [path.stem for path in early_modules(tmp_path, ("sdhci_iproc", "built_in", "mmc_core", "ext4"))]
    assert names == ["mmc_core", "sdhci", "sdhci-pltfm", "sdhci-iproc", "jbd2", "mbcache", "crc16", "ext4"]


def test_initrd_holds_modules_decompressed(tmp_path: Path) -> None:
    (tmp_path / "busybox").write_bytes(b"program")
    (tmp_path / "ext4.ko.xz").write_bytes(lzma.compress(b"module"))
    entries = {entry.name: entry.content for entry in initrd_entries(tmp_path / "busybox", [tmp_path / "ext4.ko.xz"])}
    assert entries["modules/00-ext4.ko"] == b"module"


def test_mmdebstrap_reads_sources_from_stdin_and_keeps_the_lists() -> None:
    argv = mmdebstrap_command(Path("/somewhere/root.tar"))
    assert argv[-3:] == ["trixie", "/somewhere/root.tar", "-"]
    assert "--architectures=arm64" in argv
    assert "--skip=cleanup/apt/lists" in argv


def test_legacy_suite_has_no_update_sources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = {
        suite: f"deb a {suite} main\ndeb a {suite}-updates main\ndeb b {suite}-security main\n" for suite in SUITES
    }
    monkeypatch.setattr(debian_packages, "sources", listed.__getitem__)
    assert sources(LEGACY_SUITE) == f"deb a {LEGACY_SUITE} main\n"
    assert sources(SUITE) == listed[SUITE]


@pytest.mark.parametrize(
    ("message", "programs", "remedy"),
    [
        ("apt download failed", (), "DEBIAN_MIRROR"),
        ("install arch-test for foreign architecture support", (), "apt-get install arch-test"),
        ("arm64 can neither be executed natively nor", ("arch-test", "update-binfmts"), "update-binfmts --enable"),
    ],
)
def test_error_tells_what_to_do_about_mmdebstrap(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, message: str, programs: tuple[str, ...], remedy: str
) -> None:
    for name in ("mmdebstrap", *programs):
        program = tmp_path / "programs" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho 'E: {message}' >&2\nexit 25\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(debian_packages, "check_programs", lambda _programs: None)
    with pytest.raises(MachineError, match=message) as raised:
        get_disk(Tools(tmp_path), Silent())
    assert remedy in raised.value.problems[0].remedy
    assert not list((tmp_path / "edge-vision-toolkit/disks").iterdir())
