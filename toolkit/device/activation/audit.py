"""ROOT/audit.jsonl: changes to the device, one JSON object per line; audit.jsonl.1 and .2 are older."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

from ..layout import AUDIT_LOG

MAX_BYTES = 1 << 20
"""From this size on, the log is put aside and another one begun."""


def append_audit(root: Path, entry: Dict[str, Any], limit: int = MAX_BYTES) -> None:
    """Append a line, best effort: without room on the disk the line is lost."""
    log = root / AUDIT_LOG
    try:
        if log.exists() and log.stat().st_size >= limit:
            older = root / f"{AUDIT_LOG}.1"
            if older.exists():
                older.replace(root / f"{AUDIT_LOG}.2")
            log.replace(older)
        with open(log, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
        log.chmod(0o644)
    except OSError:
        return
