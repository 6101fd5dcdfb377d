"""Building with buildx: the labels of the images, and what a failure of the engine, not of the build, leads to."""

from __future__ import annotations

import re
from pathlib import Path

import build
import pytest

LOST = f"ERROR: failed to prepare extraction snapshot: parent snapshot sha256:{'d9' * 32} does not exist: not found"
LATE = "ERROR: failed to solve: DeadlineExceeded: context deadline exceeded"


def fake_docker(folder: Path, message: str, failures: int) -> Path:
    """Put a `docker` into `folder` that fails with `message` on its first runs; return the file that has a line per run."""
    runs = folder / "runs"
    program = folder / "docker"
    program.write_text(
        f'#!/bin/sh\necho run >>"{runs}"\n[ "$(wc -l <"{runs}")" -gt {failures} ] || {{ echo "{message}" >&2; exit 1; }}\n'
    )
    program.chmod(0o755)
    return runs


@pytest.mark.parametrize(
    ("message", "failures", "code", "runs"),
    [
        (LOST, 1, 0, 2),
        (LOST, 9, 1, build.ATTEMPTS),
        (LATE, 1, 0, 2),
        ("ERROR: process did not complete: exit code: 1", 1, 1, 1),
    ],
    ids=["layer-lost-once", "layer-always-lost", "late", "other-error"],
)
def test_buildx_runs_again_only_when_the_engine_failed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], message: str, failures: int, code: int, runs: int
) -> None:
    record = fake_docker(tmp_path, message, failures)
    assert build._buildx(["runner"], {"PATH": f"{tmp_path}:/usr/bin:/bin"}) == code
    assert len(record.read_text().splitlines()) == runs
    assert capfd.readouterr().err.count(message) == min(failures, runs)


PREFIX = "org.opencontainers.image."
AMD64, ARM64 = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
PLAN = {
    "target": {
        "base-cross": {
            "tags": ["here/base:dev"],
            "labels": {f"{PREFIX}title": "base"},
            "platforms": [*build.PLATFORMS],
        },
        "runner-cross": {
            "contexts": {"base": "target:base-cross"},
            "tags": ["here/runner:dev"],
            "labels": {f"{PREFIX}title": "runner"},
            "platforms": [*build.PLATFORMS],
        },
        "runner": {"contexts": {"base": f"docker-image://there/debian:13@{AMD64}"}, "tags": ["here/runner:dev"]},
        "toolchain": {"contexts": {"inside": "images/inside"}},
    }
}


def test_every_image_has_the_labels_of_the_bake_file() -> None:
    bake = (Path(build.HERE) / "docker-bake.hcl").read_text()
    common = bake.split('target "_common" {', 1)[1].split("\n}", 1)[0]
    expected = {"vendor", "licenses", "version", "revision", "created", "source", "url", "documentation"}
    assert set(re.findall(rf'"{re.escape(PREFIX)}(\w+)" +=', common)) == expected
    assert 'timeadd("1970-01-01T00:00:00Z", "${SOURCE_DATE_EPOCH}s")' in common
    targets = dict(re.findall(r'^target "([\w-]+)" {\n(.*?)^}', bake, re.MULTILINE | re.DOTALL))
    for name, body in targets.items():
        if "tags" in body:
            inherited = "".join(targets.get(parent, "") for parent in re.findall(r'inherits += \["([\w-]+)"\]', body))
            assert f"{PREFIX}title" in body + inherited or "base" in name, name
            assert f"{PREFIX}description" in body, name


def test_base_is_named_by_labels_and_annotations() -> None:
    digests = {"target:base-cross": {"linux/amd64": AMD64, "linux/arm64": ARM64}}
    targets = build.described(PLAN, digests)["target"]
    assert targets["runner-cross"]["labels"] == {f"{PREFIX}base.name": "here/base:dev"}
    assert targets["runner-cross"]["args"] == {"BASE_DIGESTS": f"amd64={AMD64},arm64={ARM64},"}
    annotations = targets["runner-cross"]["annotations"]
    assert {f"{level}:{PREFIX}base.name=here/base:dev" for level in ("manifest", "index")} <= {*annotations}
    assert f"manifest[linux/arm64]:{PREFIX}base.digest={ARM64}" in annotations
    assert "labels" not in targets["base-cross"], "it stands on nothing"
    assert targets["runner"]["labels"] == {f"{PREFIX}base.name": "there/debian:13"}
    assert targets["toolchain"] == {}


@pytest.mark.parametrize("folder", ["runner", "runner-ncs2", "train", "sbom"])
def test_dockerfile_labels_its_base_of_the_platform(folder: str) -> None:
    last_stage = (Path(build.HERE) / folder / "Dockerfile").read_text().rsplit("\nFROM ", 1)[1]
    assert "ARG BASE_DIGEST=${BASE_DIGESTS##*${TARGETARCH}=}" in last_stage
    assert f"LABEL {PREFIX}base.digest=${{BASE_DIGEST%%,*}}" in last_stage


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://git.example/team/kit.git", "https://git.example/team/kit"),
        ("https://user:secret@git.example/team/kit", "https://git.example/team/kit"),
        ("git@git.example:team/kit.git", "https://git.example/team/kit"),
        ("ssh://git@git.example:2222/team/kit.git", "https://git.example/team/kit"),
        ("/srv/kit", ""),
        ("../kit.git", ""),
        ("file:///srv/kit", ""),
        ("", ""),
    ],
)
def test_source_is_an_address_without_account(remote: str, address: str) -> None:
    assert build.public_address(remote) == address


def test_every_file_of_the_device_code_is_in_the_runner() -> None:
    device = Path(build.HERE).parent / "toolkit/device"
    copies = re.findall(
        r"^COPY --from=device-code (.+) \S+$", (Path(build.HERE) / "runner/Dockerfile").read_text(), re.MULTILINE
    )
    copied = {path for patterns in copies for pattern in patterns.split() for path in device.glob(pattern)}
    files = {path for path in device.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert files - copied == set()
