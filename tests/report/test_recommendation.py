from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from toolkit.artifacts.bench import BenchRecord
from toolkit.artifacts.bundle import Bundle, BundleCheck, IrModel, LayerError, LayerErrorReport
from toolkit.artifacts.dataset import Split
from toolkit.artifacts.fleet import Deployment
from toolkit.artifacts.model import TrainedModel
from toolkit.experiment.schema import Experiment
from toolkit.report.charts import pareto
from toolkit.report.data import paired_tests
from toolkit.report.data.load import ReportData, load_report
from toolkit.report.recommendation import ACCURACY_SHARE, recommend_model
from toolkit.report.tables import lineage, results_tables
from toolkit.store import Store
from toolkit.workspace import Workspace


@pytest.fixture
def read_report(workspace: Workspace, store: Store, experiment: Experiment) -> Callable[[], ReportData]:
    return lambda: load_report(workspace, store, experiment)


def state(report: ReportData, title: str) -> str:
    return next(check.state for check in recommend_model(report).checks if check.title == title)


def test_recommend_model_takes_the_fastest_of_the_accurate(read_report: Callable[[], ReportData]) -> None:
    report = read_report()
    choice = recommend_model(report).choice
    assert choice is not None
    best = max(variant.accuracy for variant in report.variants)
    rivals = [v.slowest_ms for v in report.variants if v.accuracy >= ACCURACY_SHARE * best and v.slowest_ms]
    assert choice.accuracy >= ACCURACY_SHARE * best
    assert choice.slowest_ms == min(rivals)


def test_recommend_model_says_what_keeps_one_from_trusting_it(read_report: Callable[[], ReportData]) -> None:
    recommendation = recommend_model(read_report())
    texts = {check.title: check.text for check in recommendation.checks}
    assert "Synthetic masks" in texts["Data"]
    assert "Quick runs" in texts["Speed"]
    assert "1 run broke a rule (throttled) and is left out" in texts["Speed"]
    assert "x86_64, not on Raspberry Pis" in texts["Devices"]
    assert "MobileNet · sigmoid · top layers" in texts["Training"]
    assert recommendation.state == "warning"
    assert recommendation.trust == "With care: see data, accuracy, training, speed, devices and deployment."


def test_recommend_model_says_on_which_device_it_is_fastest(read_report: Callable[[], ReportData]) -> None:
    assert recommend_model(read_report()).where.startswith("pi-1 is the fastest of 3, with ")


def test_recommend_model_distrusts_choice_when_training_warned(
    store: Store, read_report: Callable[[], ReportData]
) -> None:
    choice = recommend_model(read_report()).choice
    assert choice is not None
    store.put(dataclasses.replace(choice.model, warnings=("the validation loss only rises. Usual causes: many",)))
    recommendation = recommend_model(read_report())
    assert state(read_report(), "Training") == "bad"
    assert recommendation.trust == "Not yet: training failed."


def test_training_check_tells_withheld_stages_from_failed(store: Store, read_report: Callable[[], ReportData]) -> None:
    reason = "no better than top on the validation images"
    for model in read_report().models:
        warnings, withheld = ((f"not offered: {reason}",), reason) if model.stage == "fine-tune" else ((), "")
        store.put(dataclasses.replace(model, warnings=warnings, withheld=withheld))
    (check,) = (check for check in recommend_model(read_report()).checks if check.title == "Training")
    assert "no better than the stage before" in check.text
    assert "learned nothing" not in check.text


@pytest.mark.parametrize(
    ("note", "expected"), [("synthetic masks", "warning"), ("", "good"), ("stand-in for the paper's images", "warning")]
)
def test_recommend_model_minds_what_the_data_are(
    store: Store, read_report: Callable[[], ReportData], note: str, expected: str
) -> None:
    store.put(dataclasses.replace(store.all(Split)[0], note=note))
    check = next(check for check in recommend_model(read_report()).checks if check.title == "Data")
    assert check.state == expected
    assert note.lower() in check.text.lower()


