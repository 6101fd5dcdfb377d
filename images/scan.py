"""List known vulnerabilities of the packages in images and locks, as another program finds them; what it could not scan is named.

    scan.py [IMAGE…] [--scanner NAME] [--json]

IMAGE is a name in the engine's store, the tar file of an image or an SPDX file; default: the runner. Its bill of materials goes
to grype, trivy or osv-scanner, whichever is on PATH first. Without them, pip-audit checks the wheels of the lock files, and no
image is scanned. Statements in requirements/vex.toml are shown beside findings; those that say "not affected", "resolved" or
"false positive" do not count.

Exit codes: 0 everything was scanned and nothing counts, 1 vulnerabilities, 4 nothing was found but something was not scanned.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
sys.path[:0] = [str(HERE), str(REPOSITORY)]

import layout  # noqa: E402, the folder of this file is known only now

from toolkit.bundle.bill_of_materials import load_statements, locks_folder  # noqa: E402

DEBIAN = {"bullseye": "11", "bookworm": "12", "trixie": "13"}
"""Scanners number Debian's releases."""
PURL = re.compile(r"pkg:(deb|pypi)/([^@?]+)@([^?]+)")
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
LOCKS = ("device*.txt", "image-*.txt", "legacy/20*.txt")
"""The wheels of devices and container images."""
SETTLED = {"not_affected", "resolved", "false_positive"}
Document = dict[str, Any]


@dataclass(frozen=True, order=True)
class Finding:
    """One vulnerability of one package; `fixed` is empty without a fixed version."""

    package: str
    version: str
    identifier: str
    fixed: str = ""
    severity: str = ""
    state: str = ""
    """What requirements/vex.toml says: "not_affected", "exploitable"…; empty without a statement."""


@dataclass
class Scan:
    """What a scanner found in one subject, and what it did not look at, in words."""

    subject: str
    scanner: str
    packages: int
    findings: list[Finding] = field(default_factory=list)
    not_scanned: list[str] = field(default_factory=list)


def grype(answer: Document) -> Iterator[Finding]:
    """Yield the findings in grype's JSON."""
    for match in answer["matches"]:
        vulnerability, artifact = match["vulnerability"], match["artifact"]
        fixed = ", ".join(vulnerability.get("fix", {}).get("versions", ()))
        yield Finding(
            artifact["name"], artifact["version"], vulnerability["id"], fixed, vulnerability.get("severity", "")
        )


def trivy(answer: Document) -> Iterator[Finding]:
    """Yield the findings in trivy's JSON."""
    for result in answer.get("Results", ()):
        for one in result.get("Vulnerabilities", ()):
            versions = one["InstalledVersion"], one["VulnerabilityID"], one.get("FixedVersion", "")
            yield Finding(one["PkgName"], *versions, one.get("Severity", ""))


def osv_scanner(answer: Document) -> Iterator[Finding]:
    """Yield the findings in osv-scanner's JSON."""
    for result in answer["results"]:
        for entry in result["packages"]:
            for vulnerability in entry.get("vulnerabilities", ()):
                yield Finding(entry["package"]["name"], entry["package"]["version"], vulnerability["id"])


SCANNERS: dict[str, tuple[list[str], set[int], Callable[[Document], Iterator[Finding]]]] = {
    "grype": (["grype", "--output", "json", "sbom:{file}"], {0}, grype),
    "trivy": (["trivy", "sbom", "--quiet", "--format", "json", "{file}"], {0}, trivy),
    "osv-scanner": (["osv-scanner", "scan", "--format", "json", "--sbom", "{file}"], {0, 1}, osv_scanner),
}
"""Of each scanner: its command, the exit codes after which its answer counts, and how the answer is read."""


def documents(image: str) -> Iterator[tuple[str, Document]]:
    """Yield name and content of each bill of materials of an image."""
    file = Path(image)
    if file.suffix == ".json":
        yield image, json.loads(file.read_text())
        return
    with tempfile.TemporaryDirectory() as folder:
        stored = layout.Layout(file if file.is_file() else layout.save(image, Path(folder)))
        for platform in sorted(stored.images()):
            yield f"{image} {platform}", layout.bill_of_materials(stored, platform)


def for_scanners(bill: Document) -> tuple[Document, int, bool]:
    """Return a bill that scanners understand, its number of packages, and whether the release of its Debian packages is known.

    They need Debian's release as a number, in the addresses of packages and as an operating system of its own.
    """
    text = json.dumps(bill)
    codenames = {name for name in DEBIAN if f"distro={name}" in text}
    for name in codenames:
        text = text.replace(f"distro={name}", f"distro=debian-{DEBIAN[name]}")
    named: Document = json.loads(text)
    kinds = [match[1] for match in map(PURL.search, _purls(named)) if match]
    for name in codenames:
        system = {"SPDXID": f"SPDXRef-OperatingSystem-{name}", "name": "debian", "versionInfo": DEBIAN[name]}
        system |= {"primaryPackagePurpose": "OPERATING-SYSTEM", "downloadLocation": "NOASSERTION"}
        named["packages"] = [system | {"filesAnalyzed": False}, *named["packages"]]
    return named, len(kinds), bool(codenames) or "deb" not in kinds


def _purls(bill: Document) -> list[str]:
    return [each["referenceLocator"] for entry in bill["packages"] for each in entry.get("externalRefs", ())]


