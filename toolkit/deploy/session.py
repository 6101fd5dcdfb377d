"""The controller's side of a session with a device, which activates releases there; see toolkit.device.activation.session.

The session holds one of the device's locks from start to end. The device's responses are untrusted: an invalid response is an
error of that device.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from toolkit.artifacts.fleet import Device
from toolkit.deploy import commands
from toolkit.deploy.gates.gate import GateRun
from toolkit.errors import FleetError
from toolkit.fleet import Shell
from toolkit.fleet.pool import problem_of
from toolkit.fleet.ssh.shell import Ask
from toolkit.fleet.transfer.scripts import program

PROTOCOL = 2
START_S = 60.0
STEP_S = 960.0
"""A gate may take as long as an accelerator takes to load a large network, or a benchmark on a slow device."""
END_S = 20.0
CODE = (
    *(
        "errors",
        "layout",
        "rejection",
        "deploy_lock",
        "runtime.accelerators",
        "release.store",
        "release.prune",
        "release.receiver",
        "release.manifest",
        "release.signature",
        "release.verify",
    ),
    *("release.health", "activation.links", "activation.audit", "activation.child", "activation.service"),
    *("activation.release_code", "activation.gates", "activation.activate", "activation.session"),
)
"""What the controller sends to devices without an agent; each module imports only those before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSubject:
    """What a line of the device's audit log says besides the outcome."""

    who: str
    what: str
    rollout: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it with the controller's time: a device's clock may be off by years."""
        return {"began": datetime.now(UTC).isoformat(), "who": self.who, "rollout": self.rollout, "what": self.what}


class DeviceSession:
    """A session that holds a lock of the device."""

    def __init__(self, device: Device, ask: Ask) -> None:
        self._device, self._send = device, ask
        self._open = True
        self.release: str | None = None
        """What the device served when the lock was taken; None for nothing."""
        self.previous: str | None = None
        """What it served before that."""

    def take_lock(self, name: str, info: str, *, break_lock: bool) -> Mapping[str, Any]:
        """Take the lock; return the device's answer, in which "taken" says who else holds it.

        Raises:
            FleetError: the device's agent speaks another version of the protocol.
        """
        request = json.dumps({"do": "lock", "name": name, "info": info, "break": break_lock}).encode()
        answer = self._parsed(self._send(program(CODE) + request, START_S))
        if answer.get("ok") and answer.get("protocol") != PROTOCOL:
            raise FleetError(
                f"its agent speaks version {answer.get('protocol')} of the protocol, and this toolkit version {PROTOCOL}",
                where=self._device.name,
                remedy="provision it with this toolkit: ansible-playbook ansible/provision-pi.yml --tags runner",
            )
        self.release, self.previous = (text_or_none(answer.get(name)) for name in ("release", "previous"))
        return answer

    def receive(self, layout: Mapping[str, Any], keep: str, archive: Iterable[bytes], timeout: float) -> dict[str, Any]:
        """Send chunks; return the receiver's answer. See toolkit.fleet.transfer.staging."""
        request = json.dumps({"do": "receive", "layout": layout, "keep": keep}).encode() + b"\n"
        self._open = False  # a request in the midst of an archive would be taken for a part of it
        answer = dict(self._parsed(self._send(chain([request], archive), timeout)))
        self._open = "error" not in answer
        return answer

    def activate(
        self, release: str, run: GateRun, audit: AuditSubject, *, outcome: str = "deployed", back: bool = False
    ) -> dict[str, str]:
        """Activate a release that is there; return the message of each gate.

        `outcome` is the word of the audit log for success; `back`: the release is the previous one.

        Raises:
            FleetError: a gate did not pass, and the old release serves; or the device cannot be reached.
        """
        request: dict[str, Any] = {"release": release, "gates": run.requests(), "audit": audit.to_json()}
        runtime = {"python": self._device.python, "accelerator": self._device.accelerator}
        request |= {"outcome": outcome, "back": back, "service": self._service()}
        passed: dict[str, str] = {}
        answer = self._ask({"do": "activate", **request, **runtime})
        while "step" in answer:
            answer = self._answer_step(run, answer, passed)
        self._check(answer)
        return passed

    def _answer_step(self, run: GateRun, answer: Mapping[str, Any], passed: dict[str, str]) -> Mapping[str, Any]:
        """Answer a line about a gate by the verdict; hold the turn of a gate that waits for one."""
        name = str(answer["step"])
        if answer.get("waits"):
            with run.turn(name):
                answer = self._ask({"ok": True})
        verdict = self._verdict(run, name, answer.get("result"))
        passed |= {name: verdict["message"]} if verdict["ok"] else {}
        return self._ask(verdict)

    def restore(self, release: str | None, previous: str | None, audit: AuditSubject, note: Mapping[str, str]) -> None:
        """Serve these releases again, as before a rollout; `note`: the outcome and its reason, for the audit log."""
        request = {"release": release, "previous": previous, "audit": audit.to_json(), "note": dict(note)}
        self._check(self._ask({"do": "restore", **request, "service": self._service()}))

    def note(self, audit: AuditSubject, entry: Mapping[str, Any], **options: int) -> None:
        """Append to the device's audit log; without room there, the line is lost."""
        subject = audit.to_json()
        line = {"at": subject.pop("began"), **subject, **entry}
        self._check(self._ask({"do": "audit", "entry": line, **options}))

    def end(self) -> None:
        """Release the lock; the device does so by itself when the connection is gone."""
        if self._open:
            with suppress(FleetError):
                self._send(json.dumps({"do": "end"}).encode(), END_S)

    def _verdict(self, run: GateRun, name: str, result: object) -> dict[str, Any]:
        try:
            return {"ok": True, "message": run.judge(name, result if isinstance(result, dict) else {})}
        except Exception as error:  # noqa: BLE001 - whatever a gate raises, the old release serves again
            problem = problem_of(self._device, error)
            return {"ok": False, "error": asdict(problem)}

    def _service(self) -> dict[str, Any]:
        password = self._device.become_password
        return {
            "unit": commands.service(self._device),
            "restart": str(self._device.variables.get(commands.RESTART) or ""),
            "password": None if password is None else str(password),
        }

    def _ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._open:
            raise FleetError("the session has ended", where=self._device.name, remedy="run the command again")
        return self._parsed(self._send(json.dumps(request).encode(), STEP_S))

    def _parsed(self, line: str) -> Mapping[str, Any]:
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise FleetError(f"the device code did not answer: {line[:200]!r}", where=self._device.name)
        return answer

    def _check(self, answer: Mapping[str, Any]) -> None:
        if answer.get("ok"):
            return
        error = answer.get("error")
        known = error if isinstance(error, dict) else {"what": "the device gave no reason"}
        raise FleetError(str(known.get("what")), where=self._device.name, remedy=str(known.get("remedy", "")))


def text_or_none(value: object) -> str | None:
    """Return a value of a device's answer if it is text."""
    return value if isinstance(value, str) else None


@contextmanager
def open_session(device: Device, shell: Shell) -> Iterator[DeviceSession]:
    """Yield a session for the length of a with-block."""
    with shell.converse(commands.session(device)) as ask:
        session = DeviceSession(device, ask)
        try:
            yield session
        finally:
            session.end()
