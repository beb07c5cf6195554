"""Parameters of the market and its traffic: frozen, checked, with units."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from auction_env.kernels.clearing import MECHANISMS

REFERENCE_IMPRESSIONS = 500_000
"""Impressions of a full-size episode (AuctionNet): the budgets of a population refer to it."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficParams:
    """How many impressions arrive and what they are worth (the generator published with AuctionNet).

    A day's volume per tick is the diurnal curve times window factors, uniform in 1 +- `volume_swing`,
    renormalised to the day's total. The mean value of an advertiser is the base times a factor per category and
    window (uniform in 1 +- `category_swing`) times one per advertiser and window (1 +- `advertiser_swing`). All
    factors are drawn anew for each episode: the day-to-day perturbation.
    """

    diurnal_curve: tuple[float, ...] = DIURNAL_CURVE  # relative volume, any number of points over the day
    volume_swing: float = 0.4
    volume_window: int = 4  # ticks
    value_mean: float = 5e-4  # conversions per impression
    category_swing: float = 0.7
    advertiser_swing: float = 0.5
    value_window: int = 8  # ticks
    spread_mean: float = 0.5  # standard deviation over mean of an advertiser's values within a tick
    spread_sd: float = 0.1  # of that ratio between advertisers
    spread_tick_sd: float = 0.2  # of that ratio between ticks, relative
    sigma_mean: float = 0.15  # of the prediction's relative uncertainty
    sigma_sd: float = 0.06  # of that between advertisers

    def __post_init__(self) -> None:
        curve = np.asarray(self.diurnal_curve, np.float64)
        if curve.ndim != 1 or len(curve) == 0 or not np.all(np.isfinite(curve)) or np.any(curve < 0):
            raise ValueError(f"`diurnal_curve` must hold numbers >= 0, found {self.diurnal_curve!r}")
        if curve.sum() <= 0:
            raise ValueError("`diurnal_curve` must have a positive entry, found only zeros")
        for name in ("volume_swing", "category_swing", "advertiser_swing", "value_mean"):
            _check_share(name, getattr(self, name))
        for name in ("spread_mean", "spread_sd", "spread_tick_sd", "sigma_mean", "sigma_sd"):
            _check_share(name, getattr(self, name))
        for name in ("volume_window", "value_window"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1 tick, found {getattr(self, name)}")

    def expected_share(self, n_ticks: int) -> np.ndarray:
        """Expected share of the day's impressions in each tick, shape (n_ticks,), sum 1.

        The curve is a step function over the day; each tick takes the area that falls into it, so any number
        of ticks works.
        """
        curve = np.asarray(self.diurnal_curve, np.float64)
        cumulative = np.concatenate(([0.0], np.cumsum(curve))) / curve.sum()
        edges = np.interp(np.linspace(0, len(curve), n_ticks + 1), np.arange(len(curve) + 1), cumulative)
        return np.diff(edges)


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
        quality: Quality score of each advertiser; the auction ranks by bid x quality. None: 1 for all.
        budget_rule: What happens when money runs out within a tick. `in_order`: whoever cannot pay an impression
            is out from that impression on. `auctionnet`: random wins of an overspender are dropped and the tick is
            cleared again until nobody overspends. Spend never exceeds the budget under either.
        click_rate: Probability of a click on an exposed impression, one for all or one an advertiser; conversions
            then need a click, with the predicted value still their probability per exposed impression, as far as
            that is at most the click rate. None: no clicks.
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
    reserve_noise: float = 0.0
    quality: tuple[float, ...] | None = None
    budget_rule: str = "in_order"
    click_rate: float | tuple[float, ...] | None = None
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
        if self.budget_rule not in BUDGET_RULES:
            raise ValueError(f"`budget_rule` must be one of {BUDGET_RULES}, found {self.budget_rule!r}")
        for score in self.quality or ():
            if not QUALITY_RANGE[0] <= score <= QUALITY_RANGE[1]:
                raise ValueError(f"`quality` must lie in {list(QUALITY_RANGE)}, found {score}")
        for rate in np.atleast_1d(() if self.click_rate is None else self.click_rate):
            if not 0 < rate <= 1:
                raise ValueError(f"`click_rate` must lie in (0, 1], found {rate}")
        if not (np.isfinite(self.conversion_delay) and self.conversion_delay >= 0):
            raise ValueError(f"`conversion_delay` must be finite and not negative, found {self.conversion_delay}")

    def check_advertisers(self, n_advertisers: int) -> None:
        """Raises ValueError if a parameter has an entry an advertiser, but not for `n_advertisers` of them."""
        for name in ("quality", "click_rate"):
            given = getattr(self, name)
            if given is not None and np.ndim(given) and len(given) != n_advertisers:
                raise ValueError(f"`{name}` must have one entry an advertiser ({n_advertisers}), found {len(given)}")

    @property
    def budget_scale(self) -> float:
        """Factor from a population's full-size budgets to this market's."""
        return self.n_impressions / REFERENCE_IMPRESSIONS
