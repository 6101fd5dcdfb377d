"""The options of `toolkit deploy` for the comparison on live frames and for watching the devices afterwards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.deploy.gates.shadow_gate import FindLabeled, ShadowOptions
    from toolkit.store import Store
    from toolkit.workspace import Workspace

COMPARISON = "Comparison on live frames"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

ShadowOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Maximum time, such as 10m, to run the release beside the serving one on live frames of the first batch, "
        "before switching to it. Default: no comparison.",
        rich_help_panel=COMPARISON,
    ),
]
ShadowGateOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=SHARE",
        help="agreement=SHARE: of frames on which both releases must agree; accuracy=SHARE: of labeled captures that the "
        "new one must classify correctly. Repeatable. Default: agreement=0.95.",
        rich_help_panel=COMPARISON,
    ),
]
ShadowEveryOption = Annotated[
    int,
    typer.Option(min=1, max=10_000, metavar="K", help="Compare each K-th frame.", rich_help_panel=COMPARISON),
]
ShadowUndecidedOption = Annotated[
    bool,
    typer.Option(
        "--shadow-allow-undecided",
        help="Deploy even if the time was too short for a decision.",
        rich_help_panel=COMPARISON,
    ),
]
SoakOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Time to watch the devices after the rollout, such as 1h; rolls back if one restarts, fails, drifts or raises "
        "more alerts. Default: none.",
        rich_help_panel=COMPARISON,
    ),
]


def parse_duration(text: str, option: str) -> float:
    """Return a length of time in seconds: a number with s, m, h or d; without, it is in seconds.

    Raises:
        UsageError: it is not one, or is zero.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", text.strip(), re.ASCII)
    seconds = float(match.group(1)) * _UNITS[match.group(2) or "s"] if match else 0.0
    if not seconds > 0:
        raise UsageError(
            f"{text!r} is not a duration", where=option, remedy="use a number with s, m, h or d, such as 10m"
        )
    return seconds


def parse_shadow(
    shadow: str | None, gates: Sequence[str] | None, every: int, *, allow_undecided: bool
) -> ShadowOptions | None:
    """Return the options of a comparison; None without --shadow. Gates that are named replace the default.

    Raises:
        UsageError: the time or the gate is not valid.
    """
    if shadow is None:
        return None
    from toolkit.deploy.gates.shadow_gate import DEFAULT_AGREEMENT, ShadowOptions

    shares: dict[str, float] = {} if gates else {"agreement": DEFAULT_AGREEMENT}
    for gate in gates or ():
        name, _, value = gate.partition("=")
        share = float(value) if re.fullmatch(r"0?\.[0-9]+", value, re.ASCII) else 0.0
        if name.strip() not in {"agreement", "accuracy"} or not 0 < share < 1:
            remedy = "use a share below 1, such as agreement=0.95 or accuracy=0.8"
            raise UsageError(f"{gate!r} is not a gate", where="--shadow-gate", remedy=remedy)
        shares[name.strip()] = share
    return ShadowOptions(
        seconds=parse_duration(shadow, "--shadow"),
        agreement=shares.get("agreement"),
        accuracy=shares.get("accuracy"),
        every=every,
        allow_undecided=allow_undecided,
    )


def find_labeled(shadow: ShadowOptions | None, workspace: Workspace, store: Store) -> FindLabeled:
    """Return what finds labeled captures for a comparison, if it judges accuracy; the import takes half a second."""
    if shadow is None or shadow.accuracy is None:
        return lambda *_: ()
    from toolkit.loop.fair_captures import FairCaptures

    return FairCaptures(workspace, store)
