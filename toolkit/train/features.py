"""Features of a frozen backbone: computed once per image, cached by digest, shared by all heads and epochs.

Without augmentation, a frozen backbone always gives the same output for an image, so training a head on cached features is
equivalent to training through the backbone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit import hashing, networks
from toolkit.data import array_cache, row_cache
from toolkit.data.augmentation.augment import augment
from toolkit.errors import ConversionError, DataError
from toolkit.experiment.training_schema import AugmentConfig
from toolkit.progress import Progress
from toolkit.train import run_dir
from toolkit.train.backbone import Backbone, KerasBackbone, OpenVinoBackbone
from toolkit.train.file_lock import file_lock
from toolkit.train.fitting.loop import Examples

if TYPE_CHECKING:
    import keras

    from toolkit.train.trial_context import SubsetArrays, TrialContext

AUGMENTED = "augmented"
_CHUNK = 256
"""Images between two lines of progress; threads wait for one another only at their ends."""


def frozen_features(
    context: TrialContext, model: keras.Model, subsets: dict[str, SubsetArrays], *, copies: int = 0
) -> dict[str, Examples]:
    """What the frozen backbone of `model` makes of every part, kept by the digests of backbone, images, versions.

    With `copies`, the part AUGMENTED has those of so many augmented versions of all training images, one after the other.
    """
    frozen = networks.features_part(model)
    try:
        return _examples(context, frozen, OpenVinoBackbone(frozen), subsets, copies)
    except (ConversionError, DataError) as error:
        context.progress.log(f"  {context.trial.name}: the backbone runs through Keras, which is slower. {error}")
        return _examples(context, frozen, KerasBackbone(frozen, context.trial.batch_size), subsets, copies)


def cached_features(
    backbone: Backbone, channels: int, subset: SubsetArrays, path: Path, family: str, *, title: str, progress: Progress
) -> np.ndarray:
    """Pooled features f32 [n, channels] of a subset's images, mapped from `path`, or computed and kept there.

    Those of images that another array of the `family` holds, one made by the same backbone, are copied.
    """
    images = subset.examples.inputs

    def fill(rows: array_cache.RowWriter) -> None:
        missing = row_cache.copy_rows(path, family, subset.digests, (channels,), "f4", rows)
        if len(missing) < len(images):
            progress.log(f"  {title}: {len(missing)} new, {len(images) - len(missing)} cached")
        with progress.track(title, len(missing)) as task:
            for start in range(0, len(missing), _CHUNK):
                chunk = missing[start : start + _CHUNK]
                for index, features in zip(chunk, backbone.features(images[chunk]), strict=True):
                    rows.put(index, features[None])
                task.advance(len(chunk))

    waiting = f"  {title}: another process is computing them; waiting for it"
    with file_lock(path.with_name(f".{path.name}.lock"), waiting=lambda: progress.log(waiting)):
        run_dir.remove_partial_files(path.parent, path.name)
        array = array_cache.load_or_create(path, (len(images), channels), "f4", fill, progress.log)
        row_cache.remember_rows(path, family, subset.digests)
    return array


def _examples(
    context: TrialContext, frozen: keras.Model, backbone: Backbone, subsets: dict[str, SubsetArrays], copies: int
) -> dict[str, Examples]:
    made = {
        name: Examples(_cached(context, frozen, backbone, subset, f"{name} images"), subset.examples.labels)
        for name, subset in subsets.items()
    }
    table = context.trial.augment
    if copies and isinstance(table, AugmentConfig):
        varied = [_augmented(context, frozen, backbone, subsets["train"], table, (n, copies)) for n in range(copies)]
        labels = np.concatenate([subsets["train"].examples.labels] * copies)
        made[AUGMENTED] = Examples(np.concatenate(varied), labels)
    return made


def _augmented(
    context: TrialContext,
    frozen: keras.Model,
    backbone: Backbone,
    images: SubsetArrays,
    table: AugmentConfig,
    copy: tuple[int, int],
) -> np.ndarray:
    """The features of one augmented version of every image; `copy` is its number and how many there are.

    How an image is varied depends on its content, the seed and the number alone, so that a larger version of a data set
    finds the copies of its old images in the cache.
    """
    number, copies = copy
    seed = context.trial.seed
    indices = np.array([int(digest[:8], 16) for digest in images.digests])
    varied = augment(images.examples.inputs, indices, table, seed=seed, epoch=number)
    subset = replace(images, examples=replace(images.examples, inputs=varied))
    variation = {"augment": table.model_dump(mode="json"), "seed": seed, "copy": number}
    title = f"augmented training images {number + 1}/{copies}"
    return _cached(context, frozen, backbone, subset, title, variation)


def _cached(
    context: TrialContext,
    frozen: keras.Model,
    backbone: Backbone,
    subset: SubsetArrays,
    images: str,
    variation: Mapping[str, object] | None = None,
) -> np.ndarray:
    """The features of a subset's images, f32 [n, channels]; `variation` says how the images were varied before."""
    own = {
        "backbone": run_dir.model_digest(frozen),
        "size": context.size,
        "crop": context.trial.crop,
        "by": backbone.name,
        "versions": run_dir.versions(),
    } | dict(variation or {})
    key = hashing.sha256_json(own | {"images": subset.digest})
    return cached_features(
        backbone,
        frozen.output_shape[-1],
        subset,
        context.workspace.folder("cache", "features") / f"{key}.npy",
        hashing.sha256_json(own),
        title=f"{context.trial.name} features of {images}",
        progress=context.progress,
    )
