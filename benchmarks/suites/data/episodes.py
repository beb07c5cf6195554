"""Episodes that the methods of a variant are tuned or tested on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agents import Bidder, Episodes, make, rollout
from agents.learning.bars import Count
from auction_env import TASKS, MarketParams, Population, Task
from auction_env.control.controlled_market import PlayableMarket

Int = NDArray[np.int64]

MakeMarket: TypeAlias = Callable[[Mapping[int, Bidder] | None], PlayableMarket]
"""Makes a market in which these bidders, by advertiser, sit for all others; None where nobody does."""

RULES = ("pid", "mpid", "dual", "mpc")
"""Agents of the registry, with their defaults, that take turns as competitors under the condition "rules"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEpisodes:
    """Episodes of one task in one market: (n,) seeds, advertisers and, where they matter, days.

    Attributes:
        task, params, population, seeds, advertisers, days: What is played; the market is live unless `make_market` is
            given, and then `params` and `population` describe it for those who need a live one like it.
        competitors: See `benchmarks.suites.spec.Condition`.
        make_market: Makes another market than the live one, such as one of a log.
        key: What that market is made from: tells apart markets of the same parameters.
        unit: Episodes whose best constant in hindsight is the unit of these; None: their own.
    """

    task: Task
    params: MarketParams
    population: Population
    seeds: Int
    advertisers: Int
    days: Int | None = None
    competitors: Literal["scripts", "mixed", "rules", "self"] = "scripts"
    make_market: MakeMarket | None = None
    key: str = ""
    unit: TaskEpisodes | None = None

    @property
    def where(self) -> dict[str, Any]:
        """The market without bidders in place of scripts, as arguments of `rollout`."""
        if self.make_market is not None:
            return {"market": self.make_market(None)}
        return {"params": self.params, "population": self.population}

    @property
    def arguments(self) -> dict[str, Any]:
        """All that a rollout of these episodes is given, but for bidders in place of scripts."""
        episodes = {"seeds": self.seeds, "advertisers": self.advertisers, "days": self.days, "task": self.task}
        return episodes | self.where

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
        competing = self.competing_bidders(bidder)
        if self.make_market is not None:
            arguments = self.arguments | {"market": self.make_market(competing)}
            return rollout(bidder, **arguments, progress=progress)
        return rollout(
            bidder,
            **self.arguments,
            competitors=competing,
            competitor_task=self.competitor_task,
            progress=progress,
        )
