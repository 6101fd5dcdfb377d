"""The workspace: the folder that holds all work."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

DEFAULT = Path("workspace")


@dataclass(frozen=True, slots=True)
class Workspace:
    """The one folder that work goes under."""

    root: Path

    @property
    def option(self) -> str:
        """The command-line option that names it, with a space before it; empty for the default workspace."""
        return "" if self.root == DEFAULT else f" --workspace {shlex.quote(str(self.root))}"

    @property
    def database(self) -> Path:
        """The SQLite file that every record goes to."""
        return self.root / "toolkit.db"

    def folder(self, *parts: str) -> Path:
        """A folder of the workspace, made if it is missing."""
        path = self.root.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def relative(self, path: Path) -> str:
        """`path` as artifacts store it."""
        return path.resolve().relative_to(self.root.resolve()).as_posix()

    def absolute(self, path: str) -> Path:
        """The opposite of `relative`."""
        return self.root / path
