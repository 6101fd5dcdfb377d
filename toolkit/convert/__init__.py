"""From a trained model to a bundle: IR in several precisions for several runtimes, proven equal, content-addressed."""

from toolkit.convert.bundles import load_bundle, make_bundle, verify_bundle
from toolkit.convert.conversion import convert_model

__all__ = ["convert_model", "load_bundle", "make_bundle", "verify_bundle"]
