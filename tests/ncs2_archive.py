"""A stand-in for Intel's archive for the Neural Compute Stick 2 on arm64: its real layout, with nothing of Intel's in it."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import toolkit

REPOSITORY = Path(toolkit.__file__).parents[1]
CONTAINER_IMAGE = "edge-vision/runner-ncs2:stand-in"
"""What `build` builds."""
TOP = "l_openvino_toolkit_debian9_2022.3.2.9279.e2c7e4d7b4d_arm64"
CONTENT = {
    "setupvars.sh": b"#!/bin/bash\n",
    "licensing/license.txt": b"a stand-in\n",
    "python/python3.9/openvino/__init__.py": b"STAND_IN = True\n",
    "python/python3.9/openvino/tools/mo.py": b"",
    "python/python3.7/openvino/__init__.py": b"",
    "runtime/lib/aarch64/libopenvino.so.2022.3.2": b"not a library",
    "runtime/lib/aarch64/libopenvino_intel_myriad_plugin.so": b"not a library",
    "runtime/lib/aarch64/libopenvino_ir_frontend.so": b"not a library",
    "runtime/lib/aarch64/libopenvino_paddle_frontend.so": b"not a library",
    "runtime/lib/aarch64/usb-ma2x8x.mvcmd": b"firmware",
    "runtime/lib/aarch64/pcie-ma2x8x.mvcmd": b"firmware",
    "runtime/3rdparty/tbb/lib/libtbb.so.12": b"not a library",
}


def packed(path: Path, content: dict[str, bytes]) -> Path:
    """Write one that holds `content`."""
    with tarfile.open(path, "w:gz") as stream:
        for name, data in content.items():
            member = tarfile.TarInfo(f"{TOP}/{name}")
            member.size = len(data)
            stream.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo(f"{TOP}/runtime/lib/aarch64/libopenvino.so")
        link.type, link.linkname = tarfile.SYMTYPE, "libopenvino.so.2022.3.2"
        stream.addfile(link)
    return path


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def build(**variables: str) -> subprocess.CompletedProcess[str]:
    """Build the container image runner-ncs2 for all platforms, as a user does who has the archive."""
    command = [sys.executable, REPOSITORY / "images/build.py", "runner-ncs2-cross", "--progress=plain"]
    environment = os.environ | {"TAG": CONTAINER_IMAGE.partition(":")[2]} | variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
