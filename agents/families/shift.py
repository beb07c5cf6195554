"""How far the groups of a family lie apart, and where each group and member lies: its market and its policy."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from auction_env.market.params import MarketParams
from auction_env.market.population import Population

_BUDGET_SPAN, _TARGET_SPAN, _LEVEL_SPAN = np.log(3.0), np.log(1.6), np.log(1.6)
_DAY = 48  # half hours
_SEASON_SPAN = 6  # half hours: with more, the day's two humps meet again
_WITHIN = 0.15  # how far the members of a group lie apart, as a share of how far groups do
_GOOD, _POOR = "noisy-pid", "random"
_TURNS = 20  # trajectories among which the policies of a member are dealt


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """How far the groups of a family lie apart, each knob from 0 (all alike) to 1.

    Attributes:
        category: Concentration of the advertisers' categories: 1 gives a group one category of its own.
        budget: Range of the budgets' level, up to a factor 3 either way.
        target: Range of the target CPAs' level, up to a factor 1.6 either way.
        market: Range of the competitors' target CPAs, hence of prices, up to a factor 1.6 either way.
        season: Shift of the diurnal curve, up to three hours either way.
        policy: Share of random multipliers among the logging policies, up to 90 %.
    """

    category: float = 0.0
    budget: float = 0.0
    target: float = 0.0
    market: float = 0.0
    season: float = 0.0
    policy: float = 0.0

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise ValueError(f"`shift.{part.name}` must lie in [0, 1], found {value!r}")

    @classmethod
    def of(cls, level: float) -> Shift:
        """All knobs at the same level."""
        return cls(**{part.name: level for part in fields(cls)})


@dataclass(frozen=True, slots=True)
class Centre:
    """Where a group, or a member of it, lies; every coordinate is drawn whatever the knobs are."""

    category: int
    concentration: float  # 0: all categories alike, 1: one only
    log_budget: float
    log_target: float
    log_market: float
    season: float  # half hours
    poor: float  # share of random multipliers
    order: tuple[int, ...]  # of the advertisers, in which they are picked
    base: Population

    @classmethod
    def evenly_spaced(cls, rng: np.random.Generator, n_groups: int, shift: Shift, base: Population) -> list[Centre]:
        """The centres of all groups: evenly spaced along each knob, in an order of its own.

        Even spacing, not independent draws: the distance between the groups is then what the knob says, not luck.
        """
        order = tuple(rng.permutation(base.n_advertisers).tolist())  # the same for all: only the knob tells them apart
        categories = rng.permutation(base.n_categories)
        budget, target, market, season, poor = (
            rng.permutation(np.linspace(-1.0, 1.0, n_groups) if n_groups > 1 else np.zeros(1)) for _ in range(5)
        )
        return [
            cls(
                int(categories[g % len(categories)]),
                shift.category,
                shift.budget * _BUDGET_SPAN * budget[g],
                shift.target * _TARGET_SPAN * target[g],
                shift.market * _LEVEL_SPAN * market[g],
                shift.season * _SEASON_SPAN * season[g],
                0.45 * shift.policy * (poor[g] + 1.0),
                order,
                base,
            )
            for g in range(n_groups)
        ]

    def near(self, rng: np.random.Generator, shift: Shift) -> Centre:
        """A member's place: near its group's."""
        budget, target, market, season = _WITHIN * rng.uniform(-1.0, 1.0, 4)
        return replace(
            self,
            log_budget=self.log_budget + shift.budget * _BUDGET_SPAN * budget,
            log_target=self.log_target + shift.target * _TARGET_SPAN * target,
            log_market=self.log_market + shift.market * _LEVEL_SPAN * market,
            season=self.season + shift.season * _SEASON_SPAN * season,
        )

    @property
    def advertisers(self) -> tuple[int, ...]:
        """A third of the advertisers: `concentration` of them from the group's category, the rest from all."""
        base, n = self.base, self.base.n_advertisers // 3
        own = [j for j in self.order if base.category[j] == self.category]
        chosen = own[: round(self.concentration * min(n, len(own)))]
        if self.concentration < 1:
            chosen += [j for j in self.order if j not in chosen][: n - len(chosen)]
        return tuple(sorted(chosen))

    def population(self) -> Population:
        """Budgets and targets of the controlled, targets of the competitors."""
        base, controlled = self.base, set(self.advertisers)
        factor = {True: np.exp(self.log_target), False: np.exp(self.log_market)}
        return replace(
            base,
            budget=tuple(b * (np.exp(self.log_budget) if j in controlled else 1.0) for j, b in enumerate(base.budget)),
            cpa_target=tuple(c * float(factor[j in controlled]) for j, c in enumerate(base.cpa_target)),
        )

    def params(self, rules: MarketParams) -> MarketParams:
        """The rules with the season: every curve of the traffic, moved."""
        traffic = rules.traffic
        return replace(
            rules,
            traffic=replace(
                traffic,
                diurnal_curve=self._moved(traffic.diurnal_curve),
                weekly_curve=tuple(map(self._moved, traffic.weekly_curve)),
            ),
        )

    def _moved(self, points: tuple[float, ...]) -> tuple[float, ...]:
        curve, at = np.asarray(points, float), np.arange(len(points))
        shift = self.season * (len(points) / _DAY)
        return tuple(np.interp(at - shift, at, curve, period=len(points)).tolist())

    @property
    def policy(self) -> str:
        poor = round(self.poor * _TURNS)
        if poor == 0:
            return _GOOD
        return f"{_GOOD}={_TURNS - poor},{_POOR}={poor}"
