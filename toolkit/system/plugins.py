"""Plugins: objects that other installed packages provide through entry points.

A package names its additions in its own pyproject.toml:

    [project.entry-points."edge_vision_toolkit.networks"]
    tiny_net = "my_package:TINY_NET"

What the toolkit itself has goes before a plugin of the same name.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any, Literal

from toolkit.errors import ConfigurationError

Kind = Literal["data_formats", "networks", "doctor_checks"]
"""Kinds of plugins. The device code loads those of the kind alert_sinks itself."""


def plugin_names(kind: Kind) -> tuple[str, ...]:
    """Return the names of the installed plugins of a kind, sorted; loads none."""
    return tuple(sorted({point.name for point in _points(kind)}))


def load_plugin(kind: Kind, name: str, expected: type) -> Any:
    """Return the object that a plugin names, an instance of `expected`.

    Raises:
        ConfigurationError: it cannot be loaded, is something else, or several packages have one of that name.
    """
    points = [point for point in _points(kind) if point.name == name]
    where = ", ".join(sorted({_package(point) for point in points}))
    if len({point.value for point in points}) > 1:
        raise ConfigurationError(f"several packages have {name} in {kind}", where=where, remedy="uninstall all but one")
    try:
        loaded = points[0].load()
    except Exception as error:  # whatever a plugin raises is a fault of the plugin
        what = f"the plugin {name} cannot be loaded: {type(error).__name__}: {error}"
        raise ConfigurationError(what, where=where, remedy="update the package, or uninstall it") from error
    if not isinstance(loaded, expected):
        what = f"the plugin {name} is {type(loaded).__name__}, not {expected.__name__}"
        raise ConfigurationError(what, where=where, remedy="see docs/guides/extend.md")
    return loaded


def _points(kind: Kind) -> tuple[metadata.EntryPoint, ...]:
    return tuple(metadata.entry_points(group=f"edge_vision_toolkit.{kind}"))


def _package(point: metadata.EntryPoint) -> str:
    return "an unknown package" if point.dist is None else f"{point.dist.name} {point.dist.version}"
