"""From a trained model to a bundle: IR in several precisions for several runtimes, proven equal, content-addressed."""

from toolkit.convert.checking import Check, check_bundle
from toolkit.convert.conversion import convert_model
from toolkit.convert.growing import find_growth
from toolkit.convert.imported.importer import find_or_bring_in
from toolkit.convert.imported.options import Said, read_size
from toolkit.convert.inspection import inspect_ir
from toolkit.convert.kept_checks import keep_checks
from toolkit.convert.resolve import find_model

__all__ = [
    "Check",
    "Said",
    "check_bundle",
    "convert_model",
    "find_growth",
    "find_model",
    "find_or_bring_in",
    "inspect_ir",
    "keep_checks",
    "read_size",
]
