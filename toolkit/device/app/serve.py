"""Run the live app, `python -m device serve RELEASE`: start all threads, wait for a signal, stop them in order."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import ssl
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import cv2

from ..errors import DeviceEnvironmentError, DeviceError
from ..release.manifest import read_manifest
from ..runtime import interface
from .alerts.alert_file import AlertConfig, read_alerts
from .alerts.recordings import Recorder
from .alerts.region_watch import RegionWatch
from .alerts.rules import UNKNOWN, AlertDispatcher
from .captures.capture_settings import read_capture_settings
from .captures.recorder import CaptureRecorder
from .drift.drift_settings import read_drift_settings
from .drift.embedding import TrainingDistance
from .drift.monitor import DriftMonitor
from .pipeline.frame_pipeline import JOIN_S, FramePipeline, PipelineOptions
from .pipeline.inference import Load
from .pipeline.messages import now_ns
from .sources import make_source
from .sources.base import CaptureOptions
from .status import HardwareStats, StatusReport
from .supervisor import Supervisor
from .systemd import SystemdNotifier
from .web.auth import Auth, read_token
from .web.routes import Routes
from .web.server import Server

LOOPBACK = ("127.0.0.1", "::1", "localhost")
STUCK_S = 30.0
"""Longest time for one query or one round of the supervisor; beyond it, the watchdog is no longer notified."""
CAPTURE_UMASK = 0o007
"""Lets the group of the folder of captures, whom the administrator chooses, read and delete them."""
_STEP_S = 0.25


@dataclass(frozen=True)
class Options:
    """Options of `device serve`; see its --help."""

    release: Path
    source: str = "pattern"
    accelerator: str = "CPU"
    precision: Optional[str] = None
    threads: Optional[int] = None
    streams: Optional[int] = None
    fps: float = 25.0
    width: int = 1280
    height: int = 720
    decoders: int = 0
    exact: bool = False
    host: str = "127.0.0.1"
    port: int = 8080
    token_file: Optional[Path] = None
    certificate: Optional[Path] = None
    key: Optional[Path] = None
    predictions: float = 10.0
    alerts: Optional[Path] = None
    capture: Optional[Path] = None
    state_file: Optional[Path] = None


def serve(options: Options, started: Callable[[Dict[str, Any]], None], load: Load = interface.load) -> Dict[str, Any]:
    """Serve until SIGTERM or SIGINT; call `started` with {"ok", "url", "port"} once requests are answered.

    SIGHUP reloads the current release.

    Returns:
        {"ok", "frames", "dropped"}: totals; "ok" is false if a thread did not end, and "left" names it.

    Raises:
        DeviceError: the release, the source, the token or the alerts are not valid, or a token is missing.
        DeviceEnvironmentError: the model cannot be loaded, or the port is in use.
    """
    cv2.setNumThreads(1)
    app = App(options, load)
    try:
        app.begin()
        started(app.described())
        app.stay()
    finally:
        left = app.end()
    return {"ok": not left, **app.summary(), **({"left": left} if left else {})}


class App:
    """The threads of the app; starts and stops them in order."""

    def __init__(self, options: Options, load: Load) -> None:
        _check_options(options)
        token = read_token(options.token_file)
        if token is None and options.host not in LOOPBACK:
            raise DeviceError(
                "without a token, the app answers on loopback only",
                where=f"--host {options.host}",
                remedy="give --token-file FILE, or omit --host and use `toolkit view DEVICE`",
            )
        source = make_source(options.source, CaptureOptions(options.width, options.height, options.fps))
        alerts = _read_alerts(options)
        shape = PipelineOptions(options.fps, options.decoders, options.exact, alerts.trigger)
        settings = interface.Settings(
            options.accelerator, options.threads, options.streams, options.precision, hint="throughput"
        )
        self._options = options
        self.pipeline = FramePipeline(source, settings, shape, self.log, load)
        self.state = StatusReport(self.pipeline, HardwareStats())
        self._alerts = AlertDispatcher(alerts, self.log, self.state.now)
        self._regions = RegionWatch(alerts.regions, self.pipeline, self._alerts.see) if alerts.regions else None
        self._recorder = Recorder(alerts.recordings, self.log) if alerts.recordings else None
        self.state.sinks, self.state.alerts = self._alerts.state, lambda: self._alerts.counters["raised"]
        self._captures = self._make_recorder(options)
        self._drift = self._make_drift_monitor(options)
        self._notifier = SystemdNotifier()
        tls = _tls(options.certificate, options.key)
        self._routes = Routes(self.state, Auth(token), options.predictions, secure=tls is not None)
        self.server = Server(self._routes.handle, options.host, options.port, tls)
        self._supervisor: Optional[Supervisor] = None
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        """Signals that end the app. A signal handler that interrupts Event.wait would deadlock on Event.set."""

    def _make_recorder(self, options: Options) -> Optional[CaptureRecorder]:
        settings = read_capture_settings(options.capture, options.release)
        if settings is None:
            return None
        os.umask(CAPTURE_UMASK)
        recorder = CaptureRecorder(settings, self.pipeline.source_name, self.log)
        self.state.captures, self.state.ask_capture = recorder.state, recorder.ask
        self._alerts.on_raised = recorder.ask
        return recorder

    def _make_drift_monitor(self, options: Options) -> Optional[DriftMonitor]:
        settings = read_drift_settings(options.capture, options.release)
        if settings is None:
            return None
        releases = options.release.resolve().parent

        def find_distance(release: str) -> Optional[TrainingDistance]:
            with contextlib.suppress(DeviceError):  # it lies elsewhere, or was removed meanwhile
                return TrainingDistance.of(read_manifest(releases / release))
            return None

        monitor = DriftMonitor(settings, self.log, self._alerts.report_drift, find_distance=find_distance)
        self.state.drift, self.state.drift_days = monitor.state, monitor.days
        return monitor

    def log(self, text: str) -> None:
        """Write a message to the log and show it on the page."""
        print(text, file=sys.stderr, flush=True)
        self.state.note(text)

    def begin(self) -> None:
        """Load the model, start every thread and notify systemd."""
        for ending in (signal.SIGTERM, signal.SIGINT):
            signal.signal(ending, lambda number, _: self._signals.put(number))
        self._notifier.notify("STATUS=loading the model")
        self.pipeline.listeners.append(self._alerts.see)
        if self._recorder:
            self._alerts.record = self._recorder.record
            if self.pipeline.capture:
                self.pipeline.capture.on_frame = self._recorder.see
            self._recorder.start()
        if self._regions:
            self.pipeline.listeners.append(self._regions.see)
        if self._captures:
            self.pipeline.listeners.append(self._captures.see)
            self._captures.start()
        if self._drift:
            self.pipeline.listeners.append(self._drift.see)
        self.pipeline.begin(self._options.release)
        self._alerts.start()
        if self._regions:
            self._regions.start()
        self._supervisor = Supervisor(
            self._options.release, self.pipeline, self.state, self.log, self._options.state_file
        )
        if self._drift:
            self._supervisor.tasks.append(self._drift.save_if_due)
        self._supervisor.start()
        broadcast = self._routes.broadcast
        self.server.begin(broadcast.send_images, broadcast.send_events)
        signal.signal(signal.SIGHUP, lambda *_: self._reload())
        self._notifier.notify("READY=1", f"STATUS={self.server.url}")

    def _reload(self) -> None:
        if self._supervisor:
            self._supervisor.reload()

    def described(self) -> Dict[str, Any]:
        """Return the address, for the program that started the app."""
        return {"ok": True, "url": self.server.url, "port": self.server.port}

    def stay(self) -> None:
        """Wait for a signal; notify the watchdog while every thread works."""
        pause_s = min(_STEP_S, (self._notifier.watchdog_s or 1.0) / 3)
        due = 0.0
        while not self._should_stop(pause_s):
            if self._notifier.watchdog_s and time.monotonic() >= due and self.is_alive():
                due = time.monotonic() + self._notifier.watchdog_s / 3
                self._notifier.notify("WATCHDOG=1")

    def _should_stop(self, timeout: float) -> bool:
        try:
            self._signals.get(timeout=timeout)
        except queue.Empty:
            return False
        return True

    def is_alive(self) -> bool:
        """Return whether every thread runs and none is stuck."""
        busy_ns = self.pipeline.worker.busy_since_ns
        stuck = busy_ns is not None and now_ns() - busy_ns > STUCK_S * 1e9
        supervised = self._supervisor is not None and self._supervisor.is_alive()
        return not stuck and supervised and self.server.is_alive() and self.pipeline.is_alive()

    def end(self) -> List[str]:
        """Stop the threads in reverse order; return the names of those that did not end."""
        self._notifier.notify("STOPPING=1")
        left = [] if self.server.end(JOIN_S) else ["http"]
        if self._supervisor:
            self._supervisor.stop()
            self._supervisor.join(STUCK_S)
            left += ["supervisor"] if self._supervisor.is_alive() else []
        left += [] if self._regions is None or self._regions.end(JOIN_S) else ["regions"]
        left += self.pipeline.end()
        if self._drift:
            with contextlib.suppress(OSError):
                self._drift.save()
        left += [] if self._recorder is None or self._recorder.end(JOIN_S) else ["recordings"]
        left += [] if self._captures is None or self._captures.end(JOIN_S) else ["captures"]
        return left + ([] if self._alerts.end(JOIN_S) else ["alerts"])

    def summary(self) -> Dict[str, Any]:
        """Return the totals of frames and drops."""
        counters = self.pipeline.counters
        frames = {
            name: counters[name] for name in ("captured", "answered", "requested", "damaged", "failed", "skipped")
        }
        return {"frames": frames, "dropped": self.pipeline.dropped()}


def _read_alerts(options: Options) -> AlertConfig:
    if options.alerts is None:
        return AlertConfig()
    manifest = read_manifest(options.release.resolve())
    return read_alerts(options.alerts, [*manifest["labels"], *([UNKNOWN] if "rejection" in manifest else [])])


def _check_options(options: Options) -> None:
    """Check the values of the options.

    Raises:
        DeviceError: a value is out of range; names every one.
    """
    problems = []
    if not 0 <= options.fps < 1000:
        problems.append(f"--fps {options.fps:g} is not from 0 to below 1000")
    if not options.source.strip():
        problems.append("--source is empty")
    if not 0 <= options.port < 65_536:
        problems.append(f"--port {options.port} is not from 0 to 65535")
    if not 0 <= options.decoders <= 64:
        problems.append(f"--decoders {options.decoders} is not from 0 to 64")
    if problems:
        raise DeviceError("; ".join(problems), where="serve", remedy="see `python -m device serve --help`")


def _tls(certificate: Optional[Path], key: Optional[Path]) -> Optional[ssl.SSLContext]:
    """Return a TLS context; None without a certificate.

    Raises:
        DeviceEnvironmentError: the certificate or its key cannot be loaded.
    """
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise DeviceEnvironmentError(
            f"cannot be used: {error}", where=str(certificate), remedy="give a PEM file, and --key"
        ) from None
    return context
