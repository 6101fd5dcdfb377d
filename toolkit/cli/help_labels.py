"""Labels of options and arguments in --help: words instead of Python types."""

from __future__ import annotations

from typing import Any

from typer import core


def label_metavars() -> None:
    """Let Typer show metavars and choices only; it has no setting for this and would show `<bool>` and `<str>`."""
    core.TyperOption.display_type_rich = _option_label  # type: ignore[assignment]  # as above
    core.TyperArgument.display_type_rich = _argument_label  # type: ignore[assignment]  # as above


def _option_label(option: Any, ctx: Any) -> str | None:
    if option.is_flag or option.count:
        return None
    return str(option.metavar or option.display_type(ctx).strip("<>"))


def _argument_label(argument: Any, ctx: Any) -> None:
    """Return nothing: the argument's name is shown already."""
    del argument, ctx
