"""The data room: from folders of pictures to a checked split, and from a split to arrays.

split = prepare(table, origin, workspace, progress)      every picture checked, divided, written down
pictures = read_manifest(split, workspace)               in the order that predictions are listed in
arrays = load_pictures(pictures, (224, 224), "resize", workspace=workspace)
answers = truth_of(pictures, len(split.labels))             one label each: [n]; many: [n, classes]
toolkit.data.augment.augment(arrays[batch], batch, table, seed=0, epoch=1)     what training sees of them instead
"""

from __future__ import annotations

from toolkit.data.loading import load_pictures
from toolkit.data.prepare import prepare
from toolkit.data.split_manifest import PARTS, Picture, read_manifest
from toolkit.data.targets import truth_of

__all__ = ["PARTS", "Picture", "load_pictures", "prepare", "read_manifest", "truth_of"]
