"""`toolkit serve`: the live app on this machine, to try a bundle with a camera."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Annotated, Any

import typer

from toolkit.cli.options import DEFAULT_WORKSPACE, JsonOption, OpenOption, WorkspaceOption
from toolkit.cli.output import print_json


def serve(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, the first digits of its digest, or its name.")],
    source: Annotated[
        str,
        typer.Option(
            help="Where frames come from: pattern, a folder, a video file, /dev/videoN, picamera, rtsp://…, none."
        ),
    ] = "pattern",
    accelerator: Annotated[str, typer.Option(help="CPU, MYRIAD, or AUTO: a stick if one can be had.")] = "CPU",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where it answers on loopback. 0: any that is free.")] = 0,
    show: OpenOption = True,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Run the code that runs on devices on a bundle, until Ctrl-C; the workspace's other bundles can be switched to."""
    from toolkit.bundle.resolve import bundle_folder
    from toolkit.store import Store
    from toolkit.workspace import Workspace

    house = Workspace(workspace)
    with Store(house.database) as store:
        folder = bundle_folder(bundle, house, store)
    words = [sys.executable, "-m", "toolkit.device", "serve", str(folder), "--source", source, "--port", str(port)]
    words += ["--accelerator", accelerator, "--stop-on-eof"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as app:
        said = _first_word(app)
        if said.get("ok"):
            _tell(said, as_json=as_json, show=show)
        code = _until_ended(app)
    if code:
        raise typer.Exit(code)


def _first_word(app: subprocess.Popen[str]) -> dict[str, Any]:
    """Where it answers; if it failed, its own words are on stderr already."""
    assert app.stdout is not None  # noqa: S101 - a pipe was asked for
    try:
        said: dict[str, Any] = json.loads(app.stdout.readline())
    except ValueError:
        return {}
    return said


def _tell(said: dict[str, Any], *, as_json: bool, show: bool) -> None:
    if as_json:
        print_json(said)
    else:
        typer.echo(said["url"])
        typer.echo("Ctrl-C ends it", err=True)
    if show:
        typer.launch(said["url"])


def _until_ended(app: subprocess.Popen[str]) -> int:
    """Its exit code; Ctrl-C is how one ends it, and no failure."""
    try:
        return app.wait()
    except KeyboardInterrupt:
        app.send_signal(signal.SIGTERM)
        return app.wait()
