"""Random models with each usual tail: what is accepted answers as the file's own runtime does.

`just bench imports` does the same with a hundred.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import imports


@pytest.mark.slow
@pytest.mark.parametrize("number", range(13))
def test_import_model_is_never_wrong_about_a_random_model(tmp_path: Path, number: int) -> None:
    result, what = imports.outcome(tmp_path, number, seed=1)
    assert result in {"right", "refused"}, what
    assert result == "right" or imports.MEANS[what.split("), ")[1].split(",")[0]] == "unclear", what


@pytest.mark.mkl
@pytest.mark.parametrize("number", [1, 13])
def test_import_model_reads_what_keras_2_writes(tmp_path: Path, number: int) -> None:
    assert imports.KERAS_2.exists(), "just setup-mkl"
    result, what = imports.outcome(tmp_path, number, seed=1)
    assert "Keras 2" in what
    assert result == "right", what
