from __future__ import annotations

import dataclasses
import json

from toolkit.experiment.schema import Experiment
from toolkit.networks.inspection import KerasInspection, KerasLayer, Separation
from toolkit.report.data.load import load_report
from toolkit.report.tables import model_size
from toolkit.store import Store
from toolkit.workspace import Workspace

COUNTS = KerasInspection(
    layers=(
        KerasLayer(
            name="conv_dw_1", kind="DepthwiseConv2D", shape=(None, 8, 8, 32), parameters=288, multiply_adds=18432
        ),
    ),
    parameters=2400,
    multiply_adds=149504,
    separations=(
        Separation(
            depthwise="conv_dw_1",
            pointwise="conv_pw_1",
            kernel=(3, 3),
            filters=64,
            multiply_adds=149504,
            plain_multiply_adds=1179648,
        ),
    ),
    depthwise_saving=7.89,
)


def test_counted_leaves_out_models_whose_files_are_gone(
    workspace: Workspace, store: Store, experiment: Experiment
) -> None:
    assert model_size.counted(load_report(workspace, store, experiment), workspace) == ()


def test_counted_takes_what_was_counted_before(workspace: Workspace, store: Store, experiment: Experiment) -> None:
    report = load_report(workspace, store, experiment)
    model = next(model for model in reversed(report.models) if model.network == "mobilenet")
    saved = workspace.folder("cache", "layers") / f"{model.digest}.json"
    saved.write_text(json.dumps(dataclasses.asdict(COUNTS)), encoding="utf-8")
    (own,) = model_size.counted(report, workspace)
    assert own.counts == COUNTS
    (row,) = model_size.separations([own]).rows
    assert [cell.text for cell in row[-2:]] == ["0.1267", "0.1267"]
    (row,) = model_size.sizes([own]).rows
    assert row[-1].text == "7.89 times as many"
    assert [layer["multiply_adds"] for layer in model_size.frame([own])] == [18432]
