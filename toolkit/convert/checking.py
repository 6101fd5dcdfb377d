"""Checks of a bundle that need no device, each with its verdict.

A check that cannot run here (another processor, a missing library) is reported as skipped.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np

from toolkit import compat, hashing
from toolkit.artifacts.bundle import Bundle, BundleCheck
from toolkit.bundle.signing import verify_signature
from toolkit.bundle.verify import verify_bundle
from toolkit.compat import Generation
from toolkit.convert.parity import Images
from toolkit.convert.runtimes import legacy_openvino
from toolkit.errors import BundleError, ConversionError, MachineError, Problem
from toolkit.progress import Progress
from toolkit.store import Store

_GOLDEN_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check's outcome; `message` is one line for people, `details` are its figures."""

    name: str
    outcome: Literal["passed", "failed", "skipped"]
    message: str
    remedy: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


def check_bundle(
    folder: Path, progress: Progress, images: Images | None = None, allowed_signers: Path | None = None
) -> tuple[CheckResult, ...]:
    """All checks of the bundle in `folder`. Bytes that are damaged, or of an unknown signer, are not run: those come first.

    Older runtimes are compared on `images`, u8 [n,H,W,3]; without them on the bundle's own golden ones. A signature is
    asked for only if `allowed_signers` is given.
    """
    trust = [_digests(folder)]
    if trust[0].outcome == "passed" and allowed_signers is not None:
        trust.append(_signature(folder, allowed_signers))
    if trust[-1].outcome == "failed":
        return tuple(trust)
    manifest = verify_bundle(folder)
    target = compat.find_target(manifest["target"])
    checks = [*trust, _golden(folder)]
    shown = np.load(folder / "golden" / "inputs.npy") if images is None else images
    checks += [
        _agrees(folder, generation, manifest, shown, progress)
        for generation in legacy_openvino.legacy_generations(target)
    ]
    if target.compiler:
        checks.append(_compiles(folder, target, progress))
    return tuple(checks)


def save_check_results(checks: Iterable[CheckResult], bundle: str, store: Store) -> None:
    """Store each outcome under the bundle's digest, in place of an earlier one; a bundle unknown to the store is skipped."""
    if store.get(Bundle, bundle) is None:
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for check in checks:
        store.put(
            BundleCheck(
                digest=hashing.sha256_json({"bundle": bundle, "check": check.name}),
                parent=bundle,
                name=check.name,
                outcome=check.outcome,
                message=check.message,
                details=check.details,
                at=now,
            )
        )


def _digests(folder: Path) -> CheckResult:
    try:
        manifest = verify_bundle(folder)
    except BundleError as error:
        message = "; ".join(_describe(problem) for problem in error.problems)
        return CheckResult(name="digests", outcome="failed", message=message, remedy=error.problems[0].remedy)
    return CheckResult(
        name="digests", outcome="passed", message=f"all {len(manifest['files'])} files match the manifest"
    )


def _signature(folder: Path, allowed_signers: Path) -> CheckResult:
    try:
        signer = verify_signature(folder, allowed_signers)
    except BundleError as error:
        (problem, *_) = error.problems
        return CheckResult(name="signature", outcome="failed", message=problem.what, remedy=problem.remedy)
    message = f"signed by {signer.principal} with {signer.key}"
    return CheckResult(name="signature", outcome="passed", message=message, details=dataclasses.asdict(signer))


def _describe(problem: Problem) -> str:
    return f"{Path(problem.where).name} {problem.what}"


def _agrees(
    folder: Path, generation: Generation, manifest: Mapping[str, Any], images: Images, progress: Progress
) -> CheckResult:
    """An older runtime beside the current one."""
    name, precision = f"openvino {generation.name}", manifest["precision"]
    if precision not in legacy_openvino.TOLERANCE:
        return CheckResult(name=name, outcome="skipped", message=f"how far {precision} may be off there is not known")
    try:
        result = legacy_openvino.compare(
            folder / "model.xml", generation, precision, images, progress, manifest["output"]["kind"]
        )
    except MachineError as error:
        (problem, *_) = error.problems
        return CheckResult(name=name, outcome="skipped", message=problem.what, remedy=problem.remedy)
    if result.failure:
        return CheckResult(name=name, outcome="failed", message=f"OpenVINO {generation.versions[1]}: {result.failure}")
    return CheckResult(
        name=name,
        outcome="passed" if result.passed else "failed",
        message=f"OpenVINO {result.openvino.split('-')[0]} in {result.precision} on {result.images} images: at most "
        f"{result.max_abs:.1e} from the current runtime (allowed {result.tolerance:.0e}), same top-1 on {result.top1_agreement:.2%}",
        details=dataclasses.asdict(result),
    )


def _compiles(folder: Path, target: compat.Target, progress: Progress) -> CheckResult:
    """Return whether the target's compiler accepts the model."""
    compiler = import_module(f"toolkit.convert.runtimes.{target.compiler}")
    try:
        fit = compiler.compile_model(folder / "model.xml", progress)
    except ConversionError as error:
        (problem, *_) = error.problems
        message = f"does not fit: {problem.where + ': ' if problem.where else ''}{problem.what}"
        return CheckResult(name=target.name, outcome="failed", message=message, remedy=problem.remedy)
    except MachineError as error:
        (problem, *_) = error.problems
        return CheckResult(name=target.name, outcome="skipped", message=problem.what, remedy=problem.remedy)
    return CheckResult(
        name=target.name,
        outcome="passed",
        message=f"fits: {fit}",
        details=dataclasses.asdict(fit),
    )


def _golden(folder: Path) -> CheckResult:
    """The golden images through the very code that runs on devices."""
    argv = [sys.executable, "-m", "toolkit.device", "golden", str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_GOLDEN_TIMEOUT_S)
    try:
        result = json.loads(done.stdout)
    except ValueError:
        return CheckResult(
            name="golden",
            outcome="failed",
            message=f"the device code ended with {done.returncode}: {done.stderr.strip()}",
        )
    if "max_abs" not in result:
        error = result.get("error", {})
        return CheckResult(
            name="golden", outcome="failed", message=str(error.get("what", result)), remedy=str(error.get("remedy", ""))
        )
    return CheckResult(
        name="golden",
        outcome="passed" if result["ok"] else "failed",
        message=f"{result['count']} golden images, at most {result['max_abs']:.1e} off (allowed {result['tolerance']:.0e})",
        details=result,
    )
