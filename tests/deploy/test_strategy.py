from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.artifacts.fleet import Device
from toolkit.deploy.strategy import (
    BatchSize,
    Strategy,
    check_groups,
    is_too_many,
    make_batches,
    parse_sizes,
)
from toolkit.errors import UsageError

ROOMS = ("kitchen", "garden", "attic")
sizes = st.builds(BatchSize, st.integers(1, 40)) | st.builds(BatchSize, st.integers(1, 100), st.just(True))


def fleet(count: int) -> tuple[Device, ...]:
    """pi-0, pi-1 …: every third in "kitchen", "garden" or "attic", with a label that tells even from odd."""
    return tuple(
        Device(
            name=f"pi-{number}",
            host="pi",
            groups=("pis", ROOMS[number % 3]),
            variables={"toolkit_room": "even" if number % 2 == 0 else "odd"},
        )
        for number in range(count)
    )


@given(
    st.integers(0, 200),
    st.none() | st.lists(sizes, min_size=1, max_size=5).map(tuple),
    st.lists(st.sampled_from([*ROOMS, "toolkit_room=odd"]), unique=True).map(tuple),
)
def test_divide_puts_every_device_into_one_batch_in_order(
    count: int, batches: tuple[BatchSize, ...] | None, groups: tuple[str, ...]
) -> None:
    devices = fleet(count)
    divided = make_batches(devices, Strategy(batches=batches, groups=groups))
    result = [device for batch in divided for device in batch.devices]
    assert sorted(result, key=lambda one: one.name) == sorted(devices, key=lambda one: one.name)
    assert [batch.number for batch in divided] == list(range(1, len(divided) + 1))
    assert all(batch.devices for batch in divided)
    for batch in divided:
        assert list(batch.devices) == sorted(batch.devices, key=devices.index)
    if not groups:
        assert result == list(devices)


@given(st.integers(1, 500), st.lists(sizes, min_size=1, max_size=4).map(tuple))
def test_divide_makes_no_batch_larger_than_its_size(count: int, batches: tuple[BatchSize, ...]) -> None:
    divided = make_batches(fleet(count), Strategy(batches=batches))
    for number, batch in enumerate(divided):
        allowed = max(1, batches[min(number, len(batches) - 1)].of(count))
        assert len(batch.devices) == allowed or (batch is divided[-1] and len(batch.devices) < allowed)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(2, 60))
def test_is_too_many_lets_nobody_start_after_a_canary_that_fails(allowed: int, failed: int, count: int) -> None:
    strategy = Strategy(max_failures=BatchSize(allowed))
    batches = make_batches(fleet(count), strategy)
    assert is_too_many(failed, batches[0], batches, strategy) == (failed > 0)
    assert is_too_many(failed, batches[-1], batches, strategy) == (failed > allowed)


def test_divide_takes_a_canary_then_a_quarter_then_the_others() -> None:
    assert [len(batch.devices) for batch in make_batches(fleet(100), Strategy())] == [1, 25, 74]
    assert [len(batch.devices) for batch in make_batches(fleet(3), Strategy())] == [1, 1, 1]
    repeated = Strategy(batches=parse_sizes("1,4"))
    assert [len(batch.devices) for batch in make_batches(fleet(10), repeated)] == [1, 4, 4, 1]


def test_make_batches_takes_groups_in_order_and_others_last() -> None:
    divided = make_batches(fleet(7), Strategy(groups=("garden", "toolkit_room=odd")))
    names = [(batch.group, [device.name for device in batch.devices]) for batch in divided]
    assert names == [
        ("garden", ["pi-1", "pi-4"]),
        ("toolkit_room=odd", ["pi-3", "pi-5"]),
        ("", ["pi-0", "pi-2", "pi-6"]),
    ]
    each = make_batches(fleet(6), Strategy(groups=("garden",), batches=parse_sizes("1,100%")))
    assert [len(batch.devices) for batch in each] == [1, 1, 1, 3]


def test_is_too_many_counts_a_share_of_all_devices() -> None:
    strategy = Strategy(max_failures=BatchSize.parse("10%"))
    batches = make_batches(fleet(40), strategy)
    assert [is_too_many(failed, batches[-1], batches, strategy) for failed in (0, 4, 5)] == [False, False, True]


def test_is_too_many_allows_failures_in_the_only_batch() -> None:
    strategy = Strategy(batches=parse_sizes("100%"), max_failures=BatchSize(1))
    (batch,) = make_batches(fleet(3), strategy)
    assert not is_too_many(1, batch, (batch,), strategy)


@pytest.mark.parametrize("text", ["", "x", "-1", "101%", "1.5", "0", "1,,2", "1,0%"])
def test_parse_sizes_refuses_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError):
        parse_sizes(text)


def test_check_groups_names_the_groups_when_one_is_empty() -> None:
    with pytest.raises(UsageError, match=r"no device is in cellar(.|\n)*attic, garden, kitchen, pis"):
        check_groups(fleet(3), Strategy(groups=("kitchen", "cellar")))
    check_groups(fleet(3), Strategy(groups=("kitchen", "toolkit_room=odd")))
