"""Intel's own compiler for the Myriad X, extracted from its wheel into the user's cache, unchanged to the byte.

The wheel and every extracted file are pinned by SHA-256 and verified before each use, because the toolkit relies on the
compiler's verdict that a model fits.
"""

from __future__ import annotations

import ctypes
import platform
import shutil
import zipfile
from pathlib import Path

from toolkit import files, hashing
from toolkit.errors import MachineError, Problem
from toolkit.progress import Progress
from toolkit.system import wheel_cache
from toolkit.system.cache_dirs import cache_dir

WHEEL = wheel_cache.Wheel(
    "openvino",
    "2021.3.0",
    "e00f4764a3d3d1ed3e9ec9c06b379a024ae84156d594a078e521a8af5c062ce0",
    "openvino-2021.3.0-3029-cp38-cp38-manylinux2014_x86_64.whl",
)

_FOLDER = "openvino/libs/"
_FILES = {
    "libinference_engine.so": "4585a756e74e387f22e5cebd513a91019ce9ffe0d7672004e0be2e200bb5371f",
    "libinference_engine_ir_reader.so": "4259adf752c567578ca9c696d47ab116e3adecc965263cb6aa87c00a442ac424",
    "libinference_engine_legacy.so": "a76516176a3b20758e3d5a05bb06c2901b9d4448dcf314a4cd5019d39405882c",
    "libinference_engine_snippets.so": "e4d87e80d995f753c82c4683de068e675bb8a2a1b230b1065aca77a1a39876dd",
    "libinference_engine_transformations.so": "d90396a6ec85f9fa4de6aa6494fd7e21dd92f0d099a1060a52e8205eb7161257",
    "libmyriadPlugin.so": "04a288506d0f7a2cc4172cb68dcdddb90c770a71a5e138703a725f4cf7ae230a",
    "libngraph.so": "12268154a711d3593d3ef55feeed408cbe2a1728ed94369059b264cfb1d52415",
    "libtbb.so.2": "13973e8505477a1b1b57f5d6f98f50d1f072682370dba04b04163800fd7cea2a",
    "libtbbmalloc.so.2": "8af15900f065e20f7ac50cd28f01573e9b46de505d33aefdc2f2038cb5408245",
    "myriad_compile": "ca21ababa1c09f5753a04107165b6fa660238acb5078db061188c7bb4a9531b9",
    "plugins.xml": "1e91ba9fce464aaeb0e411871216528d6a791e88b36d73e7c9b94cf885728ab5",
}


def find_compiler(progress: Progress) -> Path:
    """The myriad_compile program, ready to run with LD_LIBRARY_PATH set to its folder; fetched the first time.

    Raises:
        MachineError: this machine cannot run it (it is for Linux on x86-64), a library is missing, or there is no
            network and no wheel in the cache; or a file of it was changed since it was unpacked.
    """
    _check_machine()
    there = folder()
    if not there.exists():
        _unpack(wheel_cache.fetch_wheel(WHEEL, progress), there)
    check_unchanged(there)
    return there / "myriad_compile"


def folder() -> Path:
    """Return its folder in the cache."""
    return cache_dir("ncs2-compiler") / hashing.sha256_json(_FILES)


def check_unchanged(folder: Path) -> None:
    """Check that every file of the compiler in `folder` is as Intel published it.

    Raises:
        MachineError: naming each that is missing or changed.
    """
    remedy = f"remove {folder}; it is unpacked again from the pinned wheel"
    problems = [
        Problem("is not the file in Intel's wheel", str(folder / name), remedy)
        for name, sha256 in _FILES.items()
        if not (folder / name).is_file() or hashing.sha256_file(folder / name) != sha256
    ]
    if problems:
        raise MachineError.from_problems(problems)


def _check_machine() -> None:
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise MachineError(
            f"Intel's compiler for the NCS2 runs on Linux on x86-64 only; this is {system} on {machine}",
            remedy="run `toolkit check` on such a machine",
        )
    try:
        ctypes.CDLL("libusb-1.0.so.0")
    except OSError:
        raise MachineError(
            "Intel's compiler for the NCS2 needs libusb-1.0.so.0", remedy="apt-get install libusb-1.0-0"
        ) from None


def _unpack(wheel: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.part_folder(folder.parent) as partial:
        new = partial / "new"
        new.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for name in _FILES:
                with archive.open(_FOLDER + name) as stream, (new / name).open("wb") as out:
                    shutil.copyfileobj(stream, out)
        (new / "myriad_compile").chmod(0o755)
        try:
            new.rename(folder)
        except OSError:
            if not folder.exists():  # another process was first: its folder is the same
                raise