def scan_image(subject: str, bill: Document, scanner: str) -> Scan:
    """Return what a scanner finds in a bill of materials."""
    command, codes, read = SCANNERS[scanner]
    named, packages, released = for_scanners(bill)
    result = Scan(subject, scanner, packages)
    if not released:
        result.not_scanned.append(
            "Debian packages: the bill of materials does not name their release; rebuild the image"
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "image.spdx.json")
        file.write_text(json.dumps(named))
        arguments = [argument.format(file=file) for argument in command]
        done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=False)
    try:
        if done.returncode not in codes:
            raise ValueError(f"exit code {done.returncode}")  # noqa: TRY301 - as if its answer were none
        result.findings = sorted(set(read(json.loads(done.stdout))))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        result.packages = 0
        result.not_scanned.append(f"all {packages} packages: {scanner} failed ({error})")
    return result


def audit_locks(folder: Path) -> Scan:
    """Return what pip-audit knows about the locked wheels of devices and images; packages of Debian are not scanned."""
    locks = [path for pattern in LOCKS for path in sorted(folder.glob(pattern))]
    pairs = sorted({pair for path in locks for pair in PINNED.findall(path.read_text())})
    result = Scan(f"{len(locks)} lock files", "pip-audit", 0)
    result.not_scanned.append("Debian packages: none of grype, trivy and osv-scanner is on PATH")
    while pairs:
        once = dict(reversed(pairs))  # pip-audit refuses a package in two versions
        answers = _audited(once)
        result.packages += len(answers)
        result.findings += [one for answer in answers.values() for one in _vulnerabilities(answer)]
        left = sorted(once.keys() - answers.keys())
        if left:
            names = ", ".join(f"{name} {once[name]}" for name in left)
            result.not_scanned.append(f"wheels that pip-audit could not look up: {names}")
        pairs = [pair for pair in pairs if once[pair[0]] != pair[1]]
    result.findings = sorted(set(result.findings))
    return result


def _audited(versions: dict[str, str]) -> dict[str, Document]:
    """Return pip-audit's answer for each package that it could look up."""
    program = shutil.which("pip-audit", path=str(Path(sys.executable).parent)) or shutil.which("pip-audit")
    if program is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "requirements.txt")
        file.write_text("".join(f"{name}=={version}\n" for name, version in sorted(versions.items())))
        command = [program, "--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
        done = subprocess.run(
            [*command, "--requirement", file], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
        )
    try:
        entries = json.loads(done.stdout)["dependencies"]
        return {_named(versions, each["name"]): each for each in entries if "skip_reason" not in each}
    except (ValueError, KeyError, TypeError):
        return {}


def _named(versions: dict[str, str], name: str) -> str:
    """Return the name as the lock files spell it."""
    return next(one for one in versions if re.sub(r"[-_.]+", "-", one).lower() == re.sub(r"[-_.]+", "-", name).lower())


def _vulnerabilities(answer: Document) -> Iterator[Finding]:
    for one in answer["vulns"]:
        names = [one["id"], *one.get("aliases", ())]
        identifier = next((name for name in names if name.startswith("CVE-")), one["id"])
        yield Finding(answer["name"], answer["version"], identifier, ", ".join(one.get("fix_versions", ())))


def with_statements(result: Scan, path: Path) -> Scan:
    """Return the findings with what the file of statements says about them."""
    statements = load_statements(path)
    states = {
        one: statement.state
        for one in result.findings
        for statement in statements
        if statement.id == one.identifier and statement.concerns(one.package, one.version)
    }
    findings = [Finding(**asdict(one) | {"state": states.get(one, "")}) for one in result.findings]
    return Scan(result.subject, result.scanner, result.packages, findings, result.not_scanned)


def _print(result: Scan) -> None:
    counting = sum(one.state not in SETTLED for one in result.findings)
    print(f"{result.subject}: {result.packages} packages scanned by {result.scanner}, {counting} known vulnerabilities")
    for one in result.findings:
        fixed = f"fixed in {one.fixed}" if one.fixed else "no fixed version"
        row = f"  {one.identifier:20} {one.package} {unquote(one.version)}  {fixed}  {one.severity} {one.state}"
        print(row.rstrip())
    for text in result.not_scanned:
        print(f"  NOT SCANNED: {text}")


def main() -> int:
    """Scan and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="*", metavar="IMAGE")
    parser.add_argument("--scanner", choices=SCANNERS, help="default: the first on PATH")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    scanner = args.scanner or next((name for name in SCANNERS if shutil.which(name)), "")
    if scanner and not shutil.which(scanner):
        print(f"scan: {scanner} is not on PATH", file=sys.stderr)
        return 4
    locks = locks_folder()
    if scanner:
        images = args.images or ["edge-vision/runner:dev"]
        results = [scan_image(name, bill, scanner) for image in images for name, bill in documents(image)]
    else:
        results = [audit_locks(locks)]
        results[0].not_scanned += [f"{image}: no scanner" for image in args.images]
    results = [with_statements(result, locks / "vex.toml") for result in results]
    if args.json:
        json.dump([asdict(result) for result in results], sys.stdout, indent=2)
        print()
    else:
        for result in results:
            _print(result)
    if any(one.state not in SETTLED for result in results for one in result.findings):
        return 1
    return 4 if any(result.not_scanned for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
