"""The order in which devices are deployed, and when a rollout stops. Pure, so that --dry-run shows what will happen.

Sizes mean what Ansible's `serial` means: a number of devices or a percentage of all, at least one; the last size is used
for every further batch. A group is a group of the inventory, or VARIABLE=VALUE for a label that the inventory gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from toolkit.artifacts.fleet import Device
from toolkit.errors import UsageError


@dataclass(frozen=True, slots=True)
class BatchSize:
    """A number of devices, or a percentage."""

    number: int
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """A number such as "5", or a share such as "25%".

        Raises:
            UsageError: it is neither.
        """
        digits = text.strip().removesuffix("%")
        size = cls(int(digits) if digits.isdecimal() else -1, percent=text.strip().endswith("%"))
        if size.number < 0 or (size.percent and size.number > 100):
            raise UsageError(f"{text!r} is not a number of devices", remedy="give a number such as 5, or a share: 25%")
        return size

    def of(self, total: int) -> int:
        """Return the number for a fleet of `total`, rounded down."""
        return total * self.number // 100 if self.percent else self.number


CANARY_FIRST = (BatchSize(1), BatchSize(25, percent=True), BatchSize(100, percent=True))
"""One device, then a quarter of all, then the others."""
AT_ONCE = (BatchSize(100, percent=True),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """The order and limits of a rollout."""

    batches: tuple[BatchSize, ...] | None = None
    """None: a canary first, or where `groups` are named each of them at once."""
    groups: tuple[str, ...] = ()
    """One after the other, each divided into batches of its own; devices in none of them come last."""
    pause_s: float = 0.0
    """Between two batches."""
    max_failures: BatchSize = BatchSize(0)
    """More failures than this stop the rollout; of the first of several batches no device may fail."""
    auto_rollback: bool = True
    """Whether a stopped rollout reverts the devices it has deployed to."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Devices that get the release at the same time."""

    number: int
    """From 1."""
    devices: tuple[Device, ...]
    group: str = ""


def parse_sizes(text: str) -> tuple[BatchSize, ...]:
    """Sizes as Ansible's `serial` lists them: "1,25%,100%".

    Raises:
        UsageError: a part is not a size, or is zero.
    """
    sizes = tuple(BatchSize.parse(part) for part in text.split(","))
    if any(size.number == 0 for size in sizes):
        raise UsageError(f"{text!r} has an empty batch", remedy="every batch needs a device: --batch 1,25%,100%")
    return sizes


def make_batches(devices: Sequence[Device], strategy: Strategy) -> tuple[Batch, ...]:
    """Return batches with every device in exactly one, in the given order within its group."""
    sizes = strategy.batches or (AT_ONCE if strategy.groups else CANARY_FIRST)
    parts = ((group, part) for group, members in _grouped(devices, strategy.groups) for part in _cut(members, sizes))
    return tuple(Batch(number, part, group) for number, (group, part) in enumerate(parts, start=1))


def check_groups(devices: Sequence[Device], strategy: Strategy) -> None:
    """Check that each group has a device.

    Raises:
        UsageError: one has none; says which groups there are.
    """
    empty = [group for group in strategy.groups if not any(_is_in(device, group) for device in devices)]
    if empty:
        known = ", ".join(sorted({group for device in devices for group in device.groups})) or "none"
        raise UsageError(
            f"no device is in {', '.join(empty)}",
            where="--group",
            remedy=f"use groups of the inventory ({known}), or VARIABLE=VALUE",
        )


def is_too_many(failed: int, batch: Batch, batches: Sequence[Batch], strategy: Strategy) -> bool:
    """Return whether so many failures up to this batch stop the rollout."""
    total = sum(len(each.devices) for each in batches)
    return exceeds_limit(failed, total, strategy, first=batch.number == 1 and len(batches) > 1)


def exceeds_limit(failed: int, total: int, strategy: Strategy, *, first: bool) -> bool:
    """Return whether so many failures of `total` devices stop a rollout; in the first of several batches, one does."""
    return failed > (0 if first else strategy.max_failures.of(total))


def _grouped(devices: Sequence[Device], groups: Sequence[str]) -> Iterator[tuple[str, list[Device]]]:
    left = list(devices)
    for group in groups:
        yield group, [device for device in left if _is_in(device, group)]
        left = [device for device in left if not _is_in(device, group)]
    yield "", left


def _is_in(device: Device, group: str) -> bool:
    variable, equals, value = group.partition("=")
    return str(device.variables.get(variable)) == value if equals else group in device.groups


def _cut(devices: Sequence[Device], sizes: Sequence[BatchSize]) -> Iterator[tuple[Device, ...]]:
    begin = number = 0
    while begin < len(devices):
        size = max(1, sizes[min(number, len(sizes) - 1)].of(len(devices)))
        yield tuple(devices[begin : begin + size])
        begin, number = begin + size, number + 1
