"""Parent's handle of a candidate's worker process in `toolkit tune`."""

from __future__ import annotations

import json
import selectors
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import IO, Any, Self

from toolkit.experiment.compute_profiles import ComputeProfile
from toolkit.train.tuning.worker import Workload

OUT_OF_TIME = "out of time"


@dataclass(slots=True)
class Measurement:
    """A candidate's measurements: images/s of its steps, or its failure."""

    profile: ComputeProfile
    rates: list[float] = field(default_factory=list)
    start_s: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    failure: str = ""

    @property
    def rate(self) -> float:
        """Return the median over its steps; 0 without steps."""
        return statistics.median(self.rates) if self.rates else 0.0

    @property
    def spread(self) -> tuple[float, float]:
        """Return the interquartile range of its steps."""
        if len(self.rates) < 2:
            return self.rate, self.rate
        low, _, high = statistics.quantiles(self.rates, n=4, method="inclusive")
        return low, high


class BenchmarkProcess:
    """Worker process of a candidate; `program` is what it runs."""

    def __init__(
        self,
        profile: ComputeProfile,
        workload: Workload,
        program: Sequence[str] = ("-m", "toolkit.train.tuning.worker"),
    ) -> None:
        self.measured = Measurement(profile)
        self._talk: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._process = subprocess.Popen(
            profile.command("-P", *program),
            env=profile.applied_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._talk,
        )
        self._workload = workload

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Stop the process at once; again does nothing."""
        self._process.kill()
        self._process.communicate()
        self._talk.close()

    def start(self, deadline: float) -> bool:
        """Return whether it completed its first step before the deadline."""
        to_json = self._ask(asdict(self._workload), deadline)
        if to_json:
            self.measured.start_s, self.measured.versions = to_json["start_s"], to_json["versions"]
        return bool(to_json)

    def measure(self, batch_size: int, seconds: float, deadline: float) -> list[float]:
        """Return the images/s of its steps in that time; none if the deadline comes first."""
        to_json = self._ask([batch_size, seconds], deadline)
        rates: list[float] = to_json["rates"] if to_json else []
        self.measured.rates += rates
        return rates

    def _ask(self, request: object, deadline: float) -> dict[str, Any] | None:
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018 - so it was started
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self.measured.failure = self._last_output()
            return None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                self.measured.failure = OUT_OF_TIME
                return None
        line = self._process.stdout.readline()
        if not line:
            self.measured.failure = self._last_output()
            return None
        to_json: dict[str, Any] = json.loads(line)
        return to_json

    def _last_output(self) -> str:
        self._talk.seek(0)
        lines = self._talk.read().decode(errors="replace").strip().splitlines()
        return " ".join(lines[-2:]) if lines else f"ended with code {self._process.wait()}"
