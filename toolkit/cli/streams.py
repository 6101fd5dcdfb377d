"""stdout and stderr that can print every character and report when they cannot be written."""

from __future__ import annotations

import codecs
import os
import sys
import unicodedata

from toolkit.errors import ExitCode

_ASCII = str.maketrans({
    "→": "->", "▶": ">", "─": "-", "│": "|", "…": "...", "\u00d7": "x", "·": "-", "\u2013": "-", "—": "-", "\u2212": "-",
    "✓": "ok", "✗": "FAILED", "°": " deg ", "²": "2", "±": "+/-", "≤": "<=", "≥": ">=", "“": '"', "”": '"', "\u2019": "'",
})  # fmt: skip


def _transliterate(error: UnicodeError) -> tuple[str, int]:
    """An error handler for codecs: replace what the encoding lacks with its nearest ASCII text."""
    assert isinstance(error, UnicodeEncodeError)  # noqa: S101 - registered for encoding alone
    text = error.object[error.start : error.end]
    plain = unicodedata.normalize("NFKD", text.translate(_ASCII))
    return plain.encode("ascii", "backslashreplace" if text.isascii() else "ignore").decode() or "?", error.end


def make_printable() -> None:
    """Let both streams print any text, whatever their encoding."""
    codecs.register_error("toolkit.transliterate", _transliterate)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="toolkit.transliterate")


def flush(code: int) -> int:
    """Flush the output; return `code`, or another exit code if stdout cannot be written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has gone, as in `| head`
        _discard_output()
        return code or ExitCode.SOME_FAILED
    except OSError as error:
        _discard_output()
        if code != ExitCode.ENVIRONMENT:  # not reported yet
            print(f"error: cannot write to stdout: {error.strerror}", file=sys.stderr)
        return ExitCode.ENVIRONMENT
    return code


def _discard_output() -> None:
    """Send the rest of stdout to nowhere, so that Python does not fail once more at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
