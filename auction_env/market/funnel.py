"""The funnel from an exposed impression to an order: for tasks that count clicks, add-to-carts or GMV."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.kernels.values import FunnelRules
from auction_env.tasks import Targets

_STAGES = ("click", "cart", "order")


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """Click, add-to-cart and order value of an impression, beside its conversion probability.

    Every exposed impression has for each advertiser a click and an add-to-cart probability and a value of the order
    that it may lead to. Within a tick each is normal around its mean, cut at a tenth of it, and its normal is
    correlated with that of the conversion probability. An order needs an add-to-cart and that a click, so neither
    probability is below 1.6 times the predicted conversion probability, the most that the true one can be; what
    happens is one uniform draw below each of them. Rates do not follow the day's value levels: the time of day at
    which clicks are cheap is another than that at which conversions are.

    The means are for all advertisers, or one an advertiser. With them come the advertisers' further targets: each
    would pay as much for a click (an add-to-cart) as its target CPA makes it worth on average, and its target ROAS is
    that of a conversion at its target CPA (`campaign_targets`).
    """

    click_rate: float | tuple[float, ...] = 0.02  # mean click probability of an exposed impression
    cart_rate: float | tuple[float, ...] = 0.004  # mean add-to-cart probability of an exposed impression
    order_value: float | tuple[float, ...] = 3.0  # mean value of an order, as a multiple of the target CPA
    click_sd: float = 0.5  # standard deviation over mean, within a tick
    cart_sd: float = 0.5
    order_sd: float = 0.5
    click_correlation: float = 0.3  # with the conversion probability
    cart_correlation: float = 0.6
    order_correlation: float = -0.3  # what is dear sells less often

    def __post_init__(self) -> None:
        for name in ("click_rate", "cart_rate"):
            for rate in np.atleast_1d(getattr(self, name)):
                if not 0 < rate <= 1:
                    raise ValueError(f"`{name}` must lie in (0, 1], found {rate}")
        for value in np.atleast_1d(self.order_value):
            if not 0 < value < np.inf:
                raise ValueError(f"`order_value` must be positive and finite, found {value}")
        for stage in _STAGES:
            sd, correlation = getattr(self, f"{stage}_sd"), getattr(self, f"{stage}_correlation")
            if not 0 <= sd <= 1:
                raise ValueError(f"`{stage}_sd` must lie in [0, 1], found {sd}")
            if not -1 <= correlation <= 1:
                raise ValueError(f"`{stage}_correlation` must lie in [-1, 1], found {correlation}")

    def check_advertisers(self, n_advertisers: int) -> None:
        """Raises ValueError if a mean has an entry an advertiser, but not for `n_advertisers` of them."""
        for name in ("click_rate", "cart_rate", "order_value"):
            given = getattr(self, name)
            if np.ndim(given) and len(given) != n_advertisers:
                raise ValueError(f"`{name}` must have one entry an advertiser ({n_advertisers}), found {len(given)}")

    @property
    def highest_order(self) -> float:
        """The largest possible value of an order, as a multiple of the mean one."""
        return 1.0 + 6.0 * self.order_sd  # normal draws of 24 bits stay within +-6


def campaign_targets(budget: ArrayLike, cpa_target: ArrayLike, funnel: Funnel | None, value_mean: float) -> Targets:
    """What advertisers with these budgets and target CPAs would pay for everything else.

    Args:
        budget: (n_advertisers,) currency per episode.
        cpa_target: (n_advertisers,) currency per conversion.
        funnel: The market's; None leaves the further targets at 0, "not recorded".
        value_mean: Mean conversion probability of an impression (`TrafficParams.value_mean`).
    """
    if funnel is None:
        return Targets.of(budget, cpa_target)
    worth = np.asarray(cpa_target, np.float64) * value_mean  # of an impression, currency
    return Targets.of(
        budget,
        cpa_target,
        cpc=worth / np.asarray(funnel.click_rate),
        cart_cost=worth / np.asarray(funnel.cart_rate),
        roas=np.asarray(funnel.order_value),
    )


def funnel_rules(
    funnel: Funnel | None,
    cpa_target: NDArray[np.float64],
    value_correlation: float,
    value_shape: NDArray[np.float32],
) -> FunnelRules:
    """The funnel as the kernels take it; switched off for None. The others are fields of `FunnelRules`."""
    chosen = funnel or Funnel()

    def per_advertiser(given: ArrayLike) -> NDArray[np.float32]:
        return np.broadcast_to(np.asarray(given, np.float32), cpa_target.shape).copy()

    return FunnelRules(
        has_funnel=funnel is not None,
        click_rate=per_advertiser(chosen.click_rate),
        cart_rate=per_advertiser(chosen.cart_rate),
        order_value=per_advertiser(np.asarray(chosen.order_value) * cpa_target),
        funnel_sd=np.array([getattr(chosen, f"{stage}_sd") for stage in _STAGES], np.float32),
        funnel_correlation=np.array([getattr(chosen, f"{stage}_correlation") for stage in _STAGES], np.float32),
        value_correlation=np.float32(value_correlation),
        value_shape=value_shape,
    )
