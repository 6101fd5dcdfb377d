from __future__ import annotations

import json
from typing import Any

import pytest

from toolkit.cli.main import main


@pytest.fixture
def run(shared_trained: Any, capsys: pytest.CaptureFixture[str]) -> Any:
    """run(words…): the exit code, what is on stdout, and stderr."""

    def call(*text: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([*text, "--workspace", str(shared_trained.workspace.root)])
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return call


@pytest.mark.slow
def test_convert_bundles_what_was_asked_for_when_named(run: Any, shared_trained: Any) -> None:
    code, out, _ = run("convert", "tiny-softmax-top", "--json")
    made = json.loads(out)
    assert (code, [entry["bundle"]["name"] for entry in made]) == (
        0,
        ["tiny-softmax-top-fp32", "tiny-softmax-top-fp16"],
    )
    code, out, err = run("convert", shared_trained.softmax.path, "--precision", "fp32")
    assert (code, "already done" in err, "tiny-softmax-top-fp32" in out, "drawn images" in out) == (
        0,
        True,
        True,
        True,
    )
    assert run("convert", shared_trained.softmax.digest[:10], "--precision", "fp32")[0] == 0


def test_convert_lists_the_models_when_the_name_is_wrong(run: Any) -> None:
    code, _, err = run("convert", "vgg99")
    assert code == 2
    assert "tiny-sigmoid-top" in err


def test_inspect_leads_from_a_folder_of_images_to_the_data_verb(run: Any, shared_trained: Any) -> None:
    images = shared_trained.workspace.root / "data" / "drawn"
    code, _, err = run("inspect", str(images))
    assert code == 2
    assert f"toolkit data inspect {images}" in err


@pytest.mark.slow
def test_check_passes_when_the_bundle_is_whole_and_fails(run: Any, shared_trained: Any) -> None:
    run("convert", "tiny-sigmoid-top", "--precision", "fp16")
    code, out, _ = run("check", "tiny-sigmoid-top-fp16", "--json")
    result = json.loads(out)
    assert (code, {c["name"]: c["outcome"] for c in result["checks"]}["golden"]) == (0, "passed")
    folder = shared_trained.workspace.root / "bundles" / result["bundle"]
    labels = (folder / "labels.txt").read_bytes()
    (folder / "labels.txt").write_bytes(labels[:-1])
    code, out, _ = run("check", result["bundle"])
    assert code == 1
    assert "labels.txt has 10 bytes" in out
    (folder / "labels.txt").write_bytes(labels)


@pytest.mark.slow
def test_inspect_counts_when_given_a_model_a_bundle_or_a_file(run: Any, shared_trained: Any) -> None:
    run("convert", "tiny-softmax-top", "--precision", "fp16")
    totals = set()
    for text in ("tiny-softmax-top-fp16", "tiny-softmax-top"):
        code, out, _ = run("inspect", text, "--json")
        assert code == 0
        totals.add(json.loads(out)["multiply_adds"])
    assert len(totals) == 1
    assert "GroupConvolution" in run("inspect", "tiny-softmax-top")[1]
