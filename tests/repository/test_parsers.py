"""Files from outside are parsed in confined workers: every other call of such a parser is listed here, with its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2] / "toolkit"
PARSERS = {
    *("load_model", "read_image", "imdecode", "imread", "read_model", "InferenceSession", "Interpreter", "Unpickler"),
    *("onnx.load", "saved_model.load", "tf.saved_model.load", "torch.load", "pickle.load", "pickle.loads", "ET.parse"),
    *("h5py.File", "tarfile.open", "zipfile.ZipFile", "np.load", "Image.open", "ET.fromstring", "read_mat"),
    "read_pickle",
}
WORKERS = {
    "convert/imported/formats": "run by convert/imported/worker.py",
    "convert/imported/worker.py": "the worker of imported models",
    "data/archives.py": "run by the readers of data sets",
    "data/decoding.py": "the worker of images",
    "data/formats": "the readers of data sets, called by materialize and by Sandbox.call",
    "networks/torch_weights.py": "read_here",
    "system/clean_copy.py": "read_here; its other half writes a file",
}
OWN = {
    "convert/checking.py": "a bundle's arrays, without pickles, after its digests match",
    "convert/imported/model.py": "the IR that the worker wrote",
    "convert/inspection.py": "inspect_here",
    "convert/ir_writer.py": "IR of this workspace",
    "convert/keras_reference.py": "models trained here",
    "convert/layer_errors.py": "IR of this workspace",
    "convert/reference.py": "arrays of this workspace, without pickles",
    "convert/runtimes/legacy_openvino.py": "a wheel with a locked digest",
    "convert/runtimes/ncs2_check.py": "IR of this workspace",
    "convert/runtimes/ncs2_compiler.py": "a wheel with a locked digest",
    "convert/runtimes/tflite_interpreter.py": "a .tflite of this workspace",
    "data/array_cache.py": "arrays of this workspace, without pickles",
    "data/synthetic_masks/dataset.py": "faces from a wheel with a locked digest",
    "fleet/container_images/local.py": "container images that were built here",
    "networks/custom.py": "a clean copy",
    "networks/inspection.py": "a clean copy",
    "networks/keras_files.py": "what its callers name: a clean copy, a model trained here, or the file of a worker",
    "networks/weights.py": "a clean copy",
    "system/wheel_cache.py": "a wheel with a locked digest",
    "train/fitting/checkpoint.py": "checkpoints of this workspace, without pickles",
    "train/run_dir.py": "models trained here",
    "virtual/disk_image.py": "a root file system that was built here",
}


def calls(path: Path) -> Iterator[str]:
    """The parsers that a module calls or derives a class from."""
    for node in ast.walk(ast.parse(path.read_text())):
        used = [node.func] if isinstance(node, ast.Call) else node.bases if isinstance(node, ast.ClassDef) else []
        for one in used:
            name = ast.unparse(one)
            last = name.rpartition(".")[2]
            if name in PARSERS or (last in PARSERS and last != "read_image"):  # others have methods of that name
                yield name


def test_parsers_are_called_in_workers_or_on_files_of_our_own() -> None:
    calling = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if not path.is_relative_to(ROOT / "device") and any(calls(path))
    }
    unlisted = {path for path in calling if path not in OWN and not path.startswith(tuple(WORKERS))}
    assert unlisted == set(), "parse it in a Sandbox, or list it with its reason"
    assert OWN.keys() <= calling, "no longer needed"
