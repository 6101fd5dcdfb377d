from __future__ import annotations

import dataclasses
import json
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.device.app.alerts import mqtt, rules
from toolkit.device.app.alerts.alert_file import AlertConfig, read_alerts
from toolkit.device.app.alerts.rules import UNKNOWN, AlertDispatcher, AlertRule
from toolkit.device.app.alerts.sinks import MqttSink, WebhookSink
from toolkit.device.app.pipeline.messages import Classification, Frame
from toolkit.device.errors import DeviceError


class FakeBroker(threading.Thread):
    """As much of a broker as a publisher meets; `refuses` is the code of its CONNACK, or `greeting` its body."""

    def __init__(self, refuses: int = 0) -> None:
        super().__init__(daemon=True)
        self.received: Queue[tuple[int, bytes]] = Queue()
        self._refuses = refuses
        self.greeting = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.start()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        try:
            while True:
                kind, body = mqtt.receive(connection)
                self.received.put((kind, body))
                if kind == mqtt.CONNECT:
                    connection.sendall(mqtt.packet(mqtt.CONNACK, self.greeting or bytes((0, self._refuses))))
                elif kind & 0xF6 == mqtt.PUBLISH | 2:
                    (length,) = struct.unpack_from(">H", body)
                    connection.sendall(mqtt.packet(mqtt.PUBACK, body[2 + length : 4 + length]))
        except OSError:
            pass

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    running = FakeBroker()
    yield running
    running.close()


@pytest.mark.parametrize("qos", [0, 1])
def test_publish_sends_what_the_standard_requires(broker: FakeBroker, qos: int) -> None:
    session = mqtt.BrokerConnection(mqtt.Broker("127.0.0.1", broker.port, "cam", "user", "secret"))
    session.publish("door/alerts", b"hello", qos)
    session.close()
    kind, body = broker.received.get(timeout=60)
    assert (kind, body) == (0x10, b"\0\4MQTT\4\xc2\0\x3c\0\3cam\0\4user\0\6secret")
    kind, body = broker.received.get(timeout=60)
    assert kind == 0x30 | qos << 1
    assert body == b"\0\x0bdoor/alerts" + (b"\0\1" if qos else b"") + b"hello"
    assert broker.received.get(timeout=60) == (0xE0, b"")


def test_session_has_a_last_will_and_states_that_it_is_online(broker: FakeBroker) -> None:
    session = mqtt.BrokerConnection(mqtt.Broker("127.0.0.1", broker.port, "cam", availability="door/available"))
    session.keep_alive()
    session.close()
    kind, body = broker.received.get(timeout=60)
    assert (kind, body) == (0x10, b"\0\4MQTT\4\x26\0\x3c\0\3cam\0\x0edoor/available\0\7offline")
    assert broker.received.get(timeout=60) == (0x31, b"\0\x0edoor/availableonline")
    assert broker.received.get(timeout=60) == (0x31, b"\0\x0edoor/availableoffline")
    assert broker.received.get(timeout=60) == (0xE0, b"")


def test_mqtt_5_packets_have_properties(broker: FakeBroker) -> None:
    broker.greeting = b"\0\0\x03\x13\0\x0a"  # a keep-alive of ten seconds
    address = mqtt.Broker("127.0.0.1", broker.port, "cam", availability="door/available", version="5")
    session = mqtt.BrokerConnection(address)
    session.publish("a", b"1", 1)
    assert session._keep_alive_s == 10
    kind, body = broker.received.get(timeout=60)
    assert (kind, body) == (0x10, b"\0\4MQTT\5\x26\0\x3c\0\0\3cam\0\0\x0edoor/available\0\7offline")
    assert broker.received.get(timeout=60) == (0x31, b"\0\x0edoor/available\0online")
    assert broker.received.get(timeout=60) == (0x32, b"\0\1a\0\1\0" + b"1")
    session.close()


