"""`toolkit serve`: the live app on this machine, to try a bundle with a camera."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, BundleArgument, JsonOption, OpenOption, WorkspaceOption
from toolkit.cli.output import print_json
from toolkit.device.runtime import accelerators


def serve(
    bundle: BundleArgument,
    source: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="Source of frames: pattern, a folder, a video file, /dev/videoN, picamera, rtsp://… or none.",
        ),
    ] = "pattern",
    accelerator: Annotated[str, typer.Option(metavar="NAME", help=accelerators.HELP)] = "CPU",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Port on loopback; 0: any free port.")
    ] = 0,
    alerts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rules and sinks of alerts, as TOML or JSON.")
    ] = None,
    show: OpenOption = True,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Run the live app on this machine.

    Runs the device code on a bundle until Ctrl-C; its page can switch to the workspace's other bundles.
    """
    from toolkit.bundle.resolve import bundle_folder
    from toolkit.cli.extras import require
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    require("numpy", "cv2", "openvino")
    place = Workspace(workspace)
    with Store(place.database) as store:
        folder = bundle_folder(bundle, place, store)
    argv = [sys.executable, "-m", "toolkit.device", "serve", str(folder), "--source", source, "--port", str(port)]
    argv += ["--accelerator", accelerator, "--stop-on-eof", *(["--alerts", str(alerts)] if alerts else [])]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as app:
        answer = _first_answer(app)
        if answer.get("ok"):
            _print(answer, as_json=as_json, show=show)
        code = _wait(app)
    if code:
        raise typer.Exit(code)


def _first_answer(app: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the app's first line, which holds its URL; if the app failed, it has printed why on stderr."""
    assert app.stdout is not None  # noqa: S101 - a pipe was requested
    try:
        answer: dict[str, Any] = json.loads(app.stdout.readline())
    except ValueError:
        return {}
    return answer


def _print(answer: dict[str, Any], *, as_json: bool, show: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        typer.echo(answer["url"])
        typer.echo("press Ctrl-C to stop", err=True)
    if show:
        typer.launch(answer["url"])


def _wait(app: subprocess.Popen[str]) -> int:
    """Return the app's exit code; Ctrl-C ends it and is not a failure."""
    try:
        return app.wait()
    except KeyboardInterrupt:
        app.send_signal(signal.SIGTERM)
        return app.wait()
