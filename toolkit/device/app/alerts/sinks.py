"""Alert sinks: an MQTT broker, or a webhook."""

from __future__ import annotations

import dataclasses
import http.client
import json
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Protocol, Type, TypeVar

from ...release.http_client import Credentials, HttpClient, origin_of
from . import home_assistant
from .mqtt import VERSIONS, Broker, BrokerConnection, is_topic, own_client_id

TIMEOUT_S = 10.0
T = TypeVar("T")
_TYPES = {"str": str, "int": int, "float": (int, float), "bool": bool, "List[float]": list}
"""Types of fields; each may also be Optional."""


class AlertSink(Protocol):
    """A destination of alerts; used by one thread."""

    @property
    def name(self) -> str:
        """Return the name for the log and the page, without passwords."""

    def send(self, content: bytes, jpeg: Optional[bytes] = None) -> None:
        """Deliver a JSON document, and the image if the sink takes one. Raises OSError or ValueError if that fails."""

    def report(self, state: Dict[str, Any]) -> None:
        """Deliver the state of the app, if the sink takes it. Raises OSError or ValueError if that fails."""

    def keep_alive(self) -> None:
        """Check the connection; called every few seconds. Raises OSError if the sink cannot be reached."""

    def close(self) -> None:
        """Close the connection, if there is one."""


@dataclass(frozen=True)
class MqttSink:
    """An MQTT broker; its password is read from `password_file`."""

    host: str
    topic: str
    port: int = 1883
    qos: int = 1
    retain: bool = False
    tls: bool = False
    ca_file: Optional[str] = None
    certificate: Optional[str] = None
    key: Optional[str] = None
    """The client's own certificate and its key, in PEM form."""
    version: str = "3.1.1"
    """Of MQTT; or "5", with which the broker says why it refuses a message."""
    client: Optional[str] = None
    """The client ID; by default one that is unique to this process."""
    user: Optional[str] = None
    password_file: Optional[str] = None
    availability_topic: Optional[str] = None
    """Holds "online" or "offline"; by default TOPIC/availability."""
    state_topic: Optional[str] = None
    """Holds the latest answer, rate, temperature and release, retained; by default TOPIC/state with `discovery`."""
    image_topic: Optional[str] = None
    """Holds the image of the latest alert as a JPEG, retained; by default TOPIC/image with `discovery`."""
    discovery: Optional[str] = None
    """Home Assistant's discovery prefix, usually "homeassistant"; by default nothing is announced."""
    _sessions: List[BrokerConnection] = dataclasses.field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """See AlertSink."""
        return f"mqtt://{self.host}:{self.port}/{self.topic}"

    def problems(self) -> Iterator[str]:
        """Yield the fields that are not valid, with the reason."""
        if not self.host.strip():
            yield "host: is empty"
        if not 0 < self.port < 65_536:
            yield f"port: {self.port} is not between 1 and 65535"
        if self.qos not in (0, 1):
            yield f"qos: {self.qos} is neither 0 nor 1"
        if self.version not in VERSIONS:
            yield f"version: {self.version!r} is neither {' nor '.join(VERSIONS)}"
        optional = {f"{name}_topic": topic for name, topic in dataclasses.asdict(self._topics()).items() if topic}
        for name, topic in {"topic": self.topic, "discovery": self.discovery, **optional}.items():
            if topic is not None and not is_topic(topic):
                yield f"{name}: {topic!r} is empty or has a wildcard"
        yield from self._login_problems()

    def _login_problems(self) -> Iterator[str]:
        for name in ("ca_file", "certificate", "key"):
            if getattr(self, name) and not self.tls:
                yield f"{name}: needs tls = true"
        if bool(self.certificate) != bool(self.key):
            yield "certificate: needs key, and key needs certificate"
        yield from _file_problems(self, "ca_file", "certificate", "key", "password_file")
        if self.ca_file and Path(self.ca_file).is_file():
            yield from _certificate_problems(self.ca_file)

    def send(self, content: bytes, jpeg: Optional[bytes] = None) -> None:
        """See AlertSink."""
        image = self._topics().image
        if image and jpeg:
            self._session().publish(image, jpeg, self.qos, retain=True)
        self._session().publish(self.topic, content, self.qos, retain=self.retain)

    def report(self, state: Dict[str, Any]) -> None:
        """See AlertSink."""
        topic = self._topics().state
        if topic:
            content = json.dumps(home_assistant.summary(state), ensure_ascii=False).encode()
            self._session().publish(topic, content, self.qos, retain=True)

    def keep_alive(self) -> None:
        """See AlertSink."""
        self._session().keep_alive()

    def close(self) -> None:
        """See AlertSink."""
        if self._sessions:
            self._sessions[0].close()

    def _topics(self) -> home_assistant.Topics:
        state, image = (f"{self.topic}/{name}" if self.discovery else "" for name in ("state", "image"))
        return home_assistant.Topics(
            state if self.state_topic is None else self.state_topic,
            image if self.image_topic is None else self.image_topic,
            f"{self.topic}/availability" if self.availability_topic is None else self.availability_topic,
        )

    def _session(self) -> BrokerConnection:
        if not self._sessions:
            password = Path(self.password_file).read_text(encoding="utf-8").strip() if self.password_file else None
            client = self.client or own_client_id()
            topics = self._topics()
            broker = Broker(
                self.host,
                self.port,
                client,
                self.user,
                password,
                self.tls,
                self.ca_file,
                self.certificate,
                self.key,
                topics.availability,
                tuple(home_assistant.configurations(self.discovery, topics)) if self.discovery else (),
                self.version,
            )
            self._sessions.append(BrokerConnection(broker))
        return self._sessions[0]


