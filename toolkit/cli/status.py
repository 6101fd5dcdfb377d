"""`toolkit status`: what each device serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.reach import Reach, reaching

if TYPE_CHECKING:
    from toolkit.deploy import Serving


@reaching
def status(
    reach: Reach,
    quick: Annotated[bool, typer.Option("--quick", help="Do not read the release's files there.")] = False,
) -> None:
    """What each device serves, and its drift: from what was deployed last, and of each file from its digest."""
    from toolkit.cli.outcomes import report
    from toolkit.deploy import status as ask
    from toolkit.errors import ExitCode

    devices = reach.devices()
    with reach.store() as store:
        found = ask(devices, store=store, forks=reach.forks, progress=reach.progress, files=not quick)
    report(found, ("bundle", "release", "since", "drift", "previous"), _row, as_json=reach.as_json)
    if any(serving.drift for serving in found.ok.values()):
        raise typer.Exit(int(ExitCode.SOME_FAILED))


def _row(serving: Serving) -> tuple[object, ...]:
    verdict = "; ".join(serving.drift) or ("none" if serving.expected else "not by this workspace")
    locks = "".join(f"; locked by {lock}" for lock in (serving.lock, serving.rollout) if lock)
    return (
        serving.name or "nothing",
        (serving.release or "")[:12],
        (serving.since or "")[:19].replace("T", " "),
        verdict + locks,
        (serving.previous or "")[:12],
    )
