"""The labeling page in a real browser, by keyboard alone, in both themes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from toolkit.artifacts.captured_image import CapturedImage
from toolkit.artifacts.labeling import NOT_SURE, UNKNOWN
from toolkit.loop.decisions import standing_decisions
from toolkit.loop.label_queue import LabelQueue
from toolkit.loop.label_server import serve_labels
from toolkit.store import Store
from toolkit.workspace import Workspace

from .conftest import Capturing

pytestmark = pytest.mark.browser

CLASSES = ("blue", "red", *(f"class {number}" for number in range(3, 40)))
OUTLINED = """() => { const e = document.activeElement; return getComputedStyle(e).outlineStyle !== "none" && e.id; }"""


@dataclass
class Visit:
    page: Any
    captures: list[CapturedImage]
    store: Store
    errors: list[str] = field(default_factory=list)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def labels(self) -> list[str | None]:
        """What holds about each capture, once all that was sent is recorded."""
        self.page.evaluate("() => sending")
        standing = standing_decisions(self.store)
        return [(one := standing.get(each.digest)) and (one.label or one.verdict) for each in self.captures]

    def text(self, selector: str) -> str:
        return str(self.page.text_content(selector))


@pytest.fixture(params=["light", "dark"])
def visit(
    browser: Any, request: pytest.FixtureRequest, workspace: Workspace, store: Store, capture: Capturing
) -> Iterator[Visit]:
    captures = [
        capture("red", seed, device=f"pi-{seed % 2}", policy=("unsure", "random")[seed % 2]) for seed in range(8)
    ]
    clusters = {one.digest: 0 for one in captures[4:]}
    queue = LabelQueue("colors", CLASSES, captures, clusters, store, "ann")
    with serve_labels(queue, workspace) as url:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=request.param)
        visit = Visit(context.new_page(), captures, store)
        visit.page.on("console", lambda message: visit.errors.append(message.text))
        visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
        visit.page.goto(url)
        visit.page.wait_for_selector("#classes button")
        yield visit
        context.close()
        assert visit.errors == []


def test_everything_is_done_by_keyboard(visit: Visit, contrasts: str) -> None:
    assert visit.page.evaluate(contrasts) == {}
    assert visit.page.evaluate("document.getElementById('shown').naturalWidth") == 48
    visit.press("2", "x", "n")  # three captures, a key each
    assert visit.labels() == ["red", UNKNOWN, NOT_SURE, None, None, None, None, None]
    assert "3 of 8 labeled" in visit.text("#count")
    visit.press("u", "u")
    visit.page.locator("#count", has_text="1 of 8 labeled").wait_for()
    assert visit.labels() == ["red", *[None] * 7]
    visit.press("ArrowRight", "ArrowRight", "ArrowLeft", "Enter")  # takes the suggestion
    visit.press("a")  # the tenth class has the first letter
    assert visit.labels()[:4] == ["red", None, "red", CLASSES[9]]
    visit.press("ArrowLeft", "/")
    visit.page.keyboard.type("class 39")
    assert visit.page.evaluate(OUTLINED) == "search"
    visit.press("Enter")
    assert visit.labels()[1] == "class 39"
    visit.press("b")
    assert "4 alike" in visit.text("#clustertitle")
    assert "all of these" in visit.text("#clustertitle")
    assert visit.page.evaluate(contrasts) == {}
    visit.press("1")
    assert visit.labels()[4:] == ["blue"] * 4
    assert "4 images: blue" in visit.text("#status")
    visit.press("u")
    visit.page.locator("#status", has_text="Undone: 4 images").wait_for()
    assert visit.labels()[4:] == [None] * 4


def test_filters_are_reached_by_keyboard(visit: Visit) -> None:
    visit.press("f")
    assert visit.page.evaluate(OUTLINED) == "device"
    visit.page.keyboard.type("pi-1")
    visit.press("Tab")
    visit.page.keyboard.type("random")
    assert "1 of 4 shown" in visit.text("#count")
    visit.press("Escape", "2", "2", "2", "2")
    assert visit.labels() == [None, "red"] * 4
    assert "Nothing left" in visit.text("#facts")
    assert visit.page.is_hidden("#shown")


def test_what_is_not_recorded_is_not_shown_as_labeled(visit: Visit) -> None:
    visit.page.route("**/decide", lambda route: route.fulfill(status=500, body="disk full"))
    visit.press("2")
    visit.page.wait_for_selector("#status.bad")
    assert "Not recorded: disk full" in visit.text("#status")
    assert "0 of 8 labeled" in visit.text("#count")
    assert visit.labels() == [None] * 8
    visit.errors[:] = [error for error in visit.errors if "500" not in error]
