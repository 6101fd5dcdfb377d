from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.convert.imported.formats.tensorflow_graphs import read_frozen, read_saved_model
from toolkit.convert.imported.model import ModelReader
from toolkit.errors import DataError, UsageError
from toolkit.networks.tf_runtime import start_tensorflow

IMAGE = np.random.default_rng(1).random((1, 8, 8, 3), np.float32)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with two signatures, and variables of one name."""
    tf = start_tensorflow()

    class Colors(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = tf.Variable(np.eye(3, dtype=np.float32) * 4, name="weights")
            self.second = tf.Variable(np.eye(3, dtype=np.float32)[::-1] * 9, name="weights")

        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32)])
        def forward(self, image: Any) -> Any:
            return {"scores": tf.nn.softmax(tf.reduce_mean(image, (1, 2)) @ self.first)}

        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32)])
        def backward(self, image: Any) -> Any:
            return {"scores": tf.nn.softmax(tf.reduce_mean(image, (1, 2)) @ self.second)}

    model = Colors()
    folder = tmp_path_factory.mktemp("saved") / "colors"
    tf.saved_model.save(model, str(folder), {"forward": model.forward, "backward": model.backward})
    return folder


@pytest.mark.parametrize("signature", ["forward", "backward"])
def test_read_saved_model_answers_as_tensorflow_does(saved: Path, signature: str) -> None:
    tf = start_tensorflow()
    own = tf.saved_model.load(str(saved)).signatures[signature](tf.constant(IMAGE))["scores"].numpy()
    run, shape = read_saved_model(saved, signature).runtime()
    np.testing.assert_allclose(run(IMAGE), own, atol=1e-7)
    assert shape == (None, 8, 8, 3)


def test_read_saved_model_names_the_signatures(saved: Path) -> None:
    for expected in (None, "typo"):
        with pytest.raises(UsageError, match="has no signature") as refused:
            read_saved_model(saved, expected)
        assert "--signature: backward, forward" in refused.value.problems[0].remedy


def test_read_frozen_answers_as_the_graph_it_was_frozen_from(saved: Path, tmp_path: Path) -> None:
    graph = read_saved_model(saved, "forward")
    (tmp_path / "frozen.pb").write_bytes(graph.graph.SerializeToString())
    np.testing.assert_allclose(read_frozen(tmp_path / "frozen.pb").runtime()[0](IMAGE), graph.runtime()[0](IMAGE))


def test_read_frozen_says_when_weights_are_missing(saved: Path, tmp_path: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    message = saved_model_pb2.SavedModel()
    message.ParseFromString((saved / "saved_model.pb").read_bytes())
    (tmp_path / "graph.pb").write_bytes(message.meta_graphs[0].graph_def.SerializeToString())
    with pytest.raises(DataError, match="is not frozen"):
        read_frozen(tmp_path / "graph.pb")


def hostile(folder: Path, victim: Path) -> Path:
    """A SavedModel whose table's initializer reads a file and whose forward pass writes one."""
    tf = start_tensorflow()

    class Hostile(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            source = tf.lookup.TextFileInitializer(
                str(folder.parent / "words.txt"), tf.string, 0, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            )
            self.table = tf.lookup.StaticHashTable(source, -1)
            self.weights = tf.Variable(np.eye(3, dtype=np.float32))

        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32)])
        def forward(self, image: Any) -> Any:
            tf.io.write_file(str(victim), "taken over")
            result = tf.cast(self.table.lookup(tf.constant(["a"])), tf.float32)
            return {"scores": tf.nn.softmax(tf.reduce_mean(image, (1, 2)) @ self.weights) + 0 * result}

    (folder.parent / "words.txt").write_text("a\nb\n")
    model = Hostile()
    tf.saved_model.save(model, str(folder), {"serving_default": model.forward})
    return folder


def initializer_that_writes(folder: Path, victim: Path) -> Path:
    """A SavedModel with a harmless signature and a resource whose initializer writes a file as soon as it is loaded."""
    tf = start_tensorflow()
    from tensorflow.python.trackable import resource

    class Writer(resource.TrackableResource):
        def _create_resource(self) -> Any:
            return tf.raw_ops.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

        def _initialize(self) -> None:
            tf.io.write_file(str(victim), "taken over")

    class Colors(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.writer = Writer()
            _ = self.writer.resource_handle
            self.weights = tf.Variable(np.eye(3, dtype=np.float32))

        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32)])
        def forward(self, image: Any) -> Any:
            return {"scores": tf.nn.softmax(tf.reduce_mean(image, (1, 2)) @ self.weights)}

    model = Colors()
    tf.saved_model.save(model, str(folder), {"serving_default": model.forward})
    return folder


def test_initializers_of_a_saved_model_are_not_run(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    folder = initializer_that_writes(tmp_path / "model", victim)
    start_tensorflow().saved_model.load(str(folder))
    assert victim.read_text() == "taken over"  # it is a real attack on whoever loads it
    victim.unlink()
    read_saved_model(folder, None).runtime()[0](IMAGE)
    assert not victim.exists()


@pytest.mark.slow
def test_operations_that_touch_files_are_refused_by_name(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    with ModelReader(hostile(tmp_path / "model", victim)) as reader, pytest.raises(DataError) as refused:
        reader.inspect()
    text = "\n".join(problem.what for problem in refused.value.problems)
    assert "WriteFile" in text
    assert "LookupTableFindV2" in text
    assert not victim.exists()
