"""The gate "shadow": on the first batch, the candidate runs beside the serving release on live frames before the switch.

The candidate's own code runs there as a process of its own (toolkit.device.app.shadow), and answers in rounds of ROUND frames.
After each round, the agreement with the serving release is tested (toolkit.device.sequential), and on request its accuracy on
captures that people have labeled, also meanwhile.
"""

from __future__ import annotations

import base64
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toolkit import hashing
from toolkit.artifacts.fleet import PASSED, REFUSED, UNDECIDED, Device, ShadowRun
from toolkit.deploy import commands
from toolkit.deploy.gates.gate import GateContext
from toolkit.deploy.gates.health import failure
from toolkit.device.sequential import FAIL, PASS, SequentialTest, agreements, answered_label, design_effect
from toolkit.errors import FleetError
from toolkit.fleet import Shell, device_command
from toolkit.fleet.app_tunnel import APP_PORT, DEFAULT_PORT
from toolkit.fleet.ssh.shell import Ask
from toolkit.fleet.watch import APP

TOKEN_FILES = ("toolkit_app_token_file", "runner_token_file")
"""The inventory's variables for the file on the device with the app's token; the first one counts."""
ROUND, DISAGREEMENTS = 10, 10
START_S, ROUND_S = 600.0, 300.0
"""Limits of an answer: loading a large network on a slow device, and a round of frames from a slow camera."""
AGREEMENT, ACCURACY = "agreement", "accuracy"
DEFAULT_AGREEMENT = 0.95
Frame = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowOptions:
    """How long and how strictly a candidate is compared."""

    seconds: float
    """Longest time; the test may decide earlier."""
    agreement: float | None = DEFAULT_AGREEMENT
    """Share of frames on which both must agree, between 0 and 1; None: shown, not judged."""
    accuracy: float | None = None
    """Share of labeled captures that the candidate must answer right, between 0 and 1; None: not judged."""
    every: int = 25
    """Each so many frames of the camera, one is compared."""
    allow_undecided: bool = False
    """Whether a candidate passes that time was too short for."""
    baseline_frames: int = 100
    """Results over which the app's frame rate is measured first, without the candidate."""
    lowest_priority: bool = True

    def tests(self) -> dict[str, SequentialTest]:
        """Return the test of each share that is judged, by its name."""
        bounds = {AGREEMENT: self.agreement, ACCURACY: self.accuracy}
        return {name: SequentialTest.above(bound) for name, bound in bounds.items() if bound is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledCapture:
    """A frame that the serving release has answered and a person has labeled."""

    digest: str
    image: Path
    """A JPEG."""
    truth: str
    """The name of its class."""
    serving: str
    """What the serving release answered."""


FindLabeled = Callable[[str, str], Sequence[LabeledCapture]]
"""Returns the labeled captures for a candidate, by the digest of its bundle, and the release that serves."""


@dataclass(slots=True)
class Evidence:
    """What was seen of a candidate so far, and what is decided; a decision stands, whatever is seen after it."""

    tests: Mapping[str, SequentialTest]
    frames: list[Frame] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    """The app's frame rate in each round."""
    labeled: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    """By capture: whether the serving release was right, and whether the candidate is."""
    decided: dict[str, str] = field(default_factory=dict)

    def samples(self, name: str) -> list[bool]:
        """Return what a test decides on."""
        return agreements(self.frames) if name == AGREEMENT else [candidate for _, candidate in self.labeled.values()]

    def decide(self) -> str:
        """Return FAIL if a test failed, PASS if all passed, or "" while one is open."""
        for name, test in self.tests.items():
            self.decided[name] = self.decided.get(name) or test.decide(self.samples(name))
        if FAIL in self.decided.values():
            return FAIL
        return PASS if all(verdict == PASS for verdict in self.decided.values()) else ""


class ShadowGate:
    """Requires that the candidate agrees with the serving release on live frames."""

    name = "shadow"
    after_switch = False
    first_batch_only = True

    def __init__(
        self,
        options: ShadowOptions,
        on_run: Callable[[ShadowRun], None],
        log: Callable[[str], None] = lambda _: None,
        find_labeled: FindLabeled = lambda *_: (),
    ) -> None:
        self._options, self._on_run, self._log, self._find_labeled = options, on_run, log, find_labeled
        self._runs: dict[str, ShadowRun] = {}

    @property
    def runs(self) -> tuple[ShadowRun, ...]:
        """Return the comparisons so far."""
        return tuple(self._runs.values())

    def describe(self, device: Device) -> str:
        """See Gate."""
        del device
        options = self._options
        return (
            f"in the first batch: compare with the serving release on live frames for at most {options.seconds:g} s, "
            f"{' and '.join(f'{name} above {test.bad:.0%}' for name, test in options.tests().items())}"
        )

    def check(self, context: GateContext) -> str:
        """See Gate."""
        if context.tree is not None and context.replaced == context.tree.parent:
            return "not compared: the device serves this bundle already"
        run = self._compare(context)
        self._runs[context.device.name] = run
        self._on_run(run)
        passes = run.decision == PASSED or (run.decision == UNDECIDED and self._options.allow_undecided)
        if not passes:
            remedy = (
                "run it longer, on a camera with more going on, or label more captures of the policy random; "
                "--shadow-allow-undecided deploys it anyway"
                if run.decision == UNDECIDED
                else "look at the disagreements in the report; a model that is meant to answer otherwise needs a lower --shadow-gate"
            )
            raise FleetError(
                f"the candidate was not switched to: {run.reason}", where=context.device.name, remedy=remedy
            )
        return run.reason

    def audit_entry(self, device: Device) -> dict[str, Any] | None:
        """Return what the device's audit log is to record; None if nothing was compared there."""
        run = self._runs.get(device.name)
        return None if run is None else {"outcome": f"shadow-{run.decision}", "reason": run.reason}

    def _compare(self, context: GateContext) -> ShadowRun:
        device, options = context.device, self._options
        folder = commands.release_folder(device, context.release)
        arguments = ["--accelerator", device.accelerator]
        arguments += [] if options.lowest_priority else ["--normal-priority"]
        command = device_command.in_runtime(device, folder, "shadow", folder, *arguments, network="host")
        begin = {
            "do": "begin",
            "app": app_url(device),
            "token": read_token(device, context.shell),
            "every": options.every,
            "baseline": options.baseline_frames,
        }
        start = time.monotonic()
        with context.shell.converse(command) as ask:
            self._log(f"{device.name}: measuring the app, then running {context.release[:12]} beside it")
            started = _ask(device, ask, begin, START_S)
            evidence = self._rounds(context, ask, str(started["serving"]["release"]), start + options.seconds)
        return self._judge(context, started, evidence, time.monotonic() - start)

    def _rounds(self, context: GateContext, ask: Ask, serving: str, until: float) -> Evidence:
        """Return what was seen until a decision, or until time is up."""
        device, evidence = context.device, Evidence(self._options.tests())
        while True:
            answer = _ask(device, ask, {"do": "compare", "frames": ROUND}, ROUND_S)
            if answer["serving"] != serving:
                raise FleetError(
                    f"the app switched to {str(answer['serving'])[:12]} meanwhile, so there is nothing to compare with",
                    where=device.name,
                    remedy="run the command again",
                )
            evidence.frames += answer["frames"]
            evidence.rates += [answer["fps"]] if answer["fps"] else []
            if ACCURACY in evidence.tests:
                self._classify(context, ask, serving, evidence)
            if evidence.decide() or time.monotonic() >= until:
                return evidence

    def _classify(self, context: GateContext, ask: Ask, serving: str, evidence: Evidence) -> None:
        """Let the candidate answer captures that were labeled since the last round, until its accuracy is decided."""
        assert context.tree is not None  # noqa: S101 - a rollback has no shadow
        for one in self._find_labeled(context.tree.parent, serving):
            if one.digest in evidence.labeled:
                continue
            request = {"do": "classify", "image": base64.b64encode(one.image.read_bytes()).decode()}
            answer = _ask(context.device, ask, request, ROUND_S)
            evidence.labeled[one.digest] = (one.serving == one.truth, answer["label"] == one.truth)
            evidence.decide()
            if evidence.decided[ACCURACY]:
                return

    def _judge(
        self,
        context: GateContext,
        started: Mapping[str, Any],
        evidence: Evidence,
        took: float,
    ) -> ShadowRun:
        frames, rates = evidence.frames, evidence.rates
        samples, device = agreements(frames), context.device
        decision = {PASS: PASSED, FAIL: REFUSED}.get(evidence.decide(), UNDECIDED)
        test = next(iter(evidence.tests.values()))
        assert context.tree is not None  # noqa: S101 - a rollback has no shadow
        serving = [frame["serving"] for frame in frames]
        candidate = [frame["candidate"] for frame in frames]
        fps = (started["fps"], round(statistics.fmean(rates), 2) if rates else None)
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        shift = class_shift([answered_label(one) for one in serving], [answered_label(one) for one in candidate])
        return ShadowRun(
            digest=hashing.sha256_json([context.tree.parent, device.name, context.release, at]),
            parent=context.tree.parent,
            device=device.name,
            release=context.release,
            serving=str(started["serving"]["release"]),
            serving_name=str(started["serving"]["name"]),
            decision=decision,
            reason=self._reason(evidence, fps),
            gate=self._options.agreement,
            alpha=test.alpha,
            beta=test.beta,
            frames=len(frames),
            counted=len(samples),
            agreed=sum(samples),
            design_effect=round(design_effect(samples), 2) if samples else 1.0,
            confidence=(_mean(serving, "probability"), _mean(candidate, "probability")),
            latency_ms=(_median(serving, "ms"), _median(candidate, "ms")),
            class_shift=round(shift, 4),
            fps=fps,
            disagreements=disagreements(frames),
            notes=tuple(map(str, started["notes"])),
            seconds=round(took, 1),
            at=at,
            accuracy_gate=self._options.accuracy,
            labeled=len(evidence.labeled),
            right=(sum(one for one, _ in evidence.labeled.values()), sum(one for _, one in evidence.labeled.values())),
        )

    def _reason(self, evidence: Evidence, fps: tuple[float | None, float | None]) -> str:
        parts = [self._verdict(evidence, name, test.bad) for name, test in evidence.tests.items()]
        if fps[0] and fps[1]:
            return "; ".join([*parts, f"the app ran at {fps[1]:g} instead of {fps[0]:g} images/s"])
        return "; ".join([*parts, "its cost is unknown"])

    def _verdict(self, evidence: Evidence, name: str, bound: float) -> str:
        """Return what a test decided, and on what."""
        samples = evidence.samples(name)
        verdict = {
            PASS: f"{name} is above {bound:.0%}",
            FAIL: f"{name} is not above {bound:.0%}",
            "": f"{self._options.seconds:g} s were too short to decide whether {name} is above {bound:.0%}",
        }[evidence.decided[name]]
        if name == AGREEMENT:
            share = f"{sum(samples)} of {len(samples)} counted frames agree" if samples else "no frame was compared"
            return f"{verdict}: {share} ({len(evidence.frames)} compared)"
        serving = sum(right for right, _ in evidence.labeled.values())
        share = f"{sum(samples)} of {len(samples)} labeled captures are classified correctly, {serving} by the serving release"
        return f"{verdict}: {share if samples else 'no labeled capture may judge it'}"


def app_url(device: Device) -> str:
    """Return the address of the device's app, as the device sees it."""
    port = device.variables.get(APP_PORT, DEFAULT_PORT)
    return str(device.variables.get(APP) or f"http://127.0.0.1:{port}")


def class_shift(first: Sequence[str], second: Sequence[str]) -> float:
    """Return half the sum of the differences between the shares of each label, 0…1 (total variation distance)."""
    before, after = Counter(first), Counter(second)
    return sum(abs(before[label] - after[label]) for label in {*before, *after}) / 2 / max(len(first), 1)


def disagreements(frames: Sequence[Frame]) -> dict[str, int]:
    """Return the most frequent disagreements, "serving → candidate", with their number."""
    pairs = ((answered_label(frame["serving"]), answered_label(frame["candidate"])) for frame in frames)
    counts = Counter(f"{first} → {second}" for first, second in pairs if first != second)
    return dict(counts.most_common(DISAGREEMENTS))


def _mean(answers: Sequence[Frame], key: str) -> float:
    return round(statistics.fmean(answer[key] for answer in answers), 4) if answers else 0.0


def _median(answers: Sequence[Frame], key: str) -> float | None:
    return round(statistics.median(answer[key] for answer in answers), 3) if answers else None


def read_token(device: Device, shell: Shell) -> str | None:
    """Return the app's token; None if the inventory names no file with it. It goes to the device's code by its stdin."""
    path = next((str(device.variables[name]) for name in TOKEN_FILES if device.variables.get(name)), None)
    if path is None:
        return None
    remedy = "let the login read it: add it to the file's group"
    return shell.run(["cat", path]).check(device, "reading the app's token", remedy).stdout.strip()


def _ask(device: Device, ask: Ask, request: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
    """Return the device's answer, which is untrusted.

    Raises:
        FleetError: it reports an error, or answers something else.
    """
    line = ask(json.dumps(request).encode(), timeout)
    try:
        answer = json.loads(line)
        if answer["ok"]:
            return _checked(answer, request)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise FleetError(f"the candidate's code answered something else: {line[:200]!r}", where=device.name) from None
    raise failure(device, answer, "no reason", "the candidate could not run beside the serving release", "")


def _checked(answer: dict[str, Any], request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the answer with its values as the types that they are to have; raises ValueError, KeyError or TypeError."""
    if request["do"] == "classify":
        return _answer(answer)
    fps = None if answer["fps"] is None else float(answer["fps"])
    if request["do"] == "begin":
        serving = {name: str(answer["serving"][name]) for name in ("release", "name")}
        return {"serving": serving, "fps": fps, "notes": [str(note)[:300] for note in answer["notes"][:5]]}
    frames = [
        {"serving": _answer(one["serving"]), "candidate": _answer(one["candidate"]), "changed": bool(one["changed"])}
        for one in answer["frames"][:ROUND]
    ]
    return {"serving": str(answer["serving"]), "fps": fps, "frames": frames}


def _answer(one: Mapping[str, Any]) -> Frame:
    return {
        "label": str(one["label"])[:200],
        "probability": float(one["probability"]),
        "unknown": bool(one["unknown"]),
        "ms": float(one["ms"]),
    }
