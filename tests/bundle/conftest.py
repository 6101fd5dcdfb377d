"""Bundles are made from the same small models as conversions are tested with."""

from __future__ import annotations

from ..convert.conftest import pristine, shared_trained, trained

__all__ = ["pristine", "shared_trained", "trained"]
