"""Captures on the controller: what devices stored to be labeled, collected into the workspace.

    WORKSPACE/captures/<digest>.jpg     the images, each stored once
    WORKSPACE/toolkit.db                `CapturedImage` and `NearDuplicate`; the view `captures` shows the former in SQL

A device and its JSON are not trusted: `toolkit.device.capture_record` checks every field.
"""

from toolkit.captures.catalog import collected, image_path, parse_sidecar, present

__all__ = ["collected", "image_path", "parse_sidecar", "present"]
