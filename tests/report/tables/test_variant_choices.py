from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from toolkit.artifacts.bench import VariantChoice, VariantResult
from toolkit.report.tables.variant_choices import variant_choices


def test_every_form_is_shown_with_the_reason() -> None:
    fast = VariantResult(
        bundle="1", name="m-int8-litert", size_bytes=2_000_000, p90_ms=9.0, p90_interval_ms=(8.9, 9.1), accuracy=0.95
    )
    slow = VariantResult(bundle="2", name="m-fp16", size_bytes=1, p90_ms=20.0, p90_interval_ms=None, accuracy=0.96)
    out = VariantResult(
        bundle="3", name="m-int8", size_bytes=1, p90_ms=None, p90_interval_ms=None, accuracy=None, excluded="no INT8"
    )
    choice = VariantChoice(
        digest="c",
        parent="m",
        kind="Cortex-A76, CPU",
        device="pi-1",
        bundle="1",
        reason="p90 9.00 ms, against 20.00 ms of m-fp16",
        variants=(fast, slow, out),
        at="2026-11-30",
    )
    report: Any = SimpleNamespace(variant_choices=(choice,))
    rows = [[cell.text for cell in row] for row in variant_choices(report).rows]
    assert rows[0] == [
        "Cortex-A76, CPU", "m-int8-litert", "9.00", "95.0 %", "2.0 MB", f"fastest: {choice.reason}", "pi-1",
    ]  # fmt: skip
    assert [row[5] for row in rows[1:]] == ["slower, or larger", "not eligible: no INT8"]
    assert variant_choices(SimpleNamespace(variant_choices=())).rows == ()  # type: ignore[arg-type]
