"""MQTT 3.1.1 and 5 client for publishing (OASIS standards, chapter 3): one connection with a last will, QoS 0 and 1."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Optional, Tuple

TIMEOUT_S = 10.0
KEEP_ALIVE_S = 60
MOST_BYTES = 65_536
"""Largest packet accepted from the broker; a publisher receives only short ones."""
CONNECT, CONNACK, PUBLISH, PUBACK, PINGREQ, PINGRESP, DISCONNECT = 0x10, 0x20, 0x30, 0x40, 0xC0, 0xD0, 0xE0
ONLINE, OFFLINE = b"online", b"offline"
VERSIONS = {"3.1.1": 4, "5": 5}
"""Protocol levels, by the name of the version."""
_REFUSALS = {
    1: "it does not support this version of MQTT",
    2: "it refuses the client id",
    3: "it is not available",
    4: "user or password is wrong",
    5: "this client is not authorized",
    # From 128: the reason codes of MQTT 5, of packets of any kind.
    0x80: "unspecified error",
    0x81: "it cannot read the packet",
    0x82: "it reports a protocol error",
    0x83: "for a reason of its own",
    0x84: "it does not support MQTT 5",
    0x85: "it refuses the client id",
    0x86: "user or password is wrong",
    0x87: "this client is not authorized",
    0x88: "it is not available",
    0x89: "it is busy",
    0x8A: "this client is banned",
    0x8B: "it is shutting down",
    0x8C: "it requires another login method",
    0x8D: "it received nothing for too long",
    0x8E: "another client has the same id",
    0x90: "it refuses the topic",
    0x93: "too many messages without a confirmation",
    0x95: "the message is too large",
    0x96: "too many messages",
    0x97: "a quota is used up",
    0x98: "an administrator ended the connection",
    0x99: "the message does not have the format that it declares",
    0x9A: "it does not retain messages",
    0x9B: "it does not support this qos",
    0x9C: "another broker is to be used",
    0x9D: "the broker has moved",
    0x9F: "too many connections",
}
_SIZES = {1: (0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 2: (0x13, 0x21, 0x22, 0x23), 4: (0x02, 0x11, 0x18, 0x27)}
_SIZE_OF = {number: size for size, numbers in _SIZES.items() for number in numbers}
_TEXTS = {0x03: 1, 0x08: 1, 0x09: 1, 0x12: 1, 0x15: 1, 0x16: 1, 0x1A: 1, 0x1C: 1, 0x1F: 1, 0x26: 2}
"""Properties that are texts or binary data, and of how many."""
_SERVER_KEEP_ALIVE, _REASON_STRING = 0x13, 0x1F


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
    version: str = "3.1.1"
    """Or "5", with which a broker says why it refuses a message."""

    @property
    def no_properties(self) -> bytes:
        """Return an empty list of properties as packets of this version have it; those of 3.1.1 have none."""
        return b"\0" if self.version == "5" else b""


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
        self._keep_alive_s = KEEP_ALIVE_S

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
            self._send(connection, publish_packet(topic, content, qos, self._number, self._broker, retain=retain))
            if qos:
                self._confirmed(connection)
        except OSError:
            self.drop()
            raise

    def keep_alive(self) -> None:
        """Connect if there is no connection, and ping if nothing was sent for half of the agreed time.

        Raises:
            OSError: the broker cannot be reached, or refused.
        """
        try:
            connection = self._connected()
            if time.monotonic() - self._last_sent > self._keep_alive_s / 2:
                self._send(connection, bytes((PINGREQ, 0)))
                if self._receive(connection)[0] != PINGRESP:
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
                connection.sendall(publish_packet(self._broker.availability, OFFLINE, 0, 0, self._broker, retain=True))
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
            if kind != CONNACK or len(body) < 2:
                raise MqttError("the broker does not speak MQTT")
            if body[1]:
                raise MqttError(_reason(body[1], body[2:]))
            agreed = properties(body[2:]) if self._broker.no_properties else {}
            self._keep_alive_s = int.from_bytes(agreed.get(_SERVER_KEEP_ALIVE, b""), "big") or KEEP_ALIVE_S
            online = ((self._broker.availability, ONLINE),) if self._broker.availability else ()
            for topic, content in (*self._broker.greetings, *online):
                self._send(self._connection, publish_packet(topic, content, 0, 0, self._broker, retain=True))
        return self._connection

    def _confirmed(self, connection: socket.socket) -> None:
        kind, body = self._receive(connection)
        if kind != PUBACK or body[:2] != struct.pack(">H", self._number):
            raise MqttError("the broker did not confirm the message")
        if len(body) > 2 and body[2] >= 0x80:
            raise MqttError(f"the broker refuses the message: {_reason(body[2], body[3:])}")

    def _receive(self, connection: socket.socket) -> Tuple[int, bytes]:
        """Return the next packet that does not end the connection."""
        kind, body = receive(connection)
        if kind == DISCONNECT:
            raise MqttError(f"the broker ends the connection: {_reason(body[0], body[1:]) if body else 'no reason'}")
        return kind, body

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
        payload += broker.no_properties + _text(broker.availability) + struct.pack(">H", len(OFFLINE)) + OFFLINE
    if broker.user is not None:
        flags |= 0x80
        payload += _text(broker.user)
        if broker.password is not None:
            flags |= 0x40
            payload += _text(broker.password)
    head = _text("MQTT") + bytes((VERSIONS[broker.version], flags)) + struct.pack(">H", KEEP_ALIVE_S)
    return packet(CONNECT, head + broker.no_properties + payload)


def publish_packet(topic: str, content: bytes, qos: int, number: int, broker: Broker, *, retain: bool) -> bytes:
    """Return a PUBLISH packet; `number` is its identifier, used with qos 1."""
    identifier = struct.pack(">H", number) if qos else b""
    return packet(PUBLISH | qos << 1 | retain, _text(topic) + identifier + broker.no_properties + content)


def properties(content: bytes) -> Dict[int, bytes]:
    """Return the properties of a packet of MQTT 5 by their numbers; of several with one number the last.

    Raises:
        MqttError: they are not properties.
    """
    length, place = _varint(content, 0)
    end, values = place + length, {}
    if end > len(content):
        raise MqttError("the broker sends half of its properties")
    while place < end:
        number, place = content[place], place + 1
        begin = place
        if number in _TEXTS:
            for _ in range(_TEXTS[number]):
                begin, place = place + 2, place + 2 + int.from_bytes(content[place : place + 2], "big")
        elif number == 0x0B:
            place = _varint(content, place)[1]
        elif number in _SIZE_OF:
            place += _SIZE_OF[number]
        else:
            raise MqttError(f"the broker sends an unknown property {number}")
        if place > end:
            raise MqttError("the broker sends half a property")
        values[number] = content[begin:place]
    return values


def _varint(content: bytes, place: int) -> Tuple[int, int]:
    """Return a number in seven-bit groups, and the place after it."""
    number = 0
    for shift, group in enumerate(content[place : place + 4]):
        number |= (group & 0x7F) << 7 * shift
        if not group & 0x80:
            return number, place + shift + 1
    raise MqttError("the broker does not speak MQTT")


def _reason(code: int, rest: bytes) -> str:
    """Return why a broker refuses, in its own words if it gives some."""
    known = _REFUSALS.get(code, f"it refuses with code {code}")
    own = properties(rest).get(_REASON_STRING, b"") if rest else b""
    text = "".join(letter for letter in own.decode("utf-8", "replace")[:200] if letter.isprintable())
    return f"{known} ({text})" if text else known


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
    kind, groups = _exactly(connection, 1)[0], _exactly(connection, 1)
    while groups[-1] & 0x80 and len(groups) < 4:
        groups += _exactly(connection, 1)
    length, _ = _varint(groups, 0)
    if length > limit:
        raise MqttError(f"the broker sends a packet of {length} bytes")
    return kind, _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        block = connection.recv(count - len(content))
        if not block:
            raise MqttError("the broker closed the connection")
        content += block
    return content
