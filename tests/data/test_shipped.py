"""The experiments that come along: each can be read, and asks only for what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit import networks
from toolkit.data.formats import FORMATS
from toolkit.data.prepare import resolve_paths
from toolkit.experiment.load import load_experiment, shipped_experiment

MODELS = shipped_experiment("demo").parent


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.toml")), ids=lambda path: path.stem)
def test_load_reads_every_shipped_experiment(path: Path) -> None:
    experiment = load_experiment(path)
    assert experiment.name == path.stem
    assert experiment.data.source in FORMATS or experiment.data.source == "synthetic-masks"
    for trial in experiment.trials():
        assert networks.find_network(trial.network).name == trial.network
    if experiment.data.path:
        reported = resolve_paths(experiment.data, experiment.origin).path
        assert reported is not None
        assert reported.is_absolute()


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.toml")), ids=lambda path: path.stem)
def test_cards_name_the_experiment_when_it_uses_their_network(path: Path) -> None:
    for network in load_experiment(path).matrix.networks:
        card = MODELS / "cards" / f"{network.replace('_', '-')}.md"
        assert f"models/{path.name}" in card.read_text(encoding="utf-8")
