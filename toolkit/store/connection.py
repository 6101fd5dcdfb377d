"""Open the database file; read-only where it cannot be written."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from toolkit.errors import MachineError
from toolkit.store.database_schema import create_tables

_TIMEOUT_S = 30
_NOT_WRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
"""A full disk has no room for the files beside a database that is open for writing: some versions call that an I/O error."""


def open_database(path: Path) -> sqlite3.Connection:
    """Return a connection to the file; read-only if the file system is, or if it is full.

    Raises:
        sqlite3.Error: the file is damaged, locked or not a database.
        MachineError: a newer toolkit wrote the file, or it is a folder, a pipe or a device.
        OSError: the folder cannot be created.
    """
    if path.exists() and not path.is_file():
        raise MachineError("the database is not a regular file", where=str(path), remedy="move it away")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and not os.access(
            path, os.W_OK
        ):  # SQLite opens it all the same, and fails at the first change
            return _open_read_only(path)
        return _open_writable(path)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in _NOT_WRITABLE:
            raise
        return _open_read_only(path)
    except OSError as error:
        if error.errno not in {errno.EROFS, errno.EACCES}:
            raise
        return _open_read_only(path)


def _open_writable(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        create_tables(connection, str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def _open_read_only(path: Path) -> sqlite3.Connection:
    """Open the file read-only; if it does not exist, open an empty database in memory."""
    if not path.exists():
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    else:
        connection = _open_file(path, "mode=ro")
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema")
        except sqlite3.OperationalError:  # WAL needs a writable folder, or a promise that nobody writes
            connection.close()
            connection = _open_file(path, "immutable=1")
    create_tables(connection, str(path))
    connection.execute("PRAGMA query_only = ON")
    return connection


def _open_file(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?{mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
