"""The table of docs/results/conversion.md: every trained model of the given workspaces, converted for the stick and checked.

`just bench convert --results WORKSPACE…` converts the newest model of each network, size and head to FP32 and FP16 for ncs2,
asks all that `toolkit check` asks, and writes the table; a network and head that a workspace has is not looked for in those
after it. What was converted or checked before is taken as it is, so an interrupted run goes on where it stopped; a network
that does not pass has its row too, with what was said.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scores import machine

from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from toolkit.artifacts.bundle import Bundle, IrModel
    from toolkit.artifacts.model import TrainedModel
    from toolkit.store import Store
    from toolkit.workspace import Workspace

PAGE = Path(__file__).parents[1] / "docs" / "results" / "conversion.md"
TARGET, PRECISIONS = "ncs2", ("fp32", "fp16")
_BEGIN, _END = "<!-- begin results -->", "<!-- end results -->"
_NEEDED = {"digests", "golden", "ncs2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One form of one model; `refused` is what was said if it did not come to checks."""

    model: TrainedModel
    precision: str
    ir: IrModel | None = None
    bundle: Bundle | None = None
    checks: Mapping[str, Any] = field(default_factory=dict)
    """BundleChecks by name."""
    refused: str = ""

    @property
    def passed(self) -> bool:
        """Converted, and every check that ran passed, the needed ones among them."""
        ran = {name for name, check in self.checks.items() if check.outcome == "passed"}
        return not self.refused and ran >= _NEEDED and all(c.outcome != "failed" for c in self.checks.values())


def results(workspaces: Sequence[Path], tolerances: Mapping[str, float]) -> int:
    """Convert, check, write the page; the exit code: 1 if a row did not pass. `tolerances` of FP16 by network, "" for the others."""
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    rows: list[Row] = []
    for path in workspaces:
        place, had = Workspace(path), {_name(row.model) for row in rows}
        with Store(place.database) as store:
            models = [model for model in _newest(store) if _name(model) not in had]
            for model, precision in itertools.product(models, PRECISIONS):
                rows.append(_row(model, precision, tolerances, place, store))
                _write(rows)
    failed = [f"{_name(row.model)} {row.precision}" for row in rows if not row.passed]
    print(f"{len(rows) - len(failed)} of {len(rows)} passed" + (f"; not {', '.join(failed)}" if failed else ""))
    return int(bool(failed))


def _newest(store: Store) -> Iterator[TrainedModel]:
    """The last model that was kept of each network, size and head, of the last stage."""
    from toolkit.artifacts.model import TrainedModel

    result = {}
    for model in store.all(TrainedModel):
        if model.stage == "fine-tune":
            result[model.network, model.input_size, model.head] = model
    yield from result.values()


def _row(model: TrainedModel, precision: str, tolerances: Mapping[str, float], place: Workspace, store: Store) -> Row:
    from toolkit.artifacts.bundle import BundleCheck
    from toolkit.convert import check_bundle, convert_model, save_check_results
    from toolkit.convert.bundling import create_bundle
    from toolkit.convert.conversion import split_of
    from toolkit.convert.reference import images_for
    from toolkit.progress import create_progress

    talk = create_progress()
    try:
        wider = tolerances.get(model.network, tolerances.get("")) if precision == "fp16" else None
        ir = convert_model(model, precision, TARGET, place, store, talk, wider)
        bundle = create_bundle(ir, model, split_of(model, store), place, store, talk)
        if not store.all(BundleCheck, parent=bundle.digest):
            folder = place.absolute(bundle.path)
            save_check_results(check_bundle(folder, talk, images_for(folder, place, store)), bundle.digest, store)
    except ToolkitError as error:
        print(f"  {_name(model)} {precision}: {error}", file=sys.stderr)
        return Row(model=model, precision=precision, refused=error.problems[0].what)
    checks = {check.name: check for check in store.all(BundleCheck, parent=bundle.digest)}
    return Row(model=model, precision=precision, ir=ir, bundle=bundle, checks=checks)


def _name(model: TrainedModel) -> str:
    return f"{model.network} {model.head}"


def _write(rows: Sequence[Row]) -> None:
    """Put the tables between the page's two marks."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(_BEGIN)
    PAGE.write_text(f"{before}{_BEGIN}\n{_section(rows)}{_END}{rest.partition(_END)[2]}", encoding="utf-8")


def _section(rows: Sequence[Row]) -> str:
    agreement = "\n".join(_agreement(row) for row in rows)
    stick = "\n".join(_stick(row) for row in rows if "ncs2" in row.checks)
    weights = "\n".join(f"- {line}" for line in dict.fromkeys(_origin(row.model) for row in rows))
    return (
        f"Made by `just bench convert --results` on {machine()}.\n\n"
        "| model | pixels | precision | bundle, MB | from Keras, max (allowed) | mean | same top-1 | accuracy / Keras' | "
        "2021.4.2: max, same top-1 | 2022.3.2: max, same top-1 | verdict |\n"
        f"|---|---|---|---|---|---|---|---|---|---|---|\n{agreement}\n\n"
        "| model | precision | blob, MB | stages | SHAVEs | memory, MB | compiled in, s |\n"
        f"|---|---|---|---|---|---|---|\n{stick}\n\nThe weights:\n\n{weights}\n\n"
    )


def _agreement(row: Row) -> str:
    begin = f"| {_name(row.model)} | {row.model.input_size[0]} | {row.precision}"
    if row.ir is None or row.bundle is None:
        return f"{begin} | | | | | | | | refused: {row.refused} |"
    parity = row.ir.parity
    return (
        f"{begin} | {row.bundle.size_bytes / 1e6:.1f} | {parity.max_abs:.1e} ({parity.tolerance:.0e}) | "
        f"{parity.mean_abs:.1e} | {parity.top1_agreement:.2%} | {parity.accuracy:.5f} / {parity.reference_accuracy:.5f} | "
        f"{_generation(row, 'era 2021')} | {_generation(row, 'era 2022')} | {'passed' if row.passed else _failed(row)} |"
    )


def _generation(row: Row, name: str) -> str:
    details = row.checks[name].details if name in row.checks else {}
    return f"{details['max_abs']:.1e}, {details['top1_agreement']:.2%}" if "max_abs" in details else "not asked"


def _failed(row: Row) -> str:
    return "; ".join(f"{name} {c.outcome}: {c.message}" for name, c in row.checks.items() if c.outcome != "passed")


def _stick(row: Row) -> str:
    check = row.checks["ncs2"]
    begin, fit = f"| {_name(row.model)} | {row.precision} |", check.details
    if not fit:
        return f"{begin} {check.message} | | | | |"
    return (
        f"{begin} {fit['blob_bytes'] / 1e6:.2f} | {fit['stages']} | {fit['shaves']} | {fit['memory_bytes'] / 1e6:.1f} | "
        f"{fit['seconds']:.1f} |"
    )


def _origin(model: TrainedModel) -> str:
    epochs = len(model.history)
    return (
        f"{model.network} {model.head}: from {Path(model.weights).name}, {epochs} epochs of fine-tuning in "
        f"{model.experiment} ({model.note})"
    )
