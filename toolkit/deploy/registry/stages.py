"""The stages of a rollout to devices that pull, and which comes next. Pure.

Batches and groups mean what they mean over SSH. The controller does not choose devices: a stage is a list of shares, and each
device decides by its position whether it is in, see `toolkit.device.release.cohort`. Known devices are those that have reported
to the channel. Their positions tell which share holds a number of them, or at least one.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from toolkit.deploy.registry.device_reports import DeviceReport
from toolkit.deploy.strategy import AT_ONCE, CANARY_FIRST, BatchSize, Strategy, exceeds_limit
from toolkit.device.release.cohort import CohortEntry, CohortRule, DeviceIdentity, is_member, position_of
from toolkit.errors import UsageError

Cohort = tuple[CohortEntry, ...]
StageState = Literal["started", "advanced", "resumed", "waiting", "complete", "halted"]
EVERYONE: Cohort = (CohortEntry("", 1.0),)
ENOUGH = BatchSize(80, percent=True)
SETTLE_S = 3600.0
"""How long a batch may have no known device before it is widened to one: the devices of a new channel report meanwhile."""
_FAILED = frozenset({"refused", "failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedOptions:
    """How a release reaches the devices that pull from a channel."""

    strategy: Strategy
    min_deployed: BatchSize = ENOUGH
    """How many known devices of a batch must serve the release before the next one; at least one."""
    windows: tuple[str, ...] = ()
    """When devices may switch; empty: at any time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStep:
    """What the reports of the devices led to."""

    state: StageState
    rule: CohortRule
    """What the channel's statement says from now on."""
    batches: int
    reason: str
    known: int = 0
    """Devices that have ever reported to the channel."""
    deployed: tuple[str, ...] = ()
    """Devices of the batches so far that serve the release."""
    failed: tuple[DeviceReport, ...] = ()
    pending: tuple[str, ...] = ()
    """Devices of the batches so far that report neither."""


def next_step(
    rule: CohortRule | None,
    reports: Sequence[DeviceReport],
    known: Sequence[DeviceIdentity],
    options: StagedOptions,
    release: str,
    now: float,
) -> StageStep:
    """Return what comes after `rule`, the running one; `reports` has at least those of its cohort's devices.

    Raises:
        UsageError: a group has no device, or a batch is a number of devices while none is known.
    """
    stages = make_stages(options.strategy, known, release)
    if rule is None:
        first = CohortRule(1, now, stages[0], options.windows)
        return StageStep(state="started", rule=first, batches=len(stages), reason=_share_text(first), known=len(known))
    rule = replace(rule, windows=options.windows)
    members = [one for one in reports if is_member(rule.cohort, one.identity, release)]
    deployed = tuple(one.device for one in members if one.serves == release)
    failed = tuple(
        one for one in members if one.serves != release and one.release == release and one.outcome in _FAILED
    )
    done = {*deployed, *(one.device for one in failed)}
    step = StageStep(
        state="waiting",
        rule=rule,
        batches=max(len(stages), rule.batch),
        reason="",
        known=len(known),
        deployed=deployed,
        failed=failed,
        pending=tuple(one.device for one in members if one.device not in done),
    )
    return _judge(step, len(members), stages, options, now)


def _judge(step: StageStep, members: int, stages: Sequence[Cohort], options: StagedOptions, now: float) -> StageStep:
    rule, strategy = step.rule, options.strategy
    everyone = any(not entry.group and entry.share >= 1 for entry in rule.cohort)
    if exceeds_limit(len(step.failed), step.known, strategy, first=rule.batch == 1 and not everyone):
        reason = f"{len(step.failed)} failed in batch {rule.batch}, which is too many"
        return replace(step, state="halted", rule=replace(rule, halted=True), reason=reason)
    if rule.halted:
        return replace(step, state="resumed", rule=replace(rule, halted=False), reason="failures are within the limit")
    if not members and step.known and now - rule.since >= SETTLE_S:
        cohort = _widen(rule.cohort, stages[min(rule.batch, len(stages)) - 1])
        return _advance(step, rule.batch, cohort, now)
    required = max(1, min(members, options.min_deployed.of(members)))
    if len(step.deployed) < required:
        reason = f"{len(step.deployed)} of {members} known devices of batch {rule.batch} serve it, {required} must"
        return replace(step, reason=reason)
    if everyone:
        return replace(step, state="complete", reason="all devices may take it")
    left = rule.since + strategy.pause_s - now
    if left > 0:
        return replace(step, reason=f"the pause after batch {rule.batch} lasts {left:.0f} s more")
    return _advance(step, *_next_cohort(rule, stages), now)


