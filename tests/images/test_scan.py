"""`just scan`: what it hands to scanners, how it reads their answers, and that nothing unscanned passes as clean.

The scanners are stand-ins that print answers of the documented forms; nothing in them is a real vulnerability.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sbom
import scan

import toolkit

IMAGES = Path(toolkit.__file__).parents[1] / "images"
ANSWERS: dict[str, Any] = {
    "grype": {
        "matches": [
            {
                "vulnerability": {"id": "CVE-2000-0001", "severity": "High", "fix": {"versions": ["2.0.1"]}},
                "artifact": {"name": "numpy", "version": "2.0.0"},
            }
        ]
    },
    "trivy": {
        "Results": [
            {"Target": "debian"},
            {
                "Vulnerabilities": [
                    {
                        "VulnerabilityID": "CVE-2000-0001",
                        "PkgName": "numpy",
                        "InstalledVersion": "2.0.0",
                        "FixedVersion": "2.0.1",
                        "Severity": "HIGH",
                    }
                ]
            },
        ]
    },
    "osv-scanner": {
        "results": [
            {
                "packages": [
                    {"package": {"name": "numpy", "version": "2.0.0"}, "vulnerabilities": [{"id": "CVE-2000-0001"}]}
                ]
            }
        ]
    },
}
CLEAN = {"grype": {"matches": []}, "trivy": {"SchemaVersion": 2}, "osv-scanner": {"results": []}}


@pytest.fixture
def bill(tmp_path: Path) -> Path:
    """What the images' own generator says of glibc's library and NumPy."""
    root = tmp_path / "root"
    for name, text in {
        "usr/lib/os-release": "NAME=Debian\nVERSION_CODENAME=bookworm\n",
        "var/lib/dpkg/status.d/libc6": "Package: libc6\nSource: glibc\nVersion: 2.36-9+deb12u8\nArchitecture: arm64\n",
        "site/numpy-2.0.0.dist-info/METADATA": "Name: Num_Py\nVersion: 2.0.0\n\nText",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    path = tmp_path / "runner.spdx.json"
    path.write_text(json.dumps(sbom.document(root, "x", 0)))
    return path


def program(folder: Path, name: str, answer: object, code: int = 0) -> None:
    """Put a scanner into `folder` that stores the bill that it is given, and prints `answer`."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(answer if isinstance(answer, str) else json.dumps(answer))
    lines = ("for last; do :; done", f'cp "${{last#sbom:}}" "{folder}/handed.json"', f'cat "{folder}/{name}.json"')
    (folder / name).write_text("\n".join(("#!/bin/sh", *lines, f"exit {code}")))
    (folder / name).chmod(0o755)


