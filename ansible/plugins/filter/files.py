"""Filters that build the file lists of the module managed_files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

File = dict[str, str]


def folder_files(folder: str, target: str, patterns: Sequence[str]) -> list[File]:
    """Files of a folder on the controller that match the patterns, for `target` on the device."""
    root = Path(folder).resolve()
    paths = sorted({path for pattern in patterns for path in root.glob(pattern)})
    return [
        {"dest": f"{target}/{path.relative_to(root)}", "content": path.read_text(encoding="utf-8")} for path in paths
    ]


def signer_files(signers: Mapping[str, Sequence[str]], folder: str) -> list[File]:
    """One file of keys for each list of signers that is not empty."""
    return [
        {
            "dest": f"{folder}/{name}",
            "content": "".join(f"{line}\n" for line in ("# Written by the role runner.", *lines)),
        }
        for name, lines in signers.items()
        if lines
    ]


class FilterModule:
    """The filters by name, for Ansible."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters."""
        return {"folder_files": folder_files, "signer_files": signer_files}
