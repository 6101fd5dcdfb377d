"""The live app and other programs that speak its protocols: a real MQTT broker, Prometheus' own check, NVIDIA's client."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from .conftest import App, Serve
from .test_serve import until

pytestmark = pytest.mark.interop

TRITON = Path(__file__).parents[3] / ".venv-interop/bin/python"
"""The interpreter with NVIDIA's client: `scripts/setup.sh interop`."""
USER, PASSWORD = "door", "a password of this test"
ASK = """
import json, sys
import numpy as np
import tritonclient.http as triton

client = triton.InferenceServerClient(sys.argv[1])
name = sys.argv[2]
metadata = client.get_model_metadata(name)
image = np.load(sys.argv[3])
pixels = triton.InferInput("image", list(image.shape), "UINT8")
pixels.set_data_from_numpy(image, binary_data=sys.argv[4] == "binary")
outputs = [triton.InferRequestedOutput(one["name"], binary_data=True) for one in metadata["outputs"]]
answer = client.infer(name, [pixels], outputs=outputs)
shares = answer.as_numpy(metadata["outputs"][0]["name"]).ravel().tolist()
ready = [client.is_server_live(), client.is_server_ready(), client.is_model_ready(name)]
print(json.dumps({"ready": ready, "labels": metadata["parameters"]["labels"], "shares": shares, "inputs": metadata["inputs"]}))
"""


