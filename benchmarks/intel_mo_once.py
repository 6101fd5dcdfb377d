"""One run of Intel's Model Optimizer 2021.4.2, in its own environment on Python 3.9: `intel_mo_once.py FROZEN.pb FOLDER`.

Writes FOLDER/fp32.xml and fp16.xml; the last line it prints is the seconds both took, imports not counted.
"""

from __future__ import annotations

import sys
import time
from importlib import import_module
from pathlib import Path

PRECISIONS = ("fp32", "fp16")


def main() -> None:
    """Import first, then convert."""
    frozen, folder = sys.argv[1:]
    (packages,) = (path for path in sys.path if path.endswith("site-packages"))
    sys.path.insert(0, str(Path(packages, "mo")))
    import_module("tensorflow")  # which the converter imports when it first meets a graph of it
    driver = import_module("mo.main").driver
    get_all_cli_parser = import_module("mo.utils.cli_parser").get_all_cli_parser
    import_module("mo.utils.find_ie_version").find_ie_version(silent=True)
    seconds = 0.0
    for precision in PRECISIONS:
        command = ["--input_model", frozen, "--output_dir", folder, "--model_name", precision, "--silent"]
        options = get_all_cli_parser().parse_args([*command, "--data_type", precision.upper()])
        options.framework = None
        start = time.perf_counter()
        if driver(options) != 0:
            sys.exit(1)
        seconds += time.perf_counter() - start
    print(seconds)


if __name__ == "__main__":
    main()
