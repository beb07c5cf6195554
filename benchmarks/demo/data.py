"""The demo's data: simulated logs of two tasks, or two tasks made from imported logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agents import FixedBidder, MixedBidder, NoisyBidder, PidBidder, collect
from auction_env import TASKS, MarketParams, auctionnet_population, data
from auction_env.data import TrajectoryData
from benchmarks.commands.importing import import_impressions
from benchmarks.console import progress_bar
from vamo import split

MAJORITY, SCARCE = "MaxConversions", "TargetCPA"
FIRST_LOG_SEED, FIRST_VALIDATION_SEED, FIRST_TEST_SEED = 0, 100_000, 300_000
# Seeds from 200,000 on were used when the agent's defaults were chosen, so no test may use them.


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """Size of the demo; the defaults take about 4 minutes on 2 cores."""

    n_impressions: int = 50_000  # an episode; a tenth of full size, budgets scaled alike
    n_logged_days: int = 20  # of the majority task: 48 trajectories a day
    n_scarce: int = 24  # trajectories of the data-scarce task to train on
    n_held_out: int = 24  # trajectories of each task behind the validation gradients
    n_validation_episodes: int = 24  # simulated, to choose what a policy is asked for and to tune the PID
    n_test_episodes: int = 96
    steps: int = 400  # of training, for each model
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "n_impressions",
            "n_logged_days",
            "n_scarce",
            "n_held_out",
            "n_validation_episodes",
            "n_test_episodes",
            "steps",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, found {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"`seed` must not be negative, found {self.seed}")


QUICK_SIZES = {
    "n_impressions": 5_000,
    "n_logged_days": 2,
    "n_scarce": 12,
    "n_held_out": 12,
    "n_validation_episodes": 4,
    "n_test_episodes": 8,
    "steps": 10,
}
"""Sizes that show that everything works in seconds; no figure of such a run means anything."""

MIN_LOGGED = 12  # trajectories of an imported log


class TaskData(NamedTuple):
    """Training and held-out trajectories by task, and where they came from."""

    sources: dict[str, TrajectoryData]
    held_out: dict[str, TrajectoryData]
    origin: str


def simulated(settings: DemoSettings, out: Path) -> TaskData:
    """Logs many days of the majority task and a handful of trajectories of the other.

    The logging policies are mixed as in the logs published with AuctionNet's simulator: two thirds fixed multipliers,
    one third PID, all with noise.
    """
    params = MarketParams(n_impressions=settings.n_impressions)
    policy = NoisyBidder(MixedBidder([FixedBidder(0.9), FixedBidder(0.9), PidBidder()]), name="noisy fixed and PID")
    n_advertisers = auctionnet_population().n_advertisers
    n_scarce_days = -(-(settings.n_scarce + settings.n_held_out) // n_advertisers)
    days = {MAJORITY: settings.n_logged_days, SCARCE: n_scarce_days}
    logged = {}
    first_seed = FIRST_LOG_SEED
    for name, n_days in days.items():
        with progress_bar(f"simulating logs of {name}", n_days * n_advertisers, "traj") as bar:
            episodes = collect(
                policy,
                seeds=np.arange(first_seed, first_seed + n_days),
                task=TASKS[name],
                params=params,
                progress=lambda n, bar=bar: bar.advance(n * n_advertisers),  # type: ignore[misc]
            )
            data.write(out / "data" / name, episodes, metadata={"policy": policy.name, **asdict(settings)}, force=True)
        logged[name] = data.load(out / "data" / name)
        first_seed += n_days
    return _hold_out(settings, logged, {SCARCE: settings.n_scarce}, "simulated")


def imported(settings: DemoSettings, logs: Path, out: Path) -> TaskData:
    """Two tasks from one log, which was made under CPA limits.

    Most trajectories keep their task; a few leave it and become the data-scarce task of maximising conversions.
    """
    if not logs.is_dir():
        raise ValueError(f"`LOGS` must be a directory of logs, found {logs}")
    if not (logs / "manifest.json").exists():
        import_impressions([logs], out / "imported", force=True)
        logs = out / "imported"
    log = data.load(logs)
    if log.n_episodes < MIN_LOGGED:
        raise ValueError(f"`LOGS` must hold at least {MIN_LOGGED} trajectories, found {log.n_episodes}")
    most = log.n_episodes // 6  # a small log is shared out: a third for the scarce task, half of each third held out
    settings = replace(settings, n_scarce=min(settings.n_scarce, most), n_held_out=min(settings.n_held_out, most))
    n_few = settings.n_scarce + settings.n_held_out
    order = np.random.default_rng(settings.seed).permutation(log.n_episodes)
    few, many = np.sort(order[:n_few]), np.sort(order[n_few:])
    logged = {
        SCARCE: log.select(many).with_task(TASKS[SCARCE]),
        MAJORITY: log.select(few).with_task(TASKS[MAJORITY]),
    }
    return _hold_out(settings, logged, {MAJORITY: settings.n_scarce}, f"imported from {logs.name}")


def _hold_out(
    settings: DemoSettings, logged: Mapping[str, TrajectoryData], limits: Mapping[str, int], origin: str
) -> TaskData:
    """Splits by episode; `limits` caps the training trajectories of a task."""
    sources, held_out = {}, {}
    for name, log in logged.items():
        train, held = split({name: log}, settings.n_held_out / log.n_episodes, seed=settings.seed)
        n_train = min(limits.get(name, train[name].n_episodes), train[name].n_episodes)
        sources[name], held_out[name] = train[name].select(np.arange(n_train)), held[name]
    return TaskData(sources, held_out, origin)
