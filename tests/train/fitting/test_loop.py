from __future__ import annotations

import numpy as np

from toolkit.train.fitting.loop import mixed


def test_mixed_mixes_inputs_targets_and_weights_alike() -> None:
    inputs, targets = np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32)
    first, second, third = mixed(inputs, targets, np.ones(4, np.float32), alpha=1.0, seed=[0, 1, 2, 3])
    assert first.dtype == second.dtype == np.float32
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(third, 1, atol=1e-6)
    assert not np.array_equal(first, inputs)


def test_mixed_follows_from_its_seed_alone() -> None:
    batch = (np.eye(5, dtype=np.float32), np.eye(5, dtype=np.float32), np.ones(5, np.float32))
    one, again, other = (mixed(*batch, alpha=0.5, seed=[0, 1, 1, place])[0] for place in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_mixed_leaves_a_batch_alone_without_alpha() -> None:
    batch = (np.eye(3, dtype=np.float32), np.array([0, 1, 2]), np.ones(3, np.float32))
    assert all(one is other for one, other in zip(mixed(*batch, alpha=0.0, seed=[0]), batch, strict=True))