def test_recommend_model_sees_devices_when_model_is_another(
    store: Store, read_report: Callable[[], ReportData]
) -> None:
    choice = recommend_model(read_report()).choice
    assert choice is not None
    assert choice.bundle is not None
    for n, device in enumerate(("pi-1", "pi-2", "pi-3")):
        deployment = dataclasses.replace(store.all(Deployment)[0], digest=f"{n:064}", parent=choice.bundle.digest)
        store.put(dataclasses.replace(deployment, device=device, at="2026-11-21T00:00:00+00:00"))
    assert state(read_report(), "Deployment") == "good"


def test_recommend_model_ships_none_when_all_conversions_failed(
    store: Store, read_report: Callable[[], ReportData]
) -> None:
    for ir in store.all(IrModel):
        store.put(dataclasses.replace(ir, parity=dataclasses.replace(ir.parity, passed=False)))
    recommendation = recommend_model(read_report())
    assert recommendation.choice is None
    assert recommendation.headline == "No model can be recommended yet"


def test_recommend_model_trusts_devices_when_raspberry_pis(store: Store, read_report: Callable[[], ReportData]) -> None:
    for record in store.all(BenchRecord):
        facts = {**record.facts, "model": "Raspberry Pi 4 Model B Rev 1.4", "machine": "aarch64"}
        store.put(dataclasses.replace(record, facts=facts))
    assert state(read_report(), "Devices") == "good"


def test_recommend_model_distrusts_devices_when_below_the_gate(
    store: Store, read_report: Callable[[], ReportData]
) -> None:
    for record in store.all(BenchRecord):
        if record.scenario == "accuracy":
            store.put(dataclasses.replace(record, accuracy=0.9))
    assert state(read_report(), "Same on the device") == "bad"


def test_pair_counts_the_images_that_one_alone_got_right(store: Store) -> None:
    first, second = store.all(TrainedModel)[:2]
    judged = {
        name: dataclasses.replace(model.evaluation, predictions=predictions)
        for name, model, predictions in (("a", first, (0, 1, 0, 0)), ("b", second, (0, 0, 1, 1)))
    }
    one = dataclasses.replace(first, evaluation=judged["a"])
    other = dataclasses.replace(second, evaluation=judged["b"])
    result = paired_tests.pair(one, other, (0, 1, 1, 1))
    assert result is not None
    assert (result.only_first, result.only_second, result.difference) == (1, 2, 0.25)
    assert result.p_value == 1.0
    assert paired_tests.pair(one, other, ()) is None


def test_heads_compares_heads_per_network_and_stage(read_report: Callable[[], ReportData]) -> None:
    pairs = list(paired_tests.heads(read_report()))
    assert [(p.first.head, p.second.head) for p in pairs] == [("sigmoid", "softmax")] * 4
    for pair in pairs:
        gap = pair.second.evaluation.accuracy - pair.first.evaluation.accuracy
        assert pair.difference == pytest.approx(gap)
        assert pair.interval[0] <= pair.difference <= pair.interval[1]


def test_recommend_model_says_what_checks_without_a_device_found(
    store: Store, read_report: Callable[[], ReportData]
) -> None:
    bundle = store.all(Bundle)[0]
    bundle_check = BundleCheck(
        digest="a" * 64,
        parent=bundle.digest,
        name="ncs2",
        outcome="passed",
        message="a blob of 9.5 MB",
        details={},
        at="",
    )
    store.put(bundle_check)
    assert state(read_report(), "Bundles") == "good"
    (row,) = lineage.checks(read_report()).rows
    assert [cell.text for cell in row[1:]] == ["ncs2", "passed", "a blob of 9.5 MB"]
    store.put(dataclasses.replace(bundle_check, outcome="failed"))
    assert state(read_report(), "Bundles") == "bad"


def test_networks_compares_the_best_at_their_last_stage(read_report: Callable[[], ReportData]) -> None:
    pairs = list(paired_tests.networks(read_report()))
    assert [(p.first.network, p.second.network, p.first.stage) for p in pairs] == [
        ("efficientnet_lite0", "mobilenet", "fine-tune")
    ] * 2
    for pair, row in zip(pairs, results_tables.networks(pairs).rows, strict=True):
        gap = 100 * (pair.first.evaluation.accuracy - pair.second.evaluation.accuracy)
        assert row[4].text == f"{gap:+.1f}"


