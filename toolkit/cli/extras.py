"""Report which extra to install when a verb needs a missing package."""

from __future__ import annotations

from importlib.util import find_spec

from toolkit.errors import MachineError

_PROJECT = "edge-vision-toolkit"
_OF_PACKAGE = {
    "altair": "report",
    "docker": "containers",
    "jinja2": "report",
    "mlflow": "tracking",
    "polars": "parquet",
    "ray": "ray",
    "vl_convert": "report",
}
"""Packages that only one extra brings."""
_OF_VERB = {
    "demo": "all",
    "run": "all",
    "init": "train",
    "tune": "train",
    "train": "train",
    "evaluate": "train",
    "predict": "train",
    "inspect": "train",
    "convert": "train",
    "check": "train",
    "parity": "train",
    "serve": "device",
    "bench": "device,fleet",
    "data": "train",
    "label": "all",
    "retrain": "all",
    "loop": "all",
    "report": "report",
}
"""What every other verb needs is the extra fleet."""


def require(*packages: str) -> None:
    """Check that the packages of a child process are installed, without loading them.

    Raises:
        ModuleNotFoundError: one is missing; `explain` names its extra.
    """
    for package in packages:
        if find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)


def explain(error: BaseException, verb: str) -> MachineError | None:
    """Return an error that names the extra for `verb`; None if `error` is not about a missing package."""
    if not isinstance(error, ImportError):
        return None
    package = (error.name or "").partition(".")[0]
    if not package or package == "toolkit":
        return None
    extra = _OF_PACKAGE.get(package) or _OF_VERB.get(verb, "fleet")
    missing = isinstance(error, ModuleNotFoundError)
    return MachineError(
        f"`toolkit {verb}` needs the package {package}, which "
        + ("is not installed" if missing else f"cannot be loaded: {error.msg}"),
        remedy=f"pip install '{_PROJECT}[{extra}]'",
    )
