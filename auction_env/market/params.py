"""Parameters of the market and its traffic: frozen, checked, with units."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from typing import Any

import numpy as np

from auction_env.kernels.clearing import MECHANISMS
from auction_env.market.funnel import Funnel
from auction_env.market.population import Population
from auction_env.market.shapes.value_distribution import ValueDistribution
from auction_env.tasks import Task

REFERENCE_IMPRESSIONS = 500_000
"""Impressions of a full-size episode (AuctionNet): the budgets of a population refer to it."""

LOG_IMPRESSIONS = 4_800
"""Impressions of an episode in which logs are made and agents are trained, unless another number is given. Budgets
scale, so that the competition is that of a full-size episode at a hundredth of the cost."""

MAX_SLOTS = 8

BUDGET_RULES = ("in_order", "auctionnet")

MAX_MONEY = 1e30
"""Largest multiplier and reserve: their products with values and qualities stay finite in 32-bit floats."""

QUALITY_RANGE = (1e-3, 1e3)

DIURNAL_CURVE = (
    23, 11, 9, 5, 5, 3, 3, 3, 4, 5, 11, 12, 19, 17, 26, 24, 36, 33, 38, 32, 37, 33, 34, 25,
    24, 22, 26, 20, 22, 20, 23, 21, 24, 21, 20, 16, 17, 17, 20, 20, 25, 25, 31, 29, 30, 26, 25, 25,
)  # fmt: skip
"""Impressions per half hour, in thousandths of the day: AuctionNet's published curve, rounded."""


def _check_share(name: str, value: float, upper: float = 1.0) -> None:
    if not 0.0 <= value <= upper:
        raise ValueError(f"`{name}` must lie in [0, {upper}], found {value}")


def _check_curve(name: str, points: tuple[float, ...]) -> None:
    curve = np.asarray(points, np.float64)
    if curve.ndim != 1 or len(curve) == 0 or not np.all(np.isfinite(curve)) or np.any(curve < 0):
        raise ValueError(f"`{name}` must hold numbers >= 0, found {points!r}")
    if curve.sum() <= 0:
        raise ValueError(f"`{name}` must have a positive entry, found only zeros")


