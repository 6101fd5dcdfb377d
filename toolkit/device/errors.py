"""What can go wrong on a device, each with the exit code the controller sees."""

from __future__ import annotations

DONE, CHECK_FAILED, USAGE, ENVIRONMENT, INTERRUPTED = 0, 1, 2, 4, 130


class DeviceError(Exception):
    """A check failed: says what, where and what to do next."""

    exit_code = CHECK_FAILED

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(": ".join(part for part in (where, what) if part))


class DeviceEnvironmentError(DeviceError):
    """This device lacks something: a package, an accelerator, a lock folder that can be written."""

    exit_code = ENVIRONMENT
