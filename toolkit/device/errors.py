"""Errors of the device code, each with its exit code."""

from __future__ import annotations

DONE, CHECK_FAILED, USAGE, ENVIRONMENT, INTERRUPTED = 0, 1, 2, 4, 130


class DeviceError(Exception):
    """A check failed: what is wrong, where, and the remedy."""

    exit_code = CHECK_FAILED

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(": ".join(part for part in (where, what) if part))


class DeviceEnvironmentError(DeviceError):
    """The device lacks something, such as a package, an accelerator or a writable lock folder."""

    exit_code = ENVIRONMENT
