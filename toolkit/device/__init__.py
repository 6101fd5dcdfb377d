"""The device code: all that runs on a device, and nothing else of the toolkit.

It ships inside each release as `device/` and runs there as `python -m device COMMAND`; in the repository it runs as
`python -m toolkit.device COMMAND`. Python 3.9 or later; the standard library, NumPy, OpenCV and OpenVINO (2021.4, 2022
or current) are all it imports.
"""

import sys

# OpenVINO tells Intel of its use when it is imported, from a fork of this process. Without this module it tells nobody.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # so that importing it fails
