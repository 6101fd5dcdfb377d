"""The labeling page's server: who may ask what, and what is recorded."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from toolkit.artifacts.captured_image import CapturedImage
from toolkit.artifacts.labeling import UNKNOWN, LabelDecision
from toolkit.experiment.schema import Experiment
from toolkit.loop.clusters import cluster, queue_order
from toolkit.loop.decisions import standing_decisions
from toolkit.loop.label_queue import LabelQueue
from toolkit.loop.label_server import MAX_CONNECTIONS, serve_labels
from toolkit.store import Store
from toolkit.workspace import Workspace

from .conftest import Capturing

JSON = {"Content-Type": "application/json"}


@dataclass
class Client:
    url: str
    captures: list[CapturedImage]

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(parts.hostname), int(parts.port or 0), timeout=60)
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        sent = (JSON if content is not None else {}) | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        connection.request(method, path if path.startswith("/") else parts.path + path, content, sent)
        answer = connection.getresponse()
        self.headers = answer.headers
        return answer.status, answer.read()

    def decide(self, *captures: CapturedImage, verdict: str = "class", label: object = "red", **headers: str) -> int:
        body = {"captures": [one.digest for one in captures], "verdict": verdict, "label": label}
        return self.ask("POST", "decide", body, **headers)[0]


@pytest.fixture
def client(workspace: Workspace, store: Store, capture: Capturing) -> Iterator[Client]:
    captures = [capture("red", seed) for seed in range(3)]
    queue = LabelQueue(
        "colors", ("blue", "red"), captures, {captures[0].digest: 0, captures[1].digest: 0}, store, "ann"
    )
    with serve_labels(queue, workspace) as url:
        yield Client(url, captures)


def test_items_tell_what_the_page_shows(client: Client) -> None:
    status, body = client.ask("GET", "items")
    state = json.loads(body)
    assert status == 200
    assert state["classes"] == ["blue", "red"]
    first = state["items"][0]
    assert first["suggestions"] == [["red", 0.6], ["blue", 0.4]]
    assert (first["device"], first["policy"], first["cluster"], first["decision"]) == ("pi-1", "unsure", 0, None)
    assert state["items"][2]["cluster"] == -1


def test_suggestions_survive_added_classes(store: Store, capture: Capturing) -> None:
    """The model that answered knows the first classes only; one of other classes is asked for its best alone."""
    one = capture("red", 1)
    for classes, suggestions in (
        (("blue", "red", "amber"), [("red", 0.6), ("blue", 0.4)]),
        (("red", "blue"), [("red", 0.6)]),
        (("red",), [("red", 0.6)]),
        (("cat", "dog"), []),
    ):
        (item,) = LabelQueue("colors", classes, [one], {}, store, "ann").state()["items"]
        assert item["suggestions"] == suggestions


def test_decisions_and_undo_are_recorded(client: Client, store: Store) -> None:
    one, other, third = client.captures
    assert client.decide(one, other) == 200
    assert client.decide(third, verdict=UNKNOWN, label="") == 200
    assert {d.label or d.verdict for d in standing_decisions(store).values()} == {"red", UNKNOWN}
    status, body = client.ask("POST", "undo", {})
    assert (status, json.loads(body)) == (200, {"decided": {third.digest: None}})
    assert set(standing_decisions(store)) == {one.digest, other.digest}
    assert {d.who for d in store.all(LabelDecision)} == {"ann"}


def test_nothing_is_served_without_the_token(client: Client) -> None:
    page = urlsplit(client.url).path
    for path in ("/", "/items", "/wrong/", f"{page[:-2]}/", f"/x{page}"):
        assert client.ask("GET", path)[0] == 404, path
    assert client.ask("GET", "items", Host="evil.example")[0] == 403
    assert client.ask("GET", f"images/{client.captures[0].digest}.jpg")[1].startswith(b"\xff\xd8")
    for path in (f"images/{'0' * 64}.jpg", "images/../toolkit.db", "images/%2e%2e/toolkit.db", "nothing"):
        assert client.ask("GET", path)[0] == 404, path


def test_page_allows_nothing_but_its_own(client: Client) -> None:
    status, body = client.ask("GET", "")
    policy = client.headers["Content-Security-Policy"]
    assert status == 200
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert b"http" not in body.replace(b"http-equiv", b"")
    assert client.headers["Referrer-Policy"] == "no-referrer"
    assert client.headers["Server"] == "toolkit"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ({"captures": [], "verdict": "class", "label": "red"}, {}, 422),
        ({"captures": ["f" * 64], "verdict": "class", "label": "red"}, {}, 422),
        ({"captures": 7}, {}, 422),
        ([], {}, 400),
        (b"{", {}, 400),
        (b"[" * 100_000, {}, 400),
        ({}, {"Content_Length": "2000000"}, 413),
        ({}, {"Content_Type": "text/plain"}, 415),
        ({}, {"Origin": "http://evil.example"}, 403),
        ({}, {"Content_Length": "-1"}, 411),
    ],
)
def test_bad_requests_change_nothing(
    client: Client, store: Store, body: object, headers: dict[str, str], status: int
) -> None:
    assert client.ask("POST", "decide", body, **headers)[0] == status
    assert store.all(LabelDecision) == ()


@pytest.mark.parametrize(("verdict", "label"), [("class", "green"), ("undo", ""), ("unknown", "red"), ("class", 7)])
def test_decisions_of_no_experiment_are_refused(client: Client, verdict: str, label: object) -> None:
    assert client.decide(client.captures[0], verdict=verdict, label=label) == 422


@pytest.mark.slow
def test_silent_clients_do_not_use_up_the_server(client: Client) -> None:
    parts = urlsplit(client.url)
    silent = [socket.create_connection((parts.hostname, parts.port)) for _ in range(MAX_CONNECTIONS + 8)]
    with pytest.raises((http.client.HTTPException, OSError)):
        client.ask("GET", "items")
    for one in silent:
        one.close()
    answers: list[Any] = []
    for _ in range(50):
        try:
            answers.append(client.ask("GET", "items")[0])
            break
        except (http.client.HTTPException, OSError):
            continue
    assert answers == [200]


@pytest.mark.slow
def test_label_verb_serves_until_it_is_interrupted(plan: Experiment, workspace: Workspace, capture: Capturing) -> None:
    shown = [capture("red", seed) for seed in range(2)]
    options = ("--workspace", str(workspace.root), "--json", "--no-open", "--no-clusters", "--who", "ann")
    command = [sys.executable, "-m", "toolkit", "label", str(plan.origin), *options]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's children would ignore it
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            assert process.stdout is not None
            answer = json.loads("".join(next(process.stdout) for _ in range(4)))
            assert answer["captures"] == 2
            assert Client(answer["url"], shown).decide(*shown) == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
    with Store(workspace.database) as store:
        assert {one.parent for one in store.all(LabelDecision)} == {one.digest for one in shown}


def test_clusters_hold_what_is_alike(capture: Capturing) -> None:
    draw = np.random.default_rng(0)
    centers = np.repeat(np.eye(3, 8), 5, axis=0)
    rows = (centers + draw.normal(0, 0.05, centers.shape)).astype(np.float32)[draw.permutation(15)]
    numbers = cluster(rows, 3)
    assert numbers == cluster(rows, 3)
    assert all(len({n for n, row in zip(numbers, rows, strict=True) if row.argmax() == k}) == 1 for k in range(3))
    assert len(set(numbers)) == 3
    assert set(cluster(np.ones((4, 2), np.float32), 2)) == {0}
    captures = [capture("red", seed) for seed in range(4)]
    alike = {captures[3].digest: 1, captures[0].digest: 1}
    order = queue_order(captures, alike)
    places = [order.index(captures[0]), order.index(captures[3])]
    assert abs(places[0] - places[1]) == 1
