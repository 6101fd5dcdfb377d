"""Which variant of a model this device takes, where a channel or an archive holds several.

The choice is a part of the channel's signed statement, see `release.freshness`:

    "variants": {
        "releases": [{"release", "name", "runtime", "accelerators", "exclusions"}, …],    the default first
        "kinds": {KIND: {"releases": [digest, …], "reason"}, …}                           the fastest first
    }

A kind is a processor with an accelerator, "Cortex-A76, CPU". An exclusion is {"machines", "processors", "openvino", "reason"}:
where a machine, one of the cores and the version of OpenVINO match, the variant is never taken; an empty list matches
everything. `accelerators` is empty if it is not known which ones run the variant.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..errors import DeviceError
from .accelerators import AUTO, kind_of, name_kind

MAX_VARIANTS = 16
MAX_KINDS = 200
MAX_TEXT = 400
RUNTIMES = {"openvino": "OpenVINO", "litert": "LiteRT"}
"""The runtimes of variants, by the name of their fact."""
_PROBE = Path(__file__).parents[1] / "probe.py"
_PROBE_TIMEOUT_S = 300
_DIGEST = re.compile(r"[0-9a-f]{64}")

Facts = Callable[[], Dict[str, Any]]
"""Returns the facts of this device as `probe` does; slow, so called only if there is a choice."""


@dataclass(frozen=True)
class Exclusion:
    """Devices that never take a variant."""

    machines: Tuple[str, ...]
    processors: Tuple[str, ...]
    openvino: Tuple[str, ...]
    """First and last version, both included."""
    reason: str

    def matches(self, facts: Dict[str, Any]) -> bool:
        """Return whether a device with these facts is one of them."""
        cores = set(str(facts.get("processor") or "").split(" + "))
        return (
            (not self.machines or facts.get("machine") in self.machines)
            and (not self.processors or bool(cores & {*self.processors}))
            and (not self.openvino or _is_between(str(facts.get("openvino") or ""), self.openvino))
        )


@dataclass(frozen=True)
class PublishedVariant:
    """One of the releases of a channel, and what runs it."""

    release: str
    name: str
    runtime: str
    accelerators: Tuple[str, ...]
    exclusions: Tuple[Exclusion, ...]

    def why_not(self, facts: Dict[str, Any], accelerator: str) -> str:
        """Return why a device with these facts cannot run it; empty if it can."""
        kind = kind_of(accelerator)
        if kind != AUTO and self.accelerators and kind not in self.accelerators:
            return f"it is not made for {kind}"
        if not facts.get(self.runtime):
            return f"the device has no {RUNTIMES[self.runtime]}"
        return next((each.reason for each in self.exclusions if each.matches(facts)), "")


@dataclass(frozen=True)
class VariantTable:
    """The variants of a channel, and which of them each kind of device takes."""

    variants: Tuple[PublishedVariant, ...]
    """The default first."""
    kinds: Dict[str, Tuple[Tuple[str, ...], str]]
    """For each kind the releases that were measured on it, the fastest first, and why that one is chosen."""


@dataclass(frozen=True)
class TakenVariant:
    """The variant that this device takes, and why; or the default and why nothing runs."""

    release: str
    name: str
    why: str
    is_default: bool
    runs: bool = True

    @property
    def folder(self) -> str:
        """Return what the names of its documents begin with; empty for the default's."""
        return "" if self.is_default else f"{self.release}/"

    def to_json(self) -> Dict[str, str]:
        """Return what the device reports of it."""
        return {"name": self.name, "why": self.why}


def parse_variants(value: Any) -> Optional[VariantTable]:
    """Return the variants of a statement; None without any.

    Raises:
        ValueError: a value is not valid.
    """
    if value is None:
        return None
    _require(isinstance(value, dict))
    releases, kinds = value.get("releases"), value.get("kinds")
    _require(isinstance(releases, list) and 0 < len(releases) <= MAX_VARIANTS)
    _require(isinstance(kinds, dict) and len(kinds) <= MAX_KINDS)
    variants = tuple(_parse_variant(each) for each in releases)
    known = {variant.release for variant in variants}
    _require(len(known) == len(variants))
    return VariantTable(variants, {_text(kind): _parse_kind(row, known) for kind, row in kinds.items()})