@pytest.mark.parametrize(
    ("content", "known"),
    [
        (b"\0", {}),
        (b"\x05\x13\0\x1e\x24\1", {0x13: b"\0\x1e", 0x24: b"\1"}),
        (b"\x07\x1f\0\4full", {0x1F: b"full"}),
        (b"\x0b\x26\0\1k\0\2vv\x21\0\1", {0x26: b"vv", 0x21: b"\0\1"}),
    ],
)
def test_properties_are_read(content: bytes, known: dict[int, bytes]) -> None:
    assert mqtt.properties(content) == known


@pytest.mark.parametrize(
    "content", [b"", b"\x01", b"\x02\x13\0", b"\x01\x7f", b"\x05\x1f\0\x09ab", b"\xff\xff\xff\xff\xff"]
)
def test_properties_that_are_none_are_refused(content: bytes) -> None:
    with pytest.raises(OSError):
        mqtt.properties(content)


def test_session_reconnects_after_a_loss(broker: FakeBroker) -> None:
    session = mqtt.BrokerConnection(mqtt.Broker("127.0.0.1", broker.port))
    session.publish("a", b"1", 1)
    session._connection.shutdown(socket.SHUT_RDWR)
    with pytest.raises(OSError):
        session.publish("a", b"2", 1)
    session.publish("a", b"2", 1)
    session.close()


def test_each_app_has_a_client_id_of_its_own() -> None:
    assert len({mqtt.own_client_id() for _ in range(4)}) == 4
    assert len(mqtt.own_client_id()) <= 23


def test_publish_says_why_when_the_broker_refuses() -> None:
    refusing = FakeBroker(refuses=4)
    with pytest.raises(OSError, match="user or password is wrong"):
        mqtt.BrokerConnection(mqtt.Broker("127.0.0.1", refusing.port)).publish("a", b"")
    refusing.close()


@pytest.mark.parametrize(("topic", "qos"), [("a/#", 0), ("+", 1), ("", 0), ("a", 2)])
def test_publish_refuses_what_cannot_be_published_to(topic: str, qos: int) -> None:
    with pytest.raises(ValueError, match="cannot publish"):
        mqtt.BrokerConnection(mqtt.Broker("127.0.0.1", 9)).publish(topic, b"", qos)


@given(st.integers(0, 300_000))
def test_packet_is_received_as_it_was_sent(length: int) -> None:
    class Wire:
        def __init__(self, content: bytes) -> None:
            self.left = content

        def recv(self, count: int) -> bytes:
            piece, self.left = self.left[:count], self.left[count:]
            return piece

    assert mqtt.receive(Wire(mqtt.packet(0x30, b"x" * length)), 300_000) == (0x30, b"x" * length)


def result_of(light: float, number: int = 1) -> Classification:
    ranking = [("light", light), ("dark", 1 - light)]
    return Classification(Frame(number, 0), ranking, None, "a" * 64, 1.0)


class MemorySink:
    """An output that keeps what it is sent, and fails as often as it is told to."""

    name = "kept"

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.sent = failures, Queue[dict[str, Any]]()
        self.reports = Queue[dict[str, Any]]()

    def send(self, content: bytes, jpeg: bytes | None = None) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("nobody there")
        self.sent.put(json.loads(content))

    def report(self, state: dict[str, Any]) -> None:
        self.reports.put(state)

    def keep_alive(self) -> None:
        """It has no connection."""

    def close(self) -> None:
        """It has no connection."""


def started(output: MemorySink, messages: list[str], clock: list[float]) -> AlertDispatcher:
    rule = AlertRule("bright", "light", above=0.8, frames=3, quiet_s=60)
    running = AlertDispatcher(AlertConfig((rule,), (output,)), messages.append, clock=lambda: clock[0])
    running.start()
    return running


def test_alert_is_sent_once_per_pause_when_a_class_was_held() -> None:
    output, clock = MemorySink(), [100.0]
    running = started(output, [], clock)
    for light in (0.9, 0.9, 0.1, 0.9, 0.9, 0.95, 0.9, 0.9, 0.9):
        running.see(result_of(light))
    first = output.sent.get(timeout=60)
    assert first["at"].endswith("+00:00")
    assert {key: first[key] for key in ("alert", "label", "probability", "frames")} == {
        "alert": "bright",
        "label": "light",
        "probability": 0.95,
        "frames": 3,
    }
    clock[0] = 161.0
    running.see(result_of(0.9))
    assert output.sent.get(timeout=60)["probability"] == 0.9
    assert running.end(10)
    assert output.sent.empty()


