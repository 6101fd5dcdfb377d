"""Settings files of the app: JSON, or TOML where Python is 3.11 or newer."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, Dict

from ..errors import DeviceError


def read_settings_file(path: Path) -> Dict[str, Any]:
    """Return the tables of a settings file.

    Raises:
        DeviceError: the file cannot be read, is not a table, or is TOML on an older Python.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = importlib.import_module("tomllib").loads(text) if path.suffix == ".toml" else json.loads(text)
    except ImportError:
        raise DeviceError("is TOML, which needs Python 3.11", where=str(path), remedy="write it as JSON") from None
    except (OSError, ValueError) as error:
        raise DeviceError(f"cannot be read: {error}", where=str(path)) from None
    if not isinstance(content, dict):
        raise DeviceError("is not a table", where=str(path))
    return content
