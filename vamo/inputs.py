"""From logged or observed quantities to the numbers that the model reads: one definition for both.

Training applies these functions to whole data sets, an acting agent to one tick of n campaigns; a test
replays logged episodes through the acting side and gets the training inputs number for number. Arithmetic is
in float64, the result in float32. Normalisation with the training data's statistics is the model's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.bidder import Campaigns, TickView
from auction_env.observation import FEATURE_NAMES
from auction_env.tasks import REQUIREMENT_NAMES
from vamo.config import RewardSignal
from vamo.relabel import Float, return_scale, return_to_go, signal_rewards

Float32 = NDArray[np.float32]

REQUIREMENT_INPUTS = (
    "return_to_go",  # dimensionless: `relabel.return_to_go`; 0 for a policy that is asked for no return
    "budget",  # log of the currency amount
    "has_cpa_limit",  # 0 or 1
    "cpa_limit",  # log of the currency amount
    "cpa_ratio",  # log of CPA over limit, of the whole episode: realised in training, asked for in use; or 0
    "cpa_slack",  # (limit x reward so far - cost so far) / budget: room under the limit, negative if above it
)
REQUIREMENT_GATES = (None, None, None, "has_cpa_limit", "has_cpa_limit", "has_cpa_limit")
"""The mask of each requirement input: where it is 0 the input reads 0, whatever the constraint's numbers."""

ADVERTISER_INPUTS = ("budget", "cpa_target")  # logs of currency amounts; the category is apart

LOG_RATIO_BOUND = 3.0
"""Bound of |log(CPA over limit)|: an episode without conversions has no finite CPA."""

_SHARES = ("time_left", "budget_left", "win_rate_all", "win_rate_last_3")
_VOLUMES = ("volume_now", "volume_last_3", "volume_all")
_MONEY = ("bid_all", "bid_last_3", "least_winning_cost_all", "least_winning_cost_last_3")
_IS_VOLUME = np.isin(FEATURE_NAMES, _VOLUMES)
_IS_MONEY = np.isin(FEATURE_NAMES, _MONEY)
_IS_RATE = ~np.isin(FEATURE_NAMES, _SHARES + _VOLUMES)
_BUDGET_LEFT = FEATURE_NAMES.index("budget_left")
_COLUMN = {name: column for column, name in enumerate(REQUIREMENT_NAMES)}
_IS_LIMIT = np.array([name != "budget" and not name.startswith("has_") for name in REQUIREMENT_NAMES])


class Asked(NamedTuple):
    """What is asked of n episodes: in training what they realised, in use what they shall; (n,) each."""

    target_return: Float | None = None  # dimensionless return of the whole episode; None: no return is asked for
    log_ratio: Float | None = None  # log of CPA over limit of the whole episode; ignored without a limit


class TickInputs(NamedTuple):
    """Model inputs of one tick for n campaigns."""

    requirements: Float32  # (n, len(REQUIREMENT_INPUTS))
    state: Float32  # (n, len(FEATURE_NAMES))


def state_inputs(features: Float, base: Float) -> Float32:
    """The state token: features (..., 16) in `FEATURE_NAMES` order, transformed.

    Shares stay as they are; volumes become log(1 + x); bids and costs are divided by the bid base (...,),
    which makes them probabilities like the values, and then these small skewed numbers become square roots.
    """
    out = np.array(features, np.float64)
    out[..., _IS_VOLUME] = np.log1p(out[..., _IS_VOLUME])
    out[..., _IS_MONEY] /= base[..., None]
    out[..., _IS_RATE] = np.sqrt(np.maximum(out[..., _IS_RATE], 0.0))
    return np.asarray(out, np.float32)


def advertiser_inputs(budget: Float, cpa_target: Float) -> Float32:
    """The advertiser token without its category, shape (..., len(ADVERTISER_INPUTS))."""
    return np.asarray(np.log(np.stack([budget, cpa_target], axis=-1)), np.float32)


