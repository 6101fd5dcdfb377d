"""PASCAL VOC as it is given out, in miniature: the files' names and contents are of exactly its format."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from toolkit.artifacts.dataset import Split
from toolkit.data import read_manifest
from toolkit.workspace import Workspace

Gather = Callable[..., Split]
Refusal = Callable[..., str]
Write = Callable[[Path, int], Path]

OBJECT = """\t<object>
\t\t<name>{name}</name>
\t\t<pose>Left</pose>
\t\t<truncated>1</truncated>
\t\t<difficult>{difficult}</difficult>
\t\t<bndbox><xmin>48</xmin><ymin>240</ymin><xmax>195</xmax><ymax>371</ymax></bndbox>
\t</object>
"""
ANNOTATION = """<annotation>
\t<folder>VOC2007</folder>
\t<filename>{name}.jpg</filename>
\t<size><width>16</width><height>12</height><depth>3</depth></size>
\t<segmented>0</segmented>
{objects}</annotation>
"""
CLASSES = ("car", "person", "train")
KINDS: tuple[Mapping[str, int], ...] = (
    {"car": 1},
    {"person": 1},
    {"train": 1},
    {"car": 1, "person": 1},
    {"train": 1, "person": 0},
)
"""What is on every fifth image: 1 there, 0 only difficult ones."""

Build = Callable[..., Path]


@pytest.fixture
def build(tmp_path: Path, image: Write) -> Build:
    """VOCdevkit/VOC20xx with ten images in each subset."""

    def built(year: int = 2007, subsets: tuple[str, ...] = ("train", "val", "test"), *, labeled: bool = True) -> Path:
        root = tmp_path / "VOCdevkit" / f"VOC{year}"
        for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        held = {f"{subset[:2]}{number:06}": KINDS[number % 5] for subset in subsets for number in range(10)}
        for seed, (name, kinds) in enumerate(held.items()):
            image(root / "JPEGImages" / f"{name}.jpg", 1000 * year + seed)
            objects = "".join(OBJECT.format(name=label, difficult=1 - value) for label, value in kinds.items())
            (root / "Annotations" / f"{name}.xml").write_text(ANNOTATION.format(name=name, objects=objects))
        for subset in subsets:
            own = {name: kinds for name, kinds in held.items() if name.startswith(subset[:2])}
            (root / "ImageSets" / "Main" / f"{subset}.txt").write_text("".join(f"{name}\n" for name in own))
            for label in CLASSES if labeled else ():
                lines = (f"{name} {kinds.get(label, -1):2}\n" for name, kinds in own.items())
                (root / "ImageSets" / "Main" / f"{label}_{subset}.txt").write_text("".join(lines))
        return root

    return built


COUNTS = {"car": 4, "person": 4, "train": 4}


def test_prepare_keeps_the_subsets_of_voc_2007(build: Build, gather: Gather, workspace: Workspace) -> None:
    split = gather("voc", build())
    assert split.labels == CLASSES
    assert split.images == {"train": 10, "validation": 10, "test": 10}
    assert split.counts == {"train": COUNTS, "validation": COUNTS, "test": COUNTS}
    test = {one.path.stem: one for one in read_manifest(split, workspace) if one.subset == "test"}
    assert (test["te000003"].labels, test["te000003"].unsure) == ((0, 1), ())
    assert (test["te000004"].labels, test["te000004"].unsure) == ((2,), (1,))


@pytest.mark.slow
def test_prepare_reads_the_same_split_when_voc_comes_in_archives(build: Build, gather: Gather, tmp_path: Path) -> None:
    root = build()
    archives = tmp_path / "archives"
    archives.mkdir()
    for subset, name in (("t[er]", "VOCtrainval_06-Nov-2007.tar"), ("va", "VOCtest_06-Nov-2007.tar")):
        with tarfile.open(archives / name, "w") as opened:
            for path in sorted([*root.glob(f"*/{subset}*.*"), *root.glob("ImageSets/Main/*.txt")]):
                opened.add(path, f"VOCdevkit/VOC2007/{path.relative_to(root)}")
    assert gather("voc", archives).digest == gather("voc", root).digest


def test_prepare_tests_on_val_when_voc_2012_has_no_labeled_test(build: Build, gather: Gather) -> None:
    root = build(2012, ("train", "val"))
    (root / "ImageSets" / "Main" / "test.txt").write_text("2008_000001\n2008_000002\n")
    split = gather("voc", root.parent, validation=0.2)
    assert split.images == {"train": 7, "validation": 3, "test": 10}  # labels are dealt, so every one validates
    assert split.counts["test"] == COUNTS


@pytest.mark.slow
def test_prepare_reads_voc_annotations_without_class_files(build: Build, gather: Gather) -> None:
    assert gather("voc", build(labeled=False)).digest == gather("voc", build()).digest


def test_prepare_stratifies_voc_annotations_by_label(build: Build, gather: Gather) -> None:
    root = build()
    for path in (root / "ImageSets" / "Main").iterdir():
        path.unlink()
    split = gather("voc", root, split={"train": 0.5, "validation": 0.25, "test": 0.25})
    assert sum(split.images.values()) == 30
    for label in CLASSES:
        counts = [split.counts[subset][label] for subset in ("train", "validation", "test")]
        assert all(abs(count - share) <= 1 for count, share in zip(counts, (6, 3, 3), strict=True)), (label, counts)


def test_prepare_asks_for_the_year_when_there_are_several(build: Build, gather: Gather, refusal: Refusal) -> None:
    devkit = build().parent
    build(2012, ("train", "val"))
    assert "several years: VOC2007, VOC2012" in refusal("voc", devkit)
    assert "holds no VOC2010; it has VOC2007, VOC2012" in refusal("voc", devkit, year=2010)
    assert gather("voc", devkit, year=2007).digest == gather("voc", devkit / "VOC2007").digest


@pytest.mark.slow
def test_prepare_names_what_is_at_odds_when_voc_is_not_whole(build: Build, refusal: Refusal) -> None:
    root = build()
    (root / "JPEGImages" / "tr000002.jpg").unlink()
    assert "tr000002.jpg: no image" in refusal("voc", root)
    (root / "ImageSets" / "Main" / "car_train.txt").write_text("tr000001 yes\n")
    assert "not an image and -1, 0 or 1: 'tr000001 yes'" in refusal("voc", root)
    (root / "ImageSets" / "Main" / "train.txt").write_text("../../secret\n")
    assert "not the name of an image: '../../secret'" in refusal("voc", root)


def test_prepare_refuses_entities_when_an_annotation_has_them(build: Build, refusal: Refusal) -> None:
    root = build(labeled=False)
    path = root / "Annotations" / "tr000001.xml"
    plain = path.read_text()
    for encoding in ("utf-8", "utf-16"):
        path.write_bytes(f'<!DOCTYPE a [<!ENTITY b "c">]>{plain}'.encode(encoding))
        assert "is not a valid VOC annotation: it has a document type" in refusal("voc", root)
    path.write_text("<annotation>")
    assert "is not a valid VOC annotation: no element" in refusal("voc", root)


def test_prepare_finds_a_leak_between_voc_subsets(build: Build, gather: Gather, refusal: Refusal) -> None:
    root = build()
    (root / "JPEGImages" / "te000000.jpg").write_bytes((root / "JPEGImages" / "tr000000.jpg").read_bytes())
    (root / "JPEGImages" / "tr000003.jpg").write_bytes((root / "JPEGImages" / "tr000005.jpg").read_bytes())
    message = refusal("voc", root)
    assert "the same image is in test and train" in message
    assert "the same image is labeled car and car;person" in message
    assert gather("voc", root, leaks="drop").images == {"train": 7, "validation": 10, "test": 10}


def test_prepare_reads_many_labels_when_a_list_separates_them(
    tmp_path: Path, image: Write, gather: Gather, refusal: Refusal, workspace: Workspace
) -> None:
    lines = ["path,label"]
    for number in range(40):
        name = image(tmp_path / f"{number:02}.png", number).name
        lines.append(f"{name},{('cat', 'dog', 'cat; dog', '')[number % 4]}")
    listing = tmp_path / "many.csv"
    listing.write_text("\n".join(lines))
    split = gather("csv", listing, separator=";", split={"train": 0.5, "validation": 0.25, "test": 0.25})
    assert split.labels == ("cat", "dog")
    assert split.counts["train"] == {"cat": 10, "dog": 10}
    assert split.images == {"train": 20, "validation": 10, "test": 10}
    assert sum(one.labels == () for one in read_manifest(split, workspace)) == 10
    assert "has no label" in refusal("csv", listing)
