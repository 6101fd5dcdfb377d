"""Read the files of a tar archive or a folder one by one; the paths in an archive never determine where files are written.

An archive with a path outside itself is refused, as are archives that are truncated or expand beyond the size of any
supported data set.
"""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from toolkit.errors import DataError

FILE_MAX_BYTES = 1 << 30
TOTAL_MAX_BYTES = 1 << 36

Selector = Callable[[PurePosixPath], bool]


def iter_files(source: Path, selects: Selector) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Path inside `source` and content of every file that `selects` accepts, in the order of the archive or by name.

    Raises:
        DataError: no such file, no tar archive, cut short, too large, or it names paths outside itself.
    """
    yield from (_each_in_folder if source.is_dir() else _each_in_archive)(source, selects)


def _each_in_folder(folder: Path, selects: Selector) -> Iterator[tuple[PurePosixPath, bytes]]:
    for path in sorted(folder.rglob("*")):
        inside = PurePosixPath(path.relative_to(folder).as_posix())
        if selects(inside) and path.is_file():
            try:
                yield inside, path.read_bytes()
            except OSError as error:
                what = error.strerror or str(error)
                raise DataError(what, where=str(path), remedy="make it readable") from error


def _each_in_archive(archive: Path, selects: Selector) -> Iterator[tuple[PurePosixPath, bytes]]:
    again = "download it again: it is incomplete"
    try:
        with tarfile.open(archive, "r|*") as opened:
            yield from _each_member(opened, archive, selects)
    except FileNotFoundError:
        raise DataError("no such file or folder", where=str(archive), remedy="put it there") from None
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise DataError(f"truncated or damaged archive: {error}", where=str(archive), remedy=again) from None
    except tarfile.TarError as error:
        cut = "unexpected end" in str(error)
        what = "truncated archive" if cut else f"not a tar archive that can be read: {error}"
        raise DataError(what, where=str(archive), remedy=again) from None
    except OSError as error:
        raise DataError(error.strerror or str(error), where=str(archive), remedy=again) from error


def _each_member(opened: tarfile.TarFile, archive: Path, selects: Selector) -> Iterator[tuple[PurePosixPath, bytes]]:
    total = 0
    for member in opened:
        inside = PurePosixPath(member.name)
        _refuse_hostile(member, inside, archive)
        total += member.size
        if total > TOTAL_MAX_BYTES:
            raise _too_large(archive, "the archive", TOTAL_MAX_BYTES)
        if not (member.isreg() and selects(inside)):
            continue
        if member.size > FILE_MAX_BYTES:
            raise _too_large(archive, str(inside), FILE_MAX_BYTES)
        stream = opened.extractfile(member)
        content = stream.read() if stream else b""
        if len(content) != member.size:
            raise EOFError(f"{inside} has {len(content)} of {member.size} bytes")
        yield inside, content


def _too_large(archive: Path, what: str, limit: int) -> DataError:
    return DataError(
        f"{what} expands beyond the limit of {limit >> 30} GiB", where=str(archive), remedy="do not use this archive"
    )


def _refuse_hostile(member: tarfile.TarInfo, inside: PurePosixPath, archive: Path) -> None:
    if inside.is_absolute() or ".." in inside.parts or "\\" in member.name:
        raise DataError(
            "the archive contains a path outside itself", where=f"{archive}: {member.name}", remedy="do not use it"
        )
