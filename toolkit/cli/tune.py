"""`toolkit tune`: the settings that train a network fastest on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli import options, output

if TYPE_CHECKING:
    from toolkit.experiment.compute_profiles import ComputeProfile
    from toolkit.train.tuning.process import Measurement
    from toolkit.train.tuning.search import Tuned


def tune(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Experiment file, or name of a network.")],
    network: Annotated[
        str | None, typer.Option(metavar="NAME", help="Network of the experiment to tune. Default: all.")
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Another interpreter to try. Default: the environments beside the toolkit."),
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
    from toolkit.train.tuning import search, search_space
    from toolkit.train.tuning.worker import workloads_for
    from toolkit.workspace import Workspace

    place, progress = Workspace(workspace), create_progress(quiet=as_json)
    tried, results = search_space.machine_candidates(python), {}
    for workload in workloads_for(target, network):
        progress.log(
            f"{workload.network}: fine-tuning at {workload.edge} x {workload.edge} pixels, {seconds:.0f} s at most"
        )
        tuned = search.tune(workload, tried, progress, precision=search_space.precision_here(), limit_s=seconds)
        profile = tuned.profile(workload.network)
        path = compute_profiles.save_profile(profile, tuned.to_json(), place)
        results[workload.network] = {"path": path, "profile": profile, **tuned.to_json()}
        if not as_json:
            _print(tuned, profile, path)
    if as_json:
        output.print_json(results)


def _print(tuned: Tuned, profile: ComputeProfile, path: Path) -> None:
    """Print the candidates, the choice and the advice."""
    columns = ("candidate", "images/s", "middle half of the steps", "share of the fastest", "")
    output.print_table(columns, (_row(one, tuned) for one in tuned.measured), title=profile.name)
    typer.echo(f"chosen    {tuned.chosen.profile.describe()}")
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


def _row(one: Measurement, tuned: Tuned) -> tuple[str, ...]:
    low, high = one.spread
    share = f"{one.rate / max(other.rate for other in tuned.measured):.2f}" if one.rates else ""
    note = "chosen" if one is tuned.chosen else one.failure
    return (
        one.profile.name,
        *((f"{one.rate:.1f}", f"{low:.1f} to {high:.1f}") if one.rates else ("", "")),
        share,
        note,
    )
