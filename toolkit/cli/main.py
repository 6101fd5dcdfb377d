"""The `toolkit` command: its verbs, and how errors become words and exit codes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import cast

import typer

from toolkit import __version__
from toolkit.cli import (
    bench,
    check,
    completion,
    convert,
    data,
    deploy,
    doctor,
    evaluate,
    fleet,
    inspect,
    parity,
    predict,
    publish,
    report,
    rollback,
    run,
    serve,
    status,
    train,
    tune,
    view,
)
from toolkit.errors import ExitCode, ToolkitError

app = typer.Typer(
    name="toolkit",
    help="A folder of labeled images goes in; a measured fleet of Raspberry Pis comes out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

# What typer raises for words it cannot parse; of the family, only this child is exported.
_CommandLineError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"toolkit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """A folder of labeled images goes in; a measured fleet of Raspberry Pis comes out."""


# In the order of the line; help lists them so.
for verb in (
    run.demo,
    run.run,
    tune.tune,
    train.train,
    evaluate.evaluate,
    predict.predict,
    inspect.inspect,
    convert.convert,
    check.check,
    parity.parity,
    serve.serve,
    deploy.deploy,
    publish.publish,
    rollback.rollback,
    status.status,
    view.view,
    bench.bench,
    report.report,
    doctor.doctor,
    completion.completion,
):
    app.command()(verb)
app.add_typer(data.app, name="data")
app.add_typer(fleet.app, name="fleet")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave with one of `ExitCode`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if os.environ.get("TOOLKIT_DEBUG"):
        logging.basicConfig(level=logging.DEBUG)
    try:
        code = app(words, prog_name="toolkit", standalone_mode=False)
        if code == ExitCode.INTERRUPTED:  # typer's form of Ctrl-C
            raise KeyboardInterrupt  # noqa: TRY301 - the handler below says it, once
    except ToolkitError as error:
        _explain(error, as_json="--json" in words)
        code = error.exit_code
    except _CommandLineError as error:
        error.show()
        code = ExitCode.USAGE
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted; what was finished is kept", file=sys.stderr)
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        code = ExitCode.SOME_FAILED
    sys.exit(int(code or 0))


def _explain(error: ToolkitError, *, as_json: bool) -> None:
    """Every problem, once: on stderr for people, and as JSON on stdout for programs that asked for it."""
    if as_json:
        from toolkit.cli.output import print_json

        print_json({"errors": error.problems})
    for problem in error.problems:
        print(f"error: {problem}", file=sys.stderr)
