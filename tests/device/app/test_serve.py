"""The whole app, as a process: what systemd, a deployment and a client see of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from .conftest import REPOSITORY, TOKEN, App, Serve

LIGHT = bytes(cv2.imencode(".jpg", np.full((60, 80, 3), 240, np.uint8))[1])


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (actual := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return actual


def test_serve_answers_and_ends_cleanly_when_asked_to(serve: Serve, root: Path) -> None:
    app = serve(root / "current", "--fps", "60")
    until(lambda: app.ask("/ready").status == 200)
    until(lambda: app.ask("/v1/state").json["fps"] > 0)
    state = app.ask("/v1/state").json
    assert (state["release"], state["name"]) == ("a" * 64, "tiny-softmax-top-fp32")
    assert state["latest"]["ranking"][0]["label"] in {"dark", "light"}
    code, answer, log = app.end()
    assert (code, answer["ok"]) == (0, True)
    assert answer["frames"]["answered"] > 0
    assert log == "camera test pattern: frames come\n"


def test_predict_says_what_is_on_an_image(serve: Serve, root: Path) -> None:
    app = serve(root / "current", "--source", "none")
    answer = app.ask("/v1/predict", "POST", LIGHT, Content_Type="image/jpeg")
    assert (answer.status, answer.json["ranking"][0]["label"]) == (200, "light")
    assert answer.json["ranking"][0]["probability"] > 0.9
    png = bytes(cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1])
    assert app.ask("/v1/predict", "POST", png, Content_Type="image/png").json["ranking"][0]["label"] == "dark"
    assert app.ask("/v1/state").json["camera"] is None


def test_predict_reads_images_behind_everything_else(serve: Serve, root: Path) -> None:
    app = serve(root / "current", "--source", "none")
    assert app.ask("/v1/predict", "POST", LIGHT, Content_Type="image/jpeg").status == 200
    threads = Path(f"/proc/{app.process.pid}/task").iterdir()
    nice = [os.getpriority(os.PRIO_PROCESS, int(thread.name)) for thread in threads]
    assert 1 <= nice.count(19) <= 2
    assert nice.count(os.getpriority(os.PRIO_PROCESS, app.process.pid)) == len(nice) - nice.count(19)


@pytest.mark.parametrize(
    ("body", "kind", "status", "what"),
    [
        (LIGHT[:-20], "image/jpeg", 422, "truncated JPEG"),
        (b"", "image/jpeg", 422, "empty file"),
        (b"no image", "application/octet-stream", 422, "not an image"),
        (LIGHT, "text/plain", 415, "text/plain is not an image"),
        (bytes(cv2.imencode(".png", np.zeros((8000, 8000), np.uint8))[1]), "image/png", 413, "more than the limit"),
    ],
)
def test_predict_refuses_what_is_no_image(
    serve: Serve, root: Path, body: bytes, kind: str, status: int, what: str
) -> None:
    answer = serve(root / "current", "--source", "none").ask("/v1/predict", "POST", body, Content_Type=kind)
    assert (answer.status, what in answer.json["error"]["what"]) == (status, True), answer


def test_predict_is_limited_in_size_and_rate(serve: Serve, root: Path) -> None:
    app = serve(root / "current", "--source", "none", "--predictions", "0.001")
    assert app.ask("/v1/predict", "POST", b"x" * 12_000_001, Content_Type="image/jpeg").status == 413
    codes = [app.ask("/v1/predict", "POST", LIGHT, Content_Type="image/jpeg") for _ in range(5)]
    assert [answer.status for answer in codes] == [200, 200, 200, 200, 429], "what is too large takes none of them"
    assert int(codes[-1].headers["retry-after"]) > 0


def test_stream_shows_what_the_camera_gave(serve: Serve, root: Path) -> None:
    app = serve(root / "current")
    with socket.create_connection(("127.0.0.1", app.port), 20) as connection:
        connection.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while answer.count(b"\xff\xd9\r\n--toolkit-frame\r\n") < 3:
            answer += connection.recv(65536)
    head, _, parts = answer.partition(b"\r\n\r\n")
    assert b"Content-Type: multipart/x-mixed-replace; boundary=toolkit-frame" in head
    first = re.search(rb"Content-Length: (\d+)\r\n\r\n(\xff\xd8.*)", parts, re.DOTALL)
    jpeg = first.group(2)[: int(first.group(1))]
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (480, 640, 3)


def test_events_tell_the_state(serve: Serve, root: Path) -> None:
    app = serve(root / "current")
    with socket.create_connection(("127.0.0.1", app.port), 20) as connection, connection.makefile("rb") as lines:
        connection.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        event = next(line for line in lines if line.startswith(b"data: "))
    assert json.loads(event[6:])["release"] == "a" * 64


@pytest.mark.slow
def test_model_is_switched_by_hand_and_set_back_by_a_reload(serve: Serve, root: Path) -> None:
    app = serve(root / "current")
    models = app.ask("/v1/models").json["models"]
    assert [(model["release"][0], model["active"]) for model in models] == [("a", True), ("b", False)]

    def switch(release: str) -> int:
        content = json.dumps({"release": release}).encode()
        return app.ask("/v1/model", "POST", content, Content_Type="application/json").status

    assert switch("b" * 64) == 200
    until(lambda: (app.ask("/v1/state").json["latest"] or {}).get("release") == "b" * 64)
    assert switch("c" * 64) == 404
    assert switch("../releases/" + "a" * 64) == 404
    app.process.send_signal(signal.SIGHUP)
    until(lambda: app.ask("/v1/state").json["release"] == "a" * 64)
    assert app.end()[0] == 0


@pytest.mark.slow
def test_new_release_loses_less_than_a_second_of_frames(serve: Serve, root: Path) -> None:
    fps = 50
    app = serve(root / "current", "--fps", fps)
    for name in ("b", "a") * 3:
        (root / "new").symlink_to("releases/" + name * 64)
        (root / "new").rename(root / "current")
        until(lambda name=name: app.ask("/v1/state").json["release"] == name * 64)
    _, answer, log = app.end()
    assert log.count("is now in use") == 6
    lost = answer["frames"]["captured"] - answer["frames"]["answered"]
    assert lost < 6 * fps
    assert answer["frames"]["failed"] == 0


@pytest.mark.slow
def test_old_release_works_on_when_the_new_one_is_broken(serve: Serve, root: Path) -> None:
    app = serve(root / "current")
    (root / "releases" / ("b" * 64) / "model.bin").unlink()
    (root / "new").symlink_to("releases/" + "b" * 64)
    (root / "new").rename(root / "current")
    notes = until(lambda: [note for note in app.ask("/v1/state").json["notes"] if "cannot be used" in note])
    assert "the old one stays in use" in notes[0]
    until(lambda: app.ask("/ready").status == 200)


@pytest.mark.slow
def test_systemd_is_told_of_everything(serve: Serve, root: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        app = serve(root / "current", environment=environment)
        received = [systemd.recv(4096).decode().splitlines() for _ in range(5)]
        assert received[0] == ["STATUS=loading the model"]
        assert received[1] == ["READY=1", f"STATUS={app.url}"]
        assert received[2:] == [["WATCHDOG=1"]] * 3
        assert app.end()[0] == 0
        while (last := systemd.recv(4096)) == b"WATCHDOG=1":
            pass
        assert last == b"STOPPING=1"


def test_state_file_is_written_and_gone_at_the_end(serve: Serve, root: Path, tmp_path: Path) -> None:
    app = serve(root / "current", "--state-file", tmp_path / "state.json")
    until((tmp_path / "state.json").exists)
    assert json.loads((tmp_path / "state.json").read_text())["pid"] == app.process.pid
    app.end()
    assert not (tmp_path / "state.json").exists()


def test_metrics_read_as_prometheus_has_it(serve: Serve, root: Path) -> None:
    app = serve(root / "current")
    until(lambda: app.ask("/v1/state").json["frames"]["answered"] > 3)
    answer = app.ask("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    sample = re.compile(r'[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.e+-]+')
    assert 'toolkit_app_latency_seconds_bucket{le="+Inf"}' in answer.body.decode()
    assert [line for line in lines if not line.startswith("# ") and not sample.fullmatch(line)] == []
    counted = next(line for line in lines if line.startswith('toolkit_app_frames_total{result="answered"}'))
    assert float(counted.split()[-1]) > 3


def test_page_is_for_loopback_and_same_site_when_without_token(serve: Serve, root: Path) -> None:
    app = serve(root / "current", "--source", "none")
    assert app.ask("/", host="localhost:8080").status == 200
    assert app.ask("/", host="camera.evil.example").status == 421
    assert app.ask("/v1/state", Sec_Fetch_Site="cross-site").status == 403
    assert app.ask("/v1/model", "POST", b"{}", Origin="http://evil.example").status == 403
    answer = app.ask("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_token_opens_what_a_login_opens_too(serve: Serve, root: Path, token_file: Path) -> None:
    app = serve(root / "current", "--token-file", token_file, "--source", "none")
    assert {path: app.ask(path).status for path in ("/health", "/ready", "/")} == {
        "/health": 200,
        "/ready": 200,
        "/": 200,
    }
    closed = ("/v1/state", "/stream", "/v1/events", "/v1/models", "/metrics", "/openapi.json")
    assert {app.ask(path).status for path in closed} == {401}
    assert b'type="password"' in app.ask("/").body
    assert app.ask("/v1/state", Authorization=f"Bearer {TOKEN}").status == 200
    assert app.ask("/v1/state", Authorization="Bearer wrong").status == 401
    cookie = login(app, TOKEN).headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    session = cookie.partition(";")[0]
    assert app.ask("/v1/state", Cookie=session).status == 200
    assert app.ask("/v1/state", Cookie=session[:-1] + "x").status == 401
    assert b"Classification" in app.ask("/", Cookie=session).body


def login(app: App, token: str) -> Any:
    kind = "application/x-www-form-urlencoded"
    return app.ask("/login", "POST", f"token={token}".encode(), Content_Type=kind)


def test_login_is_tried_a_few_times_only(serve: Serve, root: Path, token_file: Path) -> None:
    app = serve(root / "current", "--token-file", token_file, "--source", "none")
    assert [login(app, "wrong").status for _ in range(6)] == [401] * 5 + [429]
    _, _, log = app.end()
    assert TOKEN not in log


def test_tls_is_spoken_when_a_certificate_is_given(serve: Serve, root: Path, tmp_path: Path) -> None:
    import ssl

    pem = tmp_path / "both.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        pem,
        "-out",
        tmp_path / "c.pem",
    ]
    subprocess.run(argv, check=True, capture_output=True)
    app = serve(root / "current", "--source", "none", "--certificate", tmp_path / "c.pem", "--key", pem)
    context = ssl.create_default_context(cafile=str(tmp_path / "c.pem"))
    with (
        socket.create_connection(("127.0.0.1", app.port), 20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK")
    assert app.url.startswith("https://")


@pytest.mark.parametrize(
    ("argv", "code", "what"),
    [
        (["--host", "0.0.0.0"], 1, "without a token, the app answers on loopback only"),
        (["--source", "/no/such/camera.mp4"], 1, "neither a camera nor a file"),
        (["--token-file", "/etc/passwd"], 1, "everyone can read the token file"),
        (["--alerts", "/no/such/file.json"], 1, "cannot be read"),
        (["--certificate", "/no/such/file.pem"], 4, "cannot be used"),
        (["--host", "192.0.2.1", "--token-file", "TOKEN"], 4, "cannot listen there"),
    ],
)
def test_serve_says_what_cannot_be_used(root: Path, token_file: Path, argv: list[str], code: int, what: str) -> None:
    options = [str(token_file) if word == "TOKEN" else word for word in argv]
    command = [sys.executable, "-B", "-m", "toolkit.device", "serve", str(root / "current"), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False, timeout=60)
    assert (done.returncode, what in json.loads(done.stdout)["error"]["what"]) == (code, True), done


def test_serve_ends_when_its_controller_is_gone(root: Path) -> None:
    command = [
        sys.executable,
        "-B",
        "-m",
        "toolkit.device",
        "serve",
        str(root / "current"),
        "--port",
        "0",
        "--stop-on-eof",
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=REPOSITORY) as process:
        assert json.loads(process.stdout.readline())["ok"]
        last_words, log = process.communicate(timeout=60)  # which closes stdin
    assert process.returncode == 0, log
    assert json.loads(last_words)["ok"]


def test_camera_that_is_lost_leaves_the_app_alive_and_not_ready(serve: Serve, root: Path) -> None:
    app = serve(root / "current", "--source", "/dev/video99")
    assert (app.ask("/health").status, app.ask("/ready").status) == (200, 503)
    assert app.ask("/v1/state").json["problem"] == "no camera: is not there"


def test_app_says_unknown_with_the_best_guess_beside_it(serve: Serve, root: Path) -> None:
    path = root / "current" / "manifest.json"
    rule = {"score": "probability", "temperature": 1.0, "threshold": 1.0, "error": 0.02}
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"rejection": rule}))
    app = serve(root / "current", "--fps", "60")
    answer = app.ask("/v1/predict", "POST", LIGHT, Content_Type="image/jpeg").json
    assert (answer["unknown"], answer["ranking"][0]["label"]) == (True, "light")
    assert until(lambda: app.ask("/v1/state").json["latest"])["unknown"] is True


def frames_in(app: App, seconds: float) -> int:
    """How many frames of the stream one reader gets in that time."""
    with socket.create_connection(("127.0.0.1", app.port), 20) as connection:
        connection.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        end, frames, last = time.monotonic() + seconds, 0, b""
        while time.monotonic() < end:
            content = connection.recv(65536)
            frames += (last + content).count(b"--toolkit-frame\r\n")
            last = content[-16:]
    return frames


@pytest.mark.slow
def test_stalled_readers_of_the_stream_cost_a_good_one_nothing(serve: Serve, root: Path) -> None:
    app = serve(root / "current", "--fps", "10")
    until(lambda: app.ask("/v1/state").json["frames"]["answered"] > 3)
    alone = frames_in(app, 4)
    assert alone > 10
    with contextlib.ExitStack() as stack:
        for number in range(30):
            stalled = socket.socket()
            stalled.bind((f"127.0.0.{2 + number}", 0))
            stalled.connect(("127.0.0.1", app.port))
            stack.enter_context(stalled)
            stalled.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(6)  # until what the kernel holds for them is full
        beside = frames_in(app, 4)
    assert beside >= 0.7 * alone
    assert app.end()[0] == 0
