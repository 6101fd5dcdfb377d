"""What tests that make bundles have in common."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit import hashing


def sealed(folder: Path, manifest: Mapping[str, object]) -> Path:
    """The bundle in the folder with that manifest, named by its digest as all bundles are."""
    content = hashing.canonical_json(manifest)
    (folder / "manifest.json").write_bytes(content)
    return folder.rename(folder.with_name(hashing.sha256_bytes(content)))


def copy_for_litert(tiny_bundle: Path, folder: Path) -> Path:
    """The network of the tiny bundle for LiteRT, written by TensorFlow; its golden answers are still OpenVINO's."""
    import numpy as np
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([1, 32, 32, 3], tf.uint8)])  # type: ignore[untyped-decorator]
    def classify(image: Any) -> Any:
        kernel = np.full((3, 3, 3, 4), 1 / 27, np.float32)
        features = tf.nn.relu(tf.nn.conv2d(tf.cast(image, tf.float32) / 255, kernel, 2, "VALID"))
        logits = tf.reduce_mean(features, [1, 2]) @ np.array([[-5, 5]] * 4, np.float32)
        return tf.nn.softmax(logits + np.array([[9.5, -9.5]], np.float32))

    copy = folder / "bundle"
    shutil.copytree(tiny_bundle, copy)
    for path in copy.glob("model.*"):
        path.unlink()
    model = copy / "model.tflite"
    model.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([classify.get_concrete_function()]).convert())
    manifest = json.loads((copy / "manifest.json").read_text())
    files = {name: entry for name, entry in manifest["files"].items() if (copy / name).exists()}
    files[model.name] = {"sha256": hashing.sha256_file(model), "size_bytes": model.stat().st_size}
    name = "tiny-softmax-top-fp32-litert"
    return sealed(copy, {**manifest, "name": name, "target": "litert", "files": files})
