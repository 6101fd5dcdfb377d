from __future__ import annotations

import math
from typing import Any

from toolkit.analysis import find_outliers

NAMES = {"b" * 64: "tiny-softmax-top-fp32"}


def fleet_of(make: Any, count: int) -> list[Any]:
    return [make(device=f"pi-{n}", ms=10 + 0.1 * (n % 3)) for n in range(count)]


def test_outliers_are_none_when_devices_agree(make: Any) -> None:
    assert find_outliers(fleet_of(make, 12), NAMES) == ()


def test_outliers_name_the_throttled_one_with_the_firmwares_word(make: Any) -> None:
    after = {"throttled": 0x50005, "temperature_c": 84.0, "clock_mhz": 600.0}
    cool = {"throttled": 0, "temperature_c": 61.0, "clock_mhz": 1500.0}
    hot = make(device="pi-hot", ms=19, broken_rules=("throttled",), after=after)
    others = [make(device=f"pi-{n}", after=cool) for n in range(5)]
    (outlier,) = find_outliers([*others, hot], NAMES)
    assert (outlier.device, outlier.record, len(outlier.peers)) == ("pi-hot", hot, 5)
    assert 0.85 < outlier.gap < 0.95
    assert outlier.causes == (
        "throttled: the firmware says 0x50005",
        "84 °C, the others 61 °C",
        "its clock at 600 MHz, the others' at 1,500 MHz",
    )


def test_outliers_do_not_hold_a_device_against_throttled_ones(make: Any) -> None:
    hot = [make(device=f"hot-{n}", ms=20, broken_rules=("throttled",)) for n in range(3)]
    outliers = find_outliers([*hot, *fleet_of(make, 3)], NAMES)
    assert {each.device for each in outliers} == {"hot-0", "hot-1", "hot-2"}


def test_outliers_say_nothing_of_a_cause_that_no_record_tells(make: Any) -> None:
    (outlier,) = find_outliers([*fleet_of(make, 6), make(device="slow", ms=15)], NAMES)
    assert (outlier.causes, math.isfinite(outlier.modified_z_score)) == ((), True)


def test_outliers_name_another_version_or_governor(make: Any) -> None:
    slow = make(device="old", ms=15, facts={"openvino": "2024.1", "governor": "powersave"})
    (outlier,) = find_outliers([*fleet_of(make, 6), slow], NAMES)
    assert outlier.causes == ("governor powersave, the others ondemand", "OpenVINO 2024.1, the others 2026.4.1-1")


def test_outliers_are_sought_among_like_devices_only(make: Any) -> None:
    older = make(device="pi-3b", ms=30, facts={"model": "Raspberry Pi 3 Model B"})
    assert find_outliers([*fleet_of(make, 6), older], NAMES) == ()


def test_outliers_need_three_devices_and_sound_records(make: Any) -> None:
    assert find_outliers([make(device="a"), make(device="b", ms=30)], NAMES) == ()
    wrong = make(device="c", ms=30, broken_rules=("outputs-differ",))
    assert find_outliers([*fleet_of(make, 5), wrong], NAMES) == ()


def test_outliers_go_by_a_devices_newest_record(make: Any) -> None:
    faster = [make(device="pi-x", day=1, ms=30), make(device="pi-x", day=2, ms=10)]
    assert find_outliers([*fleet_of(make, 6), *faster], NAMES) == ()


def test_outliers_that_are_one_machine_differ_by_the_moment(make: Any) -> None:
    same = {"boot_id": "f0"}
    others = [make(device=f"local-{n}", facts=same, after={"load_1min": 0.9}) for n in range(3)]
    (outlier,) = find_outliers([*others, make(device="late", ms=15, facts=same, after={"load_1min": 3.0})], NAMES)
    assert outlier.causes == (
        "load 3.0, the others 0.9",
        "several devices share this machine: a slow moment, not a slow device",
    )
