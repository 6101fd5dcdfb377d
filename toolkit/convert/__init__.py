"""From a trained model to a bundle: IR in several precisions for several runtimes, proven equal, content-addressed."""

from toolkit.convert.bundles import load_bundle, make_bundle, verify_bundle
from toolkit.convert.checking import Check, check_bundle
from toolkit.convert.conversion import convert_model
from toolkit.convert.finding import find_model
from toolkit.convert.foreign import find_or_bring_in
from toolkit.convert.foreign_words import Said, read_size
from toolkit.convert.growing import find_growth
from toolkit.convert.inspection import inspect_ir
from toolkit.convert.kept_checks import keep_checks
from toolkit.convert.signing import sign_bundle, verify_signature

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
    "load_bundle",
    "make_bundle",
    "read_size",
    "sign_bundle",
    "verify_bundle",
    "verify_signature",
]
