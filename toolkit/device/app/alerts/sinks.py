"""Where alerts go: an MQTT broker, or an address that takes a POST."""

from __future__ import annotations

import dataclasses
import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Protocol, Type, TypeVar

from .mqtt import Broker, publish

TIMEOUT_S = 10.0
T = TypeVar("T")
_TYPES = {"str": str, "int": int, "float": (int, float), "bool": bool, "Optional[str]": str}


class AlertSink(Protocol):
    """One of them."""

    @property
    def name(self) -> str:
        """For the log; without passwords."""

    def send(self, content: bytes) -> None:
        """Deliver a JSON document. Raises OSError or ValueError when that fails."""


@dataclass(frozen=True)
class MqttSink:
    """A broker; its password lies in a file of its own."""

    host: str
    topic: str
    port: int = 1883
    qos: int = 1
    tls: bool = False
    client: str = "toolkit"
    user: Optional[str] = None
    password_file: Optional[str] = None

    @property
    def name(self) -> str:
        """See Output."""
        return f"mqtt://{self.host}:{self.port}/{self.topic}"

    def send(self, content: bytes) -> None:
        """See Output."""
        password = Path(self.password_file).read_text(encoding="utf-8").strip() if self.password_file else None
        broker = Broker(self.host, self.port, self.client, self.user, password, tls=self.tls)
        publish(broker, self.topic, content, self.qos)


@dataclass(frozen=True)
class WebhookSink:
    """An http(s) address; its bearer token lies in a file of its own."""

    url: str
    token_file: Optional[str] = None

    @property
    def name(self) -> str:
        """See Output."""
        return self.url.partition("?")[0]

    def send(self, content: bytes) -> None:
        """See Output."""
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("the address is neither http nor https")
        headers = {"Content-Type": "application/json"}
        if self.token_file:
            headers["Authorization"] = f"Bearer {Path(self.token_file).read_text(encoding='utf-8').strip()}"
        request = urllib.request.Request(self.url, content, headers, method="POST")  # noqa: S310 - checked above
        context = ssl.create_default_context() if self.url.startswith("https:") else None
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context) as answer:  # noqa: S310 - see above
            answer.read(1024)


def read_fields(kind: Type[T], table: Any, where: str, problems: List[str]) -> T:
    """A dataclass from a table of a file; what does not fit goes to `problems`, and what is given back is then of no use."""
    entries: Dict[str, Any] = table if isinstance(table, dict) else {}
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # T is one
    if entries is not table:
        problems.append(f"{where}: is no table")
    problems += [f"{where}.{name}: is not known" for name in entries if name not in fields]
    known = {name: value for name, value in entries.items() if name in fields}
    for name, field in fields.items():
        if name not in known and field.default is dataclasses.MISSING:
            problems.append(f"{where}.{name}: is missing")
        elif name in known and not _fits(known[name], str(field.type)):
            problems.append(f"{where}.{name}: should be {str(field.type).replace('Optional[str]', 'str')}")
    found: T = object.__new__(kind)
    for name, field in fields.items():
        object.__setattr__(found, name, known.get(name, field.default))
    return found


def _fits(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and isinstance(value, bool) == (kind == "bool")  # type: ignore[arg-type]
