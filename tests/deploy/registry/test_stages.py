"""Batches of devices that pull, and what their reports lead to; whole rollouts to 100,000 simulated devices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.deploy.registry.device_reports import DeviceReport
from toolkit.deploy.registry.stages import EVERYONE, StagedOptions, StageStep, make_stages, next_step
from toolkit.deploy.strategy import BatchSize, Strategy, parse_sizes
from toolkit.device.release.cohort import CohortRule, DeviceIdentity, is_member
from toolkit.errors import UsageError

RELEASE = "a" * 64


def fleet(count: int, *labels: str) -> list[DeviceIdentity]:
    return [DeviceIdentity(f"{'-'.join(labels)}pi-{number}", frozenset(labels)) for number in range(count)]


def staged(batch: str, **more: object) -> StagedOptions:
    settings = {name: more.pop(name) for name in ("groups", "pause_s", "max_failures") if name in more}
    return StagedOptions(strategy=Strategy(batches=parse_sizes(batch), **settings), **more)  # type: ignore[arg-type] - a test's


def admitted(cohort: tuple[object, ...], known: Iterable[DeviceIdentity]) -> set[str]:
    return {one.name for one in known if is_member(cohort, one, RELEASE)}  # type: ignore[arg-type] - of make_stages


def report(one: DeviceIdentity, outcome: str = "deployed", release: str = RELEASE) -> DeviceReport:
    serves = release if outcome in {"deployed", "unchanged"} else "b" * 64
    return DeviceReport(
        device=one.name, serves=serves, outcome=outcome, reason="why", at="", bundle="", as_published=False,
        release=release, labels=one.labels,
    )  # fmt: skip


sizes = st.lists(
    st.builds(BatchSize, st.integers(1, 30)) | st.builds(BatchSize, st.integers(1, 100), st.just(True)),
    min_size=1,
    max_size=4,
)


@given(sizes, st.integers(1, 60), st.integers(0, 60), st.text("abc", min_size=1))
def test_each_stage_admits_more_known_devices_until_all(
    batches: list[BatchSize], kitchens: int, others: int, release: str
) -> None:
    known = fleet(kitchens, "kitchen") + fleet(others)
    stages = make_stages(Strategy(batches=tuple(batches), groups=("kitchen",)), known, release)
    before: set[str] = set()
    for cohort in stages:
        now = {one.name for one in known if is_member(cohort, one, release)}
        assert before < now or len(now) in {kitchens, len(known)}
        before = now
    assert before == {one.name for one in known}
    assert stages[-1][-1] == EVERYONE[0]


def test_sizes_mean_what_they_mean_over_ssh() -> None:
    known = fleet(40)
    counts = [
        len(admitted(stage, known)) for stage in make_stages(Strategy(batches=parse_sizes("1,5,10")), known, RELEASE)
    ]
    assert counts == [1, 6, 16, 26, 36, 40]
    shares = [stage[-1].share for stage in make_stages(Strategy(batches=parse_sizes("1%,25%,100%")), (), RELEASE)]
    assert shares == [0.01, 0.26, 1.0]
    tenths = make_stages(Strategy(batches=parse_sizes("10%")), (), RELEASE)
    assert len(tenths) == 10


def test_a_batch_has_at_least_one_known_device() -> None:
    known = fleet(5)
    first = make_stages(Strategy(batches=parse_sizes("1%,100%")), known, RELEASE)[0]
    assert len(admitted(first, known)) == 1


def test_groups_come_one_after_the_other_and_the_others_last() -> None:
    known = fleet(3, "kitchen") + fleet(4, "floor=2") + fleet(5)
    stages = make_stages(Strategy(groups=("kitchen", "floor=2")), known, RELEASE)
    assert [len(admitted(stage, known)) for stage in stages] == [3, 7, 12]
    with pytest.raises(UsageError, match=r"no device that reports to this channel is in cellar"):
        make_stages(Strategy(groups=("cellar",)), known, RELEASE)
    assert len(make_stages(Strategy(groups=("cellar",)), (), RELEASE)) == 2


def test_number_of_devices_is_refused_while_none_is_known() -> None:
    with pytest.raises(UsageError, match="1 is a number of devices, and none has reported"):
        make_stages(Strategy(), (), RELEASE)


def started(options: StagedOptions, known: Sequence[DeviceIdentity]) -> CohortRule:
    return next_step(None, (), known, options, RELEASE, 1000.0).rule


def next_of(
    rule: CohortRule,
    reports: Sequence[DeviceReport],
    options: StagedOptions,
    known: Sequence[DeviceIdentity],
    now: float = 2000,
) -> StageStep:
    return next_step(rule, reports, known, options, RELEASE, now)


def test_rollout_advances_once_enough_devices_serve_it() -> None:
    known, options = fleet(100), staged("10,100%", min_deployed=BatchSize(50, percent=True))
    first = started(options, known)
    batch = [one for one in known if is_member(first.cohort, one, RELEASE)]
    assert len(batch) == 10
    assert next_of(first, [], options, known).reason == "0 of 0 known devices of batch 1 serve it, 1 must"
    reports = [report(one) for one in batch[:4]] + [report(one, "waiting") for one in batch[4:]]
    step = next_of(first, reports, options, known)
    assert (step.state, step.rule, len(step.pending)) == ("waiting", first, 6)
    assert step.reason == "4 of 10 known devices of batch 1 serve it, 5 must"
    step = next_of(first, [*reports, report(batch[4])], options, known)
    assert (step.state, step.rule.batch, step.rule.cohort) == ("advanced", 2, EVERYONE)
    outsiders = [report(one) for one in known if one not in batch]
    assert next_of(first, outsiders, options, known).state == "waiting", "devices of other batches do not count"


def test_batch_without_a_known_device_is_widened_after_an_hour() -> None:
    options = staged("1%,100%")
    first = replace(started(options, ()), since=1000.0)
    known = [one for one in fleet(40) if not is_member(first.cohort, one, RELEASE)]
    assert next_of(first, [], options, known, 1000 + 3599).state == "waiting"
    assert next_of(first, [], options, (), 1000 + 3600).state == "waiting", "nobody is known"
    step = next_of(first, [], options, known, 1000 + 3600)
    assert (step.state, step.rule.batch, len(admitted(step.rule.cohort, known))) == ("advanced", 1, 1)


def test_pause_lasts_from_the_start_of_the_batch() -> None:
    known, options = fleet(10), staged("5,100%", pause_s=1500.0)
    first = started(options, known)
    reports = [report(one) for one in known]
    assert next_of(first, reports, options, known).reason == "the pause after batch 1 lasts 500 s more"
    assert next_of(first, reports, options, known, 2500).state == "advanced"


def test_any_failure_in_the_first_batch_halts() -> None:
    known, options = fleet(100), staged("10,100%", max_failures=BatchSize(5))
    first = started(options, known)
    batch = [one for one in known if is_member(first.cohort, one, RELEASE)]
    step = next_of(first, [report(batch[0], "refused"), *map(report, batch[1:])], options, known)
    assert (step.state, step.rule) == ("halted", replace(first, halted=True))
    assert [one.device for one in step.failed] == [batch[0].name]
    assert next_of(step.rule, [report(batch[0], "refused")], options, known).state == "halted"
    recovered = next_of(step.rule, [report(batch[0])], options, known)
    assert (recovered.state, recovered.rule) == ("resumed", first)


def test_failures_beyond_the_limit_halt_later_batches() -> None:
    known, options = fleet(100), staged("10,50,100%", max_failures=BatchSize(3, percent=True))
    first = started(options, known)
    second = next_of(first, [report(one) for one in known], options, known).rule
    batch = [one for one in known if is_member(second.cohort, one, RELEASE)]
    assert len(batch) == 60

    def state(failed: int, outcome: str = "failed", release: str = RELEASE) -> str:
        reports = [report(one, outcome, release) for one in batch[:failed]] + [report(one) for one in batch[failed:]]
        return next_of(second, reports, options, known).state

    assert (state(3), state(4)) == ("advanced", "halted")
    assert state(4, release="c" * 64) == "advanced", "a failure of another release"
    assert state(4, "unreadable") == "advanced"


def test_shares_only_grow_when_sizes_or_devices_change() -> None:
    known, options = fleet(50), staged("10,10,100%")
    first = started(options, known)
    more = [*known, *fleet(50, "new")]
    reports = [report(one) for one in more]
    second = next_of(first, reports, options, more).rule
    assert admitted(first.cohort, more) < admitted(second.cohort, more)
    assert next_of(first, reports, staged("100%"), more).rule.cohort[-1].share == 1


def test_windows_of_the_command_replace_those_of_the_channel() -> None:
    known, options = fleet(10), staged("1,100%", windows=("22:00-05:00",))
    first = started(options, known)
    assert first.windows == ("22:00-05:00",)
    assert next_of(first, [], staged("1,100%"), known).rule == replace(first, windows=())


def simulate(refusing: float, options: StagedOptions, count: int = 100_000) -> tuple[list[StageStep], set[str]]:
    """Roll out to devices of which a share refuses the release; return each step, and the devices that took it."""
    known = fleet(count)
    bad = {one.name for one in known[: int(count * refusing)]}
    took: set[str] = set()
    steps: list[StageStep] = []
    rule: CohortRule | None = None
    while not steps or steps[-1].state not in {"complete", "halted"}:
        members = [one for one in known if rule and is_member(rule.cohort, one, RELEASE)]
        assert took <= {one.name for one in members}, "no device is put out again"
        took = {one.name for one in members}
        reports = [report(one, "refused" if one.name in bad else "deployed") for one in members]
        steps.append(next_step(rule, reports, known, options, RELEASE, 1000.0))
        rule = steps[-1].rule
    return steps, took


@pytest.mark.slow
@pytest.mark.parametrize(
    ("refusing", "states", "share"),
    [
        (0.0, ["started", "advanced", "advanced", "complete"], 1.0),
        (0.00001, ["started", "advanced", "advanced", "complete"], 1.0),
        (0.01, ["started", "halted"], 0.01),
    ],
)
def test_rollout_to_100000_devices(refusing: float, states: list[str], share: float) -> None:
    options = staged("1%,25%,100%", max_failures=BatchSize(10))
    steps, took = simulate(refusing, options)
    assert [step.state for step in steps] == states
    assert abs(len(took) - 100_000 * share) <= 200
    if steps[-1].state == "halted":
        assert {one.device for one in steps[-1].failed} <= took
