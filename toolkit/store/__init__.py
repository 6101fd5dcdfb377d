"""The SQLite database of every artifact, with its lineage and its raw samples."""

from toolkit.store.database import Store

__all__ = ["Store"]
