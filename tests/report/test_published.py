from __future__ import annotations

import pytest

from toolkit.artifacts import Workspace
from toolkit.errors import ConfigurationError
from toolkit.experiment import Experiment
from toolkit.report import origins, published
from toolkit.report.gather import Gathered, gather
from toolkit.store import Store


@pytest.fixture
def gathered(workspace: Workspace, store: Store, experiment: Experiment) -> Gathered:
    return gather(workspace, store, experiment)


def test_load_holds_every_published_figure_of_face_mask(gathered: Gathered) -> None:
    found = published.load("face-mask", gathered)
    assert (len(found.tests), len(found.inferences)) == (12, 24)
    tests = {(t.network, t.stage, t.head): (t.loss, t.accuracy) for t in found.tests}
    assert tests["inception_v3", "fine-tune", "sigmoid"] == (0.078655010, 0.96655520)
    assert tests["vgg16", "fine-tune", "softmax"] == (0.560469213, 0.88294315)
    rates = {(i.precision, i.network, i.stage, i.head): (i.mask, i.no_mask) for i in found.inferences}
    assert rates["fp16", "inception_v3", "top", "softmax"] == ((10, -93.12), (9, 95.51))
    assert rates["fp32", "mobilenet", "fine-tune", "sigmoid"] == ((31, 79.54), (27, 98.10))
    assert sum(sure < 0 for i in found.inferences for _, sure in (i.mask, i.no_mask)) == 6


def test_load_joins_ours_only_where_we_ran_it(gathered: Gathered) -> None:
    found = published.load("face-mask", gathered)
    assert {test.network for test in found.tests if test.ours} == {"mobilenet"}
    assert {row.network for row in found.inferences if row.ours} == {"mobilenet"}
    shown = origins.published_tests(found)
    assert {row[0].text: row[-1].text == "not run" for row in shown.rows} == {
        "InceptionV3": True,
        "MobileNet": False,
        "VGG16": True,
    }


def test_load_names_what_is_known_when_there_is_no_such_table(gathered: Gathered) -> None:
    with pytest.raises(ConfigurationError, match="face-mask"):
        published.load("face-msk", gathered)