class Broker:
    """A mosquitto that asks for a password over TLS, and can be stopped and started again on the same port."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        _certificates(folder)
        passwords = folder / "passwords"
        subprocess.run(["mosquitto_passwd", "-c", "-b", passwords, USER, PASSWORD], check=True)
        passwords.chmod(0o644)
        lines = {
            "listener": f"{self.port} 127.0.0.1",
            "cafile": folder / "ca.pem",
            "certfile": folder / "broker.pem",
            "keyfile": folder / "broker.key",
            "password_file": passwords,
            "allow_anonymous": "false",
            "user": "root",
            "log_type": "all",
            "log_dest": f"file {folder / 'broker.log'}",
        }
        rows = [*(f"{key} {value}" for key, value in lines.items()), *settings]
        (folder / "mosquitto.conf").write_text("\n".join(rows) + "\n")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        command = [shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", self._folder / "mosquitto.conf"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._accepts)

    def stop(self) -> None:
        """End it; its clients lose their connections."""
        self._process.terminate()
        self._process.wait(60)

    @property
    def log(self) -> str:
        """All that it logged."""
        return (self._folder / "broker.log").read_text()

    def sink(self, **changes: Any) -> dict[str, Any]:
        """The table of an alert file that leads to it."""
        secret = self._folder / "password"
        secret.write_text(changes.pop("password", PASSWORD))
        usual = {"host": "localhost", "port": self.port, "topic": "door/alerts", "user": USER, "tls": True}
        return usual | {"password_file": str(secret), "ca_file": str(self._folder / "ca.pem")} | changes

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def _certificates(folder: Path) -> None:
    """A private authority, and by it a certificate each for the broker and for a client."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    request = ["openssl", "req", "-x509", *key, "-days", "2"]
    authority = ["-subj", "/CN=a private authority", "-keyout", "ca.key", "-out", "ca.pem"]
    subprocess.run([*request, *authority], check=True, capture_output=True, cwd=folder)
    broker = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-CA", "ca.pem", "-CAkey", "ca.key"]
    for name in ("broker", "client"):
        ends = ["-addext", "basicConstraints=critical,CA:false", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run([*request, *broker, *ends], check=True, capture_output=True, cwd=folder)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    running = Broker(folder)
    yield running
    running.stop()


class Messages:
    """What a subscriber of the broker hears."""

    def __init__(self, folder: Path, port: int) -> None:
        self._out = (folder / "heard").open("w+")
        arguments = ["mosquitto_sub", "-h", "localhost", "-p", str(port), "--cafile", folder / "ca.pem", "-u", USER]
        command = [*arguments, "-P", PASSWORD, "-i", "listener", "-t", "door/#", "-F", "%r %t %p"]
        self._process = subprocess.Popen(command, stdout=self._out)

    def lines(self) -> list[str]:
        self._out.seek(0)
        return self._out.read().splitlines()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(60)
        self._out.close()


@pytest.fixture
def messages(broker: Broker, tmp_path: Path) -> Iterator[Messages]:
    listening = Messages(tmp_path / "broker", broker.port)
    yield listening
    listening.close()


def with_alerts(folder: Path, sink: dict[str, Any]) -> Path:
    """An alert file whose rule fires on whatever the test pattern is taken for."""
    rules = [{"name": f"is {label}", "label": label, "frames": 1, "quiet_s": 1} for label in ("dark", "light")]
    file = folder / f"alerts-{len(list(folder.glob('alerts-*')))}.json"
    file.write_text(json.dumps({"alert": rules, "mqtt": sink}))
    return file


def problem_of(app: App) -> str | None:
    (sink,) = app.ask("/v1/state").json["alert_sinks"]
    return None if sink["problem"] is None else str(sink["problem"])


def test_four_apps_share_a_broker(serve: Serve, root: Path, tmp_path: Path, broker: Broker, messages: Messages) -> None:
    until(lambda: "listener" in broker.log)
    apps = []
    for number in range(4):
        file = with_alerts(tmp_path, broker.sink(topic=f"door/{number}"))
        apps.append(serve(root / "current", "--alerts", file))
    until(lambda: {line.split()[1] for line in messages.lines() if "is " in line} == {f"door/{n}" for n in range(4)})
    assert sum(" online" in line for line in messages.lines()) == 4
    assert "already connected" not in broker.log
    assert [problem_of(app) for app in apps] == [None] * 4
    apps[0].process.send_signal(signal.SIGKILL)
    until(lambda: "0 door/0/availability offline" in messages.lines())  # its last will
    assert apps[1].end()[0] == 0
    until(lambda: "0 door/1/availability offline" in messages.lines())


def test_app_returns_to_a_broker_that_restarts(serve: Serve, root: Path, tmp_path: Path, broker: Broker) -> None:
    app = serve(root / "current", "--alerts", with_alerts(tmp_path, broker.sink()))
    until(lambda: broker.log.count("Received PUBLISH") > 1)
    broker.stop()
    assert "refused" in until(lambda: problem_of(app)).lower()
    broker.start()
    until(lambda: problem_of(app) is None)
    assert app.end()[0] == 0


def retained(folder: Path, port: int, *login: str) -> dict[str, bytes]:
    """What the broker hands a subscriber who comes now: contents by topic."""
    arguments = ["mosquitto_sub", "-h", "localhost", "-p", str(port), "--cafile", folder / "ca.pem", "-u", USER, *login]
    command = [*arguments, "-P", PASSWORD, "-t", "#", "--retained-only", "-W", "2", "-F", "%t %x"]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.splitlines()
    return {topic: bytes.fromhex(content) for topic, _, content in (line.partition(" ") for line in lines)}


def test_home_assistant_finds_the_device_with_its_image(
    serve: Serve, root: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Broker(folder, "require_certificate true")
    request.addfinalizer(broker.stop)
    own = [str(folder / "client.pem"), str(folder / "client.key")]
    sink = broker.sink(discovery="homeassistant", certificate=own[0], key=own[1])
    app = serve(root / "current", "--alerts", with_alerts(tmp_path, sink))
    until(lambda: "'door/alerts/image'" in broker.log and broker.log.count("'door/alerts/state'") > 1)
    published = retained(folder, broker.port, "--cert", own[0], "--key", own[1])
    assert problem_of(app) is None
    assert app.ask("/health").json["alert_sinks"] == [{"kind": "mqtt", "ok": True}]
    assert cv2.imdecode(np.frombuffer(published["door/alerts/image"], np.uint8), cv2.IMREAD_COLOR) is not None
    assert json.loads(published["door/alerts/state"])["label"] in {"dark", "light"}
    entities = {topic: json.loads(content) for topic, content in published.items() if topic.endswith("/config")}
    assert {topic.split("/")[1] for topic in entities} == {"sensor", "image"}
    for entity in entities.values():
        assert published[entity["availability_topic"]] == b"online"
        assert entity.get("state_topic", entity.get("image_topic")) in published
    assert app.end()[0] == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"password": "wrong"}, "not authorized"),
        ({"ca_file": None}, "certificate"),
        ({"tls": False, "ca_file": None}, ""),
    ],
)
def test_app_shows_why_the_broker_is_of_no_use(
    serve: Serve, root: Path, tmp_path: Path, broker: Broker, changes: dict[str, Any], reason: str
) -> None:
    sink = {name: value for name, value in broker.sink(**changes).items() if value is not None}
    app = serve(root / "current", "--alerts", with_alerts(tmp_path, sink))
    assert reason in until(lambda: problem_of(app))
    health = app.ask("/health")
    assert (health.status, health.json["alert_sinks"]) == (200, [{"kind": "mqtt", "ok": False}])


