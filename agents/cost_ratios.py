"""Limits on cost ratios (CPA, CPC, ROAS) as bidders guard them, whatever the ratio counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.bidder import Campaigns, TickView
from auction_env.tasks import REQUIREMENT_NAMES

Float = NDArray[np.float64]

COST_RATIOS = {"cpa": "last_value", "cpc": "last_click_value", "roas": "last_gmv_value"}
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


def cost_cap(campaigns: Campaigns) -> Float:
    """(n,) the cost of a unit of the objective that the tightest limit allows, currency; infinite without a limit.

    A limit on another ratio counts as the same share of the advertiser's target: half the target CPC is half of what
    a conversion is worth.
    """
    scale: Float = np.min([CostGuard(campaigns, kind).scale for kind in COST_RATIOS], axis=0)
    return campaigns.base * scale


class CostLimits:
    """All limits on cost ratios of n campaigns as one: spend at most `cap` times what was gained.

    Attributes:
        cap: (n,) `cost_cap`: the multiplier at which a unit of the objective costs what the tightest limit allows.
        is_limited: (n,) whether a campaign has any limit.
    """

    def __init__(self, campaigns: Campaigns) -> None:
        self._guards = [CostGuard(campaigns, kind) for kind in COST_RATIOS]
        self.cap = cost_cap(campaigns)
        self.is_limited = np.isfinite(self.cap)

    def gained(self, view: TickView) -> Float:
        """(n,) what the last tick earned: to spend cap x gained keeps every limit. 0 where there is none."""
        gained = np.min([guard.gained(view, self.cap) for guard in self._guards], axis=0)
        return np.where(np.isfinite(gained), gained, 0.0)