def test_layer_errors_shows_the_layers_where_a_form_departs_most(
    store: Store, read_report: Callable[[], ReportData]
) -> None:
    assert lineage.layer_errors(read_report()).rows == ()
    layer = LayerError(name="conv_1", kind="Convolution", error=2e-3, added_error=1.5e-3, largest=6.0)
    bundle_check = LayerErrorReport(
        digest="c" * 64,
        parent=store.all(IrModel)[0].digest,
        bundle="x",
        image="0001.png",
        difference=1e-3,
        threshold=1e-3,
        first=layer,
        largest_increases=(layer,),
        layers=(layer,),
    )
    store.put(bundle_check)
    (row,) = lineage.layer_errors(read_report()).rows
    assert [cell.text for cell in row[1:]] == ["conv_1", "Convolution", "0.0015", "0.002", "6.00"]
    assert row[1].href == "raw/layer-errors-cccccccccccc.json"


def with_accuracy(store: Store, accuracy: float) -> None:
    """Give every converted model this accuracy, and its Keras model predictions to match."""
    for model in store.all(TrainedModel):
        predictions = tuple(n % 2 if n < 160 * accuracy else 1 - n % 2 for n in range(160))
        store.put(dataclasses.replace(model, evaluation=dataclasses.replace(model.evaluation, predictions=predictions)))
    for ir in store.all(IrModel):
        store.put(dataclasses.replace(ir, parity=dataclasses.replace(ir.parity, accuracy=accuracy)))


@pytest.fixture
def tied(store: Store) -> None:
    """All models alike in accuracy, speed and size; the one with the sigmoid has fewer parameters."""
    with_accuracy(store, 0.95)
    for record in store.all(BenchRecord):
        store.put(dataclasses.replace(record, samples_ms=(), scenario="accuracy"))
    for ir in store.all(IrModel):
        store.put(dataclasses.replace(ir, size_bytes=1_000_000))
    for model in store.all(TrainedModel):
        fewer = model.head == "sigmoid" and model.stage == "top"
        store.put(dataclasses.replace(model, parameters=1_000 - fewer))


@pytest.mark.usefixtures("tied")
def test_recommend_model_names_the_simplest_of_a_tie(read_report: Callable[[], ReportData]) -> None:
    recommendation = recommend_model(read_report())
    assert recommendation.choice
    assert recommendation.choice.bundle
    assert recommendation.choice.model.parameters == min(variant.model.parameters for variant in read_report().variants)
    assert recommendation.headline.endswith(", one of a tie")
    assert "It is a tie: neither accuracy, speed nor size distinguishes it from " in recommendation.reason
    assert recommendation.reason.endswith("This one is named because none of them has fewer parameters.")


def test_recommend_model_takes_fp16_when_as_good_and_half_size(
    store: Store, read_report: Callable[[], ReportData]
) -> None:
    for record in store.all(BenchRecord):
        bundle = store.get(Bundle, record.parent)
        assert bundle
        slow = 1.03 if bundle.precision == "fp16" else 1.0
        store.put(dataclasses.replace(record, samples_ms=tuple(4.0 * slow for _ in record.samples_ms)))
    choice = recommend_model(read_report()).choice
    assert choice
    assert choice.ir.precision == "fp16"


def test_recommend_model_names_nothing_at_chance_level(store: Store, read_report: Callable[[], ReportData]) -> None:
    with_accuracy(store, 0.52)
    recommendation = recommend_model(read_report())
    assert recommendation.choice is None
    assert "chance level" in recommendation.reason
    for axis in ("latency", "rate"):
        assert all(panel.frontier == () for panel in pareto.panels(read_report(), axis))


def test_recommend_model_names_none_when_test_data_differ(store: Store, read_report: Callable[[], ReportData]) -> None:
    model = store.all(TrainedModel)[-1]
    store.put(dataclasses.replace(model, parent="another split"))
    assert "tested on different data" in recommend_model(read_report()).reason


def test_recommend_model_says_what_was_not_asked(read_report: Callable[[], ReportData]) -> None:
    (check,) = (check for check in recommend_model(read_report()).checks if check.title == "Bundles")
    assert (check.state, check.text) == ("none", "Not checked: `toolkit check` was not run.")
