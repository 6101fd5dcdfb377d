from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.bundle import IrModel
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.model import TrainedModel
from toolkit.experiment.schema import Experiment
from toolkit.report import Report, write_report
from toolkit.report.charts.svg import SERIES
from toolkit.report.data import provenance
from toolkit.report.data.load import load_report
from toolkit.report.render import page
from toolkit.report.render.page import _linked
from toolkit.store import Store
from toolkit.workspace import Workspace

SENTINELS = ("#01010", "#02020")


def html(report: Report) -> str:
    return report.index.read_text(encoding="utf-8")


@pytest.mark.slow
def test_write_report_gives_same_bytes_when_store_is_the_same(
    workspace: Workspace, store: Store, experiment: Experiment, tmp_path: Path, written: Report
) -> None:
    again = write_report(workspace, store, experiment=experiment, destination=tmp_path / "again")
    for path in (written.index, written.markdown, *written.csv):
        assert (again.index.parent / path.name).read_bytes() == path.read_bytes(), path.name


def test_write_report_renders_a_page_once(
    workspace: Workspace, store: Store, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[str] = []

    def render(shown: page.Content, csv_names: Sequence[str]) -> str:
        rendered.append(f"{shown.report.workspace_option} {len(csv_names)}")
        return f"<h1>page {len(rendered)}</h1>"

    monkeypatch.setattr(page, "render", render)
    for _ in range(2):
        written = write_report(workspace, store, experiment=experiment)
        assert html(written) == "<h1>page 1</h1>"
    written.index.write_text("<h1>edited</h1>")
    assert html(write_report(workspace, store, experiment=experiment)) == "<h1>page 2</h1>"
    other = write_report(workspace, store, experiment=experiment, workspace_option=" --workspace other")
    assert html(other) == "<h1>page 3</h1>"


def test_write_report_is_one_small_file_that_needs_nothing_else(written: Report) -> None:
    page = html(written)
    assert written.index.stat().st_size < 1_000_000
    assert not re.search(r"<script|<link(?! rel=\"icon\" href=\"data:)|<img|@import|url\(|https?://", page)
    assert not re.search(r'<image[^>]* href="(?!data:image/jpeg;base64,)', page)


def test_write_report_leads_every_link_to_something_there(written: Report) -> None:
    page = html(written)
    names = re.findall(r'\bid="([^"]+)"', page)
    assert len(names) == len(set(names))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(names)
    files = set(re.findall(r'href="([^"#:]+)"', page))
    beside = {name for name in files if "/" not in name}
    assert beside == {path.name for path in (*written.csv, written.markdown)}
    assert {name for name in files - beside if not (written.index.parent / name).is_file()} == set()


def test_write_report_draws_in_the_pages_own_colors(written: Report) -> None:
    page = html(written)
    assert not [sentinel for sentinel in SENTINELS if sentinel in page]
    assert "var(--s1)" in page
    assert len(SERIES) == 8


def test_write_report_says_synthetic_masks_at_every_figure(written: Report) -> None:
    page = html(written)
    for caption in re.findall(r"<figcaption>.*?</figcaption>", page, re.DOTALL):
        assert "synthetic masks" in caption
    assert "synthetic masks" in written.markdown.read_text(encoding="utf-8")
    assert written.note == "synthetic masks"


def test_write_report_keeps_full_digits_in_its_csv(store: Store, written: Report) -> None:
    with next(path for path in written.csv if path.name == "parity.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(store.all(IrModel))
    assert float(rows[0]["max_abs"]) == 3.1e-6
    assert rows[0]["note"] == "synthetic masks"


@pytest.mark.slow
def test_write_report_escapes_user_text_and_omits_unnamed(
    workspace: Workspace, store: Store, experiment: Experiment
) -> None:
    changed = experiment.model_copy(update={"title": "<script>alert(1)</script> & more", "published": None})
    plain = write_report(workspace, store, experiment=changed)
    assert "<script" not in html(plain)
    assert "&lt;script&gt;alert(1)" in html(plain)
    assert "Published, and ours" not in html(plain)
    assert "published_tests.csv" not in {path.name for path in plain.csv}


@pytest.mark.slow
def test_write_report_shows_models_that_are_only_trained(
    workspace: Workspace, store: Store, experiment: Experiment, tmp_path: Path
) -> None:
    (split,), models = store.all(Split), store.all(TrainedModel)
    with Store(tmp_path / "bare.db") as bare:
        for artifact in (split, *models):
            bare.put(artifact)
        result = write_report(workspace, bare, experiment=experiment)
    page = html(result)
    assert result.headline == "No model can be recommended yet"
    assert [row[3] for row in result.rows] == ["not converted"] * len(models)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r'\bid="([^"]+)"', page))
    assert "The best of those trained is " in page
    assert "May you trust it?" not in page
    files = {name for name in re.findall(r'href="([^"#:]+)"', page) if "/" not in name}
    assert files == {path.name for path in (*result.csv, result.markdown)}