def select_variant(table: VariantTable, facts: Dict[str, Any], accelerator: str) -> TakenVariant:
    """Return the fastest variant on the device's kind that it can run, else the default."""
    kind = name_kind(str(facts.get("processor") or facts.get("machine")), accelerator)
    measured, reason = table.kinds.get(kind, ((), ""))
    by_release = {variant.release: variant for variant in table.variants}
    default = table.variants[0]
    refusals: Dict[str, str] = {}
    for release in measured:
        variant = by_release[release]
        refusal = variant.why_not(facts, accelerator)
        if not refusal:
            why = "the fastest one that this device can run" if refusals else reason
            return TakenVariant(release, variant.name, f"{kind}: {why}", variant is default)
        refusals[variant.name] = refusal
    why = f"no variant measured on {kind} runs here" if measured else f"no variant was measured on {kind}"
    refusal = default.why_not(facts, accelerator)
    if refusal:
        refusals[default.name] = refusal
        why += "; the device cannot run " + ", nor ".join(f"{name} ({text})" for name, text in refusals.items())
    return TakenVariant(default.release, default.name, why, is_default=True, runs=not refusal)


def probe_facts(python: str, root: Path) -> Dict[str, Any]:
    """Return the facts of this device for the interpreter that runs its releases.

    Raises:
        DeviceError: the interpreter does not run, or prints something else.
    """
    import subprocess  # only a choice among variants needs it

    try:
        done = subprocess.run(
            [python, "-B", "-", "--root", str(root)],
            input=_PROBE.read_bytes(),
            capture_output=True,
            check=True,
            cwd="/",
            timeout=_PROBE_TIMEOUT_S,
        )
        facts = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise DeviceError(
            f"its facts cannot be read: {error}", where=python, remedy="run ansible/provision-pi.yml"
        ) from None
    return facts if isinstance(facts, dict) else {}


def _parse_variant(value: Any) -> PublishedVariant:
    _require(isinstance(value, dict) and isinstance(value.get("exclusions"), list))
    _require(isinstance(value.get("release"), str) and _DIGEST.fullmatch(value["release"]))
    _require(value.get("runtime") in list(RUNTIMES))
    exclusions = tuple(_parse_exclusion(each) for each in value["exclusions"])
    return PublishedVariant(
        value["release"], _text(value.get("name")), value["runtime"], _texts(value.get("accelerators")), exclusions
    )


def _parse_exclusion(value: Any) -> Exclusion:
    _require(isinstance(value, dict))
    openvino = _texts(value.get("openvino"))
    _require(len(openvino) in (0, 2))
    return Exclusion(
        _texts(value.get("machines")), _texts(value.get("processors")), openvino, _text(value.get("reason"))
    )


def _parse_kind(value: Any, known: "set[str]") -> Tuple[Tuple[str, ...], str]:
    _require(isinstance(value, dict))
    releases = _texts(value.get("releases"))
    _require(releases and known.issuperset(releases))
    return releases, _text(value.get("reason"))


def _texts(value: Any) -> Tuple[str, ...]:
    _require(isinstance(value, list))
    return tuple(map(_text, value))


def _text(value: Any) -> str:
    _require(isinstance(value, str) and len(value) <= MAX_TEXT)
    return str(value)


def _require(valid: object) -> None:
    if not valid:
        raise ValueError


def _is_between(version: str, limits: Tuple[str, ...]) -> bool:
    return bool(version) and _numbers(limits[0]) <= _numbers(version) <= _numbers(limits[1])


def _numbers(version: str) -> List[int]:
    """Return [2026, 4, 1] for 2026.4.1-22982."""
    parts = version.partition("-")[0].split(".")[:3]
    return [int(part) for part in parts if part.isascii() and part.isdigit()]
