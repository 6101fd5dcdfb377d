"""Statistics of the training images' embeddings in a bundle, with which devices compare their cameras' images.

Mean and covariance of the embeddings (toolkit.device.app.drift.embedding) of a sample. The covariance is shrunk toward its
diagonal, the more the fewer images there are, and stored as the inverse of its Cholesky factor, scaled so that the root mean
square of the sample's distances is 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import TrainedModel
from toolkit.data import load_images, read_manifest
from toolkit.device.app.drift.embedding import KEY, SIZE, VERSION, embed
from toolkit.workspace import Workspace

FEWEST, MOST = 50, 500
"""Fewer training images say nothing; of more, this many are used, evenly spread over the split."""
LEAST_USUAL = 0.1
"""Of training images that are all alike, the distance is not scaled beyond this."""
LEAST_SPREAD = 1 / 255
"""Standard deviation below which a value's noise would count as much as its changes."""


def training_embedding(model: TrainedModel, split: Split, workspace: Workspace) -> dict[str, Any]:
    """Return the manifest's field of the training images, as devices read it; empty if there are fewer than FEWEST."""
    images = [image for image in read_manifest(split, workspace) if image.subset == "train"]
    if len(images) < FEWEST:
        return {}
    chosen = [images[row] for row in np.linspace(0, len(images) - 1, min(len(images), MOST)).astype(int)]
    pixels = load_images(chosen, model.input_size, model.crop, workspace=workspace)
    return {KEY: describe_images(pixels)}


def describe_images(pixels: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Return {"version", "images", "mean", "whitening"} of u8 [n, height, width, 3] RGB; n is at least 2."""
    embeddings = np.stack([embed(image) for image in pixels])
    number, mean = len(embeddings), embeddings.mean(axis=0)
    covariance = np.cov(embeddings, rowvar=False)
    diagonal = np.diag(np.maximum(np.diag(covariance), LEAST_SPREAD**2))
    weight = SIZE / (SIZE + number)
    factor = np.linalg.cholesky((1 - weight) * covariance + weight * diagonal)
    whitening = np.linalg.solve(factor, np.eye(SIZE))
    usual = np.sqrt(np.mean(np.square((embeddings - mean) @ whitening.T)))
    return {
        "version": VERSION,
        "images": number,
        "mean": _rounded(mean),
        "whitening": [_rounded(row) for row in np.tril(whitening) / max(usual, LEAST_USUAL)],
    }


def _rounded(values: npt.NDArray[np.float64]) -> list[float]:
    """Return the values with five digits: the rest differs from machine to machine."""
    return [float(f"{value:.5g}") for value in values]