def test_alert_is_tried_again_and_then_given_up_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "PAUSE_S", 0.001)
    messages: list[str] = []
    for failures in (2, 99):
        output = MemorySink(failures)
        running = started(output, messages, [0.0])
        for _ in range(3):
            running.see(result_of(0.9))
        if failures == 2:
            output.sent.get(timeout=60)
        else:
            while not messages:
                running.join(0.01)
        assert running.end(10)
    assert messages == ["alert bright did not reach kept: nobody there"]


def test_webhook_is_posted_json_with_its_token(tmp_path: Path) -> None:
    received: Queue[tuple[str | None, bytes]] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put((self.headers["Authorization"], self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *argv: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.handle_request, daemon=True).start()
    (tmp_path / "token").write_text("secret\n")
    WebhookSink(f"http://127.0.0.1:{server.server_port}/x?key=1", str(tmp_path / "token")).send(b'{"a": 1}')
    assert received.get(timeout=60) == ("Bearer secret", b'{"a": 1}')
    server.server_close()
    with pytest.raises(ValueError, match="not an http or https address"):
        WebhookSink("file:///etc/passwd").send(b"")


@pytest.mark.slow
def test_webhook_follows_no_redirect_and_names_no_secret() -> None:
    """The address may be a password: by its user, its path or its query."""
    asked: Queue[str] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.put(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(307)
            self.send_header("Location", f"http://127.0.0.1:{server.server_port}/thief")
            self.end_headers()

        def log_message(self, *argv: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/hooks/secret?key=secret"
    messages: list[str] = []
    try:
        running = started(WebhookSink(url), messages, [0.0])
        for _ in range(3):
            running.see(result_of(0.9))
        while not messages:
            running.join(0.01)
        assert running.end(10)
    finally:
        server.shutdown()
        server.server_close()
    reason = "redirects, which is not followed"
    assert messages == [f"alert bright did not reach http://127.0.0.1:{server.server_port}: {reason}"]
    assert {asked.get(timeout=60) for _ in range(max(1, asked.qsize()))} == {"/hooks/secret?key=secret"}
    for url in ("https://u:secret@h.example/x", "https://u:secret@h.example", "https://h.example/secret#secret"):
        assert WebhookSink(url).name == "https://h.example"
        assert "secret" not in " ".join(WebhookSink(url).problems())


LABELS = ("with_mask", "without_mask")
WHOLE: dict[str, Any] = {
    "alert": [{"name": "no mask", "label": "without_mask", "above": 0.8, "frames": 15}],
    "mqtt": {"host": "broker.example", "topic": "door/alerts"},
}


def test_read_alerts_reads_json_and_toml(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(WHOLE))
    (tmp_path / "a.toml").write_text(
        '[[alert]]\nname = "no mask"\nlabel = "without_mask"\nabove = 0.8\nframes = 15\n'
        '[mqtt]\nhost = "broker.example"\ntopic = "door/alerts"\n'
    )
    expected = AlertConfig(
        (AlertRule("no mask", "without_mask", 0.8, 15),), (MqttSink("broker.example", "door/alerts"),)
    )
    assert read_alerts(tmp_path / "a.json", LABELS) == read_alerts(tmp_path / "a.toml", LABELS) == expected
    assert read_alerts(None, LABELS) == AlertConfig()


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        (
            {"mqtt": {"host": 1, "topc": "x"}},
            ["mqtt.topc: is not known", "mqtt.host: should be str", "mqtt.topic: is missing"],
        ),
        ({"alert": [{"name": "x", "frames": True}]}, ["alert 1.label: is missing", "alert 1.frames: should be int"]),
        ({"alert": {}}, ["alert: is not a list of tables"]),
        ({"alert": []}, ["alerts need a sink, such as mqtt or webhook, or recordings, and these need alerts"]),
        ({"smtp": {}}, ["smtp: is not known"]),
        (
            {"alert": [{"name": "x", "label": "mask", "above": 80, "frames": 0, "quiet_s": -1}]},
            [
                'alert 1.label: the model has no label "mask"; it has with_mask, without_mask',
                "alert 1.above: 80 is not a probability",
                "alert 1.frames: 0 is less than 1",
                "alert 1.quiet_s: -1 is not",
            ],
        ),
        (
            {"mqtt": {"host": "", "topic": "a/#", "qos": 7, "port": 0, "ca_file": "/nowhere"}},
            [
                "mqtt.host: is empty",
                "mqtt.topic: 'a/#'",
                "mqtt.qos: 7 is neither 0 nor 1",
                "mqtt.port: 0 is not",
                "mqtt.ca_file: needs tls = true",
                "mqtt.ca_file: /nowhere cannot be read",
            ],
        ),
        (
            {"mqtt": WHOLE["mqtt"] | {"discovery": "a/#", "image_topic": "+", "certificate": "/nowhere"}},
            [
                "mqtt.discovery: 'a/#'",
                "mqtt.image_topic: '+'",
                "mqtt.certificate: needs tls = true",
                "mqtt.certificate: needs key",
                "mqtt.certificate: /nowhere cannot be read",
            ],
        ),
        (
            {"alert": [{"name": "x", "label": "with_mask", "between": "7-19"}]},
            ["alert 1.between: '7-19' is not a period"],
        ),
        ({"webhook": {"url": "htp://x"}}, ["webhook.url: htp://x is not an http or https address"]),
        ({"alert": WHOLE["alert"] * 2}, ['alert: "no mask" is the name of several']),
        ({"webhook": 3}, ["webhook: is not a table", "webhook.url: is missing"]),
    ],
)
def test_read_alerts_names_everything_that_is_wrong(
    tmp_path: Path, changes: dict[str, Any], messages: list[str]
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(WHOLE | changes))
    with pytest.raises(DeviceError) as failed:
        read_alerts(tmp_path / "a.json", LABELS)
    assert [problem for problem in messages if problem not in failed.value.what] == []


def test_alert_on_unknown_fires_and_others_hold_back() -> None:
    output, messages, clock = MemorySink(), list[str](), [0.0]
    rules = (AlertRule("bright", "light", frames=1), AlertRule("strange", UNKNOWN, frames=1))
    running = AlertDispatcher(AlertConfig(rules, (output,)), messages.append, clock=lambda: clock[0])
    running.start()
    running.see(dataclasses.replace(result_of(0.99), unknown=True))
    assert output.sent.get(timeout=60)["alert"] == "strange"
    assert running.end(5)
    assert output.sent.empty()


@pytest.mark.parametrize(
    ("between", "counted", "other"),
    [("", "12:00", None), ("07:00-19:00", "07:00", "19:00"), ("22:00-06:00", "05:59", "06:00")],
)
def test_rule_counts_frames_of_its_period_alone(between: str, counted: str, other: str | None) -> None:
    rule = AlertRule("bright", "light", between=between)
    assert rule.counts_at(counted)
    assert other is None or not rule.counts_at(other)


def test_rule_reports_the_end_of_an_alert() -> None:
    state = rules.RuleState(AlertRule("bright", "light", above=0.5, frames=2, quiet_s=0, cleared=True))
    events = [state.see(probability, 0, "12:00") for probability in (0.9, 0.9, 0.1, 0.9, 0.1, 0.1, 0.1, 0.9, 0.9)]
    assert events == [None, "raised", None, None, None, "cleared", None, None, "raised"]


STATE: dict[str, Any] = {
    "latest": {"ranking": [{"label": "light", "probability": 0.873}]},
    "fps": 24.5,
    "temperature_c": None,
    "name": "mobilenet",
    "problem": None,
}


def test_state_is_reported_again_when_the_answer_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "SHORTEST_REPORT_S", 0.0)
    output, states = MemorySink(), [STATE]
    running = AlertDispatcher(AlertConfig((), (output,)), print, lambda: states[-1])
    running.start()
    assert output.reports.get(timeout=60) == STATE
    states.append(STATE | {"latest": {"ranking": STATE["latest"]["ranking"], "unknown": True}})
    assert output.reports.get(timeout=60) == states[-1]
    assert running.end(10)
    assert output.reports.empty()


