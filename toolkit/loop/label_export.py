"""Labels for other tools, in the formats that `toolkit.loop.label_import` reads back.

Captures without a label are exported too, so that they can be labeled elsewhere: as empty labels in CSV, as images
without annotations in COCO, and as tasks with the model's answer as prediction in Label Studio.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from toolkit import files
from toolkit.artifacts.captured_image import CapturedImage
from toolkit.artifacts.labeling import CLASS, VERDICTS, LabelDecision
from toolkit.captures import image_path
from toolkit.errors import DataError, UsageError
from toolkit.workspace import Workspace

Labels = Mapping[str, LabelDecision]


def write_labels(
    destination: Path, form: str | None, captures: Sequence[CapturedImage], decisions: Labels, workspace: Workspace
) -> int:
    """Write the captures and the decisions about them; returns the number of captures with a decision.

    Raises:
        UsageError: an unknown format, or a destination that is not empty.
        DataError: a class whose name cannot be that of a folder.
    """
    form = form or {".csv": "csv", ".json": "label-studio"}.get(destination.suffix.lower(), "folders")
    if form == "folders":
        _write_folders(destination, captures, decisions, workspace)
    elif form in _TEXTS:
        with files.atomic_write(destination) as stream:
            stream.write(_TEXTS[form](captures, decisions).encode())
    else:
        raise UsageError(f"unknown label format {form!r}", remedy=f"choose one of {', '.join(['folders', *_TEXTS])}")
    return sum(capture.digest in decisions for capture in captures)


def label_of(decision: LabelDecision | None) -> str:
    """The class name, "unknown" or "not sure"; nothing without a decision."""
    if decision is None:
        return ""
    return decision.label if decision.verdict == CLASS else decision.verdict


def _csv(captures: Sequence[CapturedImage], decisions: Labels) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "label", "who", "at", "device", "release", "policy"))
    for capture in captures:
        decision = decisions.get(capture.digest)
        who, at = (decision.who, decision.at) if decision else ("", "")
        row = (_file(capture), label_of(decision), who, at, capture.device, capture.parent, capture.policy)
        writer.writerow([files.csv_text(cell) for cell in row])
    return text.getvalue()


def _coco(captures: Sequence[CapturedImage], decisions: Labels) -> str:
    labels = [label_of(decisions.get(capture.digest)) for capture in captures]
    names = sorted({label for label in labels if label})
    ids = {name: number for number, name in enumerate(names, start=1)}
    annotated = [(number, label) for number, label in enumerate(labels, start=1) if label]
    return _json(
        {
            "info": {"description": "captures of the Edge Vision Toolkit"},
            "images": [{"id": number, "file_name": _file(one)} for number, one in enumerate(captures, start=1)],
            "categories": [{"id": number, "name": name} for name, number in ids.items()],
            "annotations": [
                {"id": number, "image_id": image, "category_id": ids[label]}
                for number, (image, label) in enumerate(annotated, start=1)
            ],
        }
    )


def _label_studio(captures: Sequence[CapturedImage], decisions: Labels) -> str:
    """Tasks for Label Studio's local files, to be served from the captures' folder."""

    def choice(label: str) -> dict[str, object]:
        return {"from_name": "choice", "to_name": "image", "type": "choices", "value": {"choices": [label]}}

    tasks: list[dict[str, object]] = []
    for capture in captures:
        image = f"/data/local-files/?d=captures/{_file(capture)}"
        task: dict[str, object] = {"data": {"image": image, "device": capture.device, "policy": capture.policy}}
        score = {"score": capture.confidence, "model_version": capture.parent[:12]}
        task["predictions"] = [{"result": [choice(capture.label)], **score}]
        if decision := decisions.get(capture.digest):
            made = {"completed_by": {"email": decision.who}, "created_at": decision.at, "was_cancelled": False}
            task["annotations"] = [{"result": [choice(label_of(decision))], **made}]
        tasks.append(task)
    return _json(tasks)


def _write_folders(
    destination: Path, captures: Sequence[CapturedImage], decisions: Labels, workspace: Workspace
) -> None:
    """One folder per class, "unknown" and "not sure"; captures without a decision are left out."""
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise UsageError("the destination is not an empty folder", where=str(destination), remedy="name a new folder")
    labels = {capture.digest: label_of(decisions.get(capture.digest)) for capture in captures}
    classes = {decision.label for decision in decisions.values() if decision.verdict == CLASS}
    for label in sorted(classes):
        if label in VERDICTS[1:] or Path(label).name != label or label.startswith("."):
            remedy = "export as csv, coco or label-studio"
            raise DataError(f"the class {label!r} cannot be a folder of its own", where=str(destination), remedy=remedy)
    for capture in captures:
        if label := labels[capture.digest]:
            target = destination / label / _file(capture)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(image_path(workspace, capture.digest), target)


def _file(capture: CapturedImage) -> str:
    return f"{capture.digest}.jpg"


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


_TEXTS: Mapping[str, Callable[[Sequence[CapturedImage], Labels], str]] = {
    "csv": _csv,
    "coco": _coco,
    "label-studio": _label_studio,
}
