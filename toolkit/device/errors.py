"""Errors of the device code, each with its exit code."""

from __future__ import annotations

from typing import Dict

DONE, CHECK_FAILED, USAGE, ENVIRONMENT, INTERRUPTED = 0, 1, 2, 4, 130


class DeviceError(Exception):
    """A check failed: what is wrong, where, and the remedy."""

    exit_code = CHECK_FAILED

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(": ".join(part for part in (where, what) if part))

    def to_json(self) -> Dict[str, str]:
        """Return the error as a JSON object for the controller."""
        return {"what": self.what, "where": self.where, "remedy": self.remedy}


class DeviceEnvironmentError(DeviceError):
    """The device lacks something, such as a package, an accelerator or a writable lock folder."""

    exit_code = ENVIRONMENT
