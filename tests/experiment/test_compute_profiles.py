"""Profiles as they are written, found again, and applied to a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.errors import ConfigurationError, MachineError, UsageError
from toolkit.experiment import compute_profiles
from toolkit.experiment.compute_profiles import PAPER, PLAIN, ComputeProfile
from toolkit.workspace import Workspace

TUNED = ComputeProfile(
    name="mobilenet",
    python=Path(sys.executable),
    environment={"OMP_NUM_THREADS": "2"},
    intra_op=2,
    inter_op=1,
    precision="bfloat16",
    batch_size=32,
)


def test_choose_gives_back_the_profile_when_one_was_kept(workspace: Workspace) -> None:
    compute_profiles.save_profile(TUNED, [{"rate": 1.5}], workspace)
    assert compute_profiles.select_profile(None, "mobilenet", workspace) == TUNED
    assert compute_profiles.select_profile("mobilenet", "vgg16", workspace) == TUNED


def test_choose_gives_none_when_the_network_was_not_tuned(workspace: Workspace) -> None:
    compute_profiles.save_profile(TUNED, [], workspace)
    assert compute_profiles.select_profile(None, "vgg16", workspace) == PLAIN
    assert compute_profiles.select_profile("none", "mobilenet", workspace) == PLAIN


def test_choose_lists_what_there_is_when_the_name_is_unknown(workspace: Workspace) -> None:
    compute_profiles.save_profile(TUNED, [], workspace)
    with pytest.raises(UsageError, match=r"(?s)no profile 'papers'.*it has none, paper, mobilenet"):
        compute_profiles.select_profile("papers", "mobilenet", workspace)


@pytest.mark.parametrize("content", ["", "[]", '{"profile": {}}', '{"profile": {"name": "x", "intra_op": "many"}}'])
def test_choose_says_what_to_do_when_the_file_is_no_profile(workspace: Workspace, content: str) -> None:
    path = compute_profiles.save_profile(TUNED, [], workspace)
    path.write_text(content)
    with pytest.raises(ConfigurationError, match="toolkit tune"):
        compute_profiles.select_profile(None, "mobilenet", workspace)


def test_applied_environment_reaches_process_when_started() -> None:
    code = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['TF_NUM_INTRAOP_THREADS'], os.environ['HERE'])"
    environment = TUNED.applied_environment({"HERE": "1", "OMP_NUM_THREADS": "7"})
    done = subprocess.run(TUNED.command("-c", code), env=environment, capture_output=True, check=True, text=True)
    assert done.stdout == "2 2 1\n"


def test_applied_environment_is_the_papers_when_asked_for() -> None:
    assert PAPER.applied_environment({}) == {
        "OMP_NUM_THREADS": "8",
        "KMP_BLOCKTIME": "1",
        "KMP_SETTINGS": "1",
        "KMP_AFFINITY": "granularity=fine,verbose,compact,1,0",
        "TF_NUM_INTRAOP_THREADS": "8",
        "TF_NUM_INTEROP_THREADS": "1",
        "TOOLKIT_PROFILE": "paper",
    }


def test_profiles_of_a_machine_and_of_an_image_on_it_do_not_mix(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_profiles.save_profile(TUNED, {}, workspace)
    monkeypatch.setenv("TOOLKIT_IMAGE", "train")
    assert compute_profiles.select_profile(None, TUNED.name, workspace) == PLAIN
    assert compute_profiles.machine_id().endswith("-train")


def test_command_says_what_to_do_when_the_interpreter_is_gone(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="--profile none"):
        ComputeProfile(name="mobilenet", python=tmp_path / "python").command("-m", "toolkit")
