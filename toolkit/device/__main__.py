"""`python -m device COMMAND`: one JSON document on stdout, talk on stderr; 0 ok, 1 a check failed, 4 environment."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

from . import failures


def main(arguments: Optional[List[str]] = None) -> int:
    """Run one command; its exit code is for `sys.exit`."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        result = options.command(options)
    except failures.Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        if failure.remedy:
            print(f"  → {failure.remedy}", file=sys.stderr)
        _print({"ok": False, "error": {"what": failure.what, "where": failure.where, "remedy": failure.remedy}})
        return failure.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return failures.INTERRUPTED
    _print(result)
    return failures.DONE if result.get("ok", True) else failures.CHECK_FAILED


def _print(document: Dict[str, Any]) -> None:
    json.dump(document, sys.stdout, allow_nan=False)
    sys.stdout.write("\n")


def _interrupt(number: int, frame: Any) -> None:
    del number, frame
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="device", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    probe = commands.add_parser("probe", help="what this device is")
    probe.add_argument("--root", default="/opt/toolkit", help="where releases live")
    probe.set_defaults(command=_probe)
    verify = commands.add_parser("verify", help="every byte against its digest")
    verify.add_argument("release", type=Path)
    verify.set_defaults(command=_verify)
    golden = commands.add_parser("golden", help="this device's answers against the recorded ones")
    golden.add_argument("release", type=Path)
    golden.add_argument("--accelerator", default="CPU")
    golden.set_defaults(command=_golden)
    return parser


def _probe(options: argparse.Namespace) -> Dict[str, Any]:
    from .probe import probe

    return probe(options.root)


def _verify(options: argparse.Namespace) -> Dict[str, Any]:
    from .verify import verify

    return verify(options.release)


def _golden(options: argparse.Namespace) -> Dict[str, Any]:
    from .golden import check

    return check(options.release, options.accelerator)


if __name__ == "__main__":
    sys.exit(main())
