"""As much of MQTT 3.1.1 as it takes to publish: CONNECT, PUBLISH, PUBACK, DISCONNECT (OASIS standard, chapter 3)."""

from __future__ import annotations

import socket
import ssl
import struct
from dataclasses import dataclass
from typing import Optional, Tuple

TIMEOUT_S = 10.0
CONNECT, CONNACK, PUBLISH, PUBACK, DISCONNECT = 0x10, 0x20, 0x30, 0x40, 0xE0
_REFUSALS = {
    1: "it does not speak MQTT 3.1.1",
    2: "it refuses the client's name",
    3: "it is not there for anyone now",
    4: "user or password are wrong",
    5: "this client may not connect",
}


@dataclass(frozen=True)
class Broker:
    """Where to connect, and as whom."""

    host: str
    port: int = 1883
    client: str = "toolkit"
    user: Optional[str] = None
    password: Optional[str] = None
    tls: bool = False


class MqttError(OSError):
    """The broker refused, or said what makes no sense."""


def publish(broker: Broker, topic: str, content: bytes, qos: int = 0) -> None:
    """Connect, publish one message, and with qos 1 wait until the broker has it.

    Raises:
        OSError: it could not be reached, or refused.
        ValueError: the topic or the qos cannot be used for publishing.
    """
    if qos not in (0, 1) or not topic or any(letter in topic for letter in "+#\0"):
        raise ValueError(f"cannot publish to topic {topic!r} with qos {qos}")
    with _connected(broker) as connection:
        connection.sendall(connect_packet(broker))
        kind, body = receive(connection)
        if kind != CONNACK or len(body) != 2:
            raise MqttError("the broker does not answer as MQTT has it")
        if body[1]:
            raise MqttError(_REFUSALS.get(body[1], f"it refuses with code {body[1]}"))
        connection.sendall(publish_packet(topic, content, qos))
        if qos and receive(connection) != (PUBACK, struct.pack(">H", 1)):
            raise MqttError("the broker did not confirm the message")
        connection.sendall(bytes((DISCONNECT, 0)))


def _connected(broker: Broker) -> socket.socket:
    plain = socket.create_connection((broker.host, broker.port), TIMEOUT_S)
    if not broker.tls:
        return plain
    try:
        return ssl.create_default_context().wrap_socket(plain, server_hostname=broker.host)
    except OSError:
        plain.close()
        raise


def connect_packet(broker: Broker) -> bytes:
    """A clean session; no will; a keep-alive of a minute."""
    flags, payload = 0x02, _text(broker.client)
    if broker.user is not None:
        flags |= 0x80
        payload += _text(broker.user)
        if broker.password is not None:
            flags |= 0x40
            payload += _text(broker.password)
    return packet(CONNECT, _text("MQTT") + bytes((4, flags)) + struct.pack(">H", 60) + payload)


def publish_packet(topic: str, content: bytes, qos: int) -> bytes:
    """With qos 1 it is packet number 1, the only one of its connection."""
    number = struct.pack(">H", 1) if qos else b""
    return packet(PUBLISH | qos << 1, _text(topic) + number + content)


def packet(kind: int, body: bytes) -> bytes:
    """The fixed header, with the length in seven-bit groups, and the rest."""
    length, groups = len(body), bytearray()
    while True:
        length, group = divmod(length, 128)
        groups.append(group | (0x80 if length else 0))
        if not length:
            return bytes((kind,)) + bytes(groups) + body


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded


def receive(connection: socket.socket) -> Tuple[int, bytes]:
    """The next packet: its kind with flags, and its body.

    Raises:
        OSError: the broker hung up, or sends what is no packet.
    """
    kind, length = _exactly(connection, 1)[0], 0
    for place in range(4):
        group = _exactly(connection, 1)[0]
        length |= (group & 0x7F) << 7 * place
        if not group & 0x80:
            return kind, _exactly(connection, length)
    raise MqttError("the broker sends no MQTT")


def _exactly(connection: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        piece = connection.recv(count - len(content))
        if not piece:
            raise MqttError("the broker hung up")
        content += piece
    return content
