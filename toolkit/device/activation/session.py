"""One session of `toolkit deploy` on a device: takes a lock, activates, and releases the lock when its stdin ends.

    request     {"do": "lock" | "activate" | "restore" | "audit" | "end", …}, one line of JSON
    answer      {"ok": …}, one line of JSON; "error" says what is wrong, "taken" who holds the lock
    receive     is followed by a tar archive of chunks, see toolkit.device.release.receiver; after an error or a broken archive
                the session ends, because the rest of its input means nothing
    activate    answers by a line {"step", "result"} for each gate. The next request is the controller's verdict on it,
                {"ok": true, "message"} or {"ok": false, "error"}. A gate that did not pass here does not pass, whatever
                the verdict. A gate that "waits_for_turn" first answers {"step", "waits"}, and measures after the next request.
                The last line is {"ok", "gates" or "error"}.

The installed agent and the code that the controller sends to devices without one speak the same protocol. What was done is
written to ROOT/audit.jsonl, with the controller's time, because a device's clock may be off by years.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, Callable, Dict, List, Optional

from ..deploy_lock import LockTakenError, deploy_lock
from ..errors import DeviceError
from ..release.receiver import answer_receive, is_at_end
from . import gates
from .activate import INTEGRITY, ActivationGate, GateError, Served, activate, put_back
from .audit import append_audit
from .child import Children
from .gates import Context
from .release_code import Runtime, agent_folder
from .service import UNIT, Service

PROTOCOL = 2
MAX_LINE_BYTES = 1 << 20
Json = Dict[str, Any]


def main(arguments: List[str]) -> int:
    """Run a session for ROOT, the only argument; the controller has sent this code."""
    run(Path(arguments[0]), sys.stdin.buffer, sys.stdout, skip_program=False)
    return 0


def run(root: Path, stdin: IO[bytes], stdout: IO[str], *, skip_program: bool) -> None:
    """Serve one session; `skip_program`: stdin begins with the code for devices without an agent, after its length."""
    os.umask(0o022)
    if skip_program:
        stdin.read(int(stdin.readline(32)))
    session = ActivationSession(root, stdin, stdout)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: session.interrupt())
    threading.Thread(target=session.read, daemon=True).start()
    session.serve()


class ActivationSession:
    """The device's end of a session."""

    def __init__(self, root: Path, stdin: IO[bytes], stdout: IO[str]) -> None:
        self.children = Children()
        self._root, self._stdin, self._stdout = root, stdin, stdout
        self._requests: "SimpleQueue[Optional[Json]]" = SimpleQueue()
        self._archive_ended = threading.Event()
        self._in_step = True
        """Whether the next line of stdin is a request."""
        self._receives = False
        self._since = time.monotonic()

    def read(self) -> None:
        """Read requests until stdin ends; then end what runs."""
        for line in iter(lambda: self._stdin.readline(MAX_LINE_BYTES), b""):
            request = _parsed(line)
            self._requests.put(request)
            if request.get("do") == "end":
                self.hang_up()
                return  # a thread that waits for input keeps Python from ending well
            if request.get("do") == "receive":
                self._archive_ended.wait()
                self._archive_ended.clear()
        self.hang_up()

    def hang_up(self) -> None:
        """End what runs, and take no further request."""
        self.children.stop()
        self._requests.put(None)

    def interrupt(self) -> None:
        """Hang up; called by a signal in the thread that serves, which may be waiting for the rest of an archive.

        Raises:
            DeviceError: it is; chunks that have come are kept.
        """
        self.hang_up()
        if self._receives:
            self.children.check()

    def serve(self) -> None:
        """Answer requests until "end", or until the controller is gone."""
        with ExitStack() as held:
            while (request := self._next()) is not None:
                if request.get("do") == "end":
                    held.close()
                    self._answer({"ok": True})
                    return
                self._answer(self._handle(request, held))
                if not self._in_step:
                    return

    def _handle(self, request: Json, held: ExitStack) -> Json:
        actions: Dict[object, Callable[[Json], Json]] = {
            "lock": lambda each: self._lock(each, held),
            "activate": self._activate,
            "receive": self._receive,
            "restore": self._restore,
            "audit": self._audit,
        }
        try:
            return actions[request.get("do")](request)
        except DeviceError as error:
            return {"ok": False, "error": error.to_json()}
        except OSError as error:
            where = str(error.filename or self._root)
            return {"ok": False, "error": {"what": f"{where}: {error.strerror or error}", "where": where, "remedy": ""}}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"the request is not valid: {type(error).__name__}: {error}"
            return {"ok": False, "error": {"what": what, "where": "", "remedy": "use the same version on both sides"}}

    def _lock(self, request: Json, held: ExitStack) -> Json:
        info, name = str(request["info"]), str(request["name"])
        try:
            held.enter_context(deploy_lock(self._root, name=name, info=info, break_lock=bool(request["break"])))
        except LockTakenError as error:
            return {"ok": False, "taken": error.info}
        served = Served.read(self._root)
        state = {"release": served.release, "previous": served.previous}
        return {"ok": True, "protocol": PROTOCOL, "agent": agent_folder() is not None, **state}

    def _receive(self, request: Json) -> Json:
        """Receive files, see toolkit.device.release.receiver; the caller ends the session unless the archive is whole."""
        self._in_step, self._receives = False, True
        try:
            self.children.check()  # a signal may have come since the request
            answer = answer_receive(self._root, request["layout"], str(request["keep"]), self._stdin)
            self._in_step = "error" not in answer and is_at_end(self._stdin)
        finally:
            self._receives = False
        if self._in_step:
            self._archive_ended.set()
        return answer

    def _activate(self, request: Json) -> Json:
        python, accelerator = str(request["python"]), str(request["accelerator"])
        runtime = Runtime(python, accelerator, agent_folder())
        context = Context(self._root, str(request["release"]), runtime, self.children)
        steps = [self._gate(each) for each in request["gates"]]
        before, audit = Served.read(self._root).release, dict(request["audit"])
        entry = {"release": context.release, "replaced": before}
        try:
            passed = activate(context, steps, _service(request), back=bool(request.get("back")))
        except DeviceError as error:
            self._note({**audit, **entry, "outcome": "failed", "reason": error.what})
            return {"ok": False, "error": error.to_json()}
        self._note({**audit, **entry, "outcome": request["outcome"], "reason": ""})
        return {"ok": True, "gates": passed}

    def _gate(self, step: Json) -> ActivationGate:
        """Return a gate that runs here what the step asks for, and then waits for the controller's verdict."""
        measure = _measurement(step)

        def check(context: Context) -> str:
            if step["waits_for_turn"]:
                self._answer({"step": step["name"], "waits": True})
                self._next_verdict()
            result = _measured(measure, context)
            self._answer({"step": step["name"], "result": result})
            verdict = self._next_verdict()
            self.children.check()
            if verdict is None or not verdict.get("ok") or not result["ok"]:
                error = (verdict or {}).get("error") or {"what": f"{step['name']} did not pass"}
                raise GateError(
                    str(error["what"]), where=str(error.get("where", "")), remedy=str(error.get("remedy", ""))
                )
            return str(verdict.get("message", ""))

        return ActivationGate(str(step["name"]), check, bool(step["after_switch"]))

    def _restore(self, request: Json) -> Json:
        before = Served.read(self._root).release
        put_back(self._root, Served(request["release"], request["previous"]), _service(request))
        self._note({**request["audit"], "release": before, "replaced": before, **request["note"]})
        return {"ok": True}

    def _audit(self, request: Json) -> Json:
        append_audit(self._root, request["entry"], int(request.get("limit", 1 << 20)))
        return {"ok": True}

    def _note(self, entry: Json) -> None:
        """Append to the audit log, at the controller's time."""
        passed = timedelta(seconds=time.monotonic() - self._since)
        at = (datetime.fromisoformat(str(entry.pop("began"))) + passed).isoformat(timespec="milliseconds")
        append_audit(self._root, {"at": at, **entry})

    def _next(self) -> Optional[Json]:
        """Return the next request; None when the controller is gone."""
        request = self._requests.get()
        if request is None:
            self._requests.put(None)  # it stays the end, however often it is asked for
        return request

    def _next_verdict(self) -> Optional[Json]:
        """Return the next request in the midst of an activation; an archive cannot be received there."""
        request = self._next()
        if request is not None and request.get("do") == "receive":
            self._in_step = False
            self.hang_up()
            return None
        return request

    def _answer(self, answer: Json) -> None:
        try:
            self._stdout.write(json.dumps(answer) + "\n")
            self._stdout.flush()
        except OSError:  # the controller is gone; the end of stdin says so, too
            self.children.stop()


