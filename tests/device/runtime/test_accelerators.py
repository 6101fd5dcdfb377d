import pytest

from toolkit.device.runtime import accelerators


@pytest.mark.parametrize(
    ("name", "removable"),
    [("CPU", False), ("AUTO", True), ("MYRIAD", True), ("MYRIAD.1.2-ma2480", True), ("GPU.1", False)],
)
def test_removable_accelerators(name: str, removable: bool) -> None:
    assert accelerators.is_removable(name) is removable


def test_numbered_names_have_the_entry_of_their_kind() -> None:
    assert accelerators.find_accelerator("MYRIAD.1.2-ma2480") is accelerators.NCS2
    assert accelerators.find_accelerator("GPU.1").name == "GPU"
