"""The `toolkit` command: its verbs, and how errors become messages and exit codes."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from typing import Annotated, cast

import typer

from toolkit import __version__, progress
from toolkit.cli import (
    bench,
    build,
    check,
    collect,
    completion,
    convert,
    data,
    deploy,
    doctor,
    evaluate,
    extras,
    fleet,
    help_labels,
    init,
    inspect,
    label,
    loop,
    parity,
    predict,
    provision,
    publish,
    report,
    retrain,
    rollback,
    run,
    serve,
    status,
    streams,
    train,
    tune,
    user_config,
    view,
)
from toolkit.errors import ExitCode, ToolkitError
from toolkit.system.environment_errors import to_machine_error

_HELP = "Train image classifiers and run them on a fleet of Raspberry Pis."
_PACKAGES: tuple[str, ...] = (
    *("openvino", "tensorflow", "tensorflow-cpu", "intel-tensorflow", "keras", "onnxruntime", "nncf", "numpy"),
    *("opencv-python-headless", "ansible-core", "fabric", "ray", "mlflow"),
)

help_labels.label_metavars()
app = typer.Typer(
    name="toolkit",
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Typer exports only this child of the error that it raises for a command line it cannot parse.
_CommandLineError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])

_log = logging.getLogger("toolkit")


def _print_version(requested: bool) -> None:
    if not requested:
        return
    typer.echo(f"toolkit {__version__}")
    typer.echo(f"python {sys.version.partition(' ')[0]}")
    for package in _PACKAGES:
        try:
            typer.echo(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    path = user_config.config_file()
    if path is not None and path.exists():
        typer.echo(f"config {path}")
    raise typer.Exit


@app.callback(help=_HELP)
def _root(
    context: typer.Context,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Log more; -vv also logs tracebacks.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log errors only.")] = False,
    log_format: Annotated[
        progress.LogFormat, typer.Option("--log-format", help="Format of the messages on stderr.")
    ] = "text",
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the versions of all parts."),
    ] = False,
) -> None:
    del version
    progress.configure(verbosity=-1 if quiet else verbose, log_format=log_format)
    if verbose or os.environ.get("TOOLKIT_DEBUG"):
        logging.basicConfig(format="%(name)s: %(message)s")
        _log.setLevel(logging.DEBUG if verbose > 1 or os.environ.get("TOOLKIT_DEBUG") else logging.INFO)
    running_s = 0.0 if context.obj is None else time.monotonic() - context.obj
    after_s = max(progress.ANNOUNCE_AFTER_S - running_s, 0.0)
    context.with_resource(progress.announce_if_slow(f"toolkit {context.invoked_subcommand}: loading", after_s))


# In the order of the pipeline, as in the help.
_GROUPS = {
    "Pipeline": (run.demo, init.init, run.run),
    "Models": (
        tune.tune,
        train.train,
        evaluate.evaluate,
        predict.predict,
        inspect.inspect,
        convert.convert,
        check.check,
        parity.parity,
        serve.serve,
    ),
    "Next model": (collect.collect, label.label, retrain.retrain, loop.loop),
    "Devices": (
        provision.provision,
        build.build,
        deploy.deploy,
        publish.publish,
        rollback.rollback,
        status.status,
        view.view,
        bench.bench,
    ),
    "Results and this machine": (report.report, doctor.doctor, completion.completion),
}
for _panel, _functions in _GROUPS.items():
    for _function in _functions:
        app.command(rich_help_panel=_panel)(_function)
app.add_typer(data.app, name="data", rich_help_panel="Models")
app.add_typer(fleet.app, name="fleet", rich_help_panel="Devices")
_VERBS = {"data", "fleet"} | {function.__name__ for functions in _GROUPS.values() for function in functions}


def main(arguments: Sequence[str] | None = None, started: float | None = None) -> None:
    """Run the command and exit with one of `ExitCode`; `started` is the monotonic time at which the process began."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    streams.make_printable()
    progress.configure()
    sys.exit(streams.flush(_run(argv, started)))


def _run(argv: list[str], started: float | None) -> int:
    verb = next((word for word in argv if word in _VERBS), "")
    try:
        command = typer.main.get_command(app)
        defaults = {} if _is_about_toolkit(argv) else user_config.load_defaults(command)
        code = command(argv, prog_name="toolkit", standalone_mode=False, obj=started, default_map=defaults)
    except _CommandLineError as error:
        error.show()
        return ExitCode.USAGE
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except BrokenPipeError:
        return ExitCode.SOME_FAILED
    except Exception as error:
        explained = error if isinstance(error, ToolkitError) else extras.explain(error, verb) or to_machine_error(error)
        if explained is None:
            raise
        _log.debug("the error in full", exc_info=error)
        _print_errors(explained, as_json="--json" in argv)
        return explained.exit_code
    return _interrupted() if code == ExitCode.INTERRUPTED else int(code or 0)


def _is_about_toolkit(argv: list[str]) -> bool:
    """Return whether help, versions or completions are requested, which a config file with mistakes must not prevent."""
    return not argv or "_TOOLKIT_COMPLETE" in os.environ or bool({"-h", "--help", "--version"} & {*argv})


def _interrupted() -> int:
    print("interrupted; finished work is saved", file=sys.stderr)
    return ExitCode.INTERRUPTED


def _print_errors(error: ToolkitError, *, as_json: bool) -> None:
    """Print every problem once: on stderr, and with --json also on stdout."""
    for problem in error.problems:
        progress.log_error(str(problem), what=problem.what, where=problem.where, remedy=problem.remedy)
    if as_json:
        from toolkit.cli.output import print_json

        with suppress(OSError):  # stdout itself may be what failed
            print_json({"errors": error.problems})