def _parsed(line: bytes) -> Json:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return request if isinstance(request, dict) else {}


def _measurement(step: Json) -> Callable[[Context], Json]:
    """Return what a gate runs on this device; gates of the controller's own run nothing here."""
    kind = "verify" if step["name"] == INTEGRITY else step["run"]
    if kind == "verify":
        return gates.check_integrity
    if kind == "golden":
        return gates.check_golden
    if kind == "speed":
        return lambda context: gates.check_speed(context, str(step["images"]), dict(step["options"]))
    if kind == "health":
        unit, url, seconds, patience_s = (step[key] for key in ("unit", "url", "seconds", "patience_s"))
        return lambda _: gates.check_service(str(unit), url, float(seconds), float(patience_s))
    if kind is None:
        return lambda _: {"ok": True}
    raise DeviceError(f"{kind} is not a gate that this device knows", remedy="provision it with this toolkit's version")


def _measured(measure: Callable[[Context], Json], context: Context) -> Json:
    """Return a result also where nothing could be measured, so that the controller can say which gate it was."""
    try:
        return measure(context)
    except DeviceError as error:
        context.children.check()
        return {"ok": False, "error": error.to_json()}


def _service(request: Json) -> Service:
    service = request["service"]
    password = service.get("password")
    return Service(str(service.get("unit") or UNIT), str(service.get("restart") or ""), password)
