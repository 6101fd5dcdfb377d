"""`python -m device COMMAND`: JSON on stdout, messages on stderr; exit code 0 ok, 1 check failed, 4 environment.

`serve` prints two JSON documents: its address at the start, and totals at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, Dict, List, Optional, TextIO

from . import errors
from .layout import ROOT
from .runtime import accelerators


def main(arguments: Optional[List[str]] = None) -> int:
    """Run one command; return its exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    return _execute(options, _take_stdout())


def _execute(options: argparse.Namespace, stdout: TextIO) -> int:
    """Run one command and print its answer."""
    options.stdout = stdout
    try:
        result = options.command(options)
    except errors.DeviceError as failure:
        if _interrupts:
            return _end_interrupted()
        print(f"error: {failure}", file=sys.stderr)
        if failure.remedy:
            print(f"  → {failure.remedy}", file=sys.stderr)
        _print({"ok": False, "error": failure.to_json()}, stdout)
        return failure.exit_code
    except KeyboardInterrupt:
        return _end_interrupted()
    if result is not None:
        _print(result, stdout)
    return errors.DONE if result is None or result.get("ok", True) else errors.CHECK_FAILED


def _take_stdout() -> TextIO:
    """Return a stream for the answer and redirect stdout to stderr: OpenVINO plugins write errors to stdout."""
    sys.stdout.flush()
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return own


def _print(document: Dict[str, Any], stdout: TextIO) -> None:
    try:
        json.dump(document, stdout, allow_nan=False)
        stdout.write("\n")
        stdout.flush()
    except BrokenPipeError:  # the reader has closed the pipe; the buffered rest must not fail again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())


_interrupts: List[int] = []


def _interrupt(number: int, frame: Optional[FrameType]) -> None:
    """Raise KeyboardInterrupt; at a first signal within an import, after it.

    The import of a native module can turn the exception into an ImportError, after which another runtime is tried.
    """
    if number != signal.SIGALRM:
        _interrupts.append(number)
    if len(_interrupts) == 1 and _importing(frame):
        signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        return
    raise KeyboardInterrupt


def _importing(frame: Optional[FrameType]) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _end_interrupted() -> int:
    print("interrupted", file=sys.stderr)
    return errors.INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="device", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    probe = commands.add_parser("probe", help="show the facts of this device")
    probe.add_argument("--root", default=ROOT, help="folder that holds the releases")
    probe.set_defaults(command=_probe)
    verify = commands.add_parser("verify", help="verify all digests, and the signature")
    verify.add_argument("release", type=Path)
    verify.set_defaults(command=_verify)
    golden = commands.add_parser("golden", help="compare outputs with the golden outputs")
    golden.add_argument("release", type=Path)
    golden.add_argument("--accelerator", default="CPU", help=accelerators.HELP)
    golden.set_defaults(command=_golden)
    health = commands.add_parser("health", help="check that the service is healthy and stays so")
    health.add_argument("release", type=Path)
    health.add_argument("--unit", default="toolkit-runner.service", help="systemd unit of the service")
    health.add_argument("--url", help="address that answers 200 while the service is healthy")
    health.add_argument(
        "--seconds", type=_positive_number, default=10.0, help="seconds that the service must stay healthy"
    )
    health.add_argument("--patience", type=_positive_number, default=60.0, help="seconds to wait until it is healthy")
    health.set_defaults(command=_health)
    predict = commands.add_parser("predict", help="classify images")
    predict.add_argument("release", type=Path)
    predict.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    predict.add_argument("--accelerator", default="CPU", help=accelerators.HELP)
    predict.set_defaults(command=_predict)
    _bench_options(commands.add_parser("bench", help="measure latency, throughput and accuracy"))
    worker = commands.add_parser(
        "bench-worker", help="run benchmarks requested on stdin, one JSON list of arguments per line"
    )
    worker.set_defaults(command=_bench_worker)
    _serve_options(commands.add_parser("serve", help="run the live app: camera, page, stream, API, metrics, alerts"))
    shadow = commands.add_parser("shadow", help="compare a release with the serving one on live frames")
    shadow.add_argument("release", type=Path)
    shadow.add_argument("--accelerator", default="CPU", help=accelerators.HELP)
    shadow.add_argument("--normal-priority", action="store_true", help="do not give way to other processes")
    shadow.set_defaults(command=_shadow)
    install = commands.add_parser("install", help="install a release from a file, with the same gates as over SSH")
    install.add_argument("file", type=Path, help="file written by `toolkit deploy BUNDLE --offline FILE`")
    install.add_argument("--channel", default="offline", help="channel that the file must be signed for")
    _gate_options(install)
    install.set_defaults(command=_install)
    pull = commands.add_parser("pull", help="install the release of a registry's channel, with the same gates")
    pull.add_argument("channel", metavar="HOST[:PORT]/NAME:CHANNEL")
    pull.add_argument(
        "--credentials", type=Path, metavar="FILE", help="file with NAME:PASSWORD, for a registry with logins"
    )
    pull.add_argument("--plain-http", action="store_true", help="HTTP without TLS; always on for loopback")
    pull.add_argument(
        "--report", default="", metavar="NAME", help="report the outcome to the registry under this device name"
    )
    pull.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="LABEL",
        help="group of this device, or VARIABLE=VALUE, by which a staged rollout may choose it; repeatable",
    )
    pull.add_argument("--again", action="store_true", help="retry a release that this device refused before")
    _gate_options(pull)
    pull.set_defaults(command=_pull)
    session = commands.add_parser("session", help="serve `toolkit deploy`: one JSON request per line of stdin")
    session.add_argument("root", type=Path, help="folder that holds the releases")
    session.set_defaults(command=_session)
    return parser