@pytest.mark.parametrize("column", ["Network", "p90, ms", "Test accuracy"])
def test_write_report_sums_up_for_the_terminal(written: Report, column: str) -> None:
    assert column in written.columns
    assert len(written.rows) == 16
    assert written.headline.startswith("Ship ")


@pytest.mark.slow
def test_write_report_shows_results_conditions_and_not_run(
    workspace: Workspace, store: Store, experiment: Experiment, tmp_path: Path
) -> None:
    other = experiment.model_copy(
        update={
            "matrix": experiment.matrix.model_copy(update={"networks": ("efficientnet_lite0", "mobilenet", "vgg16")})
        }
    )
    file = tmp_path / "results" / "masks.md"
    write_report(workspace, store, experiment=other, results=file)
    text = file.read_text(encoding="utf-8")
    assert f"--markdown {file}" in text
    assert "- Not trained: VGG16, sigmoid, top layers and fine-tuning." in text
    assert "- Not on a Raspberry Pi: the devices were container on x86-64." in text
    assert "**Not the same data:** ours is synthetic masks" in text
    for heading in ("Trained models", "Parity", "Devices", "Sigmoid against softmax", "How it was made"):
        assert f"\n## {heading}\n" in text
    assert "index.html" not in text


@pytest.mark.slow
def test_write_report_prints_commands_that_find_the_workspace(
    workspace: Workspace, store: Store, experiment: Experiment, tmp_path: Path
) -> None:
    assert Workspace(Path("workspace")).option == ""
    option = Workspace(Path("my work")).option
    plan = experiment.model_copy(update={"name": "masks", "origin": Path("masks.toml")})
    file = tmp_path / "demo.md"
    result = write_report(workspace, store, experiment=experiment, results=file, workspace_option=option)
    assert "--workspace &#39;my work&#39;" in html(result)
    assert f"--markdown {file} --workspace 'my work'`" in file.read_text(encoding="utf-8")
    report = replace(load_report(workspace, store, experiment), name="masks", plan=plan, workspace_option=option)
    assert "toolkit demo --workspace 'my work'" in provenance.commands(replace(report, name="demo"))
    assert provenance.commands(report).splitlines() == [
        "toolkit run masks.toml --workspace 'my work'",
        "toolkit report masks.toml --workspace 'my work'",
    ]


@pytest.mark.slow
def test_write_report_cuts_long_class_names_everywhere(
    workspace: Workspace, store: Store, experiment: Experiment
) -> None:
    long = "x" * 300
    for model in store.all(TrainedModel):
        classes = tuple(replace(score, label=long) if n else score for n, score in enumerate(model.evaluation.classes))
        evaluation = replace(model.evaluation, classes=classes)
        store.put(replace(model, labels=(model.labels[0], long), evaluation=evaluation))
    page = html(write_report(workspace, store, experiment=experiment))
    assert f'<th scope="col"><span title="{long}">{"x" * 59}…</span></th>' in page
    assert long not in re.sub(r'(title|aria-label)="[^"]*"|<title>[^<]*</title>', "", page)


def test_write_report_lays_every_raw_record_beside_the_page(store: Store, written: Report) -> None:
    files = (written.index.parent / "raw").glob("records-*.json")
    saved = {record["digest"]: record for file in files for record in json.loads(file.read_bytes())["records"]}
    assert {digest: tuple(record["samples_ms"]) for digest, record in saved.items()} == {
        record.digest: record.samples_ms for record in store.all(BenchRecord)
    }
    assert f'href="raw/model-{store.all(TrainedModel)[0].digest[:12]}.json"' in html(written)


def test_render_links_record_file_when_page_has_no_row() -> None:
    shown = '<td id="record-aaa"></td><a href="#record-aaa"></a><a href="#record-bbb"></a>'
    linked = _linked(shown, {"bbb": "raw/records-1.json"})
    assert linked.endswith('<a href="#record-aaa"></a><a href="raw/records-1.json"></a>')