def run(folder: Path, *argv: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{folder}:/usr/bin:/bin"}
    command = [sys.executable, IMAGES / "scan.py", *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("name", ANSWERS)
def test_bill_goes_to_the_scanner_that_is_there(bill: Path, tmp_path: Path, name: str) -> None:
    program(tmp_path / "bin", name, ANSWERS[name], code=int(name == "osv-scanner"))
    done = run(tmp_path / "bin", bill, "--json")
    assert done.returncode == 1, done.stderr
    (result,) = json.loads(done.stdout)
    assert (result["scanner"], result["packages"], result["not_scanned"]) == (name, 2, [])
    (finding,) = result["findings"]
    assert (finding["identifier"], finding["package"], finding["version"]) == ("CVE-2000-0001", "numpy", "2.0.0")
    text = (tmp_path / "bin" / "handed.json").read_text()
    assert "pkg:deb/debian/libc6@2.36-9%2Bdeb12u8?arch=arm64&distro=debian-12" in text
    systems = [each for each in json.loads(text)["packages"] if each.get("primaryPackagePurpose") == "OPERATING-SYSTEM"]
    assert [(each["name"], each["versionInfo"]) for each in systems] == [("debian", "12")]


@pytest.mark.parametrize("name", CLEAN)
def test_clean_is_what_a_scanner_scanned(bill: Path, tmp_path: Path, name: str) -> None:
    program(tmp_path / "bin", name, CLEAN[name])
    done = run(tmp_path / "bin", bill)
    assert done.returncode == 0, done.stderr
    assert f"2 packages scanned by {name}, 0 known vulnerabilities" in done.stdout


@pytest.mark.parametrize(("answer", "code"), [("no database", 1), ("", 0), ("[]", 0), ({"matches": []}, 2)])
def test_scanner_that_fails_has_scanned_nothing(bill: Path, tmp_path: Path, answer: object, code: int) -> None:
    program(tmp_path / "bin", "grype", answer, code)
    done = run(tmp_path / "bin", bill)
    assert done.returncode == 4
    assert "0 packages scanned by grype" in done.stdout
    assert "NOT SCANNED: all 2 packages: grype failed" in done.stdout


def test_debian_packages_of_no_release_are_not_scanned(bill: Path, tmp_path: Path) -> None:
    bill.write_text(bill.read_text().replace("distro=bookworm", "distro="))
    program(tmp_path / "bin", "grype", CLEAN["grype"])
    done = run(tmp_path / "bin", bill)
    assert done.returncode == 4
    assert "NOT SCANNED: Debian packages" in done.stdout


def test_named_scanner_must_be_there(bill: Path, tmp_path: Path) -> None:
    done = run(tmp_path, bill, "--scanner", "trivy")
    assert (done.returncode, done.stderr) == (4, "scan: trivy is not on PATH\n")


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    folder = tmp_path / "locks"
    folder.mkdir()
    (folder / "device.txt").write_text("num-py==2.0.0 \\\n    --hash=sha256:0\nother==1.0 ; sys_platform == 'linux'\n")
    (folder / "device-2023.txt").write_text("num-py==1.0\n")
    return folder


def fake_audit(monkeypatch: pytest.MonkeyPatch, known: dict[tuple[str, str], list[dict[str, Any]]]) -> None:
    """pip-audit that can look up only the packages in `known`."""

    def audited(versions: dict[str, str]) -> dict[str, Any]:
        there = [pair for pair in versions.items() if pair in known]
        return {name: {"name": name, "version": version, "vulns": known[name, version]} for name, version in there}

    monkeypatch.setattr(scan, "_audited", audited)


def test_locks_are_audited_in_every_version(locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    actual = [{"id": "PYSEC-1", "aliases": ["CVE-2000-0007"], "fix_versions": ["2.0.0"]}]
    fake_audit(monkeypatch, {("num-py", "2.0.0"): [], ("num-py", "1.0"): actual, ("other", "1.0"): []})
    result = scan.audit_locks(locks)
    assert result.packages == 3
    assert result.findings == [scan.Finding("num-py", "1.0", "CVE-2000-0007", "2.0.0")]
    assert result.not_scanned == ["Debian packages: none of grype, trivy and osv-scanner is on PATH"]


def test_wheels_that_pip_audit_skips_are_not_clean(locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_audit(monkeypatch, {("num-py", "2.0.0"): []})
    result = scan.audit_locks(locks)
    assert result.packages == 1
    assert result.not_scanned[1:] == [
        "wheels that pip-audit could not look up: num-py 1.0, other 1.0",
    ]


def test_answer_of_pip_audit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {
        "dependencies": [
            {"name": "num-py", "version": "1.0", "vulns": []},
            {"name": "other", "skip_reason": "not found"},
        ]
    }
    program(tmp_path / "bin", "pip-audit", answer)
    monkeypatch.setattr(scan.sys, "executable", str(tmp_path / "bin" / "python"))
    assert set(scan._audited({"Num_Py": "1.0", "other": "1.0"})) == {"Num_Py"}
    assert (tmp_path / "bin" / "handed.json").read_text() == "Num_Py==1.0\nother==1.0\n"


def test_statements_settle_findings(tmp_path: Path) -> None:
    path = tmp_path / "vex.toml"
    path.write_text(
        '[[statements]]\nid = "CVE-2000-0001"\npackage = "NumPy"\nversions = "<3"\nstate = "not_affected"\n'
    )
    actual = [scan.Finding("numpy", "2.0.0", "CVE-2000-0001"), scan.Finding("numpy", "2.0.0", "CVE-2000-0002")]
    result = scan.with_statements(scan.Scan("x", "grype", 1, actual), path)
    assert [one.state for one in result.findings] == ["not_affected", ""]
