"""Bundles are made from the same small models as conversions are tested with."""

from __future__ import annotations

from ..convert.conftest import line, pristine, shared_line

__all__ = ["line", "pristine", "shared_line"]
