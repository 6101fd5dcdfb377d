"""The device code: everything that runs on a device, independent of the rest of the toolkit.

It ships inside each release as `device/` and runs there as `python -m device COMMAND`; in the repository it runs as
`python -m toolkit.device COMMAND`. Needs Python 3.9 or later; imports only the standard library, NumPy, OpenCV and
OpenVINO (2021.4, 2022 or current).
"""

import sys

# On import, OpenVINO sends telemetry to Intel from a forked process. Without this module it sends none.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # makes its import fail
