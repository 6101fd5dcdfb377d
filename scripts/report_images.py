# ruff: noqa: INP001 - run by its path
"""Render the README's images of a report in Chromium: `just docs-images [INDEX.html]`, by default the demo's in workspace/.

docs/images/report.png is the top of the page, speed-against-accuracy.png the part of that name.
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
IMAGES = Path(__file__).parents[1] / "docs" / "images"
WIDTH, TOP, PART, MARGIN = 1280, 1000, 640, 28


def draw(page: Page, index: Path) -> None:
    """Render both images, in the light theme."""
    page.goto(index.resolve().as_uri())
    page.screenshot(path=IMAGES / "report.png", clip={"x": 0, "y": 0, "width": WIDTH, "height": TOP})
    heading = page.locator("#speed").bounding_box()
    if heading is None:
        raise SystemExit(f"{index} has no chart of speed against accuracy: measure something first")
    clip = {"x": 0.0, "y": heading["y"] - MARGIN, "width": float(WIDTH), "height": float(PART)}
    page.screenshot(path=IMAGES / "speed-against-accuracy.png", clip=clip, full_page=True)


def main(arguments: list[str]) -> None:
    """Open the report in Chromium and take a screenshot."""
    index = Path(arguments[0]) if arguments else Path("workspace/reports/demo/index.html")
    if not index.is_file():
        raise SystemExit(f"there is no {index}: toolkit demo writes it")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        draw(browser.new_page(viewport={"width": WIDTH, "height": TOP}, color_scheme="light"), index)
        browser.close()
    print(f"drawn: {IMAGES}/report.png and speed-against-accuracy.png")


if __name__ == "__main__":
    main(sys.argv[1:])
