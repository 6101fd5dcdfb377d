"""Messages of the real plugins, and what is made of them; how each is known is in error_messages.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from toolkit.device.errors import DeviceEnvironmentError
from toolkit.device.runtime import error_messages, ncs2_usb

SEEN = {
    "Unknown model format! Cannot find reader for model format: xml and read the model: model.xml. Please check that reader "
    "library exists in your PATH.": "OpenVINO 2021 reads IR version 10",
    'Device with "MYRIAD" name is not registered in the InferenceEngine': "does not drive a Neural Compute Stick",
    'Device with "MYRIAD" name is not registered in the OpenVINO Runtime': "does not drive a Neural Compute Stick",
    "Exception from src/inference/src/cpp/core.cpp:117:\nException from src/inference/src/dev/core_impl.cpp:706:\nDevice with "
    '"MYRIAD" name is not registered in the OpenVINO Runtime\n\n': "does not drive a Neural Compute Stick",
    "Failed to create plugin /x/libmyriadPlugin.so for device MYRIAD\nPlease, check your environment\nCannot load library "
    "'/x/libmyriadPlugin.so': /lib/x86_64-linux-gnu/libusb-1.0.so.0: file too short\n": "needs libusb",
    "Failed to create plugin libmyriadPlugin.so for device MYRIAD\nPlease, check your environment\nCannot load library "
    "'libmyriadPlugin.so': libmyriadPlugin.so: cannot open shared object file: No such file or directory\n": "cannot be loaded",
    "Myriad device: 1.2-ma2480 not found.": "no free stick has that name",
    "Can not init Myriad device: NC_ERROR": "no Neural Compute Stick is plugged in",
    "Can not init Myriad device: NC_MVCMD_NOT_FOUND": "firmware is not where the MYRIAD plugin is",
    "[ GENERAL_ERROR ] \n/home/jenkins/x/myriad_executor.h:67 Cannot get a revision from not booted device": "was lost",
}
"""Said here, by the plugin itself or by it to the libusb of stick.c."""

READ = {
    "No device was detected": "no Neural Compute Stick is plugged in",
    "NC_DEVICE_NOT_FOUND": "no Neural Compute Stick is plugged in",
    "No devices available.": "no Neural Compute Stick is plugged in",
    "NC_UNAUTHORIZED": "no Neural Compute Stick is plugged in",
    "NC_OUT_OF_MEMORY": "does not fit into the stick's memory",
    "due to not enough memory on device": "does not fit into the stick's memory",
    "The graph file is bigger than the device memory": "does not fit into the stick's memory",
    "Not enough memory to allocate intermediate tensors on remote device": "does not fit into the stick's memory",
    "NC_UNSUPPORTED_GRAPH_FILE": "of different releases",
    "NC_UNSUPPORTED_CONFIGURATION_FILE": "of different releases",
    "The device didn't accept the graph": "of different releases",
    "Maximum number of networks reached for device: ": "as many networks as it can",
    "Failed to compile layer": "refuses a layer",
    "X_LINK_ERROR": "does not answer any more",
    "X_LINK_COMMUNICATION_FAIL": "does not answer any more",
    "X_LINK_TIMEOUT": "does not answer any more",
    "NC_MYRIAD_ERROR": "does not answer any more",
    "Failed to queue inference: ": "does not answer any more",
    "Failed to read output from FIFO: ": "does not answer any more",
}
"""Strings of libmyriadPlugin.so of 2021.4.2; tests/device/test_legacy_openvino.py sees that they are in it."""


@pytest.mark.parametrize("message", [*SEEN, *READ])
def test_explain_says_what_it_means_and_what_to_do(message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ncs2_usb, "find", list)
    error = error_messages.translate(message, "MYRIAD", "model.xml")
    assert (SEEN | READ)[message] in error.what
    assert f"(OpenVINO: {' '.join(message.split())})" in error.what
    assert error.remedy
    assert (error.where, error.exit_code) == ("model.xml", 4)


def test_explain_keeps_message_when_it_is_unknown() -> None:
    error = error_messages.translate("something\n  else", "CPU")
    assert error.what == "OpenVINO cannot use it on CPU: something else"
    assert "probe" in error.remedy


def test_known_errors_each_have_a_message() -> None:
    messages = {
        error.pattern
        for error in error_messages.KNOWN_ERRORS
        if any(_matches(error, message) for message in SEEN | READ)
    }
    assert messages == {error.pattern for error in error_messages.KNOWN_ERRORS}
    for error in error_messages.KNOWN_ERRORS:
        assert any(_matches(error, message) for message in (READ if error.known == "read" else SEEN))


def _matches(error: error_messages.KnownError, message: str) -> bool:
    return re.search(error.pattern, " ".join(message.split())) is not None


@pytest.mark.parametrize("missing", ["model.xml", "model.bin"])
def test_check_files_names_the_one_that_is_missing(tmp_path: Path, missing: str) -> None:
    for name in {"model.xml", "model.bin"} - {missing}:
        (tmp_path / name).touch()
    with pytest.raises(DeviceEnvironmentError, match=f"{missing}: is missing"):
        error_messages.require_ir_files(tmp_path / "model.xml")
