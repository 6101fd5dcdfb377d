"""Run on the Python of each era: what a queue does with several queries in flight, as one JSON document.

python in_flight.py MODEL.xml IMAGES.npy [FAILING.xml]
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.device.errors import DeviceEnvironmentError
from toolkit.device.runtime import interface

QUERIES = 40
TOGETHER_S = 30
LET_GO = 60
SETTINGS = interface.Settings("CPU", threads=2, streams=2, precision="f32", hint="throughput")


def together(model: interface.Model, images: Any) -> dict[str, Any]:
    """The first query is not let go before every request has one: only a queue that works on several ends at all."""
    expected = [model.infer(image).tolist() for image in images]
    answers: dict[int, list[float]] = {}
    all_taken = threading.Event()
    waited = []

    def on_done(number: int, answer: Callable[[], Any]) -> None:
        if number == 0:
            waited.append(all_taken.wait(TOGETHER_S))
        answers[number] = answer().tolist()

    queue = model.queue(on_done)
    reused = np.empty_like(images[0])
    for number in range(QUERIES):
        reused[...] = images[number % len(images)]
        queue.submit(number, reused)
        if number == queue.requests - 1:
            all_taken.set()
    queue.wait()
    return {
        "requests": queue.requests,
        "streams": model.used()["streams"],
        "together": waited == [True],
        "done": sorted(answers) == list(range(QUERIES)),
        "right": all(np.allclose(answers[one], expected[one % len(images)], atol=1e-6) for one in answers),
    }


def with_spare(model: interface.Model) -> int:
    """How many requests more there are when one more is asked for."""
    usual, more = model.queue(_nothing), model.queue(_nothing, 1)
    usual.close()
    more.close()
    return more.requests - usual.requests


def _nothing(number: int, answer: Callable[[], Any]) -> None:
    """Nobody waits for it."""


def callback_that_raises(model: interface.Model, image: Any) -> dict[str, Any]:
    """`wait` raises it, everything in flight is finished before, and the queue can be used again."""
    done: list[int] = []

    def on_done(number: int, answer: Callable[[], Any]) -> None:
        done.append(number)
        if number == 3:
            raise KeyError("number three")

    queue = model.queue(on_done)
    for number in range(10):
        queue.submit(number, image)
    raised = ""
    try:
        queue.wait()
    except KeyError as error:
        raised = str(error)
    finished = len(done)
    queue.submit(10, image)
    queue.wait()
    return {"raised": raised, "finished": finished, "again": done[-1]}


def inference_that_fails(model: interface.Model, image: Any) -> list[str]:
    """What a person reads, of a single query and of several."""
    queue = model.queue(lambda number, answer: None)

    def several() -> None:
        for number in range(6):
            queue.submit(number, image)
        queue.wait()

    messages = []
    for attempt in (lambda: model.infer(image), several):
        try:
            attempt()
        except DeviceEnvironmentError as failure:
            messages.append(str(failure))
    return messages


def used_once(xml: Path, image: Any) -> None:
    """A model that is let go right after its last answer: on a thread of its own, that would end the process."""
    model, answers = interface.load(xml, SETTINGS), []

    def on_done(number: int, answer: Callable[[], Any]) -> None:
        answers.append((model.version, answer()))

    queue = model.queue(on_done)
    for number in range(8):
        queue.submit(number, image)
    queue.wait()
    queue.close()


def main(xml: str, inputs: str, *failing: str) -> None:
    """Print everything."""
    images = np.load(inputs)
    model = interface.load(Path(xml), SETTINGS)
    result: dict[str, Any] = {"together": together(model, images), "raising": callback_that_raises(model, images[0])}
    result["spare"] = with_spare(model)
    for path in failing:
        result["failing"] = inference_that_fails(interface.load(Path(path), SETTINGS), images[0])
    for _ in range(LET_GO):
        used_once(Path(xml), images[0])
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
