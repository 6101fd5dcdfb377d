from __future__ import annotations

import dataclasses

import pytest

from toolkit.artifacts.dataset import Split
from toolkit.errors import ConfigurationError
from toolkit.experiment.load import load_experiment, shipped_experiment
from toolkit.experiment.schema import Experiment
from toolkit.report.data import device_predictions
from toolkit.report.data.load import ReportData, load_report
from toolkit.report.published import results
from toolkit.report.published.results import PublishedResults, Sheet
from toolkit.report.tables import published_comparison
from toolkit.store import Store
from toolkit.workspace import Workspace


@pytest.fixture
def report(workspace: Workspace, store: Store, experiment: Experiment) -> ReportData:
    return load_report(workspace, store, experiment)


def sheet(result: PublishedResults, name: str) -> Sheet:
    return next(sheet for sheet in result.sheets if sheet.name == name)


def figures(of: Sheet) -> dict[tuple[str, ...], tuple[float, ...]]:
    return {tuple(row.names.values()): tuple(value for _, value in row.figures) for row in of.rows}


def test_load_holds_every_published_figure_of_face_mask(report: ReportData) -> None:
    result = results.load("face-mask", report)
    tests, inferences = figures(sheet(result, "published_tests")), figures(sheet(result, "published_inferences"))
    assert (len(tests), len(inferences)) == (12, 24)
    assert tests["inception_v3", "fine-tune", "sigmoid"] == (0.078655010, 0.96655520)
    assert tests["vgg16", "fine-tune", "softmax"] == (0.560469213, 0.88294315)
    assert inferences["fp16", "inception_v3", "top", "softmax"] == (10, -93.12, 9, 95.51)
    assert inferences["fp32", "mobilenet", "fine-tune", "sigmoid"] == (31, 79.54, 27, 98.10)
    assert sum(value < 0 for row in inferences.values() for value in row) == 6


@pytest.mark.parametrize(
    ("name", "table", "row", "expected"),
    [
        (
            "flowers",
            "published_tests",
            ("inception_v3", "softmax"),
            (0.95625, 0.0406, 0.9962, 0.2777, 0.9115, 14),
        ),
        ("one-node-or-two", "published_heads", ("mobilenet", "sigmoid"), (0.92, 0.55)),
        ("one-node-or-two", "published_heads", ("mobilenet", "softmax"), (0.55, 0.55)),
        ("cifar10", "published_tests", ("mobilenet", "random"), (0.9781, 0.7158)),
        ("cifar10", "published_tests", ("mobilenet", "pretrained"), (0.8181, 0.7326)),
    ],
)
def test_load_holds_published_figures_of_other_experiments(
    report: ReportData, name: str, table: str, row: tuple[str, ...], expected: tuple[float, ...]
) -> None:
    assert figures(sheet(results.load(name, report), table))[row] == expected


@pytest.mark.parametrize(
    "name", ["demo", "face-mask", "flowers", "cifar10", "cifar10-pretrained", "fashion-mnist", "one-node-or-two"]
)
def test_names_know_what_the_experiments_name(name: str) -> None:
    assert load_experiment(shipped_experiment(name)).published in results.names()


def test_load_joins_ours_only_where_we_ran_it(report: ReportData) -> None:
    result = results.load("face-mask", report)
    for each in result.sheets:
        assert {row.names["network"] for row in each.rows if row.ours} == {"mobilenet"}
    shown = published_comparison.tables(result, report)["published_tests"]
    assert {row[0].text: row[-1].text == "not run" for row in shown.rows} == {
        "InceptionV3": True,
        "MobileNet": False,
        "VGG16": True,
    }


def test_load_names_our_network_when_it_differs_from_the_row(report: ReportData) -> None:
    result = results.load("cifar10", report)
    shown = published_comparison.tables(result, report)["published_tests"]
    assert shown.columns[-1] == "Ours is"
    assert [row[-1].text for row in shown.rows] == [
        "MobileNet · sigmoid · fine-tuning",
        "EfficientNet-Lite0 · sigmoid · fine-tuning",
    ]


def test_tables_are_vertical_when_there_is_one_row(report: ReportData) -> None:
    shown = published_comparison.tables(results.load("flowers", report), report)["published_tests"]
    assert shown.columns[2].startswith("Ours, synthetic masks: ")
    assert [row[0].text for row in shown.rows][:2] == ["Accuracy", "Last epoch, loss"]
    assert shown.rows[0][1].text == "95.62 %"


def test_tables_show_negative_confidences_when_wrong(report: ReportData) -> None:
    shown = published_comparison.tables(results.load("face-mask", report), report)["published_inferences"]
    ours = {tuple(cell.text for cell in row[:4]): tuple(cell.text for cell in row[-2:]) for row in shown.rows}
    assert ours["FP16", "MobileNet", "fine-tuning", "sigmoid"] == ("87.50 %", "\N{MINUS SIGN}75.00 %")
    assert ours["FP32", "VGG16", "top layers", "softmax"] == ("not run", "not run")


def test_shown_takes_the_first_logged_image_of_each_class(report: ReportData, store: Store) -> None:
    (split,) = store.all(Split)
    result = device_predictions.shown(report, split.digest)
    assert {label: shown.number for label, shown in result.items()} == {"without_mask": 4, "with_mask": 3}
    assert result["with_mask"].image.sha256[:12] in published_comparison.images_note(report)


@pytest.mark.parametrize(
    ("output", "truth", "expected"),
    [([0.75], 1, 75), ([0.25], 1, -75), ([0.125, 0.875], 1, 87.5), ([1, 0, 0], 2, -100)],
)
def test_signed_confidence_is_of_the_answer_given(output: list[float], truth: int, expected: float) -> None:
    assert device_predictions.signed_confidence(output, truth) == expected


def test_load_matches_data_when_source_and_number_are_equal(
    workspace: Workspace, store: Store, experiment: Experiment, report: ReportData
) -> None:
    assert not results.load("flowers", report).same_data
    (split,) = store.all(Split)
    store.put(dataclasses.replace(split, note="", counts={"test": {"rose": 8189}}))
    data = experiment.data.model_copy(update={"source": "flowers102"})
    same = load_report(workspace, store, experiment.model_copy(update={"data": data}))
    assert results.load("flowers", same).same_data
    assert not results.load("face-mask", same).same_data


def test_load_names_what_is_known_when_there_is_no_such_table(report: ReportData) -> None:
    with pytest.raises(ConfigurationError, match="face-mask"):
        results.load("face-msk", report)
