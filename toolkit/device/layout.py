"""Names of the files and folders of ROOT, the folder on a device that holds its releases.

    ROOT/releases/<digest>/      a release, read-only
    ROOT/current, previous       links to releases
    ROOT/store/                  content-addressed files, see `release.store`
    ROOT/images/                 images sent for benchmarks
    ROOT/container-images/       container images sent to the device
    ROOT/captures/               images that the live app stores to be labeled, see `capture_record`
    ROOT/incoming/               chunks fetched by a pull but not yet installed
    ROOT/deploy.lock/            present while the device is being changed; `info` names the holder
    ROOT/rollout.lock/           the same, on the first device of a rollout, until the rollout ends
    ROOT/bench.lock              locked while a benchmark runs
    ROOT/audit.jsonl             changes to the device, one JSON object a line; audit.jsonl.1 and .2 are older
    ROOT/state.json              outcome of the last release that arrived without SSH
    ROOT/floors.json             per channel, the counter below which releases are refused, see `release.freshness`;
                                 floors.copy.json is its second record; root holds both elsewhere where there is an agent

The controller and the device code both take the names from here. `probe`, which runs alone from stdin, repeats five.
"""

from __future__ import annotations

from pathlib import Path

ROOT = "/opt/toolkit"
"""Where ROOT is, unless the inventory names another folder."""
RELEASES = "releases"
CURRENT, PREVIOUS = "current", "previous"
STORE = "store"
IMAGES = "images"
CONTAINER_IMAGES = "container-images"
CAPTURES = "captures"
INCOMING, INCOMING_LOCK = "incoming", ".incoming.lock"
DEPLOY_LOCK, ROLLOUT_LOCK, BENCH_LOCK = "deploy.lock", "rollout.lock", "bench.lock"
LOCKS = {"deploy": DEPLOY_LOCK, "rollout": ROLLOUT_LOCK}
"""What a session may lock, by name."""
LOCK_INFO, LOCK_BOOT, LOCK_PID = "info", "boot", "pid"
AUDIT_LOG = "audit.jsonl"
STATE_FILE = "state.json"
FLOORS, FLOORS_COPY = "floors.json", "floors.copy.json"

MANIFEST, MANIFEST_SIGNATURE = "manifest.json", "manifest.json.sig"
"""Files of a bundle, and so of a release."""
RELEASE, RELEASE_SIGNATURE = "release.json", "release.json.sig"
"""The index of a release, and its signature, which travels beside the release."""
MODEL_IR, MODEL_WEIGHTS, MODEL_TFLITE = "model.xml", "model.bin", "model.tflite"
"""Files of a bundle with its model: an IR and its weights, or a model of LiteRT."""
CONTAINER_IMAGE = "container-image"
"""File of a release that names the container image it runs in."""
DEVICE_CODE = "device"
"""Folder of a release with the device code, `toolkit/device`."""


def model_file(release: Path) -> Path:
    """Return the file of a bundle's or release's model: `model.tflite` if it has one, else the IR's `model.xml`."""
    tflite = release / MODEL_TFLITE
    return tflite if tflite.is_file() else release / MODEL_IR


def release_path(digest: str) -> str:
    """Return the path of a release relative to ROOT."""
    return f"{RELEASES}/{digest}"
