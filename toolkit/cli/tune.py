"""`toolkit tune`: the settings that train a network fastest on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import options, output

if TYPE_CHECKING:
    from toolkit.experiment.compute_profiles import Profile
    from toolkit.train.tuning.process import Measured
    from toolkit.train.tuning.search import Tuned


def tune(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Experiment file, or name of a network.")],
    network: Annotated[str | None, typer.Option(metavar="NAME", help="Only network of the experiment to tune.")] = None,
    python: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Another interpreter to try. Default: those of .venv and .venv-mkl."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=20, metavar="SECONDS", help="Time limit per network.")] = 160,
    workspace: options.WorkspaceOption = options.DEFAULT_WORKSPACE,
    as_json: options.JsonOption = False,
) -> None:
    """Find the fastest training settings.

    Measures this machine and saves the compute profile that `toolkit train` then uses.
    """
    from toolkit.experiment import compute_profiles
    from toolkit.progress import create_progress
    from toolkit.train.tuning import candidates, search
    from toolkit.train.tuning.worker import pieces_of
    from toolkit.workspace import Workspace

    place, progress = Workspace(workspace), create_progress(quiet=as_json)
    tried, results = candidates.candidates_here(python), {}
    for piece in pieces_of(target, network):
        progress.log(f"{piece.network}: fine-tuning at {piece.edge} x {piece.edge} pixels, {seconds:.0f} s at most")
        tuned = search.tune(piece, tried, progress, precision=candidates.precision_here(), limit_s=seconds)
        profile = tuned.profile(piece.network)
        path = compute_profiles.keep(profile, tuned.told(), place)
        results[piece.network] = {"path": path, "profile": profile, **tuned.told()}
        if not as_json:
            _print(tuned, profile, path)
    if as_json:
        output.print_json(results)


def _print(tuned: Tuned, profile: Profile, path: Path) -> None:
    """Print the candidates, the choice and the advice."""
    columns = ("candidate", "images/s", "middle half of the steps", "share of the fastest", "")
    output.print_table(columns, (_row(one, tuned) for one in tuned.measured), title=profile.name)
    typer.echo(f"chosen    {tuned.chosen.profile.told()}")
    if tuned.batches:
        rates = ", ".join(f"{size}: {rate:.1f}" for size, rate in tuned.batches.items())
        typer.echo(f"batches   {rates} images/s; set train.batch_size in the experiment to change it")
    if tuned.other is not None and tuned.other.rates:
        share = tuned.other.rate / tuned.chosen.rate
        typer.echo(
            f"bfloat16  {tuned.other.rate:.1f} images/s, {share:.2f} times as many; "
            'set train.precision = "bfloat16" in the experiment to use it'
        )
    typer.echo(f"profile   {path}")


def _row(one: Measured, tuned: Tuned) -> tuple[str, ...]:
    low, high = one.spread
    share = f"{one.rate / max(other.rate for other in tuned.measured):.2f}" if one.rates else ""
    note = "chosen" if one is tuned.chosen else one.failure
    return (
        one.profile.name,
        *((f"{one.rate:.1f}", f"{low:.1f} to {high:.1f}") if one.rates else ("", "")),
        share,
        note,
    )
