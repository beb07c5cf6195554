"""Episodes that the methods of a variant are tuned or tested on."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agents import Bidder, Episodes, make, rollout
from agents.learning.bars import Count
from auction_env import TASKS, MarketParams, Population, Task

Int = NDArray[np.int64]

RULES = ("pid", "mpid", "dual", "mpc")
"""Agents of the registry, with their defaults, that take turns as competitors under the condition "rules"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEpisodes:
    """Episodes of one task in one market: (n,) seeds, advertisers and, where they matter, days."""

    task: Task
    params: MarketParams
    population: Population
    seeds: Int
    advertisers: Int
    days: Int | None = None
    competitors: Literal["scripts", "mixed", "rules", "self"] = "scripts"

    def one(self, i: int) -> TaskEpisodes:
        """Episode i alone."""
        days = None if self.days is None else self.days[i : i + 1]
        return replace(self, seeds=self.seeds[i : i + 1], advertisers=self.advertisers[i : i + 1], days=days)

    def competing_bidders(self, bidder: Bidder) -> dict[int, Bidder] | None:
        """The bidders of all other advertisers, by advertiser; None where all follow their scripts."""
        n = self.population.n_advertisers
        if self.competitors == "rules":
            made = [make(name) for name in RULES]
            return {j: made[j % len(made)] for j in range(n)}
        if self.competitors == "self":
            # one copy for all other advertisers. The advertiser of an episode keeps the tested bidder itself
            return dict.fromkeys(range(n), copy.deepcopy(bidder))
        return None

    @property
    def competitor_task(self) -> Task:
        """What the competing bidders pursue: copies of the tested agent its task, rules a target CPA."""
        return self.task if self.competitors == "self" else TASKS["TargetCPA"]

    def play(self, bidder: Bidder, progress: Count | bool | None = None) -> Episodes:
        """Plays all episodes."""
        return rollout(
            bidder,
            seeds=self.seeds,
            advertisers=self.advertisers,
            task=self.task,
            params=self.params,
            population=self.population,
            days=self.days,
            competitors=self.competing_bidders(bidder),
            competitor_task=self.competitor_task,
            progress=progress,
        )
