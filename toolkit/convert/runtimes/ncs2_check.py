"""Check that a model fits the Neural Compute Stick 2 (NCS2), with Intel's own Myriad X compiler; needs no NCS2.

The compiler uses the settings that the runtime would use on an NCS2, and one more that skips its search for a device, which
takes five seconds; the blob is identical to the byte. If it refuses a model, its message is translated to the layer's name,
its type, and a replacement.
"""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from toolkit import compat
from toolkit.convert.runtimes.ncs2_compiler import find_compiler
from toolkit.errors import ConversionError, MachineError
from toolkit.progress import Progress

NCS2_MEMORY_BYTES = 512 * 2**20
"""The memory of the NCS2, of which its firmware uses some."""

_TIMEOUT_S = 1800
# An option of Intel's plugin, in seconds. 0 stands for its default; a negative one is over before the search begins.
_SETTINGS = "MYRIAD_DEVICE_CONNECT_TIMEOUT -1\n"
_HEADER_AT = 0x34
# blob_format.hpp of OpenVINO's graph transformer: an ELF header, then these, each an unsigned 32-bit integer.
_HEADER = struct.Struct("<16I")
_MAGIC = 9709
_MAJOR = 6

_LAYER = re.compile(r'Failed to compile layer "([^"]+)": (.*)', re.DOTALL)
_TYPE = re.compile(r'unsupported layer type "([^"]+)"')
_CHECK = re.compile(r"(\S+) of type (\S+): Stage node \S+ \(\S+\) types check error")
_FLAT_ONLY = "number of biases must equal to number of output channels per group"
_STAGE = re.compile(r"unable to satisfy requirements for stage (\S+) with type (\S+)")
_NOISE = re.compile(r"\[ GENERAL_ERROR \]\s*|/home/jenkins/\S+\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledBlob:
    """What the compiler made of a model that fits."""

    blob_bytes: int
    stages: int
    """Steps that the NCS2 runs one after another."""
    shaves: int
    """Vector processors that it uses, of sixteen."""
    cmx_slices: int
    memory_bytes: int
    """An estimate of the memory it needs on the NCS2: the blob, its working memory, input and output."""
    inputs_bytes: int
    outputs_bytes: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"a blob of {self.blob_bytes / 1e6:.1f} MB, {self.stages} stages on {self.shaves} SHAVEs, about "
            f"{self.memory_bytes / 1e6:.1f} of {NCS2_MEMORY_BYTES / 1e6:.0f} MB of memory, compiled in {self.seconds:.1f} s"
        )


def compile_model(xml: Path, progress: Progress, blob: Path | None = None) -> CompiledBlob:
    """Compile the IR at `xml` (container 10) for the NCS2; write the blob to `blob` if given.

    Raises:
        ConversionError: it does not fit: names the layer, its type, and what to use instead.
        MachineError: the compiler cannot run here.
    """
    compiler = find_compiler(progress)
    with tempfile.TemporaryDirectory(prefix="ncs2-") as folder:
        made = Path(folder) / "model.blob"
        start = time.monotonic()
        _run(compiler, xml.resolve(), made)
        seconds = time.monotonic() - start
        fit = read_header(made, seconds)
        if blob is not None:
            blob.write_bytes(made.read_bytes())
    return fit


def read_header(blob: Path, seconds: float = 0.0) -> CompiledBlob:
    """Read a blob's header.

    Raises:
        MachineError: it is not a blob of the format that OpenVINO 2020.3 to 2022.3 write.
    """
    with blob.open("rb") as stream:
        head = stream.read(_HEADER_AT + _HEADER.size)
    if len(head) < _HEADER_AT + _HEADER.size:
        raise MachineError("is too short for a blob", where=str(blob))
    magic, size, major, _, _, _, stages, inputs, outputs, _, working, slices, shaves, *_ = _HEADER.unpack_from(
        head, _HEADER_AT
    )
    if (magic, major) != (_MAGIC, _MAJOR):
        raise MachineError(f"is not a blob of version {_MAJOR}", where=str(blob))
    return CompiledBlob(
        blob_bytes=size,
        stages=stages,
        shaves=shaves,
        cmx_slices=slices,
        memory_bytes=size + working + inputs + outputs,
        inputs_bytes=inputs,
        outputs_bytes=outputs,
        seconds=seconds,
    )


def explain(talk: str, kinds: Mapping[str, str]) -> ConversionError:
    """The compiler's refusal as an error with a remedy; `kinds` are the types of the model's layers by name."""
    text = " ".join(_NOISE.sub("", talk).split())
    layer, stage, check = _LAYER.search(text), _STAGE.search(text), _CHECK.search(text)
    if layer:
        name, reason = layer.groups()
        kind = _TYPE.search(reason)
        if kind:
            return ConversionError(
                f"the NCS2 does not support {kind.group(1)}", where=name, remedy=_advice(kind.group(1))
            )
        if _FLAT_ONLY in reason:
            return ConversionError(
                "the NCS2 does not support 3D convolutions", where=name, remedy="use 2D convolutions"
            )
        own = kinds.get(name, "layer")
        return ConversionError(f"the NCS2 does not support this {own}: {reason}", where=name, remedy=_advice(own))
    if check:
        name, plugin_kind = check.groups()
        own = kinds.get(name, plugin_kind)
        return ConversionError(
            f"the NCS2 does not support {own} of these element types", where=name, remedy=_advice(own)
        )
    if stage:
        name, kind_name = stage.groups()
        return ConversionError(
            f"its working memory does not hold this step ({kind_name})",
            where=name,
            remedy="use a smaller input, fewer channels, or split this layer",
        )
    if "only non-negative amount is supported" in text or "AssertionFailed: value >= 0" in text:
        return ConversionError(
            "a tensor is too large for the NCS2: its size does not fit 31 bits",
            remedy="use a smaller input or fewer channels",
        )
    return ConversionError(f"the NCS2 compiler refuses the model: {text or 'no reason given'}")


def _advice(kind: str) -> str:
    known: Mapping[str, str] = compat.find_target("ncs2").refused
    return known.get(kind, "use another layer in the network, such as those of MobileNet, InceptionV3 or ResNet")


def _run(compiler: Path, xml: Path, blob: Path) -> None:
    settings = blob.with_name("settings.txt")
    settings.write_text(_SETTINGS, encoding="utf-8")
    argv = [str(compiler), "-m", str(xml), "-o", str(blob), "-ip", "U8", "-op", "FP32", "-c", str(settings)]
    environment = {"LD_LIBRARY_PATH": str(compiler.parent), "PATH": "/usr/bin:/bin"}
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
            cwd=blob.parent,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise ConversionError(f"the NCS2 compiler did not finish within {_TIMEOUT_S} s", where=str(xml)) from None
    if done.returncode == 0 and blob.exists():
        return
    if "error while loading shared libraries" in done.stderr or "Cannot load library" in done.stderr:
        raise MachineError(f"Intel's compiler cannot start: {done.stderr.strip()}", where=str(compiler))
    raise explain(done.stderr, _kinds(xml))


def _kinds(xml: Path) -> dict[str, str]:
    """The type of each layer of an IR, by name."""
    layers = ET.parse(xml).getroot().iter("layer")  # noqa: S314 - an IR of our own
    return {layer.get("name", ""): layer.get("type", "") for layer in layers}
