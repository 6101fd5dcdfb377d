"""The Edge Vision Toolkit: train, convert, deploy and measure image classifiers at the edge."""

import sys

# OpenVINO tells Intel of its use when it is imported and when it converts. It does so from forks of this process, which hang
# if a thread held a lock just then, and outlive it. Without this module it tells nobody.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # so that importing it fails

__version__ = "0.1.0"
