"""Hooks: a user's executables in one folder of this machine, named after the step they belong to.

    pre-deploy    pre-batch    pre-rollback      if one fails, the step does not start
    post-deploy   post-batch   post-rollback     a failure is reported and changes nothing

They inherit the caller's environment, with TOOLKIT_HOOK, TOOLKIT_ROLLOUT (which all records of the call share), TOOLKIT_WHO,
TOOLKIT_AT (UTC), TOOLKIT_BUNDLE, TOOLKIT_RELEASE (digests), TOOLKIT_DEVICES (names, separated by commas), for batches
TOOLKIT_BATCH ("2/3"), and afterwards TOOLKIT_OUTCOME ("done" or "failed") and TOOLKIT_FAILED (names).
Their output goes to stderr.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from toolkit.artifacts.fleet import Device
from toolkit.deploy.lock import operator_name
from toolkit.errors import ConfigurationError, FleetError
from toolkit.progress import Progress

NAMES = ("pre-deploy", "post-deploy", "pre-batch", "post-batch", "pre-rollback", "post-rollback")


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks of one command; none if `folder` is None or missing."""

    folder: Path | None
    rollout: str
    progress: Progress
    about: Mapping[str, str]
    """Further variables of all hooks."""

    def run(self, name: str, devices: Sequence[Device], **more: str) -> None:
        """Run a hook if it exists.

        Raises:
            ConfigurationError: the file is there, and cannot be run.
            FleetError: it failed.
        """
        path = None if self.folder is None else self.folder / name
        if path is None or not path.is_file():
            return
        if not os.access(path, os.X_OK):
            raise ConfigurationError(
                "is not executable", where=str(path), remedy=f"make it executable: chmod +x {path}"
            )
        self.progress.log(f"hook {name}")
        code = _run(path, self._environment(name, devices) | more, self.progress)
        if code:
            raise FleetError(f"the hook {name} failed (exit code {code})", where=str(path), remedy="see its output")

    def run_after(self, name: str, devices: Sequence[Device], failed: Sequence[Device], **more: str) -> str:
        """Run a hook that stops nothing; return and log its error, if any."""
        outcome = {"TOOLKIT_OUTCOME": "failed" if failed else "done", "TOOLKIT_FAILED": _names(failed)}
        try:
            self.run(name, devices, **outcome, **more)
        except (ConfigurationError, FleetError) as error:
            message = str(error)
            self.progress.log(message)
            return message
        return ""

    def _environment(self, name: str, devices: Sequence[Device]) -> dict[str, str]:
        return {
            "TOOLKIT_HOOK": name,
            "TOOLKIT_ROLLOUT": self.rollout,
            "TOOLKIT_WHO": operator_name(),
            "TOOLKIT_AT": datetime.now(UTC).isoformat(timespec="seconds"),
            "TOOLKIT_DEVICES": _names(devices),
            **self.about,
        }


def _names(devices: Sequence[Device]) -> str:
    return ",".join(device.name for device in devices)


def _run(path: Path, environment: Mapping[str, str], progress: Progress) -> int:
    """Return its exit code; its output is logged line by line."""
    with subprocess.Popen(
        [str(path.absolute())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        for line in process.stdout:
            progress.log(f"  {path.name}: {line.rstrip()}")
        return process.wait()