def test_mqtt_5_says_why_a_message_is_refused(
    serve: Serve, root: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    access = folder / "access"
    access.write_text(f"user {USER}\ntopic write door/alerts/availability\n")
    access.chmod(0o644)
    broker = Broker(folder, f"acl_file {access}")
    request.addfinalizer(broker.stop)
    app = serve(root / "current", "--alerts", with_alerts(tmp_path, broker.sink(version="5")))
    assert "refuses the message: this client is not authorized" in until(lambda: problem_of(app))
    assert "(p5," in broker.log
    access.write_text(f"user {USER}\ntopic write #\n")
    broker.stop()
    broker.start()
    until(lambda: problem_of(app) is None and "'door/alerts'" in broker.log)
    assert app.end()[0] == 0


def promtool(metrics: bytes) -> tuple[int, str]:
    """What Prometheus' own check says of the text."""
    result = subprocess.run(["promtool", "check", "metrics"], input=metrics, capture_output=True, check=False)
    return result.returncode, (result.stdout + result.stderr).decode()


def test_metrics_pass_the_check_of_prometheus(serve: Serve, root: Path) -> None:
    app = serve(root / "current")
    until(lambda: app.ask("/v1/state").json["frames"]["answered"] > 3)
    metrics = app.ask("/metrics").body
    assert b"latency_seconds_bucket" in metrics
    assert promtool(metrics) == (0, "")
    assert promtool(b"# TYPE a counter\na 1\n")[0] != 0  # it does check


@pytest.mark.parametrize("coding", ["binary", "numbers"])
def test_client_of_nvidia_gets_the_answers_of_the_api(serve: Serve, root: Path, tmp_path: Path, coding: str) -> None:
    app = serve(root / "current", "--source", "none")
    name = app.ask("/v1/state").json["name"]
    metadata = app.ask(f"/v2/models/{name}").json
    (image_of,) = [one for one in metadata["inputs"] if one["datatype"] == "UINT8"]
    height, width = image_of["shape"][1:3] if len(image_of["shape"]) == 4 else image_of["shape"][:2]
    image = np.full((1, max(height, 1), max(width, 1), 3), 240, np.uint8)
    np.save(tmp_path / "image.npy", image)
    arguments = [TRITON, "-c", ASK, f"127.0.0.1:{app.port}", name, tmp_path / "image.npy", coding]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["ready"] == [True] * 3
    png = bytes(cv2.imencode(".png", image[0])[1])
    own = app.ask("/v1/predict", "POST", png, Content_Type="image/png").json["ranking"]
    shares = dict(zip(answer["labels"], answer["shares"], strict=True))
    assert shares == pytest.approx({one["label"]: one["probability"] for one in own}, abs=1e-6)
