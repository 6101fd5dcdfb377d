"""Labels go out to other tools and come back; what comes from outside is not trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from toolkit.artifacts.labeling import CLASS, NOT_SURE, UNKNOWN
from toolkit.captures import image_path
from toolkit.errors import DataError, UsageError
from toolkit.experiment.schema import Experiment
from toolkit.loop import label_import
from toolkit.loop.decisions import Choice, record, standing_decisions
from toolkit.loop.label_export import write_labels
from toolkit.loop.label_import import read_labels
from toolkit.store import Store
from toolkit.workspace import Workspace

from ..invoke import run
from .conftest import Capturing

CLASSES = ("blue", "red")
A, B = "a" * 64, "b" * 64


def outcome(path: Path, form: str | None = None) -> dict[str, str]:
    return {one.capture: one.label or one.verdict for one in read_labels(path, form, CLASSES, {A, B}).choices}


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def task(image: str, choice: object, **fields: Any) -> dict[str, Any]:
    result = [{"type": "choices", "from_name": "x", "to_name": "y", "value": {"choices": choice}}]
    annotation = {"result": result, "completed_by": {"email": "ann@example.org"}, "was_cancelled": False} | fields
    return {"id": 1, "data": {"image": image}, "annotations": [annotation], "predictions": []}


@pytest.mark.parametrize("form", ["csv", "folders", "coco", "label-studio"])
def test_labels_come_back_as_they_went_out(
    form: str, tmp_path: Path, workspace: Workspace, store: Store, capture: Capturing
) -> None:
    captures = [capture("red", seed) for seed in range(4)]
    choices = [
        Choice(captures[0].digest, CLASS, "red"),
        Choice(captures[1].digest, UNKNOWN),
        Choice(captures[2].digest, NOT_SURE),
    ]
    record(store, choices, who="=ann")
    destination = tmp_path / ("labels" if form == "folders" else "labels.csv" if form == "csv" else "labels.json")
    assert write_labels(destination, form, captures, standing_decisions(store), workspace) == 3
    back = read_labels(destination, None, CLASSES, {one.digest for one in captures})
    assert {(one.capture, one.verdict, one.label) for one in back.choices} == {
        (one.capture, one.verdict, one.label) for one in choices
    }
    if form in {"csv", "label-studio"}:
        assert {one.who for one in back.choices} == {"=ann"}


def test_folders_are_known_by_their_bytes(tmp_path: Path, workspace: Workspace, capture: Capturing) -> None:
    one = capture("red", 0)
    (tmp_path / "mine" / "red").mkdir(parents=True)
    (tmp_path / "mine" / "red" / "IMG_1.jpg").write_bytes(image_path(workspace, one.digest).read_bytes())
    (tmp_path / "mine" / "red" / "IMG_2.jpg").write_bytes(b"\xff\xd8\xff not a capture")
    back = read_labels(tmp_path / "mine", None, CLASSES, {one.digest})
    assert [(choice.capture, choice.label) for choice in back.choices] == [(one.digest, "red")]
    assert len(back.strangers) == 1


def test_label_studio_gives_the_newest_choice_and_who_made_it(tmp_path: Path) -> None:
    one = task(f"/data/upload/7/0a1b2c3d-{A}.jpg", ["red"], updated_at="2026-01-01T10:00:00Z")
    later = task("", ["blue"], updated_at="2026-01-02T10:00:00+01:00", created_at="2026-01-02T09:00:00Z")
    canceled = task("", ["red"], updated_at="2026-01-03T10:00:00Z", was_cancelled=True)
    one["annotations"] += later["annotations"] + canceled["annotations"]
    choices = read_labels(write(tmp_path / "x.json", [one, {"data": {}}]), None, CLASSES, {A, B}).choices
    assert choices == (Choice(A, CLASS, "blue", "ann@example.org", "2026-01-02T09:00:00.000+00:00"),)
    flat = [{"image": f"/x/{B}.jpg", "choice": "not sure", "id": 1, "annotator": 3}]
    assert outcome(write(tmp_path / "min.json", flat)) == {B: NOT_SURE}


def test_a_class_called_unknown_is_a_class(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", f"image,label\n{A}.jpg,unknown\n")
    assert read_labels(path, None, ("unknown", "red"), {A}).choices == (Choice(A, CLASS, "unknown"),)
    assert read_labels(path, None, CLASSES, {A}).choices == (Choice(A, UNKNOWN),)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "picture,class\n", "does not name the columns"),
        ("x.csv", f"image,label\n{A},red,extra\n", "line 2: has more or fewer fields"),
        ("x.csv", f'image,label\n{A},"red\n', "not a CSV file"),
        ("x.csv", f"image,label\n{A},red\n{A},blue\n", "line 3: the image has two labels"),
        ("x.csv", f"image,label\n{A},green\n", "no class 'green'"),
        ("x.csv", f"image,label\n{A},{'g' * 10_000}\n", "no class 'ggg"),
        ("x.csv", f"image,label\n{'d' * 64},red\n", "no label of a capture: 1 images are no captures"),
        ("x.csv", b"image,label\n\xff\xfe,red\n", "not UTF-8"),
        ("x.json", "{", "not valid JSON"),
        ("x.json", "[" * 200_000, "not valid JSON"),
        ("x.json", {"images": 1, "categories": [], "annotations": {}}, "not a COCO file"),
        (
            "x.json",
            {"images": [{"id": 1, "file_name": A}], "categories": [{"id": 1, "name": "red"}], "annotations": [{}]},
            r"annotations\[0\]: names an image or a category",
        ),
        ("x.json", [7, None, {"data": 3}], "task 1: not a task"),
        ("x.json", [task(A, ["red", "blue"])], "task 1: has 2 choices, not one"),
        ("x.json", [task(A, {"red": 1})], "has 0 choices"),
    ],
)
def test_bad_files_are_refused_with_their_place(name: str, content: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else write(path, content)
    with pytest.raises(DataError, match=message):
        outcome(path)


def test_a_thousand_problems_are_counted_not_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "image,label\n" + f"{A},green\n" * 1000)
    with pytest.raises(DataError, match="and 980 more problems") as refused:
        outcome(path)
    assert len(refused.value.problems) == label_import.MAX_PROBLEMS + 1


def test_huge_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_import, "MAX_BYTES", 1 << 20)
    with (tmp_path / "x.csv").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(DataError, match="larger than the limit of 1 MiB"):
        outcome(tmp_path / "x.csv")


def test_odd_names_and_formats_are_refused(
    tmp_path: Path, workspace: Workspace, store: Store, capture: Capturing
) -> None:
    with pytest.raises(UsageError, match="unknown label format"):
        outcome(tmp_path / "x.xml")
    one = capture("red", 0)
    record(store, [Choice(one.digest, CLASS, "../red")], who="ann")
    with pytest.raises(DataError, match="cannot be a folder"):
        write_labels(tmp_path / "out", "folders", [one], standing_decisions(store), workspace)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(UsageError, match="not an empty folder"):
        write_labels(tmp_path / "full", "folders", [one], {}, workspace)


def test_label_verb_exports_and_imports(
    plan: Experiment,
    tmp_path: Path,
    workspace: Workspace,
    store: Store,
    capture: Capturing,
    capsys: pytest.CaptureFixture[str],
) -> None:
    captures = [capture("red", seed) for seed in range(2)]
    file = tmp_path / "labels.csv"
    common = ("--workspace", str(workspace.root), "--json", "--who", "ann")
    assert run("label", plan.origin, "--export", file, *common) == 0
    assert json.loads(capsys.readouterr().out)["captures"] == 2
    file.write_text(file.read_text().replace(f"{captures[0].digest}.jpg,", f"{captures[0].digest}.jpg,red"))
    assert run("label", plan.origin, "--import", file, *common) == 0
    assert json.loads(capsys.readouterr().out) == {"recorded": 1, "not_captures": 0}
    (decision,) = standing_decisions(store).values()
    assert (decision.label, decision.who, decision.origin) == ("red", "ann", "labels.csv")
    assert run("label", plan.origin, "--import", file, "--export", file, *common) == 2
    capsys.readouterr()
    file.write_text(file.read_text().replace(",red", ",amber"))
    assert run("label", plan.origin, "--import", file, *common) != 0
    assert run("label", plan.origin, "--new-class", "amber", "--import", file, *common) == 0
    assert [one.label for one in standing_decisions(store).values()] == ["amber"]
