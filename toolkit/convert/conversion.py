"""From a trained Keras model to an OpenVINO IR that is proven to answer alike.

    Source ─graph▶ form for a target and precision ─write▶ IR ─run on the test pictures▶ Parity ─passed?▶ kept

The IR is made beside its place and renamed only after parity has passed: a failed one is never found as converted.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from toolkit import compat
from toolkit.artifacts import IrModel, Split, TrainedModel, Workspace
from toolkit.convert import graphs, parity
from toolkit.convert.forms import write_form
from toolkit.convert.parity import Comparison
from toolkit.convert.source import Source, TestPictures, name_of, test_pictures, versions
from toolkit.errors import DataError, ParityError
from toolkit.progress import Progress
from toolkit.store import Store


def convert_model(
    model: TrainedModel,
    precision: str,
    target: str,
    workspace: Workspace,
    store: Store,
    progress: Progress,
    tolerance: float | None = None,
) -> IrModel:
    """Make the IR of `model` in `precision` for `target`, or take the one that is there already.

    `tolerance` is the largest allowed difference of any probability from Keras' (default: parity.TOLERANCE).

    Raises:
        ConversionError: the target's runtime cannot say an operation, or FP16 a number.
        ParityError: it answers differently on the test pictures; nothing is kept.
        ConfigurationError: no such target, or the target does not take that precision.
        DataError: the model or its split cannot be used.
    """
    wanted = compat.find_target(target)
    compat.check_precision(wanted, precision)
    limit = parity.TOLERANCE[precision] if tolerance is None else tolerance
    title = f"{name_of(model)} {precision} for {target}"
    done = _already(model, precision, target, limit, workspace, store)
    if done is not None:
        progress.say(f"convert {title}: already done ({done.digest[:12]})")
        return done
    progress.say(f"convert {title}")
    start = time.monotonic()
    source = Source(model, workspace, progress)
    split = split_of(model, store)
    test = test_pictures(model, split, workspace)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=workspace.folder("ir")) as beside:
        path = write_form(source, wanted, precision, Path(beside) / "new", progress)
        compared = _compared(source, split, test, path, limit)
        if not compared.parity.passed:
            raise _disagreement(title, compared, test)
        kept = _publish(path, workspace)
    ir = IrModel(
        digest=graphs.digest_of(kept),
        parent=model.digest,
        precision=precision,
        target=target,
        path=workspace.relative(kept),
        size_bytes=graphs.size_of(kept),
        parity=compared.parity,
        seconds=time.monotonic() - start,
        versions=versions(),
    )
    store.put(ir)
    _say_parity(ir, progress)
    return ir


def split_of(model: TrainedModel, store: Store) -> Split:
    """The split that `model` was trained on.

    Raises:
        DataError: the store does not know it.
    """
    split = store.get(Split, model.parent)
    if split is None:
        raise DataError(
            f"the store knows no split {model.parent[:12]}, which {name_of(model)} was trained on",
            remedy="prepare the data again with `toolkit run` on the model's experiment",
        )
    return split


def _already(
    model: TrainedModel, precision: str, target: str, tolerance: float, workspace: Workspace, store: Store
) -> IrModel | None:
    """The newest IR that answers the same wish and whose bytes are still there."""
    for ir in reversed(store.all(IrModel, parent=model.digest)):
        same = (ir.precision, ir.target, ir.parity.tolerance) == (precision, target, tolerance)
        if same and _passes_still(ir) and _intact(ir, workspace):
            return ir
    return None


def _passes_still(ir: IrModel) -> bool:
    """Made by these versions, and good enough by today's rules."""
    kept = parity.keeps_accuracy(ir.parity.accuracy, ir.parity.reference_accuracy)
    return kept and dict(ir.versions) == dict(versions())


def _intact(ir: IrModel, workspace: Workspace) -> bool:
    path = workspace.absolute(ir.path)
    return path.exists() and path.with_suffix(".bin").exists() and graphs.digest_of(path) == ir.digest


def _compared(source: Source, split: Split, test: TestPictures, path: Path, tolerance: float) -> Comparison:
    reference = source.reference(split, test)
    return parity.compare(reference, parity.run(path, test.chunks()), test.labels, tolerance)


def _disagreement(title: str, compared: Comparison, test: TestPictures) -> ParityError:
    found = compared.parity
    if not parity.keeps_accuracy(found.accuracy, found.reference_accuracy):
        return ParityError(
            f"{title} has an accuracy of {found.accuracy:.5f} on {found.pictures} test pictures; allowed is at least "
            f"{parity.ACCURACY_KEPT:.0%} of Keras' {found.reference_accuracy:.5f}. Nothing was kept",
            where=str(test.pictures[compared.worst].path),
            remedy="look at that picture first, which is furthest off; or keep this model in fp32",
        )
    return ParityError(
        f"{title} answers up to {found.max_abs:.2e} away from Keras on {found.pictures} test pictures; "
        f"allowed is {found.tolerance:.0e}. Same top-1 on {found.top1_agreement:.1%}. Nothing was kept",
        where=str(test.pictures[compared.worst].path),
        remedy="look at that picture first; if the difference is harmless for you, allow it with --tolerance, or with "
        "convert.tolerance in the experiment",
    )


def _publish(path: Path, workspace: Workspace) -> Path:
    """Move the finished folder to its place, named by what is in it; a damaged one there makes way."""
    folder = workspace.folder("ir") / graphs.digest_of(path)
    if folder.exists():
        folder.rename(path.parent.with_name("damaged"))
    path.parent.rename(folder)
    return folder / path.name


def _say_parity(ir: IrModel, progress: Progress) -> None:
    found = ir.parity
    progress.say(
        f"  {ir.size_bytes / 1e6:.1f} MB in {ir.seconds:.1f} s; at most {found.max_abs:.1e} from Keras on {found.pictures} "
        f"pictures (allowed {found.tolerance:.0e}), same top-1 on {found.top1_agreement:.1%}"
    )
