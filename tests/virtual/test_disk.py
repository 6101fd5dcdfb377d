"""What goes into the disk. The tier `pi` makes and boots one."""

from __future__ import annotations

from pathlib import Path

from toolkit.virtual.disk import bootstrap, early_modules

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


def test_bootstrap_reads_sources_from_stdin_and_keeps_the_lists() -> None:
    words = bootstrap(Path("/somewhere/root.tar"))
    assert words[-3:] == ["bookworm", "/somewhere/root.tar", "-"]
    assert "--architectures=arm64" in words
    assert "--skip=cleanup/apt/lists" in words