def _advance(step: StageStep, number: int, cohort: Cohort, now: float) -> StageStep:
    following = CohortRule(number, now, cohort, step.rule.windows)
    batches = max(step.batches, number)
    return replace(step, state="advanced", rule=following, batches=batches, reason=_share_text(following))


def _next_cohort(rule: CohortRule, stages: Sequence[Cohort]) -> tuple[int, Cohort]:
    """Return the number and the cohort of the next stage that admits more devices; no device of the running one is left out."""
    for number, stage in enumerate(stages[rule.batch :], start=rule.batch + 1):
        cohort = _widen(rule.cohort, stage)
        if cohort != rule.cohort:
            return number, cohort
    return rule.batch + 1, EVERYONE


def _widen(cohort: Cohort, stage: Cohort) -> Cohort:
    shares = {entry.group: entry.share for entry in cohort}
    for entry in stage:
        shares[entry.group] = max(entry.share, shares.get(entry.group, 0.0))
    return tuple(CohortEntry(group, share) for group, share in shares.items())


def _share_text(rule: CohortRule) -> str:
    parts = [f"{entry.share:.2%} of {entry.group or 'all devices'}" for entry in rule.cohort]
    return f"batch {rule.batch}: {', '.join(parts)}"


def make_stages(strategy: Strategy, known: Sequence[DeviceIdentity], release: str) -> tuple[Cohort, ...]:
    """Return the cohort of each batch: groups one after the other, all other devices last, each divided into sizes.

    Raises:
        UsageError: no known device is in a group, or a size is a number of devices while no device is known.
    """
    sizes = strategy.batches or (AT_ONCE if strategy.groups else CANARY_FIRST)
    _check_groups(strategy.groups, known)
    stages: list[Cohort] = []
    before: Cohort = ()
    left = list(known)
    for group in (*strategy.groups, ""):
        members = [one for one in left if not group or group in one.labels]
        left = [one for one in left if group and group not in one.labels]
        positions = sorted(position_of(release, one.name) for one in members)
        shares = _shares(positions, sizes) if positions or not known else (1.0,)
        stages.extend([(*before, CohortEntry(group, share)) for share in shares])
        before = (*before, CohortEntry(group, 1.0))
    return tuple(stages)


def _check_groups(groups: Sequence[str], known: Sequence[DeviceIdentity]) -> None:
    """Raise UsageError if devices are known, and none of them is in one of the groups."""
    labels = {label for one in known for label in one.labels}
    empty = [group for group in groups if group not in labels]
    if known and empty:
        raise UsageError(
            f"no device that reports to this channel is in {', '.join(empty)}",
            where="--group",
            remedy=f"use labels that devices report ({', '.join(sorted(labels)) or 'none'}); see runner_labels",
        )


def _shares(positions: Sequence[float], sizes: Sequence[BatchSize]) -> Iterator[float]:
    """Yield the share at which each batch ends, up to 1; each admits at least one more known device while there is one."""
    share, number = 0.0, 0
    while share < 1:
        size = sizes[min(number, len(sizes) - 1)]
        inside = bisect_left(positions, share)
        if size.percent:
            share = min(1.0, round(share + size.number / 100, 9))
            if inside < len(positions):
                share = max(share, math.nextafter(positions[inside], 1.0))
        elif not positions:
            raise UsageError(
                f"{size.number} is a number of devices, and none has reported to this channel yet",
                where="--batch",
                remedy="give shares: --batch 1%,25%,100%",
            )
        else:
            end = inside + size.number
            share = math.nextafter(positions[end - 1], 1.0) if end < len(positions) else 1.0
        yield share
        number += 1
