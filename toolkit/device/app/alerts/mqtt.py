"""MQTT 3.1.1 client for publishing (OASIS standard, chapter 3): one connection with a last will, QoS 0 and 1."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple

TIMEOUT_S = 10.0
KEEP_ALIVE_S = 60
MOST_BYTES = 65_536
"""Largest packet accepted from the broker; a publisher receives only short ones."""
CONNECT, CONNACK, PUBLISH, PUBACK, PINGREQ, PINGRESP, DISCONNECT = 0x10, 0x20, 0x30, 0x40, 0xC0, 0xD0, 0xE0
ONLINE, OFFLINE = b"online", b"offline"
_REFUSALS = {
    1: "it does not speak MQTT 3.1.1",
    2: "it refuses the client id",
    3: "it is not available",
    4: "user or password is wrong",
    5: "this client is not authorized",
}


@dataclass(frozen=True)
class Broker:
    """Address and login of a broker; `availability` is a topic that holds "online" or "offline"."""

    host: str
    port: int = 1883
    client: str = "toolkit"
    user: Optional[str] = None
    password: Optional[str] = None
    tls: bool = False
    ca_file: Optional[str] = None
    certificate: Optional[str] = None
    key: Optional[str] = None
    """Files in PEM form with which the client proves who it is."""
    availability: str = ""
    greetings: Tuple[Tuple[str, bytes], ...] = ()
    """Topics and contents that are published, retained, after each connecting."""


class MqttError(OSError):
    """The broker refused, or violated the protocol."""


def own_client_id() -> str:
    """Return a client ID that is unique to this process: clients with the same ID disconnect each other."""
    machine = Path("/etc/machine-id").read_text("ascii") if Path("/etc/machine-id").exists() else ""
    identity = f"{socket.gethostname()} {machine} {os.getpid()} {time.time_ns()}"
    return "toolkit-" + hashlib.sha256(identity.encode()).hexdigest()[:12]


class BrokerConnection:
    """One connection to a broker, opened when it is first needed and again after a loss; for one thread."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._connection: Optional[socket.socket] = None
        self._number = 0
        self._last_sent = 0.0

    def publish(self, topic: str, content: bytes, qos: int = 0, *, retain: bool = False) -> None:
        """Publish one message; with qos 1, wait until the broker has it.

        Raises:
            OSError: the broker cannot be reached, or refused.
            ValueError: the topic or the qos is not valid for publishing.
        """
        if qos not in (0, 1) or not is_topic(topic):
            raise ValueError(f"cannot publish to topic {topic!r} with qos {qos}")
        try:
            connection = self._connected()
            self._number = self._number % 0xFFFF + 1
            self._send(connection, publish_packet(topic, content, qos, self._number, retain=retain))
            if qos and receive(connection) != (PUBACK, struct.pack(">H", self._number)):
                raise MqttError("the broker did not confirm the message")
        except OSError:
            self.drop()
            raise

    def keep_alive(self) -> None:
        """Connect if there is no connection, and ping if nothing was sent for half of KEEP_ALIVE_S.

        Raises:
            OSError: the broker cannot be reached, or refused.
        """
        try:
            connection = self._connected()
            if time.monotonic() - self._last_sent > KEEP_ALIVE_S / 2:
                self._send(connection, bytes((PINGREQ, 0)))
                if receive(connection)[0] != PINGRESP:
                    raise MqttError("the broker did not answer a ping")
        except OSError:
            self.drop()
            raise

    def close(self) -> None:
        """Publish "offline" and end the connection cleanly."""
        connection = self._connection
        if connection is None:
            return
        try:
            if self._broker.availability:
                connection.sendall(publish_packet(self._broker.availability, OFFLINE, 0, 0, retain=True))
            connection.sendall(bytes((DISCONNECT, 0)))
        except OSError:
            pass  # the broker is gone: its last will says the same
        self.drop()

    def drop(self) -> None:
        """Close the connection without a DISCONNECT: the broker publishes the last will."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> socket.socket:
        if self._connection is None:
            self._connection = _open(self._broker)
            self._send(self._connection, connect_packet(self._broker))
            kind, body = receive(self._connection)
            if kind != CONNACK or len(body) != 2:
                raise MqttError("the broker does not speak MQTT")
            if body[1]:
                raise MqttError(_REFUSALS.get(body[1], f"it refuses with code {body[1]}"))
            online = ((self._broker.availability, ONLINE),) if self._broker.availability else ()
            for topic, content in (*self._broker.greetings, *online):
                self._send(self._connection, publish_packet(topic, content, 0, 0, retain=True))
        return self._connection

    def _send(self, connection: socket.socket, content: bytes) -> None:
        connection.sendall(content)
        self._last_sent = time.monotonic()


def is_topic(topic: str) -> bool:
    """Return whether messages can be published to this topic."""
    return bool(topic) and len(topic.encode()) < 65_536 and not any(letter in topic for letter in "+#\0")


def _open(broker: Broker) -> socket.socket:
    plain = socket.create_connection((broker.host, broker.port), TIMEOUT_S)
    if not broker.tls:
        return plain
    try:
        context = ssl.create_default_context(cafile=broker.ca_file)
        if broker.certificate:
            context.load_cert_chain(broker.certificate, broker.key)
        return context.wrap_socket(plain, server_hostname=broker.host)
    except OSError:
        plain.close()
        raise


def connect_packet(broker: Broker) -> bytes:
    """Return a CONNECT packet for a clean session, with a retained last will if there is an availability topic."""
    flags, payload = 0x02, _text(broker.client)
    if broker.availability:
        flags |= 0x04 | 0x20
        payload += _text(broker.availability) + struct.pack(">H", len(OFFLINE)) + OFFLINE
    if broker.user is not None:
        flags |= 0x80
        payload += _text(broker.user)
        if broker.password is not None:
            flags |= 0x40
            payload += _text(broker.password)
    return packet(CONNECT, _text("MQTT") + bytes((4, flags)) + struct.pack(">H", KEEP_ALIVE_S) + payload)


def publish_packet(topic: str, content: bytes, qos: int, number: int, *, retain: bool) -> bytes:
    """Return a PUBLISH packet; `number` is its identifier, used with qos 1."""
    identifier = struct.pack(">H", number) if qos else b""
    return packet(PUBLISH | qos << 1 | retain, _text(topic) + identifier + content)


def packet(kind: int, body: bytes) -> bytes:
    """Return a packet: its fixed header, with the length in seven-bit groups, and its body."""
    length, groups = len(body), bytearray()
    while True:
        length, group = divmod(length, 128)
        groups.append(group | (0x80 if length else 0))
        if not length:
            return bytes((kind,)) + bytes(groups) + body


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded


def receive(connection: socket.socket, limit: int = MOST_BYTES) -> Tuple[int, bytes]:
    """Return the next packet: its kind with flags, and its body.

    Raises:
        OSError: the broker closed the connection, or sent an invalid packet.
    """
    kind, length = _exactly(connection, 1)[0], 0
    for place in range(4):
        group = _exactly(connection, 1)[0]
        length |= (group & 0x7F) << 7 * place
        if not group & 0x80:
            if length > limit:
                raise MqttError(f"the broker sends a packet of {length} bytes")
            return kind, _exactly(connection, length)
    raise MqttError("the broker does not speak MQTT")


def _exactly(connection: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        block = connection.recv(count - len(content))
        if not block:
            raise MqttError("the broker closed the connection")
        content += block
    return content
