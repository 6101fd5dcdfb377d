from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import DataError, MachineError
from toolkit.system import sandbox
from toolkit.system.sandbox import Layers, ResourceLimits, Sandbox, SandboxError, wire

HERE = Path(__file__).parent
Start = Callable[..., Sandbox]


@pytest.fixture(params=[True, False], ids=["namespaces", "landlock"])
def confined(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Start:
    """A sandbox that can import the attacks, by each kind of confinement."""
    monkeypatch.syspath_prepend(str(HERE))

    def start(reads: tuple[Path, ...] = (), **settings: Any) -> Sandbox:
        return Sandbox([*reads, HERE], namespaces=request.param, where="net.bin", **settings)

    return start


def refusal(worker: Sandbox, attack: str, **arguments: object) -> str:
    with pytest.raises(SandboxError) as caught:
        worker.call(f"attacks:{attack}", **arguments)
    return str(caught.value)


def test_sandbox_reads_only_what_it_was_given(confined: Start, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "input").write_bytes(b"data")
    (tmp_path / "secret").write_bytes(b"key")
    (tmp_path / "given" / "link").symlink_to(tmp_path / "secret")
    with confined((tmp_path / "given",)) as worker:
        assert worker.call("attacks:read", path=tmp_path / "given" / "input") == b"data"
        for path in (tmp_path / "secret", tmp_path / "given" / "link", "/etc/passwd", f"/proc/{os.getpid()}/environ"):
            assert "Error" in refusal(worker, "read", path=path)


def test_sandbox_reads_a_file_given_by_a_link(confined: Start, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "net").write_bytes(b"data")
    (tmp_path / "net").symlink_to(tmp_path / "there" / "net")
    with confined((tmp_path / "net",)) as worker:
        assert worker.call("attacks:read", path=tmp_path / "net") == b"data"


def test_sandbox_writes_only_where_allowed(confined: Start, tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"data")
    (tmp_path / "out").mkdir()
    with confined((tmp_path,), writes=[tmp_path / "out"], limits=ResourceLimits(file_bytes=1000)) as worker:
        for attack in ("write", "remove", "change_mode", "remount"):
            assert "Error" in refusal(worker, attack, path=tmp_path / "input")
        assert "Error" in refusal(worker, "write", path=tmp_path / "new")
        assert worker.call("attacks:write", path=tmp_path / "out" / "new") == 1
        assert "File too large" in refusal(worker, "write", path=tmp_path / "out" / "large", size=2000)
    assert (tmp_path / "input").read_bytes() == b"data"


def test_sandbox_has_no_network(confined: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, confined() as worker:
        assert "PermissionError" in refusal(worker, "connect", port=server.getsockname()[1])


def test_sandbox_starts_no_programs(confined: Start) -> None:
    with confined() as worker:
        assert "PermissionError" in refusal(worker, "run_program")
        assert "PermissionError" in refusal(worker, "fork")
        assert worker.call("attacks:number_of_threads") == 8


def test_sandbox_leaves_other_processes_alone(confined: Start) -> None:
    with confined() as worker:
        for attack in ("kill", "trace"):
            assert "Error" in refusal(worker, attack, process=os.getpid())


def test_sandbox_passes_no_environment_on(confined: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_REGISTRY_PASSWORD", "hunter2")
    with confined() as worker:
        assert "hunter2" not in str(worker.call("attacks:environment"))


def test_sandbox_limits_memory(confined: Start) -> None:
    with confined(limits=ResourceLimits(memory_bytes=1 << 30)) as worker:
        message = refusal(worker, "allocate", size=2 << 30)
        assert "more memory than the limit of 1.0 GiB" in message
        assert worker.call("attacks:allocate", size=1000) == 1000


@pytest.mark.slow
def test_sandbox_limits_time(confined: Start) -> None:
    start = time.monotonic()
    with confined(limits=ResourceLimits(seconds=2)) as worker:
        assert "longer than the limit of 2 s" in refusal(worker, "sleep", seconds=60)
    assert time.monotonic() - start < 20


@pytest.mark.slow
def test_sandbox_limits_cpu_time(confined: Start) -> None:
    with confined(limits=ResourceLimits(cpu_seconds=3)) as worker:
        assert "killed by SIGKILL; the memory or CPU limit" in refusal(worker, "spin")


def test_sandbox_names_the_signal_when_the_parser_crashes(confined: Start) -> None:
    with confined() as worker:
        assert "net.bin: the process that read it was killed by SIGSEGV" in refusal(worker, "crash")


def test_sandbox_reports_a_worker_that_leaves(confined: Start) -> None:
    with confined() as worker:
        assert "ended unexpectedly" in refusal(worker, "leave", code=0)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 64,
        struct.pack(">Q", 2) + b"{}",
        struct.pack(">Q", 4) + b"null",
        struct.pack(">Q", 30) + b'{"value":1,"blobs":[-5]}      ',
    ],
)
def test_sandbox_refuses_what_is_not_a_frame(confined: Start, content: bytes) -> None:
    with confined() as worker:
        assert "ended unexpectedly" in refusal(worker, "forge", content=content)


def test_sandbox_raises_the_functions_own_errors(confined: Start) -> None:
    with confined() as worker:
        with pytest.raises(DataError) as caught:
            worker.call("attacks:refuse")
        assert [problem.what for problem in caught.value.problems] == ["one", "two"]
        assert "KeyError: 'lost'" in refusal(worker, "fail")


def test_sandbox_streams_items(confined: Start) -> None:
    with confined() as worker:
        assert list(worker.stream("attacks:count", most=4)) == [0, 1, 2, 3]
        assert worker.call("attacks:echo", value=[1, "é", None, b"\0"]) == [1, "é", None, b"\0"]


def test_sandbox_stops_without_waiting(confined: Start) -> None:
    start = time.monotonic()
    with confined() as worker:
        assert worker.call("attacks:echo", value=1) == 1
    assert time.monotonic() - start < 20


def test_sandbox_refuses_to_run_unconfined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "Layers", lambda **_: Layers(namespaces=False, landlock=0, seccomp=True))
    with pytest.raises(MachineError, match="cannot confine"), Sandbox():
        pass
    monkeypatch.setenv(sandbox.UNCONFINED, "1")
    with Sandbox():
        pass


def test_confinement_names_the_layers() -> None:
    assert sandbox.confinement().sufficient
    assert str(Layers(namespaces=True, landlock=7, seccomp=True)) == (
        "namespaces, Landlock (ABI 7), seccomp, resource limits"
    )


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(PLAIN)
@settings(deadline=None)
def test_wire_gives_back_what_was_sent(value: object) -> None:
    one, other = socket.socketpair()
    with one, other:
        wire.send(one, value)
        assert wire.receive(other) == value


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_wire_refuses_whatever_is_not_a_frame(content: bytes) -> None:
    one, other = socket.socketpair()
    with other:
        with one:
            one.sendall(struct.pack(">Q", len(content)) + content)
        with pytest.raises(wire.WireError):
            wire.receive(other)


def test_wire_passes_arrays() -> None:
    one, other = socket.socketpair()
    with one, other:
        for array in (np.arange(6, dtype="<i2").reshape(2, 3), np.zeros((0, 3), np.float32), np.array(True)):
            wire.send(one, {"array": array})
            back = wire.receive(other)["array"]
            assert back.dtype == array.dtype
            assert np.array_equal(back, array)
        with pytest.raises(TypeError):
            wire.send(one, object())
