"""What names a split must never change for data with one label to an image: runs are named by it."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.artifacts.dataset import Split
from toolkit.data import label_array, read_manifest
from toolkit.data.split_manifest import (
    SUBSETS,
    Image,
    count_images,
    count_labels,
    sort_images,
    split_digest,
    with_indices,
    write_manifest,
)
from toolkit.workspace import Workspace

LABELS = ("a", "b", "c")


def test_split_digest_is_pinned_for_single_labels() -> None:
    """Pinned: the digest, and the lines of the manifest, as they were before images could have many."""
    images = [
        Image(Path(f"/x/{n}.png"), f"{n:064x}", n % 3, SUBSETS[n % 4 % 3], None if n % 2 else "g") for n in range(50)
    ]
    assert split_digest(images, LABELS) == "80a662db85c3302709bb909dfb4bf66719bb457f77c8b5ada9ded1854825d546"
    with tempfile.TemporaryDirectory() as folder:
        path, _ = write_manifest(images, LABELS, Workspace(Path(folder)))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest == "94145053f19a96424d4a4b0fb9927f84d09954f202de06f52e30aa1156f968f9"
    assert count_images(images) == {}


KINDS = st.lists(
    st.tuples(st.sampled_from(SUBSETS), st.dictionaries(st.integers(0, 2), st.sampled_from((0, 1)))),
    min_size=1,
    max_size=20,
)


@pytest.mark.slow
@given(KINDS)
def test_read_manifest_returns_every_label_when_multi_label(
    kinds: list[tuple[str, Mapping[int, int]]],
) -> None:
    images = sort_images(
        with_indices(
            Path(f"/x/{number:02}.png"),
            f"{number:064x}",
            [label for label, sure in held.items() if sure],
            [label for label, sure in held.items() if not sure],
            subset,
        )
        for number, (subset, held) in enumerate(kinds)
    )
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        path, _ = write_manifest(images, LABELS, workspace)
        split = Split(
            digest=split_digest(images, LABELS),
            name="many",
            labels=LABELS,
            counts=count_labels(images, LABELS),
            path=workspace.relative(path),
            images=count_images(images),
        )
        assert read_manifest(split, workspace) == images
    assert split.multi_label
    assert sum(split.size(subset) for subset in SUBSETS) == len(kinds)
    table = label_array(images, 3)
    assert [int((table[:, k] == 1).sum()) for k in range(3)] == [
        sum(split.counts[subset][label] for subset in SUBSETS) for label in LABELS
    ]
    assert int((table == -1).sum()) == sum(len(one.unsure) for one in images)
    assert np.array_equal(label_array([Image(Path("x"), "", 2, "test")], 3), [2])
