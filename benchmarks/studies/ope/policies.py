"""The policies that `ope/v1` estimates: rules, learners and ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from agents import FixedBidder, OnlineLpBidder, PidBidder, learner, load, make, record_prices, rollout
from agents.logging.policies import make_policy, parse_shares
from agents.rollouts import to_trajectories
from auction_env import PacingGains, Population, auctionnet_population, data
from auction_env.control.bidder import Bidder
from auction_env.data import TrajectoryData
from auction_env.tasks import TASKS
from benchmarks.studies.ope.settings import TASK, TRAIN_SEED, OpeSettings

LEARNERS = ("bc", "iql", "vamo")
_HISTORY_SEEDS = tuple(range(2**43, 2**43 + 4))
_TRAIN, _VALIDATION = "train", "validation"


def _fixed(factor: float) -> Callable[[OpeSettings, Path], Bidder]:
    return lambda settings, folder: FixedBidder(factor, name=f"fixed {factor:g}")


def _rule(name: str) -> Callable[[OpeSettings, Path], Bidder]:
    return lambda settings, folder: make(name)


def _online_lp(settings: OpeSettings, folder: Path) -> Bidder:
    history = record_prices(settings.params(), auctionnet_population(), _HISTORY_SEEDS, task=TASKS[TASK])
    return OnlineLpBidder(history, is_of_played_market=False)


def _learned(name: str) -> Callable[[OpeSettings, Path], Bidder]:
    def made(settings: OpeSettings, folder: Path) -> Bidder:
        bidder: Bidder = load(folder / f"{name}.safetensors", name=name)
        return bidder

    return made


POLICIES: dict[str, Callable[[OpeSettings, Path], Bidder]] = {
    "fixed 0.5": _fixed(0.5),
    "fixed 0.8": _fixed(0.8),
    "fixed 1.1": _fixed(1.1),
    "fixed 1.6": _fixed(1.6),
    "pid": _rule("pid"),
    "slow pid": lambda settings, folder: PidBidder(0.7, PacingGains(p=0.0, i=0.02), name="slow pid"),
    "mpid": _rule("mpid"),
    "dual": _rule("dual"),
    "adaptive-pacing": _rule("adaptive-pacing"),
    "mpc": _rule("mpc"),
    "online-lp": _online_lp,
    **{name: _learned(name) for name in LEARNERS},
}
"""Makers by name; those that learn find their files in the folder that `train` filled."""


def train(settings: OpeSettings, folder: Path) -> None:
    """Logs trajectories of their own seeds and trains the learners on them; what is there already stays."""
    folder.mkdir(parents=True, exist_ok=True)
    population = auctionnet_population()
    for turn, part in enumerate((_TRAIN, _VALIDATION)):
        if not (folder / part).is_dir():
            data.write(folder / part, _log(settings, population, TRAIN_SEED + turn * 2**18))
    logs, held_out = ({TASK: data.load(folder / part)} for part in (_TRAIN, _VALIDATION))
    for name in LEARNERS:
        out, made = folder / f"{name}.safetensors", learner(name)
        if out.is_file():
            continue
        key = "train.steps" if name == "vamo" else "steps"
        made.train(
            logs,
            validation=held_out if made.needs_validation else None,
            settings=made.settings(None, [f"{key}={settings.steps[name]}"]),
            seed=0,
            out=out,
            progress=False,
        )


def _log(settings: OpeSettings, population: Population, first_seed: int) -> TrajectoryData:
    policy = make_policy(parse_shares("noisy-pid=2,random=1"), TASKS[TASK], settings.params(), population)
    seeds = first_seed + np.arange(settings.n_train)
    played = rollout(
        policy,
        seeds=seeds,
        advertisers=np.arange(settings.n_train) % population.n_advertisers,
        task=TASKS[TASK],
        params=settings.params(),
        population=population,
        progress=False,
    )
    return to_trajectories(played, period=np.arange(settings.n_train), policy=policy.name)
