"""The accelerators that a model can run on. To support another one, add a row here and to `compat.toml`.

Names are OpenVINO's device names. An accelerator of which there are several has numbered names, such as
MYRIAD.1.2-ma2480. AUTO is a removable accelerator if there is one, else the CPU. What a removable accelerator needs beyond
this table has a module of its own, its driver: `ncs2_usb` finds Neural Compute Sticks on USB.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Optional, Tuple


@dataclass(frozen=True)
class Accelerator:
    """What the toolkit knows of one accelerator."""

    name: str
    label: str
    """Its name in messages."""
    short: str = ""
    """Its name where there is little room."""
    driver: str = ""
    """The module beside this one with `find`, `usb_speed_warning` and `why_unavailable`; empty for none."""
    precision: str = ""
    """The precision of reference runs; empty if it has only one."""
    start_s: float = 60.0
    """How long it may take to load a large network."""
    openvino: Tuple[str, ...] = ("",)
    """Beginnings of the OpenVINO versions that support it."""
    has_temperature: bool = False
    """Whether OpenVINO reads its temperature."""

    @property
    def removable(self) -> bool:
        """Return whether it can be unplugged while in use; the CPU takes over meanwhile."""
        return bool(self.driver)

    def is_connected(self) -> bool:
        """Return whether it is there; True for one that cannot be unplugged."""
        return not self.driver or bool(self._usb().find())

    def connection_warning(self) -> Optional[str]:
        """Return what slows down its connection; None if nothing does."""
        warning: Optional[str] = self._usb().usb_speed_warning(self._usb().find()) if self.driver else None
        return warning

    def why_unavailable(self) -> Tuple[str, str]:
        """Return why OpenVINO does not see it, by the state of USB, and the remedy; only for a removable one."""
        reason: Tuple[str, str] = self._usb().why_unavailable(self._usb().find())
        return reason

    def _usb(self) -> Any:
        return import_module("." + self.driver, __package__)


CPU = Accelerator("CPU", "CPU", precision="f32")
NCS2 = Accelerator(
    "MYRIAD",
    "Neural Compute Stick 2",
    short="the stick",
    driver="ncs2_usb",
    start_s=600.0,
    openvino=("2021.", "2022."),
    has_temperature=True,
)
ACCELERATORS = {accelerator.name: accelerator for accelerator in (CPU, NCS2)}
REMOVABLE = next(accelerator for accelerator in ACCELERATORS.values() if accelerator.removable)
"""The accelerator that AUTO prefers to the CPU."""
AUTO = "AUTO"
CHOICES = (*ACCELERATORS, AUTO)
"""What users can select; numbered names are also valid."""
START_TIMEOUT_S = max(accelerator.start_s for accelerator in ACCELERATORS.values())
"""How long any accelerator may take to load a large network."""
HELP = f"{CPU.name}, {REMOVABLE.name} ({REMOVABLE.label}), or {AUTO}: {REMOVABLE.name} if available, else {CPU.name}"


def kind_of(name: str) -> str:
    """Return the name without its number: MYRIAD for MYRIAD.1.2-ma2480."""
    return name.partition(".")[0]


def name_kind(processor: str, accelerator: str) -> str:
    """Return the kind of device, on which the fastest variant of a model depends: "Cortex-A76, CPU"."""
    return f"{processor}, {kind_of(accelerator)}"


def find_accelerator(name: str) -> Accelerator:
    """Return the accelerator of a name, numbered or not; for one outside the table, only the name is known."""
    kind = kind_of(name)
    return ACCELERATORS.get(kind) or Accelerator(kind, kind)


def is_removable(name: str) -> bool:
    """Return whether the accelerator, or the one that AUTO prefers, is removable."""
    return name == AUTO or find_accelerator(name).removable
