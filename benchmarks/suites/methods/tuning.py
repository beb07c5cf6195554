"""Chooses among candidate bidders on validation episodes: tuning of rules and of what a policy is conditioned on.

Every method gets its choice from this one function, on the same episodes; test episodes never come here. `tune` draws
the candidates of an agent from its search space (`search_spaces.toml`), as many for each, and records what it did.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from agents import Bidder, make, rollout_each
from agents.learning.bars import Count
from agents.rollouts import playable
from auction_env import MarketParams, Population, Task
from auction_env.control.controlled_market import PlayableMarket
from auction_env.files import write_atomically

SPACES = Path(__file__).with_name("search_spaces.toml")
GENERATIVE_SPACES = Path(__file__).with_name("generative_spaces.toml")


class Choice(NamedTuple):
    """The outcome of a tuning.

    Attributes:
        bidder: The chosen candidate.
        position: Its place among the candidates.
        scores: (n_candidates, n_episodes) expected scores.
        stability: Share of bootstrap resamples of the episodes in which the same candidate wins.
    """

    bidder: Bidder
    position: int
    scores: NDArray[np.float64]
    stability: float


def choose(
    candidates: Sequence[Bidder],
    *,
    seeds: NDArray[np.int64],
    advertisers: NDArray[np.int64],
    task: Task,
    params: MarketParams | None = None,
    population: Population | None = None,
    market: PlayableMarket | None = None,
    days: NDArray[np.int64] | None = None,
    progress: Count | bool | None = None,
) -> Choice:
    """The candidate with the highest mean expected score over the validation episodes.

    Expected conversions replace sampled ones: the same mean with a fraction of the noise, so that fewer episodes
    make a stable choice. How stable is part of the answer. The market is that of `agents.rollouts.rollout`.
    """
    if not candidates:
        raise ValueError("`candidates` must hold at least one bidder, found none")
    played = rollout_each(
        candidates,
        seeds=seeds,
        advertisers=advertisers,
        task=task,
        params=params,
        population=population,
        market=market,
        days=days,
        progress=progress,
    )
    scores = np.stack([episodes.score(expected=True) for episodes in played])
    best = int(scores.mean(axis=1).argmax())
    return Choice(candidates[best], best, scores, float(chosen_shares(scores)[best]))


def chosen_shares(
    scores: NDArray[np.float64], n_episodes: int | None = None, *, n_resamples: int = 1000
) -> NDArray[np.float64]:
    """How often each candidate would be chosen, (n_candidates,): a bootstrap over validation episodes.

    Args:
        scores: (n_candidates, n) scores on the same n episodes.
        n_episodes: Episodes behind a choice; n by default. Fewer show how much the choice hangs on their number.
        n_resamples: Choices that are made.
    """
    n_candidates, n = scores.shape
    resample = np.random.default_rng(0).integers(n, size=(n_resamples, n_episodes or n))
    winners = scores[:, resample].mean(axis=2).argmax(axis=0)
    return np.bincount(winners, minlength=n_candidates) / n_resamples


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Where a parameter is searched."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"`low` must be below `high`, found {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"`low` must be positive in a logarithmic range, found {self.low}")

    def at(self, share: float) -> float:
        """The value at a share in [0, 1] of the range."""
        if self.log:
            return float(self.low * (self.high / self.low) ** share)
        return float(self.low + share * (self.high - self.low))


Space = Mapping[str, Range]


def read_spaces(path: Path = SPACES) -> dict[str, dict[str, Range]]:
    """Search spaces by agent; ValueError, naming agent and parameter, where the file has something else."""
    spaces: dict[str, dict[str, Range]] = {}
    for agent, parameters in tomllib.loads(path.read_text(encoding="utf-8")).items():
        spaces[agent] = {}
        for name, fields in parameters.items():
            try:
                spaces[agent][name] = Range(**fields)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}: [{agent}] {name} must be a range (low, high, log), found {error}") from error
    return spaces


def candidates_of(space: Space, n: int, seed: int) -> list[dict[str, float]]:
    """n points: no parameter at all, which is the agent's defaults, and then scrambled Sobol points of the space.

    Args:
        space: Ranges by parameter.
        n: Number of candidates, at least 1.
        seed: Of the scrambling: the same seed and space give the same points, and more points begin with the fewer.
    """
    if n < 1:
        raise ValueError(f"`n` must be at least 1, found {n}")
    n_drawn = n - 1
    if n_drawn == 0 or not space:
        return [{}]
    points = qmc.Sobol(len(space), seed=seed).random_base2(int(np.ceil(np.log2(max(n_drawn, 2)))))[:n_drawn]
    return [{}] + [
        {name: where.at(share) for (name, where), share in zip(space.items(), point, strict=True)}
        for point in points.tolist()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The record of a tuning: what was tried, on what, and what was chosen."""

    agent: str
    task: str
    n_impressions: int
    n_episodes: int  # validation episodes
    first_seed: int  # of them
    seed: int  # of the candidates
    candidates: tuple[dict[str, float], ...]
    scores: tuple[float, ...]  # mean expected score of each
    chosen: int
    stability: float  # `Choice.stability`

    @property
    def parameters(self) -> dict[str, float]:
        """Those of the chosen candidate; empty for the agent's defaults."""
        return self.candidates[self.chosen]

    def save(self, path: Path) -> None:
        """Writes the record as JSON."""
        write_atomically(path, json.dumps(asdict(self), indent=1).encode())


def tune(
    agent: str,
    space: Space,
    *,
    n_candidates: int,
    seed: int,
    seeds: NDArray[np.int64],
    advertisers: NDArray[np.int64],
    task: Task,
    params: MarketParams | None = None,
    population: Population | None = None,
    market: PlayableMarket | None = None,
    days: NDArray[np.int64] | None = None,
    fixed: Mapping[str, Any] | None = None,
    progress: Count | bool | None = None,
) -> tuple[Bidder, Tuning]:
    """Chooses an agent's parameters on validation episodes.

    Args:
        agent: Name in the registry.
        space: What is searched, of `read_spaces`.
        n_candidates: The same for every agent that is to be compared.
        seed: Of the candidates.
        seeds, advertisers, task, params, population, market, days, progress: As for `choose`.
        fixed: Further arguments of the agent, the same for all candidates, such as a history.
    """
    points = candidates_of(space, n_candidates, seed)
    choice = choose(
        [make(agent, **(fixed or {}), **point) for point in points],
        seeds=seeds,
        advertisers=advertisers,
        task=task,
        params=params,
        population=population,
        market=market,
        days=days,
        progress=progress,
    )
    record = Tuning(
        agent=agent,
        task=task.name,
        n_impressions=round(playable(market, task, params, population).mean_impressions),
        n_episodes=len(seeds),
        first_seed=int(seeds[0]),
        seed=seed,
        candidates=tuple(points),
        scores=tuple(choice.scores.mean(axis=1).tolist()),
        chosen=choice.position,
        stability=choice.stability,
    )
    return choice.bidder, record
