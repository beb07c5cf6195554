"""Limits on cost ratios (CPA, CPC, ROAS) as bidders guard them, whatever the ratio counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auction_env.control.bidder import Campaigns, TickView
from auction_env.tasks import REQUIREMENT_NAMES

Float = NDArray[np.float64]

COST_RATIOS = {"cpa": "last_expected_conversions", "cpc": "last_expected_clicks", "roas": "last_expected_gmv"}
"""The cost ratios that are guarded, and what they count: predicted amounts, which are known at once."""


class CostGuard:
    """A limit on one cost ratio of n campaigns, if they have it."""

    def __init__(self, campaigns: Campaigns, kind: str) -> None:
        has, limit = (
            campaigns.requirements[:, REQUIREMENT_NAMES.index(name)] for name in (f"has_{kind}_limit", f"{kind}_limit")
        )
        self._amount, self._has = COST_RATIOS[kind], has > 0
        limit, target = np.where(self._has, limit, 1.0), np.where(self._has, getattr(campaigns.targets, kind), 1.0)
        # ROAS is a limit from below, per currency spent
        self._price = 1.0 / limit if kind == "roas" else limit  # currency per unit of what is counted
        self.scale = np.where(self._has, target / limit if kind == "roas" else limit / target, np.inf)

    def gained(self, view: TickView, cap: Float) -> Float:
        """(n,) the spend that the last tick allows, over the cap; infinite without a limit."""
        share = np.divide(self._price, cap, out=np.ones(len(cap)), where=np.isfinite(cap))
        return np.where(self._has, getattr(view, self._amount) * share, np.inf)


class CostLimits:
    """All limits on cost ratios of n campaigns as one: spend at most `cap` times what was gained.

    A limit on another ratio than the objective's counts as the same share of the advertiser's target: half the target
    CPC is half of what a conversion is worth.

    Attributes:
        cap: (n,) the cost of a unit of the objective that the tightest limit allows, currency; infinite without one.
        is_limited: (n,) whether a campaign has any limit.
    """

    def __init__(self, campaigns: Campaigns) -> None:
        self._guards = [CostGuard(campaigns, kind) for kind in COST_RATIOS]
        self.cap: Float = campaigns.base * np.min([guard.scale for guard in self._guards], axis=0)
        self.is_limited = np.isfinite(self.cap)

    def gained(self, view: TickView) -> Float:
        """(n,) what the last tick earned: to spend cap x gained keeps every limit. 0 where there is none."""
        gained = np.min([guard.gained(view, self.cap) for guard in self._guards], axis=0)
        return np.where(np.isfinite(gained), gained, 0.0)


def largest_within(
    spend: Float, gain: Float, *, money: Float, spent: Float, gained: Float, cap: Float
) -> NDArray[np.intp]:
    """(n,) the last of k rising choices that keeps money and cost limit to the end of the episode; 0 where none does.

    Args:
        spend, gain: (n, k) what each choice, held to the end, will spend (currency) and gain (units of the objective).
        money: (n,) the most that may still be spent.
        spent, gained: (n,) so far.
        cap: (n,) `CostLimits.cap`.
    """
    is_limited = np.isfinite(cap)
    allowed = np.where(is_limited, cap, 0.0)[:, None] * (gained[:, None] + gain)
    is_within = spend <= money[:, None]
    is_within &= (spent[:, None] + spend <= allowed) | ~is_limited[:, None]
    largest = is_within.shape[1] - 1 - np.argmax(is_within[:, ::-1], axis=1)
    return np.asarray(np.where(is_within.any(axis=1), largest, 0))
