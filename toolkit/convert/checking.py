"""Everything that can be known about a bundle without the device, as a list of checks, each with its verdict.

A check that cannot run here (another processor, a library missing) says so; it neither passes nor fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from toolkit.convert.verify import verify_bundle
from toolkit.errors import BundleError, Problem

_GOLDEN_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check's outcome; `told` is one line for people, `details` are its figures."""

    name: str
    outcome: Literal["passed", "failed", "skipped"]
    told: str
    remedy: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


def check_bundle(folder: Path) -> tuple[Check, ...]:
    """All checks of the bundle in `folder`; damaged bytes make the others pointless, so they come first and may end it."""
    digests = _digests(folder)
    if digests.outcome == "failed":
        return (digests,)
    return (digests, _golden(folder))


def _digests(folder: Path) -> Check:
    try:
        manifest = verify_bundle(folder)
    except BundleError as error:
        told = "; ".join(_in_words(problem) for problem in error.problems)
        return Check(name="digests", outcome="failed", told=told, remedy=error.problems[0].remedy)
    return Check(name="digests", outcome="passed", told=f"all {len(manifest['files'])} files are as the manifest says")


def _in_words(problem: Problem) -> str:
    return f"{Path(problem.where).name} {problem.what}"


def _golden(folder: Path) -> Check:
    """The golden pictures through the very code that runs on devices."""
    words = [sys.executable, "-m", "toolkit.device", "golden", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_GOLDEN_TIMEOUT_S)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return Check(
            name="golden", outcome="failed", told=f"the device code ended with {done.returncode}: {done.stderr.strip()}"
        )
    if "max_abs" not in found:
        error = found.get("error", {})
        return Check(
            name="golden", outcome="failed", told=str(error.get("what", found)), remedy=str(error.get("remedy", ""))
        )
    return Check(
        name="golden",
        outcome="passed" if found["ok"] else "failed",
        told=f"{found['count']} golden pictures, at most {found['max_abs']:.1e} off (allowed {found['tolerance']:.0e})",
        details=found,
    )