@lru_cache(maxsize=64)
def _resample(points: tuple[float, ...], n_ticks: int) -> np.ndarray:
    """(n_ticks,) share of the area under a step function that falls into each tick; read-only."""
    curve = np.asarray(points, np.float64)
    cumulative = np.concatenate(([0.0], np.cumsum(curve))) / curve.sum()
    edges = np.interp(np.linspace(0, len(curve), n_ticks + 1), np.arange(len(curve) + 1), cumulative)
    share: np.ndarray = np.diff(edges)
    share.flags.writeable = False
    return share


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How the level of days moves away from that of day 0; the defaults leave all days alike.

    A level is exp(rate x day + walk), where the walk adds a normal step a day. The walk is the same for all
    episodes of a market: day 5 is the day after day 4, whoever plays it.

    Attributes:
        volume, value: Rate of the volume's and of the mean value's logarithm.
        volume_walk, value_walk: Standard deviation of the daily step of either logarithm.
        seed: Seed of the walks.
    """

    volume: float = 0.0  # per day
    value: float = 0.0  # per day
    volume_walk: float = 0.0  # per day
    value_walk: float = 0.0  # per day
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("volume", "value"):
            if not -1.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"`drift.{name}` must lie in [-1, 1] per day, found {getattr(self, name)}")
        for name in ("volume_walk", "value_walk"):
            _check_share(f"drift.{name}", getattr(self, name))
        if self.seed < 0:
            raise ValueError(f"`drift.seed` must not be negative, found {self.seed}")

    @lru_cache(maxsize=64)  # noqa: B019 - of frozen objects, few and small
    def levels(self, n_days: int) -> tuple[np.ndarray, np.ndarray]:
        """Factors on volume and value of the days 0 .. n_days - 1, each (n_days,), read-only; 1 on day 0."""
        days, walk = np.arange(n_days), np.zeros((n_days, 2))
        if self.volume_walk or self.value_walk:
            # a row a day, so that a longer horizon leaves the days before it alone
            walk[1:] = np.random.default_rng(self.seed).standard_normal((n_days - 1, 2))
        walk = np.cumsum(walk, axis=0)
        volume = np.exp(self.volume * days + self.volume_walk * walk[:, 0])
        value = np.exp(self.value * days + self.value_walk * walk[:, 1])
        volume.flags.writeable = value.flags.writeable = False
        return volume, value


@dataclass(frozen=True, slots=True, kw_only=True)
class Shock:
    """A sudden change of traffic that may hit an episode, and that no bidder expects.

    Attributes:
        probability: That an episode has it.
        start: First and last point of the day at which it may begin, as shares of the day.
        length: Smallest and largest number of ticks that it lasts; it ends with the day at the latest.
        volume: Factor on the impressions of its ticks, on top of the day's volume.
        value: Factor on the mean value, of all advertisers.
    """

    probability: float
    start: tuple[float, float] = (0.0, 1.0)  # share of the day
    length: tuple[int, int] = (2, 8)  # ticks
    volume: float = 1.0
    value: float = 1.0

    def __post_init__(self) -> None:
        _check_share("shock.probability", self.probability)
        for name in ("start", "length"):
            pair = getattr(self, name)
            if len(pair) != 2 or not pair[0] <= pair[1]:
                raise ValueError(f"`shock.{name}` must be (lowest, highest), found {pair}")
        _check_share("shock.start", self.start[0])
        _check_share("shock.start", self.start[1])
        if self.length[0] < 1 or any(int(length) != length for length in self.length):
            raise ValueError(f"`shock.length` must hold whole ticks >= 1, found {self.length}")
        for name in ("volume", "value"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"`shock.{name}` must be finite and not negative, found {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficParams:
    """How many impressions arrive and what they are worth (the generator published with AuctionNet).

    A day's volume per tick is the diurnal curve times window factors, uniform in 1 +- `volume_swing`,
    renormalised to the day's total. The mean value of an advertiser is the base times a factor per category and
    window (uniform in 1 +- `category_swing`) times one per advertiser and window (1 +- `advertiser_swing`). All
    factors are drawn anew for each episode: the day-to-day perturbation.

    Beyond the published form, each off by default: an episode is one of the days 0 .. `n_days` - 1, day 0 being a
    Monday; weekdays may have curves and levels of their own (`weekly_curve`, `weekday_volume`, `weekday_value`),
    days may drift (`drift`), and shocks may hit (`shocks`). Which day an episode is follows from its seed, uniform
    over the days, unless the market is given `days` at `reset`. Then, `value_correlation` makes an impression good
    or bad for everybody. `values` gives the values within a tick another distribution than the normal one. Budgets do
    not follow the level of the day.
    """

    diurnal_curve: tuple[float, ...] = DIURNAL_CURVE  # relative volume, any number of points over the day
    weekly_curve: tuple[tuple[float, ...], ...] = ()  # 7 such curves, Monday first, in place of `diurnal_curve`
    weekday_volume: tuple[float, ...] = ()  # 7 factors on a day's volume
    weekday_value: tuple[float, ...] = ()  # 7 factors on a day's mean values
    n_days: int = 7  # horizon of the episodes
    drift: Drift = field(default_factory=Drift)
    shocks: tuple[Shock, ...] = ()
    volume_swing: float = 0.4
    volume_window: int = 4  # ticks
    value_mean: float = 5e-4  # conversions per impression
    category_swing: float = 0.7
    advertiser_swing: float = 0.5
    value_window: int = 8  # ticks
    value_correlation: float = 0.0  # of two advertisers' values of an impression, within a tick and before the cut
    sd_ratio_mean: float = 0.5  # standard deviation over mean of an advertiser's values within a tick
    sd_ratio_sd: float = 0.1  # of that ratio between advertisers
    sd_ratio_tick_sd: float = 0.2  # of that ratio between ticks, relative
    sigma_mean: float = 0.15  # of the prediction's relative uncertainty
    sigma_sd: float = 0.06  # of that between advertisers
    values: ValueDistribution | None = None  # within a tick, in place of the normal distribution and its `sd_ratio_*`
    sigma_by_impression: bool = False  # whether bidders and logs see each prediction's own uncertainty, not the mean

    def __post_init__(self) -> None:
        _check_curve("diurnal_curve", self.diurnal_curve)
        self._check_week()
        for name in ("volume_swing", "category_swing", "advertiser_swing", "value_mean", "value_correlation"):
            _check_share(name, getattr(self, name))
        for name in ("sd_ratio_mean", "sd_ratio_sd", "sd_ratio_tick_sd", "sigma_mean", "sigma_sd"):
            _check_share(name, getattr(self, name))
        if not isinstance(self.sigma_by_impression, bool):
            raise ValueError(f"`sigma_by_impression` must be True or False, found {self.sigma_by_impression!r}")
        for name in ("volume_window", "value_window"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1 tick, found {getattr(self, name)}")
        if self.values is not None:
            self._check_values(self.values)

    def _check_values(self, values: ValueDistribution) -> None:
        if not isinstance(values, ValueDistribution):
            raise ValueError(f"`values` must be a `ValueDistribution` (`load_values` reads a file), found {values!r}")
        for part in fields(self):
            if part.name.startswith("sd_ratio_") and getattr(self, part.name) != part.default:
                raise ValueError(
                    f"`{part.name}` must not be given with `values`, which have a standard deviation of their own,"
                    f" found {getattr(self, part.name)}"
                )

    def _check_week(self) -> None:
        if len(self.weekly_curve) not in (0, 7):
            raise ValueError(f"`weekly_curve` must have 7 rows, Monday first, found {len(self.weekly_curve)}")
        for row in self.weekly_curve:
            _check_curve("weekly_curve", row)
        for name in ("weekday_volume", "weekday_value"):
            factors = getattr(self, name)
            if len(factors) not in (0, 7):
                raise ValueError(f"`{name}` must have 7 factors, Monday first, found {len(factors)}")
            for factor in factors:
                if not (np.isfinite(factor) and factor > 0):
                    raise ValueError(f"`{name}` must hold positive factors, found {factor}")
        if self.n_days < 1 or int(self.n_days) != self.n_days:
            raise ValueError(f"`n_days` must be a whole number of days >= 1, found {self.n_days}")
        with np.errstate(over="ignore"):
            levels = np.concatenate(self.day_levels())
        if not np.all(np.isfinite(levels)):
            raise ValueError(f"`drift` must keep levels finite over `n_days` = {self.n_days}, found {levels.max()}")

    def expected_share(self, n_ticks: int, day: int | None = None) -> np.ndarray:
        """Expected share of the day's impressions in each tick, shape (n_ticks,), sum 1.

        The curve is a step function over the day; each tick takes the area that falls into it, so any number
        of ticks works. `day` matters only with a `weekly_curve`; None takes the average day of the week.
        """
        if not self.weekly_curve:
            return _resample(self.diurnal_curve, n_ticks)
        if day is not None:
            return _resample(self.weekly_curve[day % 7], n_ticks)
        weight = self._weekday_weight()
        week = np.stack([_resample(row, n_ticks) for row in self.weekly_curve])
        return np.asarray(weight @ week / weight.sum())

    def day_levels(self) -> tuple[np.ndarray, np.ndarray]:
        """Factors on volume and value of the days 0 .. n_days - 1, each (n_days,): weekday times drift.

        Without a `weekly_curve` or `weekday_volume` the level 1 stands for `MarketParams.n_impressions`; the rows
        of a `weekly_curve` are scaled so that an average weekday has that level.
        """
        weekday = np.arange(self.n_days) % 7
        volume, value = self.drift.levels(self.n_days)
        if self.weekly_curve or self.weekday_volume:
            volume = volume * self._weekday_weight()[weekday]
        if self.weekday_value:
            value = value * np.asarray(self.weekday_value, np.float64)[weekday]
        return volume, value

    @property
    def highest_volume(self) -> float:
        """The largest possible volume of an episode, as a multiple of `MarketParams.n_impressions`."""
        highest = float(self.day_levels()[0].max())
        for shock in self.shocks:
            highest *= max(shock.volume, 1.0) if shock.probability > 0 else 1.0
        return highest

    def _weekday_weight(self) -> np.ndarray:
        """(7,) factors on volume by weekday."""
        weight = np.ones(7)
        if self.weekly_curve:
            totals = np.asarray([sum(row) for row in self.weekly_curve], np.float64)
            weight = totals / totals.mean()
        return weight * np.asarray(self.weekday_volume, np.float64) if self.weekday_volume else weight


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketParams:
    """Size and rules of a market.

    Attributes:
        n_impressions: Expected impressions of an episode; budgets scale with it (`budget_scale`), so that the
            competition stays alike at any size.
        n_ticks: Decision points of an episode.
        n_slots: Slots of an impression.
        exposure: Probability that a slot is seen, given that the slot above is, from the top. One a slot.
        reserve: Reserve price, currency per impression; a bid below it never wins.
        reserve_noise: Standard deviation of the log of an impression's reserve: each has a floor of its own, drawn
            log-normally around `reserve`, its median.
        mechanism: `gsp` (generalised second price), `first_price` or `vcg`: see `clear_auctions`.
        first_price_share: Share of every slot's price that is the winner's own bid; the rest is the mechanism's price.
            This is the expected price where this share of the impressions is sold at first price.
        quality: Quality score of each advertiser; the auction ranks by bid x quality. None: 1 for all.
        is_unsold_at_reserve: Whether a slot whose price is the reserve stays unsold (AuctionNet's rule); under `gsp`
            without quality scores.
        budget_rule: What happens when money runs out within a tick. `in_order`: whoever cannot pay an impression
            is out from that impression on. `auctionnet`: random wins of an overspender are dropped and the tick is
            cleared again until nobody overspends. Spend never exceeds the budget under either.
        least_budget: Who has less money left at the start of a tick bids no more; scales with the size as budgets do.
        funnel: Clicks, add-to-carts and order values, for tasks that count them (`Funnel`); it costs about three times
            the draws. None: conversions only.
        conversion_delay: Mean number of ticks, geometrically distributed, until a conversion is reported; those
            still open at the last tick are reported with it.
        traffic: The traffic generator's parameters.
    """

    n_impressions: int = REFERENCE_IMPRESSIONS
    n_ticks: int = 48
    n_slots: int = 3
    exposure: tuple[float, ...] = (1.0, 0.8, 0.6)
    reserve: float = 0.01  # currency per impression
    mechanism: str = "gsp"
    first_price_share: float = 0.0
    reserve_noise: float = 0.0
    quality: tuple[float, ...] | None = None
    is_unsold_at_reserve: bool = False
    budget_rule: str = "in_order"
    least_budget: float = 0.0  # currency per full-size episode
    funnel: Funnel | None = None
    conversion_delay: float = 0.0  # ticks
    traffic: TrafficParams = field(default_factory=TrafficParams)

    def __post_init__(self) -> None:
        for name, upper in (("n_impressions", 2**32), ("n_ticks", 2**20), ("n_slots", MAX_SLOTS)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise ValueError(f"`{name}` must be an integer, found {value!r}")
            if value < 1 and name != "n_slots":
                raise ValueError(f"`{name}` must be at least 1, found {value}")
            if not 1 <= value <= upper:
                raise ValueError(f"`{name}` must lie in 1..{upper}, found {value}")
        if len(self.exposure) != self.n_slots:
            raise ValueError(f"`exposure` must have one probability a slot ({self.n_slots}), found {self.exposure}")
        for probability in self.exposure:
            _check_share("exposure", probability)
        if not (np.isfinite(self.reserve) and self.reserve >= 0):
            raise ValueError(f"`reserve` must be finite and not negative, found {self.reserve}")
        if self.reserve > MAX_MONEY:
            raise ValueError(f"`reserve` must be at most {MAX_MONEY:g}, found {self.reserve}")
        _check_share("reserve_noise", self.reserve_noise, 2.0)
        if self.mechanism not in MECHANISMS:
            raise ValueError(f"`mechanism` must be one of {sorted(MECHANISMS)}, found {self.mechanism!r}")
        _check_share("first_price_share", self.first_price_share)
        if self.budget_rule not in BUDGET_RULES:
            raise ValueError(f"`budget_rule` must be one of {BUDGET_RULES}, found {self.budget_rule!r}")
        if not isinstance(self.is_unsold_at_reserve, bool):
            raise ValueError(f"`is_unsold_at_reserve` must be True or False, found {self.is_unsold_at_reserve!r}")
        is_plain = self.mechanism == "gsp" and self.first_price_share == 0 and self.quality is None
        if self.is_unsold_at_reserve and not is_plain:
            raise ValueError(
                "`is_unsold_at_reserve` needs `mechanism` 'gsp' without `first_price_share` and `quality`, found"
                f" {self.mechanism!r}, {self.first_price_share} and {self.quality}"
            )
        if not (np.isfinite(self.least_budget) and self.least_budget >= 0):
            raise ValueError(f"`least_budget` must be finite and not negative, found {self.least_budget}")
        for score in self.quality or ():
            if not QUALITY_RANGE[0] <= score <= QUALITY_RANGE[1]:
                raise ValueError(f"`quality` must lie in {list(QUALITY_RANGE)}, found {score}")
        if not (np.isfinite(self.conversion_delay) and self.conversion_delay >= 0):
            raise ValueError(f"`conversion_delay` must be finite and not negative, found {self.conversion_delay}")

    def check_population(self, population: Population) -> None:
        """Raises ValueError if a parameter has entries for other advertisers or categories than a population's."""
        n_advertisers = population.n_advertisers
        if self.traffic.values is not None:
            self.traffic.values.check_population(population)
        if self.quality is not None and len(self.quality) != n_advertisers:
            raise ValueError(
                f"`quality` must have one entry an advertiser ({n_advertisers}), found {len(self.quality)}"
            )
        if self.funnel is not None:
            self.funnel.check_advertisers(n_advertisers)

    @classmethod
    def for_task(cls, task: Task, **fields: Any) -> MarketParams:
        """Default parameters (but for `fields`) with what the task needs: a funnel, or none."""
        return cls(**({"funnel": Funnel() if task.needs_funnel else None} | fields))

    def to_json(self) -> str:
        """One line of JSON, from which `MarketParams.from_json` rebuilds equal parameters."""
        return json.dumps(asdict(self), sort_keys=True, default=lambda number: number.item())  # NumPy's scalars

    @classmethod
    def from_json(cls, text: str) -> MarketParams:
        """Rebuilds parameters; keys that are not there get their defaults.

        Raises:
            ValueError: An unknown key, or a value that breaks a rule; it is named.
        """
        return cls(**_arguments(cls, json.loads(text), "params"))

    def check_task(self, task: Task) -> None:
        """Raises ValueError if the task counts something that this market does not have."""
        if task.needs_funnel and self.funnel is None:
            raise ValueError(
                f"task {task.name!r} counts {', '.join(task.needs)}: the market must have a funnel,"
                " `MarketParams(funnel=Funnel())`, found none"
            )

    @property
    def budget_scale(self) -> float:
        """Factor from a population's full-size budgets to this market's."""
        return self.n_impressions / REFERENCE_IMPRESSIONS


_NESTED: dict[str, type] = {
    "funnel": Funnel,
    "traffic": TrafficParams,
    "drift": Drift,
    "shocks": Shock,
    "values": ValueDistribution,
}
"""What the JSON objects of these fields are."""


def _arguments(cls: type, record: Any, where: str) -> dict[str, Any]:
    """The arguments of a dataclass from a JSON object, in which tuples are lists and dataclasses objects."""
    known = [part.name for part in fields(cls)]
    if not isinstance(record, Mapping):
        raise ValueError(f"`{where}` must be a JSON object, found {record!r}")
    for name in record:
        if name not in known:
            raise ValueError(f"`{where}` must have keys of {known}, found {name!r}")
    return {name: _value(name, value) for name, value in record.items()}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_value(name, entry) for entry in value)
    if name in _NESTED and value is not None:
        return _NESTED[name](**_arguments(_NESTED[name], value, name))
    return value
