"""How near the harms of `harm/v1` are to sound logs, and what they cost: `python -m benchmarks.studies.harm_truth`.

Each kind in turn harms one log of a family, at the strength of `harm/v1` or at the strengths given. The table has the
Kolmogorov-Smirnov distances of the log's ticks from those of the same log without the harm, on the same seeds, and the
losses of tasks of each objective (`agents.harm_losses`).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.table import Table

from agents import (
    HARM_V1_KINDS,
    Harm,
    Marginals,
    Member,
    collect_data_set,
    harm_losses,
    make_task_family,
    marginal_distance,
)
from agents.families.storage import member_collection
from auction_env import data
from auction_env.data import TrajectoryData
from benchmarks.console import console, progress_bar


def harm_table(harms: Sequence[Harm], *, position: int, seed: int, n_trajectories: int, n_impressions: int) -> Table:
    """A row a harm: marginals of the log at `position` of a family of six objectives, and the losses of all six."""
    out = Table(title="marginals: distance from the sound log; losses of harmed trajectories, % of the target's score")
    out.add_column("harm", overflow="fold")
    family = make_task_family(6, seed, n_groups=6, harms=(), n_impressions=n_impressions)
    for name in (*Marginals._fields, *(name.rpartition("-")[0] for name in family.names)):
        out.add_column(name, justify="right")
    with progress_bar("playing", None, "episodes") as bar:
        losses = [harm_losses(target, harms, progress=bar.advance) for target in family.members]
    with tempfile.TemporaryDirectory() as folder:
        sound = _log(family.members[position], n_trajectories, Path(folder) / "sound")
        for row, (harm, loss) in enumerate(zip(harms, zip(*losses, strict=True), strict=True)):
            harmed = _log(replace(family.members[position], harm=harm), n_trajectories, Path(folder) / str(row))
            marginals = (f"{value:.2f}" for value in marginal_distance(sound, harmed))
            out.add_row(str(harm), *marginals, *(f"{100 * value:.1f}" for value in loss))
    return out


def _log(member: Member, n: int, path: Path) -> TrajectoryData:
    chosen = replace(member, n_trajectories=n)
    collect_data_set(member_collection(chosen, 0), path)
    return data.load(path)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    harms = "kind=strength or kind=strength@share; default: those of harm/v1"
    parser.add_argument("harms", nargs="*", type=Harm.parse, default=HARM_V1_KINDS, metavar="HARM", help=harms)
    parser.add_argument("--position", type=int, default=1, help="of the harmed task; default: %(default)s, TargetCPA")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--trajectories", type=int, default=320)
    parser.add_argument("--impressions", type=int, default=4_800)
    arguments = parser.parse_args(argv)
    console.print(
        harm_table(
            arguments.harms,
            position=arguments.position,
            seed=arguments.seed,
            n_trajectories=arguments.trajectories,
            n_impressions=arguments.impressions,
        )
    )


if __name__ == "__main__":
    main()
