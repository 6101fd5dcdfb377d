"""What every room's tests may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolkit.artifacts import Workspace

# Quiet and small before anything imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")
