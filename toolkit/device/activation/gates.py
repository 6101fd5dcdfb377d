"""The gates of a device: integrity, golden samples, speed, health. Each returns a JSON object with "ok"."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional

from ..deploy_lock import open_shared
from ..errors import DeviceError
from ..layout import BENCH_LOCK, IMAGES, RELEASES
from ..release.health import check_health
from ..release.verify import verify
from ..runtime.accelerators import START_TIMEOUT_S
from .child import Children
from .release_code import Runtime

BENCH_S = 900.0
SHADOW_START_S = 900.0
"""For loading the candidate, measuring the app alone, and a last round of frames."""
Result = Dict[str, Any]


@dataclass(frozen=True)
class Context:
    """A release on this device, and what its code runs with."""

    root: Path
    release: str
    runtime: Runtime
    children: Children

    @property
    def folder(self) -> Path:
        """Return the release's folder."""
        return self.root / RELEASES / self.release


def check_integrity(context: Context) -> Result:
    """Verify digests and signature with the running code, not with the release's own."""
    try:
        return verify(context.folder)
    except DeviceError as error:
        return {"ok": False, "error": error.to_json()}


def check_golden(context: Context) -> Result:
    """Check the golden samples with the release's own code, which will serve."""
    folder, runtime = context.folder, context.runtime
    return _ask(context, "golden", str(folder), "--accelerator", runtime.accelerator, timeout_s=START_TIMEOUT_S)


def check_speed(context: Context, images: str, options: Dict[str, Any]) -> Result:
    """Run a short benchmark with the release's own code on images of this device; {"ok", "missing"} if they are gone."""
    folder = context.root / IMAGES / Path(images).name
    if not (folder / "images.json").is_file():
        return {"ok": True, "missing": True}
    open_shared(context.root / BENCH_LOCK)
    settings = [f"--{name}={value}" for name, value in options.items() if value is not None]
    arguments = [f"--images={folder}", f"--root={context.root}", "--stop-on-eof", "--scenario=single-stream"]
    return _ask(context, "bench", str(context.folder), *arguments, *settings, timeout_s=BENCH_S)


def check_shadow(context: Context, request: Dict[str, Any]) -> Result:
    """Compare the release with the serving one on live frames with the release's own code; see `app.shadow`."""
    arguments = ("shadow", str(context.folder), "--accelerator", context.runtime.accelerator)
    stdin = json.dumps({"do": "judge", **request}).encode() + b"\n"
    limit = float(request["seconds"]) + SHADOW_START_S
    return _ask(context, *arguments, timeout_s=limit, stdin=stdin, network="host")


def check_service(unit: str, url: Optional[str], seconds: float, patience_s: float) -> Result:
    """Check that the service becomes healthy and stays so for `seconds`."""
    return check_health(unit, url, seconds, patience_s)


def _ask(
    context: Context, *arguments: str, timeout_s: float, stdin: Optional[bytes] = None, network: str = "none"
) -> Result:
    """Return the JSON document that the release's code prints.

    Raises:
        DeviceError: it printed none.
    """
    done = context.runtime.run(
        context.children,
        context.root,
        context.folder,
        *arguments,
        timeout_s=timeout_s,
        stdin=stdin,
        network=network,
    )
    result = _parsed(done.stdout)
    if result is None:
        output = "; ".join(done.stderr.strip().splitlines()[-2:])
        what = f"the device code gave no answer (exit code {done.returncode}): {output}"
        remedy = "run `toolkit fleet probe`, or `python -m device probe` there, to see what is missing"
        raise DeviceError(what, where=str(context.folder), remedy=remedy)
    return {**result, "ok": result.get("ok") is True, "exit_code": done.returncode}


def _parsed(text: str) -> Optional[Result]:
    try:
        result = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return result if isinstance(result, dict) else None
