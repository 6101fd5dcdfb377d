from __future__ import annotations

import subprocess
import sys

import pytest

FORKS = """
import os, sys
os.register_at_fork(before=lambda: print("a fork"))
import {package}
import openvino
print(sys.modules["openvino_telemetry"], openvino.convert_model.__name__)
"""


@pytest.mark.parametrize("package", ["toolkit", "toolkit.device"])
def test_importing_openvino_tells_nobody_of_it(package: str) -> None:
    output = subprocess.run(
        [sys.executable, "-c", FORKS.format(package=package)], capture_output=True, text=True, check=True
    )
    assert output.stdout == "None convert_model\n"
