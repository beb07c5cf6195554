"""Every training method on one family of data-scarce tasks: `python -m benchmarks.multitask_methods`.

For each method: the mean validation loss over targets, the share of the best constant multiplier in hindsight on test
episodes with a bootstrap interval over episodes (means over training seeds first), and the median time of a step.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from agents import HindsightBidder, collect_family, load_family, make_task_family, rollout
from agents.families import Member, TaskFamily
from auction_env.data import TrajectoryData
from benchmarks.console import console, progress_bar
from vamo import Config, override, train
from vamo.config import Method

Float = NDArray[np.float64]
METHODS: tuple[str, ...] = get_args(Method)
_TEST = 2**31  # added to a member's first seed: markets that its logs never saw
_RESAMPLES = 2_000


class Finding(NamedTuple):
    """One method, over its training seeds."""

    method: str
    loss: float  # mean validation loss of the sound targets
    shares: Float  # (n,) of each test episode: score over the hindsight constant's, mean over seeds
    step_time: float  # s, median


def episodes_of(member: Member, n: int) -> dict[str, object]:
    """Arguments of a rollout of n test episodes."""
    return {
        "seeds": member.first_seed + _TEST + np.arange(n),
        "advertisers": np.resize(member.advertisers, n),
        "task": member.task,
        "params": member.params,
        "population": member.population,
    }


def run(
    family: TaskFamily, logs: Path, methods: Sequence[str], *, steps: int, seeds: int, n_test: int
) -> list[Finding]:
    """Trains and plays every method."""
    sources, validation = load_family(logs), load_family(logs, "validation")
    sound = [member for member in family.members if not member.is_harmful]
    best = {}
    for member in sound:
        arguments = episodes_of(member, n_test)
        hindsight = HindsightBidder(member.task, params=member.params, population=member.population, expected=True)
        best[member.name] = rollout(hindsight, **arguments).score(expected=True)  # type: ignore[arg-type]
    found = []
    with progress_bar("training", len(methods) * seeds, "runs") as bar:
        for method in methods:
            runs = []
            for seed in range(seeds):
                runs.append(_play(sources, validation, sound, best, method, steps=steps, seed=seed, n_test=n_test))
                bar.advance(1)
            losses, shares, times = zip(*runs, strict=True)
            found.append(Finding(method, float(np.mean(losses)), np.mean(shares, axis=0), float(np.median(times))))
    return found


def _play(
    sources: dict[str, TrajectoryData],
    validation: dict[str, TrajectoryData],
    sound: Sequence[Member],
    best: dict[str, Float],
    method: str,
    *,
    steps: int,
    seed: int,
    n_test: int,
) -> tuple[float, Float, float]:
    options = (f"train.method={method}", f"train.seed={seed}", f"train.steps={steps}")
    result = train(sources, validation, override(Config(), options))
    last = result.history[-1].validation_loss
    loss = float(np.mean([last[result.targets.index(member.name)] for member in sound]))
    shares = []
    for member in sound:
        score = rollout(result.bidder, **episodes_of(member, n_test)).score(expected=True)  # type: ignore[arg-type]
        shares.append(score / np.maximum(best[member.name], 1e-9))
    return loss, np.concatenate(shares), float(np.median([record.step_time for record in result.history]))


def table(found: Sequence[Finding], seeds: int) -> Table:
    """A row a method."""
    uniform = next((finding.step_time for finding in found if finding.method == "uniform"), float("nan"))
    rng = np.random.default_rng(0)
    out = Table(title=f"{len(found[0].shares)} test episodes, {seeds} training seeds; intervals: 95 %, over episodes")
    for name in ("method", "validation loss", "share of hindsight", "step, ms", "of uniform"):
        out.add_column(name, justify="left" if name == "method" else "right")
    for finding in found:
        n = len(finding.shares)
        means = finding.shares[rng.integers(n, size=(_RESAMPLES, n))].mean(axis=1)
        low, high = np.quantile(means, (0.025, 0.975))
        share = f"{finding.shares.mean():.3f} [{low:.3f}, {high:.3f}]"
        step = f"{1e3 * finding.step_time:.0f}"
        out.add_row(finding.method, f"{finding.loss:.3f}", share, step, f"{finding.step_time / uniform:.2f}")
    return out


def main(argv: Sequence[str] | None = None) -> None:
    """Collects the family, trains, plays, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD")
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--most", type=int, default=60)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=2, help="number of training seeds")
    parser.add_argument("--test", type=int, default=16, help="test episodes of each task")
    arguments = parser.parse_args(argv)
    family = make_task_family(arguments.tasks, shift=0.5, imbalance=(arguments.most, 20), n_impressions=2_400)
    with tempfile.TemporaryDirectory() as folder:
        collect_family(family, folder, n_validation=30, n_test=1)
        found = run(
            family,
            Path(folder),
            arguments.methods,
            steps=arguments.steps,
            seeds=arguments.seeds,
            n_test=arguments.test,
        )
    console.width = max(console.width, 100)
    console.print(table(found, arguments.seeds))


if __name__ == "__main__":
    main()
