"""What checks found is kept with the bundle's other records, so that the report can say it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from toolkit import hashing
from toolkit.artifacts.bundle import Bundle, BundleCheck
from toolkit.convert.checking import Check
from toolkit.store import Store


def keep_checks(checks: Iterable[Check], bundle: str, store: Store) -> None:
    """Keep each outcome under its bundle's digest, in the place of an earlier one; bundles made elsewhere are not kept."""
    if store.get(Bundle, bundle) is None:
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for check in checks:
        store.put(
            BundleCheck(
                digest=hashing.sha256_json({"bundle": bundle, "check": check.name}),
                parent=bundle,
                name=check.name,
                outcome=check.outcome,
                message=check.told,
                details=check.details,
                at=now,
            )
        )
