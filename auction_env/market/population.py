"""Who competes: budgets, targets and scripted behaviour of the advertisers of a market, as data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auction_env.market.pacing import PacingGains, Schedule
from auction_env.tasks import Targets

Float = NDArray[np.float64]

_REDRAW_CHILD = 18  # of the episode's SeedSequence

PID_CPA, PID, FIXED, WALK, THROTTLED, STEPS = "pid_cpa", "pid", "fixed", "walk", "throttled", "steps"
BEHAVIOURS: dict[str, str] = {
    PID_CPA: "paces its budget over the expected traffic and guards its cost per predicted conversion",
    PID: "paces its budget, whatever a conversion costs",
    FIXED: "bids the same multiplier all day",
    WALK: "a multiplier whose logarithm walks at random",
    THROTTLED: "the same multiplier in every tick it takes part in; sits out while ahead of its spending plan",
    STEPS: "multiplies by 1.2 while behind an even plan, by 0.7 while ahead: AuctionNet's PID",
}
"""What scripted advertisers may do (`auction_env.market.competitors.scripted`), by name; schedules come on top."""

# AuctionNet's published advertisers, 6 categories of 8: budget in currency per full-size period ...
_AUCTIONNET_BUDGETS = (
    2900, 4350, 3000, 2400, 4800, 2000, 2050, 3500, 4600, 2000, 2800, 2350, 2050, 2900, 4750, 3450,
    2000, 3500, 2200, 2700, 3100, 2100, 4850, 4100, 2000, 4800, 3050, 4250, 2850, 2250, 2000, 3900,
    2000, 3250, 4450, 3550, 2700, 2100, 4650, 2000, 3400, 2650, 2300, 4100, 4800, 4450, 2000, 2050,
)  # fmt: skip
# ... and the cost per conversion they accept
_AUCTIONNET_CPA_TARGETS = (
    100, 70, 90, 110, 60, 130, 120, 80, 70, 130, 100, 110, 120, 90, 60, 80,
    130, 80, 110, 100, 90, 120, 60, 70, 120, 60, 90, 70, 100, 110, 130, 80,
    120, 90, 70, 80, 100, 110, 60, 130, 90, 100, 110, 80, 60, 70, 130, 120,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """The advertisers of a market and how the scripted ones among them bid.

    Every scripted advertiser starts at `start` x its target CPA; what it does from there is its behaviour.

    Attributes:
        budget: Currency per full-size episode (`params.REFERENCE_IMPRESSIONS`), one an advertiser.
        cpa_target: Currency per conversion: the target, and the base of the multiplier.
        category: Index of the advertiser's category; values move together within one.
        start: First multiplier as a share of the target CPA, for all or one an advertiser.
        gains: Gains of the pacing controllers.
        behaviour: One of `BEHAVIOURS`, or the name of one of `schedules`, an advertiser; empty: `pid_cpa` for all.
        walk_sd: Standard deviation of a walk's step in the log multiplier, a tick.
        schedules: Behaviours of the population's own.
        budget_swing, cpa_swing: An episode's budgets and target CPAs are those above times factors drawn anew for each
            episode and advertiser, uniform in 1 +- these.
    """

    budget: tuple[float, ...]
    cpa_target: tuple[float, ...]
    category: tuple[int, ...]
    start: float | tuple[float, ...] = 1.0
    gains: PacingGains = field(default_factory=PacingGains)
    behaviour: tuple[str, ...] = ()
    walk_sd: float = 0.1
    schedules: tuple[Schedule, ...] = ()
    budget_swing: float = 0.0
    cpa_swing: float = 0.0

    def __post_init__(self) -> None:
        n = len(self.budget)
        if n == 0:
            raise ValueError("`budget` must hold at least one advertiser, found none")
        per_advertiser: dict[str, tuple[Any, ...]] = {"cpa_target": self.cpa_target, "category": self.category}
        if self.behaviour:
            per_advertiser["behaviour"] = self.behaviour
        if isinstance(self.start, tuple):
            per_advertiser["start"] = self.start
        for name, entries in per_advertiser.items():
            if len(entries) != n:
                raise ValueError(f"`{name}` must have as many entries as `budget` ({n}), found {len(entries)}")
        if not isinstance(self.start, (int, float, tuple)):
            raise ValueError(f"`start` must be a number or a tuple of them, found {self.start!r}")
        starts = self.start if isinstance(self.start, tuple) else (self.start,)
        for name, numbers in (("budget", self.budget), ("cpa_target", self.cpa_target), ("start", starts)):
            for value in numbers:
                if not (np.isfinite(value) and value > 0):
                    raise ValueError(f"`{name}` must be positive, found {value}")
        for value in self.category:
            if value < 0 or int(value) != value:
                raise ValueError(f"`category` must hold indices >= 0, found {value}")
        own = [schedule.name for schedule in self.schedules]
        if len({*own, *BEHAVIOURS}) < len(own) + len(BEHAVIOURS):
            raise ValueError(f"`schedules` must have names of their own, none of {sorted(BEHAVIOURS)}, found {own}")
        for behaviour in self.behaviour:
            if behaviour not in BEHAVIOURS and behaviour not in own:
                raise ValueError(f"`behaviour` must hold names from {sorted([*BEHAVIOURS, *own])}, found {behaviour!r}")
        if not (np.isfinite(self.walk_sd) and self.walk_sd >= 0):
            raise ValueError(f"`walk_sd` must be finite and not negative, found {self.walk_sd}")
        for name in ("budget_swing", "cpa_swing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must lie in [0, 1), found {getattr(self, name)}")

    @property
    def n_advertisers(self) -> int:
        return len(self.budget)

    @property
    def n_categories(self) -> int:
        return int(max(self.category)) + 1

    def who(self, behaviour: str) -> NDArray[np.int64]:
        """Indices of the advertisers with a behaviour, ascending; read-only."""
        return _who(self.behaviour, self.n_advertisers, behaviour)

    def to_json(self) -> str:
        """One line of JSON, from which `Population.from_json` rebuilds an equal population.

        Options that are off are left out, so that a population without them has the same text in every version.
        """
        record = {name: value for name, value in asdict(self).items() if value or name not in _OPTIONAL}
        return json.dumps(record, sort_keys=True, default=lambda number: number.item())  # NumPy's scalars

    @classmethod
    def from_json(cls, text: str) -> Population:
        """Rebuilds a population; ValueError that names the missing, unknown or malformed key."""
        record: Any = json.loads(text)
        known = {part.name for part in fields(cls)}
        if not isinstance(record, dict) or set(record) | _OPTIONAL != known:
            found = sorted(record) if isinstance(record, dict) else text
            raise ValueError(
                f"a population's JSON must have the keys {sorted(known)}, of which {sorted(_OPTIONAL)} may"
                f" be left out, found {found}"
            )
        gain_names = {part.name for part in fields(PacingGains)}
        if not isinstance(record["gains"], dict) or set(record["gains"]) != gain_names:
            raise ValueError(f"`gains` must have exactly the keys {sorted(gain_names)}, found {record['gains']}")
        start = record["start"]
        return cls(
            budget=_entries(record, "budget", float),
            cpa_target=_entries(record, "cpa_target", float),
            category=_entries(record, "category", int),
            start=_entries(record, "start", float) if isinstance(start, list) else _number("start", start),
            gains=PacingGains(**{name: _number(name, value) for name, value in record["gains"].items()}),
            behaviour=_entries(record, "behaviour", str),
            walk_sd=_number("walk_sd", record["walk_sd"]),
            schedules=tuple(Schedule.from_record(entry) for entry in _list("schedules", record.get("schedules", []))),
            budget_swing=_number("budget_swing", record.get("budget_swing", 0.0)),
            cpa_swing=_number("cpa_swing", record.get("cpa_swing", 0.0)),
        )


_OPTIONAL = {"schedules", "budget_swing", "cpa_swing"}


def _entries(record: Mapping[str, Any], name: str, kind: type) -> tuple[Any, ...]:
    entries = _list(name, record[name])
    return tuple(entries) if kind is str else tuple(_number(name, value, kind) for value in entries)


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"`{name}` must be a list, found {value!r}")
    return value


def _number(name: str, value: Any, kind: type = float) -> Any:
    if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
        raise ValueError(f"`{name}` must hold numbers, found {value!r}")
    return kind(value)


@lru_cache(maxsize=64)
def _who(behaviours: tuple[str, ...], n: int, behaviour: str) -> NDArray[np.int64]:
    found = np.flatnonzero(np.asarray(behaviours or (PID_CPA,) * n) == behaviour)
    found.flags.writeable = False
    return found


def redrawn_targets(targets: Targets, population: Population, seeds: NDArray[np.int64]) -> Targets:
    """What the advertisers have and would pay in episodes that draw budgets and target CPAs anew.

    Args:
        targets: (n_markets, n_advertisers) each, as the population has them.
        population: Whose `budget_swing` and `cpa_swing` count; without them `targets` are returned.
        seeds: (n_markets,) of the episodes: the draws of an advertiser depend on the seed and on its index alone.
    """
    if population.budget_swing == population.cpa_swing == 0:
        return targets
    uniform = np.empty((*targets.budget.shape, 2))
    for market, seed in enumerate(seeds):
        rng = np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=(_REDRAW_CHILD,)))
        uniform[market] = rng.uniform(-1.0, 1.0, uniform.shape[1:])
    return scaled_targets(
        targets, 1.0 + population.budget_swing * uniform[..., 0], 1.0 + population.cpa_swing * uniform[..., 1]
    )


def scaled_targets(targets: Targets, budget: Float | float, cpa: Float | float) -> Targets:
    """Budgets times a factor, and everything that they would pay times another; factors of the targets' shape."""
    return targets._replace(
        budget=targets.budget * budget,
        cpa=targets.cpa * cpa,
        cpc=targets.cpc * cpa,
        cart_cost=targets.cart_cost * cpa,
        roas=targets.roas / cpa,  # an order is worth what it was
    )


