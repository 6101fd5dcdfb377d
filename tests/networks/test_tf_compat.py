from __future__ import annotations

import subprocess
import sys

from toolkit.networks import start_tensorflow, tf_compat


def test_versions_has_the_version_that_tensorflow_names() -> None:
    assert tf_compat.versions()["tensorflow"] == start_tensorflow().__version__


def test_versions_does_not_import_tensorflow() -> None:
    code = (
        "import sys; from toolkit.networks import tf_compat; tf_compat.versions(); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
