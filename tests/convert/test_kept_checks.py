from __future__ import annotations

from pathlib import Path

from toolkit.artifacts.bundle import Bundle, BundleCheck
from toolkit.convert.checking import Check
from toolkit.convert.kept_checks import keep_checks
from toolkit.store import Store


def test_keep_checks_replaces_the_earlier_outcome_and_keeps_none_of_a_strange_bundle(tmp_path: Path) -> None:
    digest = "b" * 64
    bundle = Bundle(digest=digest, parent="", name="x", precision="fp16", target="ncs2", path="", size_bytes=1)
    with Store(tmp_path / "toolkit.db") as store:
        keep_checks([Check(name="ncs2", outcome="failed", told="refused")], digest, store)
        assert store.all(BundleCheck) == ()
        store.put(bundle)
        for outcome in ("failed", "passed"):
            keep_checks([Check(name="ncs2", outcome=outcome, told=outcome, details={"stages": 197})], digest, store)
        (kept,) = store.all(BundleCheck, parent=digest)
    assert (kept.name, kept.outcome, kept.details) == ("ncs2", "passed", {"stages": 197})
