from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from toolkit.artifacts.dataset import Split
from toolkit.data import read_manifest
from toolkit.workspace import Workspace

Gather = Callable[..., Split]
Refusal = Callable[..., str]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_prepare_divides_when_a_csv_names_images_and_labels(pets: Path, gather: Gather) -> None:
    lines = (f"{path.relative_to(pets)},{path.parent.name}" for path in sorted(pets.rglob("*.*")))
    split = gather("csv", write(pets / "list.csv", "path,label", *lines))
    assert split.name == "list"
    assert {subset: list(counts.values()) for subset, counts in split.counts.items()} == {
        "train": [14, 14],
        "validation": [2, 2],
        "test": [4, 4],
    }


def test_prepare_keeps_the_parts_when_the_csv_has_them(divided: Path, workspace: Workspace, gather: Gather) -> None:
    paths = sorted(divided.rglob("*.png"))
    rows = ((path, path.parent.name, path.relative_to(divided).parts[0].lower()) for path in paths)
    listed = write(
        divided / "all.csv", "subset,label,path", *(f"{subset},{label},{path}" for path, label, subset in rows)
    )
    images = read_manifest(gather("csv", listed), workspace)
    assert len(images) == 18
    assert {(image.subset, image.path.relative_to(divided).parts[0]) for image in images} == {
        ("train", "Train"),
        ("validation", "valid"),
        ("test", "test"),
    }


def test_prepare_names_every_line_when_the_csv_is_wrong(pets: Path, refusal: Refusal) -> None:
    lines = (
        "cat/p00_0.png,cat,train",
        "cat/p00_0.png,cat,train",
        "cat/gone.png,cat,train",
        "dog/q00_0.jpg,,test",
        "dog/q00_1.jpg,dog,later",
        "dog/q01_2.jpg,dog",
        "dog/q01_3.jpg,dog,test,more",
    )
    message = refusal("csv", write(pets / "list.csv", "path,label,subset", *lines))
    assert "line 3: the same image as in line 2" in message
    assert "line 4: no such image" in message
    assert "line 5: has no label" in message
    assert 'line 6: "later" is not a subset' in message
    assert "line 7: has more or fewer fields" in message
    assert "line 8: has more or fewer fields" in message


def test_prepare_refuses_a_csv_with_other_columns(pets: Path, refusal: Refusal) -> None:
    message = refusal("csv", write(pets / "list.csv", "file,label", "a,b"))
    assert 'has no column "path"' in message
    assert '"file" is not a known column' in message
    (pets / "list.csv").write_bytes(b"path,label\n\xff\xfe\n")
    assert "not a CSV file" in refusal("csv", pets / "list.csv")
    assert "no such file" in refusal("csv", pets / "gone.csv")
