"""Background tasks of the app: follow the current release, look for a lost accelerator, write the state file."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Callable, List, Optional

from ..errors import DeviceError
from ..layout import RELEASE
from ..release.manifest import read_json
from .pipeline.frame_pipeline import FramePipeline
from .pipeline.inference import RETRY_S
from .status import StatusReport

STEP_S = 0.5
STATE_S = 2.0
Log = Callable[[str], None]


class Supervisor(threading.Thread):
    """Thread that runs the background tasks in turn, without delaying frames."""

    def __init__(
        self, release: Path, pipeline: FramePipeline, state: StatusReport, log: Log, state_file: Optional[Path]
    ) -> None:
        super().__init__(name="supervisor", daemon=True)
        self.beat = time.monotonic()
        """Start of the last round, by the monotonic clock."""
        self.tasks: List[Callable[[], None]] = []
        """Further tasks of each round; each is quick, or does something now and then only."""
        self._release, self._pipeline, self._state, self._log = release, pipeline, state, log
        self._state_file = state_file
        self._led_to = pipeline.worker.loaded.release
        self._code = device_code_digest(self._led_to)
        self._retry_due = self._state_due = 0.0
        self._reload = threading.Event()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Run until `stop`."""
        while not self._stopping.wait(STEP_S):
            self.beat = time.monotonic()
            try:
                self._follow()
                self._state.hardware.refresh(self._pipeline)
                self._retry_accelerator()
                self._write_state()
                for task in self.tasks:
                    task()
            except Exception as error:  # noqa: BLE001 - one duty that fails must not end the others
                self._log(f"background task failed: {type(error).__name__}: {error}")
        if self._state_file:
            with contextlib.suppress(OSError):
                self._state_file.unlink()

    def reload(self) -> None:
        """Reload the current release, even if it did not change."""
        self._reload.set()

    def _follow(self) -> None:
        leads_to = self._release.resolve()
        if not self._reload.is_set() and leads_to == self._led_to:
            return
        self._reload.clear()
        self._led_to = leads_to
        try:
            self._pipeline.use(leads_to)
        except DeviceError as error:
            self._log(f"the new release cannot be used; the old one stays in use: {error}")
            return
        name = self._pipeline.worker.loaded.manifest.get("name")
        self._log(f"release {leads_to.name[:12]} ({name}) is now in use")
        if device_code_digest(leads_to) != self._code:
            self._log("its device code differs, and is used after a restart")

    def _retry_accelerator(self) -> None:
        if time.monotonic() >= self._retry_due:
            self._pipeline.worker.retry_accelerator()
            self._retry_due = time.monotonic() + RETRY_S

    def _write_state(self) -> None:
        if self._state_file is None or time.monotonic() < self._state_due:
            return
        self._state_due = time.monotonic() + STATE_S
        beside = self._state_file.with_name(f".{self._state_file.name}.part")
        beside.write_text(json.dumps({"at": round(time.time(), 1), "pid": os.getpid(), **self._state.now()}), "utf-8")
        beside.chmod(0o644)  # readable for all users, whatever the umask of the service
        beside.replace(self._state_file)

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopping.set()


def device_code_digest(release: Path) -> Optional[str]:
    """Return the digest of the device code in a release; None for a bare bundle."""
    try:
        code = read_json(release / RELEASE).get("device")
    except DeviceError:
        return None
    return str(code)
