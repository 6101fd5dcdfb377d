"""The page as a reader meets it: at a desk and on a phone, by day and by night, in a real browser."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from toolkit.report import Report

pytestmark = pytest.mark.browser

LOOKS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]

NAMELESS = """() => [...document.querySelectorAll("svg:not([aria-hidden]), img, [role=img], [role=region], nav, section")]
  .filter(e => !e.closest("[aria-hidden=true]"))
  .filter(e => !e.getAttribute("aria-label") && !e.getAttribute("aria-labelledby") && !e.getAttribute("alt"))
  .map(e => e.outerHTML.slice(0, 120))"""

OVERFLOWING = """() => [...document.querySelectorAll("body *")]
  .filter(e => !e.closest(".box, .scroll, .commands, .vh, .skip, svg"))
  .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map(e => e.outerHTML.slice(0, 120))"""

SIDEWAYS = """() => [...document.querySelectorAll(".box, .scroll, .commands, table")]
  .filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "none")
  .map(e => e.outerHTML.slice(0, 120))"""

CLIPPED = """() => [...document.querySelectorAll("svg")].filter(s => s.getClientRects().length).flatMap(svg => {
  const box = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter(t => t.getBoundingClientRect().left < box.left - 2
    || t.getBoundingClientRect().right > box.right + 2).map(t => t.textContent);
})"""

HEADERS = """() => [...document.querySelectorAll("table")].filter(t => !t.caption
  || [...t.querySelectorAll("th")].some(h => !h.getAttribute("scope"))).length"""


FOCUSABLE = """() => {
  const places = [...document.querySelectorAll("a[href], summary, [tabindex]")].filter(e => e.getClientRects().length);
  places.forEach((e, n) => { e.dataset.number = n; });
  return places.map((_, n) => n);
}"""

FOCUSED = """() => {
  const e = document.activeElement;
  if (!e || e === document.body) return null;
  const style = getComputedStyle(e);
  return {number: +e.dataset.number, html: e.outerHTML.slice(0, 120), outlined: style.outlineStyle !== "none"};
}"""


@dataclass
class Visit:
    page: Any
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module", params=LOOKS, ids=[f"{width}-{scheme}" for width, scheme in LOOKS])
def visit(browser: Any, furnished: Report, request: pytest.FixtureRequest) -> Iterator[Visit]:
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    visit = Visit(context.new_page())
    visit.page.on("console", lambda message: visit.console.append(message.text))
    visit.page.on("pageerror", lambda error: visit.console.append(str(error)))
    visit.page.on("request", lambda sent: visit.requests.append(sent.url))
    visit.page.goto(furnished.index.as_uri())
    visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    yield visit
    context.close()


def test_page_scrolls_only_down(visit: Visit) -> None:
    assert visit.page.evaluate(OVERFLOWING) == []
    wide = visit.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert not wide


def test_page_cuts_no_column_on_a_phone(visit: Visit) -> None:
    if visit.page.viewport_size["width"] == 390:
        assert visit.page.evaluate(SIDEWAYS) == []


def test_page_is_at_most_half_as_long_until_unfolded(visit: Visit) -> None:
    height = "document.documentElement.scrollHeight"
    unfolded = visit.page.evaluate(height)
    visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = false)")
    folded = visit.page.evaluate(height)
    visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert folded <= unfolded / 2


def test_page_has_one_name_for_each_section(visit: Visit) -> None:
    links = visit.page.evaluate("[...document.querySelectorAll('nav a')].map(a => a.textContent)")
    headings = visit.page.evaluate("[...document.querySelectorAll('section.part h2')].map(h => h.textContent)")
    assert links == headings


def test_page_asks_for_nothing_but_itself(visit: Visit, furnished: Report) -> None:
    assert [url for url in visit.requests if not url.startswith("data:")] == [furnished.index.as_uri()]
    assert visit.console == []


def test_page_reads_well_in_both_themes(visit: Visit, contrasts: str) -> None:
    assert visit.page.evaluate(contrasts) == {}


def test_page_names_its_images_and_places(visit: Visit) -> None:
    assert visit.page.evaluate(NAMELESS) == []
    assert visit.page.evaluate(HEADERS) == 0
    assert visit.page.evaluate("document.documentElement.lang") == "en"


def test_page_cuts_no_text_in_its_charts(visit: Visit) -> None:
    assert visit.page.evaluate(CLIPPED) == []


def test_page_steps_down_its_headings_one_at_a_time(visit: Visit) -> None:
    levels = visit.page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_page_shows_where_the_keyboard_is(visit: Visit) -> None:
    visit.page.keyboard.press("Tab")
    outline = "getComputedStyle(document.activeElement).outlineStyle + ' ' + document.activeElement.textContent"
    assert visit.page.evaluate(outline) == "solid Skip to the report"
    visit.page.evaluate("document.activeElement.blur()")


def test_page_shows_each_chart_once(visit: Visit) -> None:
    shown = visit.page.evaluate(
        "[...document.querySelectorAll('svg.wide, svg.narrow')].filter(s => s.getClientRects().length)"
        ".map(s => s.getAttribute('aria-label'))"
    )
    assert shown
    assert len(shown) == len(set(shown))


def test_page_is_walked_through_by_the_keyboard_alone(browser: Any, furnished: Report) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(furnished.index.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    places = set(page.evaluate(FOCUSABLE))
    reached: list[dict[str, Any]] = []
    for _ in places:
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUSED))
    assert {each["number"] for each in reached} == places
    assert [each["html"] for each in reached if not each["outlined"]] == []
    page.close()


def test_page_prints_all_of_it_on_paper(browser: Any, furnished: Report, contrasts: str) -> None:
    page = browser.new_page(viewport={"width": 794, "height": 1123}, color_scheme="dark")
    page.goto(furnished.index.as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate(OVERFLOWING) == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(
        "[...document.querySelectorAll('details:not(#records) table')].every(t => t.getClientRects().length)"
    )
    assert page.evaluate("document.querySelector('nav').getClientRects().length") == 0
    assert page.evaluate(contrasts) == {}
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()
