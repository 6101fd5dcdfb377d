"""Explain errors of the operating system, SQLite, the network and missing packages in one sentence each."""

from __future__ import annotations

import errno
import http.client
import socket
import sqlite3
import ssl
from urllib.parse import urlsplit

from toolkit.errors import MachineError

_FOLDERS = "choose another folder with --workspace, XDG_CACHE_HOME or TMPDIR"
_FILES: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("there is no space left on the disk", f"free some space, or {_FOLDERS}"),
    errno.EDQUOT: ("the disk quota is used up", f"free some space, or {_FOLDERS}"),
    errno.EROFS: ("the file system is read-only", f"mount it writable, or {_FOLDERS}"),
    errno.EACCES: ("permission denied", f"change the permissions, or {_FOLDERS}"),
    errno.EPERM: ("the operation is not permitted", f"run it as another user, or {_FOLDERS}"),
    errno.ENOENT: ("the file or folder does not exist", "check the path"),
    errno.ENOTDIR: ("a file is in the place of a folder", "check the path"),
    errno.EEXIST: ("a file is in the place of a folder", f"move it away, or {_FOLDERS}"),
    errno.ELOOP: ("a link leads back to itself", "check the path"),
    errno.ENAMETOOLONG: ("the name is too long for the file system", "choose a shorter one"),
    errno.EISDIR: ("a folder is in the place of a file", "check the path"),
    errno.EIO: ("the disk reported an input/output error", "check the disk, for example with dmesg"),
    errno.EMFILE: ("too many files are open", "raise the limit: ulimit -n 4096"),
    errno.ENOMEM: ("there is not enough memory", "end other programs, or use fewer parallel jobs"),
}
_DATABASE: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_BUSY: ("the database is locked by another process", "wait until that process ends, then try again"),
    sqlite3.SQLITE_LOCKED: ("the database is locked", "try again"),
    sqlite3.SQLITE_READONLY: (
        "the database cannot be written: it is read-only, or the disk is full",
        "free some space, change its permissions, or use another --workspace",
    ),
    sqlite3.SQLITE_CANTOPEN: ("the database cannot be opened", "check the path and its permissions"),
    sqlite3.SQLITE_FULL: ("the disk is full, so the database cannot be written", "free some space"),
    sqlite3.SQLITE_IOERR: (
        "the disk failed while the database was read or written",
        "check the disk and its free space",
    ),
    sqlite3.SQLITE_NOTADB: ("the file is not an SQLite database", "restore a copy, or move the file away"),
    sqlite3.SQLITE_CORRUPT: (
        "the database is damaged",
        "restore a copy; to rescue what is readable: sqlite3 FILE .recover",
    ),
}


def to_machine_error(error: BaseException) -> MachineError | None:
    """Return the error as one with a remedy and exit code 4; None if it is not the environment's fault."""
    if isinstance(error, sqlite3.Error):
        return _database_error(error)
    if _is_network(error):
        return _network_error(error)
    if isinstance(error, OSError):
        what, remedy = _FILES.get(error.errno or 0, (_reason(error), ""))
        return MachineError(what, where=str(error.filename2 or error.filename or ""), remedy=remedy)
    if isinstance(error, MemoryError):
        what, remedy = _FILES[errno.ENOMEM]
        return MachineError(what, remedy=remedy)
    return None


def _database_error(error: sqlite3.Error) -> MachineError | None:
    code = getattr(error, "sqlite_errorcode", None)
    where = next(iter(getattr(error, "__notes__", ())), "")
    if str(error).startswith(("no such table", "no such column")):
        remedy = "restore a copy, or move the file away"
        return MachineError(
            "the file is an SQLite database, but not a whole one of the toolkit", where=where, remedy=remedy
        )
    if code is None or code & 0xFF in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISUSE}:
        return None  # a bug of ours
    what, remedy = _DATABASE.get(code & 0xFF, (f"SQLite reports: {error}", ""))
    return MachineError(what, where=where, remedy=remedy)


def _is_network(error: BaseException) -> bool:
    kinds = (ConnectionError, TimeoutError, socket.gaierror, socket.herror, ssl.SSLError, http.client.HTTPException)
    if isinstance(error, kinds):
        return True
    module = type(error).__module__.partition(".")[0]
    network_codes = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRINUSE, errno.EADDRNOTAVAIL}
    is_library = module in {"requests", "urllib3"} or type(error).__name__ in {"URLError", "HTTPError"}
    return isinstance(error, OSError) and (is_library or error.errno in network_codes)


def _network_error(error: BaseException) -> MachineError:
    url = str(getattr(getattr(error, "request", None), "url", "") or getattr(error, "url", "") or "")
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return MachineError("the port is in use by another program", remedy="choose another port")
    remedy = "check the network, the address and any proxy, then try again"
    return MachineError(f"the connection failed: {_reason(error)}", where=urlsplit(url).netloc, remedy=remedy)


def _reason(error: BaseException) -> str:
    """What the error says, without Python's decoration."""
    cause = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(cause).strip().rstrip(".")
