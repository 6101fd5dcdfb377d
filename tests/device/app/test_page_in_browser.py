"""The live page as a person meets it: through SSH on a device of a local fleet, in a real browser."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from toolkit.artifacts.fleet import Device
from toolkit.deploy import deploy
from toolkit.fleet.app_tunnel import open_app
from toolkit.fleet.local_fleet import control

from .conftest import TOKEN, Serve

pytestmark = pytest.mark.browser

LOOKS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def url(local_fleet: control.LocalFleet, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app of a device that holds two releases, seen from here."""
    device: Device = local_fleet.devices[0]
    other = tmp_path_factory.mktemp("bundle") / "other"
    shutil.copytree(tiny_bundle, other)
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(manifest | {"name": "other-softmax-top-fp16", "precision": "fp16"}))
    for bundle in (other, tiny_bundle):
        done = deploy(bundle, [device])
        assert not done.failed, done.failed
    with open_app(device) as seen:
        yield seen.url


@dataclass
class Visit:
    page: Any
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def until(self, expression: str) -> None:
        """Wait for it; not by wait_for_function, whose eval the page's own policy forbids."""
        deadline = time.monotonic() + 60
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, expression
            self.page.wait_for_timeout(50)

    def text(self, name: str) -> str:
        return str(self.page.locator(f"#{name}").text_content())


@pytest.fixture(params=LOOKS, ids=[f"{width}-{scheme}" for width, scheme in LOOKS])
def visit(browser: Any, url: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    visit = Visit(context.new_page())
    visit.page.on("console", lambda message: visit.console.append(message.text))
    visit.page.on("pageerror", lambda error: visit.console.append(str(error)))
    visit.page.on("request", lambda sent: visit.requests.append(sent.url))
    visit.page.goto(url, wait_until="commit")
    visit.until("document.getElementById('model')?.options.length > 1")  # the page may not be parsed yet
    visit.until("parseFloat(document.getElementById('fps').textContent) > 0")
    yield visit
    context.close()


def test_page_shows_label_speed_and_image_without_errors(visit: Visit, url: str) -> None:
    visit.until("['dark', 'light'].includes(document.getElementById('label').textContent)")
    visit.until("document.getElementById('stream').naturalWidth === 640")
    assert visit.text("name") == "tiny-softmax-top-fp32"
    assert visit.text("accelerator").startswith("CPU")
    assert visit.page.locator("#ranking li").count() == 2
    assert visit.page.locator("#ranking progress").first.evaluate("bar => bar.value") > 0.5
    assert visit.console == []
    assert {sent for sent in visit.requests if not sent.startswith((url, "data:"))} == set()


def test_page_fits_the_screen_and_names_what_is_on_it(visit: Visit) -> None:
    wide = (
        "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert visit.page.evaluate(wide) == 0
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    nameless = """[...document.querySelectorAll('img, section, select, progress')].filter(e => !e.alt
      && !e.getAttribute('aria-label') && !e.getAttribute('aria-labelledby') && !e.labels?.length
      && !e.querySelector('h2')).map(e => e.outerHTML)"""
    assert visit.page.evaluate(nameless) == []
    assert visit.page.evaluate("document.querySelectorAll('h1').length") == 1


def test_page_has_ink_that_can_be_read(visit: Visit, contrasts: str) -> None:
    assert visit.page.evaluate(contrasts) == {}


def test_page_classifies_an_image_of_the_users(visit: Visit) -> None:
    jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 220, np.uint8))[1].tobytes()
    for content, expected in ((jpeg, "%"), (b"no image", "image")):
        visit.page.locator("#own").set_input_files({"name": "x.jpg", "mimeType": "image/jpeg", "buffer": content})
        visit.until(f"document.getElementById('tried').textContent.includes('{expected}')")


def test_page_saves_a_snapshot_and_links_to_the_api(visit: Visit) -> None:
    visit.until("document.getElementById('stream').naturalWidth === 640")
    with visit.page.expect_download() as saved:
        visit.page.locator("#snapshot").click()
    image = cv2.imread(str(saved.value.path()))
    assert image is not None
    assert image.shape == (480, 640, 3)
    links = visit.page.locator("header nav a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert links == ["openapi.json", "metrics"]


def test_page_says_unsure_when_no_class_reaches_half(visit: Visit) -> None:
    for probability, more, expected in (
        (0.49, {}, "unsure: cat?"),
        (0.5, {}, "cat"),
        (0.4, {"unknown": True}, "unknown (cat?)"),
        (0.4, {"labels": []}, "none of them"),
    ):
        latest = {"ranking": [{"label": "cat", "probability": probability}], **more}
        assert visit.page.evaluate("named", latest) == expected


def test_page_dims_an_old_answer_and_shows_its_age(visit: Visit) -> None:
    old = """() => { events.close(); seen.state.latest.age_s = 300; age();
      return [label.className, document.getElementById('age').textContent]; }"""
    assert visit.page.evaluate(old) == ["old", "last result 5 min ago"]


def test_page_switches_the_model_by_keyboard(visit: Visit) -> None:
    page = visit.page
    page.locator("#model").focus()
    page.keyboard.press("ArrowUp" if page.locator("#model").evaluate("e => e.selectedIndex") else "ArrowDown")
    visit.until("document.getElementById('name').textContent === 'other-softmax-top-fp16'")
    visit.until("['dark', 'light'].includes(document.getElementById('label').textContent)")
    visit.until("!document.getElementById('model').disabled")
    page.locator("#model").select_option(index=1)
    visit.until("document.getElementById('name').textContent === 'tiny-softmax-top-fp32'")
    assert visit.console == []


def test_login_page_names_the_device_and_leads_to_the_page(
    browser: Any, serve: Serve, root: Path, token_file: Path
) -> None:
    app = serve(root / "current", "--token-file", token_file)
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(app.url)
    assert page.locator("h1").text_content() == f"Log in to {socket.gethostname()}"
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button").click()
    assert page.get_by_role("alert").text_content() == "Wrong token."
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button").click()
    assert page.locator("#snapshot").is_visible()
    page.close()
