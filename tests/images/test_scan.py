"""`just scan` on a bill of materials and small databases of the real forms; nothing in them is a real vulnerability."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import sbom

import toolkit

IMAGES = Path(toolkit.__file__).parents[1] / "images"
TRACKER = {
    "glibc": {
        "CVE-2000-0001": {
            "releases": {"bookworm": {"status": "resolved", "fixed_version": "2.36-9+deb12u9", "urgency": "high"}}
        },
        "CVE-2000-0002": {
            "releases": {"bookworm": {"status": "resolved", "fixed_version": "2.36-1", "urgency": "low"}}
        },
        "CVE-2000-0003": {"releases": {"bookworm": {"status": "open", "urgency": "unimportant"}}},
        "CVE-2000-0004": {"releases": {"bullseye": {"status": "open", "urgency": "high"}}},
        "CVE-2000-0005": {"releases": {"bookworm": {"status": "resolved", "fixed_version": "0", "urgency": "low"}}},
    },
    "libc6": {"CVE-2000-0006": {"releases": {"bookworm": {"status": "open", "urgency": "a binary's name is none"}}}},
}
WHEEL = {
    "id": "PYSEC-2000-1",
    "aliases": ["CVE-2000-0007"],
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "Num.Py"},
            "ranges": [
                {"type": "GIT", "events": [{"introduced": "0"}]},
                {"type": "ECOSYSTEM", "events": [{"introduced": "1.9"}, {"fixed": "2.0.1"}]},
            ],
        }
    ],
}
DEBIAN = {
    "id": "DEBIAN-CVE-2000-0008",
    "upstream": ["CVE-2000-0008"],
    "affected": [
        {
            "package": {"ecosystem": "Debian:12", "name": "glibc"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
            "ecosystem_specific": {"urgency": "low"},
        }
    ],
}
WITHDRAWN = WHEEL | {"id": "PYSEC-2000-2", "aliases": [], "withdrawn": "2000-01-01T00:00:00Z"}


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


def scan(*words: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"VULNERABILITIES": str(folder or "/nowhere")}
    command = [sys.executable, IMAGES / "scan.py", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def rows_by_id(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 1, done.stderr
    (rows,) = json.loads(done.stdout).values()
    return {row["identifier"]: row for row in rows}


def test_scan_says_what_to_fetch_when_no_database_is_at_hand(bill: Path, tmp_path: Path) -> None:
    done = scan(bill, folder=tmp_path / "empty")
    assert done.returncode == 4
    assert "Debian's security tracker as JSON" in done.stderr
    assert str(tmp_path / "empty") in done.stderr
    assert "Traceback" not in done.stderr


def test_scan_finds_debian_packages_by_their_source(bill: Path, tmp_path: Path) -> None:
    (tmp_path / "tracker.json").write_text(json.dumps(TRACKER))
    rows = rows_by_id(scan(bill, "--database", tmp_path / "tracker.json", "--json"))
    assert set(rows) == {"CVE-2000-0001"}
    assert rows["CVE-2000-0001"]["fixed"] == "2.36-9+deb12u9"
    assert rows["CVE-2000-0001"]["package"]["name"] == "libc6"
    with_all = rows_by_id(scan(bill, "--database", tmp_path / "tracker.json", "--json", "--unimportant"))
    assert set(with_all) == {"CVE-2000-0001", "CVE-2000-0003"}


@pytest.mark.parametrize("form", ["archive", "folder", "lines", "compressed"])
def test_scan_reads_records_of_osv_in_every_form(bill: Path, tmp_path: Path, form: str) -> None:
    records, place = [WHEEL, DEBIAN, WITHDRAWN], tmp_path / "database"
    place.mkdir()
    if form == "archive":
        with zipfile.ZipFile(place / "all.zip", "w") as archive:
            for record in records:
                archive.writestr(f"{record['id']}.json", json.dumps(record))
    elif form == "folder":
        (place / "osv").mkdir()
        for record in records:
            (place / "osv" / f"{record['id']}.json").write_text(json.dumps(record))
    elif form == "lines":
        (place / "osv.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    else:
        (place / "osv.json.gz").write_bytes(gzip.compress(json.dumps(records).encode()))
    rows = rows_by_id(scan(bill, "--json", folder=place))
    assert set(rows) == {"CVE-2000-0007", "CVE-2000-0008"}
    assert rows["CVE-2000-0007"]["fixed"] == "2.0.1"
    assert rows["CVE-2000-0008"]["package"]["source"] == "glibc"


def test_scan_prints_findings_and_the_database_age(bill: Path, tmp_path: Path) -> None:
    database = tmp_path / "osv.json"
    database.write_text(json.dumps(WHEEL))
    os.utime(database, (0, 0))
    done = scan(bill, "--database", database)
    assert "CVE-2000-0007" in done.stdout
    assert "num-py 2.0.0  fixed in 2.0.1" in done.stdout
    assert "osv.json: 1 entries, of 1970-01-01" in done.stderr
    database.write_text(json.dumps(WITHDRAWN))
    assert scan(bill, "--database", database).returncode == 0


@pytest.mark.parametrize("content", ["no JSON", '{"some": "thing"}', "[3]"])
def test_scan_refuses_a_file_that_is_no_database(bill: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "other.json").write_text(content)
    done = scan(bill, "--database", tmp_path / "other.json")
    assert done.returncode == 2
    assert "other.json is n" in done.stderr
    assert "Traceback" not in done.stderr
