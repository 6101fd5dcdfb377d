"""Compute profiles: the interpreter, environment and threads of a training process. `toolkit tune` measures them.

    workspace/profiles/<machine>/<network>.json      the profile, the measurements behind it, and its machine

A profile affects speed, not results: batch size and precision are only recommendations, because an experiment sets them.
Threads and the TensorFlow build can change the last bits of a sum, so use the same profile to repeat a run bit-identically;
the interpreter's versions are part of a run's name.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from toolkit import files
from toolkit.errors import ConfigurationError, MachineError, UsageError
from toolkit.system.cpu_quota import available_cpus
from toolkit.workspace import Workspace

ComputePrecision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeProfile:
    """Settings of a process that trains; whatever is unset stays as that process finds it."""

    name: str
    python: Path | None = None
    """The interpreter, and with it the build of TensorFlow; None: this one."""
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    intra_op: int | None = None
    """Threads of one operation."""
    inter_op: int | None = None
    """Operations at once."""
    precision: ComputePrecision = "float32"
    """Advice: what an experiment's train.precision may say to be faster."""
    batch_size: int | None = None
    """Advice: what an experiment's train.batch_size may say to be faster."""

    def command(self, *arguments: str) -> list[str]:
        """The interpreter, given these words.

        Raises:
            MachineError: it is gone.
        """
        if self.python is not None and not os.access(self.python, os.X_OK):
            raise MachineError(
                f"the interpreter of the profile {self.name!r} is missing",
                where=str(self.python),
                remedy="set it up again, run `toolkit tune` again, or train with --profile none",
            )
        return [str(self.python or sys.executable), *arguments]

    def applied_environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """All that a process started under this profile sees; `base` unset: this process's environment."""
        threads = {"TF_NUM_INTRAOP_THREADS": self.intra_op, "TF_NUM_INTEROP_THREADS": self.inter_op}
        chosen = {name: str(count) for name, count in threads.items() if count is not None}
        return {**(os.environ if base is None else base), **self.environment, **chosen, NAME_VARIABLE: self.name}

    def describe(self) -> str:
        """In one line, for people."""
        interpreter = [str(self.python)] if self.python else []
        threads = [f"{self.intra_op} threads"] if self.intra_op else []
        return ", ".join([f"profile {self.name}", *interpreter, *threads, *map("=".join, self.environment.items())])


NAME_VARIABLE = "TOOLKIT_PROFILE"
"""How a process knows under which profile it was started."""
CONTAINER_IMAGE_VARIABLE = "TOOLKIT_IMAGE"
"""What a container image calls itself: its interpreter is not the machine's, though both see one workspace."""

PLAIN = ComputeProfile(name="none")
"""Nothing set: TensorFlow's own choices on the CPUs that may be used."""

PAPER = ComputeProfile(
    name="paper",
    environment={
        "OMP_NUM_THREADS": "8",
        "KMP_BLOCKTIME": "1",
        "KMP_SETTINGS": "1",
        "KMP_AFFINITY": "granularity=fine,verbose,compact,1,0",
    },
    intra_op=8,
    inter_op=1,
    batch_size=64,
)
"""The papers' settings on their Xeon Phi, unchanged; only the OpenMP build of TensorFlow uses the environment."""

SHIPPED = {profile.name: profile for profile in (PLAIN, PAPER)}
_PROFILE = TypeAdapter(ComputeProfile)


def select_profile(name: str | None, network: str, workspace: Workspace) -> ComputeProfile:
    """The profile of that name; unset: the one tuned for the network on this machine, else none.

    Raises:
        UsageError: no profile has that name; lists those that exist.
        ConfigurationError: its file cannot be read.
    """
    if name in SHIPPED:
        return SHIPPED[name]
    path = profile_path(name or network, workspace)
    if path.is_file():
        return _read(path)
    if name is None:
        return PLAIN
    known = [*sorted(SHIPPED), *sorted(file.stem for file in path.parent.glob("*.json"))]
    raise UsageError(f"no profile {name!r} on this machine", where="--profile", remedy=f"it has {', '.join(known)}")


def profile_path(name: str, workspace: Workspace) -> Path:
    """Where a profile tuned on this machine lies."""
    return workspace.root / "profiles" / machine_id() / f"{name}.json"


def save_profile(profile: ComputeProfile, measured: object, workspace: Workspace) -> Path:
    """Write a profile, whole, with what it was chosen from; gives the file."""
    path = profile_path(profile.name, workspace)
    plain = asdict(profile) | {"python": str(profile.python) if profile.python else None}
    with files.atomic_write(path) as stream:
        stream.write(json.dumps({"profile": plain, "machine": machine_id(), "measured": measured}, indent=1).encode())
    return path


def machine_id() -> str:
    """This machine as profiles know it: its processor, how many CPUs may be used, and the container image it is seen from."""
    processor = re.sub(r"[^a-z0-9]+", "-", _processor().lower()).strip("-")
    return "-".join([processor, str(available_cpus()), *filter(None, [os.environ.get(CONTAINER_IMAGE_VARIABLE)])])


def _processor() -> str:
    """Its name, as the kernel tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    match = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return match[1] if match else platform.processor() or platform.machine()


def _read(path: Path) -> ComputeProfile:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        return _PROFILE.validate_python(content["profile"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise ConfigurationError(
            f"not a profile: {error}", where=str(path), remedy="remove it and run `toolkit tune` again"
        ) from None
