from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.cli.main import main
from toolkit.fleet import provisioning


def test_playbooks_of_the_package_are_all_there() -> None:
    folder = provisioning.playbook_folder()
    assert {path.stem for path in folder.glob("*.yml")} - {"galaxy"} == set(provisioning.PLAYBOOKS)


def test_provision_refuses_a_playbook_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["provision", "-i", "hosts.yml", "--playbook", "site"])
    assert ended.value.code == 2
    assert "there is no playbook site" in capsys.readouterr().err


@pytest.mark.slow
def test_provision_returns_what_happened_on_each_device(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all: {hosts: {away: {ansible_connection: nothing_of_that_name}}}\n")
    result = provisioning.run_playbook("decommission", tmp_path / "hosts.yml", ["-l", "away"], to_stderr=True)
    assert result.exit_code
    assert result.devices["away"]["ok"] == 0


@pytest.mark.slow
def test_provision_takes_a_list_of_hosts_as_ansible_does() -> None:
    arguments = ["-c", "nothing_of_that_name"]
    result = provisioning.run_playbook("decommission", Path("one,"), arguments, to_stderr=True)
    assert set(result.devices) == {"one"}