def test_mqtt_announces_entities_and_reports_to_home_assistant(broker: FakeBroker) -> None:
    sink = MqttSink("127.0.0.1", "door/alerts", broker.port, discovery="homeassistant")
    sink.report(STATE)
    sink.send(b"{}", b"jpeg")
    sink.close()
    received = [broker.received.get(timeout=60) for _ in range(14)]
    published = {topic: content for topic, content in map(_topic_and_content, received) if topic}
    state = json.loads(published["door/alerts/state"])
    assert (state["label"], state["probability"], state["problem"]) == ("light", 87.3, "none")
    assert published["door/alerts/image"] == b"jpeg"
    configurations = {topic: json.loads(content) for topic, content in published.items() if topic.endswith("/config")}
    assert {topic.split("/")[1] for topic in configurations} == {"sensor", "image"}
    assert len({entity["unique_id"] for entity in configurations.values()}) == len(configurations) == 7
    for entity in configurations.values():
        assert entity["availability_topic"] == "door/alerts/availability"
        assert entity.get("state_topic", "door/alerts/state") in published
        assert entity.get("image_topic", "door/alerts/image") in published
        if "value_template" in entity:
            assert entity["value_template"][len("{{ value_json.") : -len(" }}")] in state


def _topic_and_content(message: tuple[int, bytes]) -> tuple[str, bytes]:
    kind, body = message
    if kind & 0xF0 != mqtt.PUBLISH:
        return "", b""
    (length,) = struct.unpack_from(">H", body)
    return body[2 : 2 + length].decode(), body[2 + length + (2 if kind & 6 else 0) :]