@dataclass(frozen=True)
class WebhookSink:
    """An http(s) URL; its bearer token is read from `token_file`. Redirects are not followed."""

    url: str
    token_file: Optional[str] = None

    @property
    def name(self) -> str:
        """See AlertSink; of the URL the host alone, since many a service's path is its password."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{re.split('[/?#]', rest)[0].rpartition('@')[2]}"

    def problems(self) -> Iterator[str]:
        """Yield the fields that are not valid, with the reason."""
        try:
            origin_of(self.url)
        except ValueError as error:
            yield f"url: {error}"
        yield from _file_problems(self, "token_file")

    def send(self, content: bytes, jpeg: Optional[bytes] = None) -> None:
        """See AlertSink."""
        del jpeg  # a webhook gets JSON alone
        credentials = None
        if self.token_file:
            token = Path(self.token_file).read_text(encoding="utf-8").strip()
            credentials = Credentials(origin_of(self.url), f"Bearer {token}")
        client = HttpClient(max_redirects=0, deadline_s=TIMEOUT_S)
        try:
            answer = client.request(
                "POST", self.url, content, {"Content-Type": "application/json"}, credentials, 1 << 16
            )
        except http.client.HTTPException as error:
            raise OSError(f"does not speak HTTP: {type(error).__name__}") from None
        finally:
            client.close()
        if not 200 <= answer.status < 300:
            raise OSError(f"answers {answer.status}")

    def report(self, state: Dict[str, Any]) -> None:
        """Do nothing: a webhook gets alerts alone."""

    def keep_alive(self) -> None:
        """Do nothing: there is no connection between alerts."""

    def close(self) -> None:
        """See AlertSink."""


def _file_problems(sink: object, *names: str) -> Iterator[str]:
    for name in names:
        path = getattr(sink, name)
        if path is None:
            continue
        try:
            Path(path).read_bytes()
        except OSError as error:
            yield f"{name}: {path} cannot be read: {error.strerror}"


def _certificate_problems(path: str) -> Iterator[str]:
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError):
        yield f"ca_file: {path} holds no certificate in PEM form"


def read_fields(kind: Type[T], table: Any, where: str, problems: List[str]) -> Optional[T]:
    """Return a dataclass from a table; append what does not fit to `problems`, and return None if there are any."""
    entries: Dict[str, Any] = table if isinstance(table, dict) else {}
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]  # T is one
    if entries is not table:
        problems.append(f"{where}: is not a table")
    problems += [f"{where}.{name}: is not known" for name in entries if name not in fields]
    known = {name: value for name, value in entries.items() if name in fields}
    for name, field in fields.items():
        if name not in known and field.default is dataclasses.MISSING:
            problems.append(f"{where}.{name}: is missing")
        elif name in known and not _fits(known[name], _type_of(field)):
            problems.append(f"{where}.{name}: should be {_type_of(field).replace('List[float]', 'a list of numbers')}")
    if problems:
        return None
    return kind(**known)


def _type_of(field: Any) -> str:
    return re.sub(r"^Optional\[(.*)\]$", r"\1", str(field.type))


def _fits(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and isinstance(value, bool) == (kind == "bool")  # type: ignore[arg-type]