def _gate_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--root", type=Path, default=Path(ROOT), help="folder that holds the releases")
    command.add_argument("--accelerator", default="CPU", help=accelerators.HELP)
    command.add_argument("--unit", default="toolkit-runner.service", help="systemd unit of the service")
    command.add_argument("--url", help="address that answers 200 while the service is healthy")
    command.add_argument(
        "--seconds", type=_positive_number, default=10.0, help="seconds that the service must stay healthy"
    )
    command.add_argument(
        "--app-url",
        default="http://127.0.0.1:8080",
        help="live app whose frames a release is compared on, if asked for",
    )
    command.add_argument("--app-token-file", type=Path, help="file with the app's token")
    command.add_argument("--reserve-bytes", type=int, default=64 << 20, help="disk space to leave free")


def _bench_options(bench: argparse.ArgumentParser) -> None:
    from .bench import spec

    bench.add_argument("release", type=Path)
    bench.add_argument(
        "--images", required=True, type=Path, metavar="DIR", help="folder with images.json and its images"
    )
    bench.add_argument("--root", type=Path, help="folder of the bench lock; default: the release's ROOT")
    bench.add_argument("--accelerator", default="CPU", help=accelerators.HELP)
    spec.add_arguments(bench)
    bench.add_argument("--stop-on-eof", action="store_true", help="stop when stdin ends, as when a connection is lost")
    bench.set_defaults(command=_bench)