def test_probabilities_between_two_limits_change_nothing() -> None:
    rule = AlertRule("bright", "light", above=0.8, below=0.4, frames=2, quiet_s=0, cleared=True)
    state = rules.RuleState(rule)
    flicker = [0.9, 0.6, 0.9, 0.9, 0.6, 0.6, 0.3, 0.6, 0.3, 0.3]
    events = [state.see(probability, number, "12:00") for number, probability in enumerate(flicker)]
    assert events == [None, None, None, "raised", *5 * [None], "cleared"]


def test_recordings_and_trigger_are_read_from_the_file(tmp_path: Path) -> None:
    content = {
        "alert": [{"name": "x", "label": LABELS[0], "region": [0, 0, 0.5, 1]}],
        "recordings": {"folder": "/x"},
        "trigger": {"motion": 0.1},
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    config = read_alerts(tmp_path / "a.json", LABELS)
    assert [(region.left, region.right) for region in config.regions] == [(0, 0.5)]
    assert config.recordings is not None
    assert config.trigger is not None
    (tmp_path / "a.json").write_text(json.dumps({"trigger": {"interval_s": 5}}))
    assert read_alerts(tmp_path / "a.json", LABELS).rules == ()
    content["alert"] = [{"name": "x", "label": LABELS[0], "region": [0, 0, 2, 1], "below": 0.9, "above": 0.5}]
    content["recordings"], content["trigger"] = {"fps": "5"}, {"motion": 0.1, "region": 3}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(DeviceError) as failed:
        read_alerts(tmp_path / "a.json", LABELS)
    assert failed.value.what.split("; ") == [
        "alert 1.below: 0.9 is not a probability from 0 to 0.5, the value of above",
        "alert 1.region: [0, 0, 2, 1] is not a rectangle with edges from 0 to 1",
        "recordings.folder: is missing",
        "recordings.fps: should be float",
        "trigger.region: should be a list of numbers",
    ]
