"""The entry point of `toolkit` and `python -m toolkit`."""

import sys
import time

_STARTED = time.monotonic()


def main() -> None:
    """Run the command; Ctrl-C ends it without a traceback even while modules are still being imported."""
    try:
        from toolkit.cli.main import main as run

        run(started=_STARTED)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
