"""The raw records behind every figure, as JSON files beside the page.

An artifact has a file of its own, named by kind and digest. Bench records are many: those of a bundle on a device share a
file, as creating 10,000 files takes longer than all tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter

from toolkit import hashing
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
    Deployment: "deployment",
}


def file_of(artifact: Any) -> str:
    """The file that holds it, from where the page lies."""
    if isinstance(artifact, BenchRecord):
        return f"{FOLDER}/records-{hashing.sha256_json([artifact.parent, artifact.device])[:12]}.json"
    return f"{FOLDER}/{KINDS[type(artifact)]}-{artifact.digest[:12]}.json"


def files(report: ReportData) -> Iterator[tuple[str, bytes]]:
    """Every artifact that the report rests on, with all digits and samples."""
    adapters = {kind: TypeAdapter[Any](kind) for kind in KINDS}
    for artifact in _artifacts(report):
        kind = type(artifact)
        body: bytes = adapters[kind].dump_json(artifact)
        yield file_of(artifact), b'{"kind":"%s",%s\n' % (kind.__name__.encode(), body.removeprefix(b"{"))
    yield from _record_files(report)


def _record_files(report: ReportData) -> Iterator[tuple[str, bytes]]:
    adapter = TypeAdapter(tuple[BenchRecord, ...])
    groups: dict[str, list[BenchRecord]] = {}
    for record in all_records(report):
        groups.setdefault(file_of(record), []).append(record)
    for name, records in groups.items():
        yield name, b'{"kind":"BenchRecord","records":%s}\n' % adapter.dump_json(tuple(records))


def all_records(report: ReportData) -> Iterator[BenchRecord]:
    """Every bench record of the report, also those of replaced and of imported models."""
    yield from report.records
    yield from report.earlier
    for variant in report.imported_variants:
        yield from variant.records


def _artifacts(report: ReportData) -> Iterator[Any]:
    yield from report.splits
    yield from report.models
    for variant in report.variants:
        yield variant.ir
        if variant.bundle:
            yield variant.bundle
    for variant in report.imported_variants:
        yield from (variant.model, variant.ir, *((variant.bundle,) if variant.bundle else ()))
    yield from report.checks
    yield from report.layer_errors
    yield from dict.fromkeys((*report.deployments, *report.last_deployments))
