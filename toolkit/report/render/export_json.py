"""The raw records behind every figure, as JSON files beside the page: one per artifact, named by kind and digest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter

from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.bundle import Bundle, BundleCheck, IrModel, LayerErrorReport
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.fleet import Deployment
from toolkit.artifacts.model import TrainedModel
from toolkit.report.data.load import ReportData

FOLDER = "raw"
KINDS = {
    Split: "split",
    TrainedModel: "model",
    IrModel: "ir",
    Bundle: "bundle",
    BundleCheck: "check",
    LayerErrorReport: "layer-errors",
    BenchRecord: "record",
    Deployment: "deployment",
}


def file_of(artifact: Any) -> str:
    """Its file, from where the page lies."""
    return f"{FOLDER}/{KINDS[type(artifact)]}-{artifact.digest[:12]}.json"


def files(report: ReportData) -> Iterator[tuple[str, bytes]]:
    """Every artifact that the report rests on, with all digits and samples."""
    adapters = {kind: TypeAdapter[Any](kind) for kind in KINDS}
    for artifact in _artifacts(report):
        kind = type(artifact)
        body: bytes = adapters[kind].dump_json(artifact)
        yield file_of(artifact), b'{"kind":"%s",%s\n' % (kind.__name__.encode(), body.removeprefix(b"{"))


def _artifacts(report: ReportData) -> Iterator[Any]:
    yield from report.splits
    yield from report.models
    for variant in report.variants:
        yield variant.ir
        if variant.bundle:
            yield variant.bundle
        yield from variant.records
    yield from report.earlier
    for variant in report.imported_variants:
        yield from (variant.model, variant.ir, *((variant.bundle,) if variant.bundle else ()), *variant.records)
    yield from report.checks
    yield from report.layer_errors
    yield from dict.fromkeys((*report.deployments, *report.last_deployments))