def log_cpa_ratio(cost: Float, reward: Float, limit: Float) -> Float:
    """log of CPA over limit within +-`LOG_RATIO_BOUND`; the lower bound where nothing was spent."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(cost / (reward * limit))
    lowest = np.where(cost > 0, ratio, -LOG_RATIO_BOUND)
    return np.clip(lowest, -LOG_RATIO_BOUND, LOG_RATIO_BOUND)


def requirement_inputs(
    requirements: Float,
    base: Float,
    *,
    asked: Asked,
    reward_so_far: Float,
    cost_so_far: Float,
) -> Float32:
    """The requirements token y.

    Args:
        requirements: Requirement vectors, shape (n, len(REQUIREMENT_NAMES)).
        base: Bid base, shape (n,).
        asked: Realised or asked for, shapes (n,).
        reward_so_far: Rewards before the tick.
        cost_so_far: Cost before the tick, currency.

    Returns:
        Array of shape (n, len(REQUIREMENT_INPUTS)).
    """
    budget = requirements[:, _COLUMN["budget"]]
    limit = requirements[:, _COLUMN["cpa_limit"]]
    has_limit = requirements[:, _COLUMN["has_cpa_limit"]] > 0
    out = np.zeros((len(requirements), len(REQUIREMENT_INPUTS)))
    if asked.target_return is not None:
        out[:, 0] = return_to_go(asked.target_return, reward_so_far, return_scale(budget, base))
    out[:, 1] = np.log(budget)
    out[:, 2] = has_limit
    out[:, 3] = np.log(np.where(has_limit, limit, 1.0))
    if asked.log_ratio is not None:
        out[:, 4] = np.where(has_limit, asked.log_ratio, 0.0)
    out[:, 5] = np.where(has_limit, (limit * reward_so_far - cost_so_far) / budget, 0.0)
    return np.asarray(out, np.float32)


class EpisodeInputs:
    """The acting side: follows n campaigns through an episode and gives the model's inputs tick by tick.

    Args:
        campaigns: The n campaigns.
        asked: What is asked of them.
        signal: Reward signal that the model was trained with.
        budget_ratio: Budget that the policy is told, as a share of the true one.
        limit_ratio: The same for every other limit.
    """

    def __init__(
        self,
        campaigns: Campaigns,
        *,
        asked: Asked,
        signal: RewardSignal,
        budget_ratio: float = 1.0,
        limit_ratio: float = 1.0,
    ) -> None:
        requirements = np.array(campaigns.requirements, np.float64)
        requirements[:, _COLUMN["budget"]] *= budget_ratio
        requirements[:, _IS_LIMIT] *= limit_ratio
        self.campaigns = campaigns._replace(budget=budget_ratio * campaigns.budget, requirements=requirements)
        self.base = np.asarray(campaigns.cpa_target, np.float64)
        self.advertiser = advertiser_inputs(self.campaigns.budget, campaigns.cpa_target)
        self._true_budget = campaigns.budget
        self._asked = asked
        self._signal: RewardSignal = signal
        self._reward_so_far = np.zeros(len(self.base))
        self._cost_so_far = np.zeros(len(self.base))

    def observe(self, view: TickView) -> TickInputs:
        """Inputs at the start of a tick; call once a tick, in order."""
        self._reward_so_far += signal_rewards(self._signal, conversions=view.last_conversions, value=view.last_value)
        self._cost_so_far += view.last_cost
        requirements = requirement_inputs(
            self.campaigns.requirements,
            self.base,
            asked=self._asked,
            reward_so_far=self._reward_so_far,
            cost_so_far=self._cost_so_far,
        )
        return TickInputs(requirements, state_inputs(self._told(view.features), self.base))

    def _told(self, features: Float) -> Float:
        """The features with the share left of the budget that the policy is told."""
        out = np.array(features, np.float64)
        more_spent = self._cost_so_far / self.campaigns.budget - self._cost_so_far / self._true_budget
        out[:, _BUDGET_LEFT] = np.maximum(out[:, _BUDGET_LEFT] - more_spent, 0.0)
        return out
