"""Conversion of trained models to bundles: IR in several precisions for several runtimes, verified against the original."""

from toolkit.convert.checking import CheckResult, check_bundle, save_check_results
from toolkit.convert.conversion import convert_model
from toolkit.convert.imported.importer import find_or_import
from toolkit.convert.imported.options import ImportOptions, parse_size
from toolkit.convert.inspection import inspect_ir
from toolkit.convert.layer_errors import compute_layer_errors
from toolkit.convert.resolve import resolve_model

__all__ = [
    "CheckResult",
    "ImportOptions",
    "check_bundle",
    "compute_layer_errors",
    "convert_model",
    "find_or_import",
    "inspect_ir",
    "parse_size",
    "resolve_model",
    "save_check_results",
]
