"""Debian's packages without root. The real fetching is of the tiers eras and pi, which need a Debian machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.errors import MachineError
from toolkit.system import debian_packages

OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_CODENAME=bookworm\nID=debian\n'
DEB822 = """Types: deb
# a comment
URIs: http://mirror.invalid/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://mirror.invalid/security
Suites: bookworm-security
Components: main

Types: deb
URIs: http://other.invalid
Suites: nodistro
"""
ONE_LINE = """# deb http://old.invalid/debian bookworm main
deb [arch=amd64] http://mirror.invalid/debian bookworm main contrib
deb-src http://mirror.invalid/debian bookworm main
deb http://mirror.invalid/security bookworm-security main
"""


def make_etc(folder: Path, release: str, files: dict[str, str]) -> Path:
    (folder / "apt/sources.list.d").mkdir(parents=True)
    (folder / "os-release").write_text(release)
    for name, text in files.items():
        (folder / "apt" / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"sources.list.d/debian.sources": DEB822}, ["debian bullseye", "debian bullseye-updates", "security bullseye-security"]),
        ({"sources.list": ONE_LINE}, ["debian bullseye", "security bullseye-security"]),
    ],
)  # fmt: skip
def test_sources_are_the_machines_own_with_the_suite_replaced(
    tmp_path: Path, files: dict[str, str], expected: list[str]
) -> None:
    lines = debian_packages.sources("bullseye", make_etc(tmp_path, OS_RELEASE, files), {}).splitlines()
    assert [line.partition("] ")[2] for line in lines] == [f"http://mirror.invalid/{one} main" for one in expected]


def test_expired_releases_pass_for_snapshots_only(tmp_path: Path) -> None:
    address = "http://mirror.invalid/debian"
    mirror = debian_packages.sources("trixie", tmp_path, {"DEBIAN_MIRROR": address})
    snapshot = debian_packages.sources("trixie", tmp_path, {"DEBIAN_SNAPSHOT": address})
    assert "check-valid-until" not in mirror
    assert snapshot.startswith("deb [check-valid-until=no")
    assert mirror.endswith(f"{address} trixie main\n")
    assert snapshot.endswith(f"{address} trixie main\n")


def test_sources_are_the_mirror_when_one_is_named(tmp_path: Path) -> None:
    reported = debian_packages.sources("bullseye", tmp_path, {"DEBIAN_MIRROR": "http://mirror.invalid/snapshot"})
    assert reported.endswith("] http://mirror.invalid/snapshot bullseye main\n")


@pytest.mark.parametrize("release", [OS_RELEASE.replace("ID=debian", "ID=ubuntu"), OS_RELEASE.replace("book", "trix")])
def test_sources_say_what_to_set_when_the_machine_has_none(tmp_path: Path, release: str) -> None:
    etc = make_etc(tmp_path, release, {"sources.list": ONE_LINE})
    with pytest.raises(MachineError, match=r"no source of Debian packages was found\n.*DEBIAN_MIRROR"):
        debian_packages.sources("bullseye", etc, {})


def test_check_programs_names_what_is_not_here() -> None:
    with pytest.raises(MachineError, match="no-such-program not found: this is not Debian"):
        debian_packages.check_programs(("sh", "no-such-program"))


def test_run_gives_the_programs_own_errors_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"^trying: one two$"):
        debian_packages.run_program(
            ["sh", "-c", "echo noise E: one >&2; printf 'E: one\\nE: two\\n' >&2; exit 1"], "trying", tmp_path
        )


def test_run_lets_programs_read_names_in_any_script(tmp_path: Path) -> None:
    assert debian_packages.run_program(["locale", "charmap"], "asking", tmp_path).strip() == "UTF-8"