def extreme_targets(targets: Targets, population: Population) -> Targets:
    """The targets, (n_advertisers,) each; followed by those at the lowest and highest draws if they are drawn anew."""
    if population.budget_swing == population.cpa_swing == 0:
        return targets
    cases = [
        scaled_targets(targets, 1.0 + population.budget_swing * x, 1.0 + population.cpa_swing * x)
        for x in (0.0, -1.0, 1.0)
    ]
    return Targets(*(np.concatenate(parts) for parts in zip(*cases, strict=True)))


def auctionnet_population() -> Population:
    """AuctionNet's 48 advertisers: budgets 2000..4850, target CPAs 60..130, 6 categories of 8."""
    return Population(
        budget=tuple(float(x) for x in _AUCTIONNET_BUDGETS),
        cpa_target=tuple(float(x) for x in _AUCTIONNET_CPA_TARGETS),
        category=tuple(j // 8 for j in range(48)),
    )


def random_population(
    n: int,
    seed: int,
    *,
    budget_range: tuple[float, float] = (2000.0, 4850.0),
    cpa_range: tuple[float, float] = (60.0, 130.0),
    n_categories: int = 6,
    behaviours: Mapping[str, float] | None = None,
    total_budget: float | None = None,
) -> Population:
    """Advertisers drawn at random: budgets and target CPAs uniform in ranges, AuctionNet's by default.

    Advertiser j's draws depend on the seed and j alone, so that a larger population begins with the smaller one
    (budgets before `total_budget`; categories are blocks of nearly equal size).

    Args:
        n: Number of advertisers.
        seed: Integer >= 0.
        budget_range: Lowest and highest budget, currency per full-size episode.
        cpa_range: Lowest and highest target, currency per conversion.
        n_categories: Number of categories, at most n are used.
        behaviours: Relative frequency of behaviours by name (`BEHAVIOURS`); all `pid_cpa` by default.
        total_budget: Budgets are scaled to this sum. AuctionNet's 48 have 149,900 together; more advertisers with
            the budgets of the range bid for the same impressions, so that prices rise and each gets fewer.
    """
    if n < 1 or seed < 0 or n_categories < 1:
        raise ValueError(
            f"`n` and `n_categories` must be at least 1 and `seed` not negative, found {n}, {n_categories} and {seed}"
        )
    for name, (lowest, highest) in (("budget_range", budget_range), ("cpa_range", cpa_range)):
        if not (np.isfinite(highest) and 0 < lowest <= highest):
            raise ValueError(f"`{name}` must be (lowest, highest), both positive, found {(lowest, highest)}")
    if total_budget is not None and not (np.isfinite(total_budget) and total_budget > 0):
        raise ValueError(f"`total_budget` must be positive, found {total_budget}")
    draws = np.random.default_rng(seed).random((n, 3))
    budget = budget_range[0] + draws[:, 0] * (budget_range[1] - budget_range[0])
    cpa_target = cpa_range[0] + draws[:, 1] * (cpa_range[1] - cpa_range[0])
    if total_budget is not None:
        budget = budget * (total_budget / budget.sum())
    return Population(
        budget=tuple(budget.tolist()),
        cpa_target=tuple(cpa_target.tolist()),
        category=tuple(j * min(n_categories, n) // n for j in range(n)),
        behaviour=() if behaviours is None else _mix(draws[:, 2], behaviours),
    )


def _mix(uniform: Float, behaviours: Mapping[str, float]) -> tuple[str, ...]:
    for name, frequency in behaviours.items():
        if name not in BEHAVIOURS:
            raise ValueError(f"`behaviours` must hold names from {sorted(BEHAVIOURS)}, found {name!r}")
        if not (np.isfinite(frequency) and frequency >= 0):
            raise ValueError(f"`behaviours` must hold frequencies >= 0, found {frequency} for {name!r}")
    names = sorted(behaviours)
    cumulative = np.cumsum([behaviours[name] for name in names])
    if len(names) == 0 or cumulative[-1] <= 0:
        raise ValueError(f"`behaviours` must have a positive frequency, found {dict(behaviours)}")
    picks = np.searchsorted(cumulative / cumulative[-1], uniform, side="right")
    return tuple(names[pick] for pick in picks)
