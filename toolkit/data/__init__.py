"""Data sets: from folders of images to a validated split, and from a split to arrays.

split = prepare_dataset(table, origin, workspace, progress)      validates every image, splits, writes the manifest
images = read_manifest(split, workspace)                         in the order of predictions
arrays = load_images(images, (224, 224), "resize", workspace=workspace)
answers = label_array(images, len(split.labels))                 single-label: [n]; multi-label: [n, classes]
toolkit.data.augmentation.augment.augment(arrays[batch], batch, table, seed=0, epoch=1)      augmented, for training
"""

from __future__ import annotations

from toolkit.data.loading import load_images
from toolkit.data.prepare import prepare_dataset
from toolkit.data.split_manifest import SUBSETS, Image, read_manifest
from toolkit.data.targets import label_array

__all__ = ["SUBSETS", "Image", "label_array", "load_images", "prepare_dataset", "read_manifest"]
