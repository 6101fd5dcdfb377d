"""Publish a release in stages: each call looks at the devices' reports and publishes the statement that follows from them.

The channel's own statement says in which batch the rollout is, so there is no other state: any machine with the key can go on,
from cron as well. It is believed only if one of the keys signed it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.bundle.release import release_tree
from toolkit.deploy.registry.channel_statement import DEFAULT_STATEMENT, StatementOptions
from toolkit.deploy.registry.device_reports import read_reports, reporting_devices
from toolkit.deploy.registry.oci_registry import PublishingRegistry, open_registry
from toolkit.deploy.registry.publish import PublishedRelease, is_stated_by, publish
from toolkit.deploy.registry.stages import StagedOptions, StageStep, next_step
from toolkit.device.errors import DeviceError
from toolkit.device.release.cohort import CohortRule, DeviceIdentity, is_member
from toolkit.device.release.freshness import STATEMENT, parse_statement
from toolkit.progress import Progress, Silent

POLL_EVERY_S = 30.0
"""Between two polls of the reports, while waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedRelease:
    """What the channel holds from now on, and the stage of its rollout."""

    published: PublishedRelease
    step: StageStep


def publish_staged(
    bundle: Path,
    channel: str,
    staged: StagedOptions,
    *,
    key: Path,
    credentials: Path | None = None,
    plain: bool = False,
    progress: Progress | None = None,
    options: StatementOptions = DEFAULT_STATEMENT,
    bills: Path | None = None,
) -> StagedRelease:
    """Start the rollout of a bundle's release to a channel; or look at the reports and advance it, halt it, or leave it as it is.

    Raises:
        BundleError: the bundle differs from its manifest.
        UsageError: the key cannot sign, or the channel or the strategy is not valid.
        FleetError: the registry cannot be reached, or refuses.
    """
    release = release_tree(bundle).digest
    with open_registry(channel, credentials, plain=plain) as registry:
        step = _decide(registry, release, (key, *options.cosigners), staged)
    result = publish(
        bundle,
        channel,
        key=key,
        credentials=credentials,
        plain=plain,
        progress=progress,
        options=replace(options, rollout=step.rule),
        bills=bills,
    )
    return StagedRelease(published=result, step=step)


def publish_until_complete(
    bundle: Path,
    channel: str,
    staged: StagedOptions,
    *,
    seconds: float,
    every_s: float = POLL_EVERY_S,
    progress: Progress | None = None,
    **settings: Any,
) -> StagedRelease:
    """Poll the reports until the rollout is complete or halted, for at most so many seconds."""
    log = (progress or Silent()).log
    end, last = time.monotonic() + seconds, ""
    while True:
        result = publish_staged(bundle, channel, staged, progress=progress, **settings)
        text = f"{result.step.state}: {result.step.reason}"
        if text != last:
            log(text)
        left, last = end - time.monotonic(), text
        if result.step.state in {"complete", "halted"} or left <= 0:
            return result
        time.sleep(min(every_s, left))


def _decide(registry: PublishingRegistry, release: str, keys: Sequence[Path], staged: StagedOptions) -> StageStep:
    """Return what follows from the running rule and the devices' reports; reads only those that it needs."""
    _, manifest = registry.tagged(registry.tag)
    rule = _running_rule(registry, manifest, release, keys)
    names = reporting_devices(registry) if manifest else []
    grouped = bool(staged.strategy.groups) or any(entry.group for entry in (rule.cohort if rule else ()))
    read = [name for name in names if grouped or (rule and is_member(rule.cohort, DeviceIdentity(name), release))]
    reports = read_reports(registry, read, frozenset({release}))
    known = [one.identity for one in reports] if grouped else [DeviceIdentity(name) for name in names]
    return next_step(rule, reports, known, staged, release, float(int(time.time())))


def _running_rule(
    registry: PublishingRegistry, manifest: dict[str, Any], release: str, keys: Sequence[Path]
) -> CohortRule | None:
    """Return the rule of the channel's statement; None if it is for another release, or none of the keys signed it."""
    try:
        statement = parse_statement(registry.document(manifest, STATEMENT), registry.where)
    except DeviceError:
        return None
    if statement.release != release or statement.channel != registry.channel:
        return None
    return statement.rollout if any(is_stated_by(registry, manifest, key) for key in keys) else None