def _serve_options(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("release", type=Path, help="release folder; a link to it is followed when it changes")
    serve.add_argument(
        "--source", default="pattern", help="pattern, a folder, a video, /dev/videoN, picamera, rtsp://…, @FILE"
    )
    serve.add_argument("--accelerator", default="CPU", help=accelerators.HELP)
    serve.add_argument("--precision", choices=("f32", "f16", "bf16"), help="default: chosen by the accelerator")
    serve.add_argument("--threads", type=_positive)
    serve.add_argument("--streams", type=_positive)
    serve.add_argument(
        "--fps", type=float, default=25.0, help="frame rate of cameras and files; 0: files at full speed"
    )
    serve.add_argument("--width", type=_positive, default=1280, help="camera image width")
    serve.add_argument("--height", type=_positive, default=720, help="camera image height")
    serve.add_argument("--decoders", type=int, default=0, help="decoding threads; 0: one per core, at most four")
    serve.add_argument("--exact", action="store_true", help="resize frames exactly as files are resized; slower")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on; other than loopback requires a token")
    serve.add_argument("--port", type=int, default=8080, help="0: any free port")
    serve.add_argument("--token-file", type=Path, help="file with the token, readable only by its owner and group")
    serve.add_argument("--certificate", type=Path, help="PEM file; enables TLS")
    serve.add_argument("--key", type=Path, help="private key, if not in the certificate file")
    serve.add_argument(
        "--predictions", type=_positive_number, default=10.0, help="images per second that the API accepts"
    )
    serve.add_argument("--alerts", type=Path, help="JSON or TOML file with alert rules and sinks")
    serve.add_argument("--capture", type=Path, help="JSON or TOML file: which images to store to be labeled")
    serve.add_argument("--state-file", type=Path, help="status file, written every two seconds and removed on exit")
    serve.add_argument("--stop-on-eof", action="store_true", help="stop when stdin ends, as when a connection is lost")
    serve.set_defaults(command=_serve)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _positive_number(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a duration")
    return number


def _probe(options: argparse.Namespace) -> Dict[str, Any]:
    from .probe import probe

    return probe(options.root)


def _verify(options: argparse.Namespace) -> Dict[str, Any]:
    from .release.verify import verify

    return verify(options.release)


def _golden(options: argparse.Namespace) -> Dict[str, Any]:
    from .release.golden import check_golden

    return check_golden(options.release, options.accelerator)


def _health(options: argparse.Namespace) -> Dict[str, Any]:
    from .release.health import check_health

    return check_health(options.unit, options.url, options.seconds, options.patience)


def _install(options: argparse.Namespace) -> Dict[str, Any]:
    from .release.install import install

    return install(options.file.resolve(), options.root.absolute(), _gates(options), options.channel)


def _pull(options: argparse.Namespace) -> Dict[str, Any]:
    from .release.oci_registry import parse_reference
    from .release.pull import pull

    registry = parse_reference(options.channel, options.credentials, plain=options.plain_http)
    return pull(registry, options.root.absolute(), _gates(options), options.report, options.label, again=options.again)


def _session(options: argparse.Namespace) -> None:
    from .activation.session import run

    run(options.root, sys.stdin.buffer, options.stdout, skip_program=True)


def _gates(options: argparse.Namespace) -> Any:
    import dataclasses

    from .activation.delivery import GateOptions

    return GateOptions(**{field.name: getattr(options, field.name) for field in dataclasses.fields(GateOptions)})


def _predict(options: argparse.Namespace) -> Dict[str, Any]:
    from .predict import predict

    return predict(options.release, options.images, options.accelerator)


def _serve(options: argparse.Namespace) -> Dict[str, Any]:
    """Run the live app; print its address on stdout once it answers. The result is the second document on stdout."""
    import dataclasses

    from .app.serve import Options, serve

    if options.stop_on_eof:
        threading.Thread(target=_stop_when_stdin_ends, daemon=True).start()
    serve_options = Options(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Options)})
    return serve(serve_options, lambda message: _print(message, options.stdout))


def _shadow(options: argparse.Namespace) -> None:
    """Answer requests on stdin until it ends."""
    from .app import shadow

    if not options.normal_priority:
        shadow.lowest_priority()
    shadow.run(options.release, options.accelerator, sys.stdin, options.stdout)


def _bench(options: argparse.Namespace) -> Dict[str, Any]:
    from .bench.run import run_benchmark
    from .bench.spec import parse_arguments

    if options.stop_on_eof:
        threading.Thread(target=_stop_when_stdin_ends, daemon=True).start()
    return run_benchmark(options.release, options.images, parse_arguments(options), options.root)


def _bench_worker(options: argparse.Namespace) -> None:
    from .bench.worker import serve

    stdout, parser = options.stdout, _parser()
    serve(lambda arguments: _execute(parser.parse_args(["bench", *arguments]), stdout), stdout)


def _stop_when_stdin_ends() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
