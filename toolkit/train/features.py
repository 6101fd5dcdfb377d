"""Features of a frozen backbone: computed once per image, cached by digest, shared by all heads and epochs.

Without augmentation, a frozen backbone always gives the same output for an image, so training a head on cached features is
equivalent to training through the backbone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit import hashing, networks
from toolkit.data import array_cache, row_cache
from toolkit.errors import ConversionError, DataError
from toolkit.progress import Progress
from toolkit.train import run_dir
from toolkit.train.backbone import Backbone, KerasBackbone, OpenVinoBackbone
from toolkit.train.file_lock import file_lock
from toolkit.train.fitting.loop import Examples

if TYPE_CHECKING:
    import keras

    from toolkit.train.trial_context import SubsetArrays, TrialContext

_CHUNK = 256
"""Images between two lines of progress; threads wait for one another only at their ends."""


def frozen_features(context: TrialContext, model: keras.Model, subsets: dict[str, SubsetArrays]) -> dict[str, Examples]:
    """What the frozen backbone of `model` makes of every part, kept by the digests of backbone, images, versions."""
    frozen = networks.features_part(model)
    try:
        return _examples(context, frozen, OpenVinoBackbone(frozen), subsets)
    except (ConversionError, DataError) as error:
        context.progress.log(f"  {context.trial.name}: the backbone runs through Keras, which is slower. {error}")
        return _examples(context, frozen, KerasBackbone(frozen, context.trial.batch_size), subsets)


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

    waiting = f"  {title}: another process makes them; waiting for it"
    with file_lock(path.with_name(f".{path.name}.lock"), waiting=lambda: progress.log(waiting)):
        run_dir.remove_partial_files(path.parent, path.name)
        array = array_cache.load_or_create(path, (len(images), channels), "f4", fill, progress.log)
        row_cache.remember_rows(path, family, subset.digests)
    return array


def _examples(
    context: TrialContext, frozen: keras.Model, backbone: Backbone, subsets: dict[str, SubsetArrays]
) -> dict[str, Examples]:
    own = {
        "backbone": run_dir.model_digest(frozen),
        "size": context.size,
        "crop": context.trial.crop,
        "by": backbone.name,
    }
    folder, made = context.workspace.folder("cache", "features"), {}
    family = hashing.sha256_json(own | {"versions": run_dir.versions()})
    for name, subset in subsets.items():
        key = hashing.sha256_json(own | {"images": subset.digest, "versions": run_dir.versions()})
        features = cached_features(
            backbone,
            frozen.output_shape[-1],
            subset,
            folder / f"{key}.npy",
            family,
            title=f"{context.trial.name} features of {name} images",
            progress=context.progress,
        )
        made[name] = Examples(features, subset.examples.labels)
    return made
