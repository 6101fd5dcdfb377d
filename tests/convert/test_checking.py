from __future__ import annotations

from pathlib import Path

from toolkit.artifacts.bundle import Bundle, BundleCheck
from toolkit.convert.checking import CheckResult, save_check_results
from toolkit.store import Store


def test_save_check_results_replaces_the_earlier_outcome(tmp_path: Path) -> None:
    digest = "b" * 64
    bundle = Bundle(digest=digest, parent="", name="x", precision="fp16", target="ncs2", path="", size_bytes=1)
    with Store(tmp_path / "toolkit.db") as store:
        save_check_results([CheckResult(name="ncs2", outcome="failed", message="refused")], digest, store)
        assert store.all(BundleCheck) == ()
        store.put(bundle)
        for outcome in ("failed", "passed"):
            save_check_results(
                [CheckResult(name="ncs2", outcome=outcome, message=outcome, details={"stages": 197})], digest, store
            )
        (remaining,) = store.all(BundleCheck, parent=digest)
    assert (remaining.name, remaining.outcome, remaining.details) == ("ncs2", "passed", {"stages": 197})
