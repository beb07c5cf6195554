"""From logged or observed quantities to the numbers that the model reads: one definition for both.

Training applies these functions to whole data sets, an acting agent to one tick of n campaigns; a test
replays logged episodes through the acting side and gets the training inputs number for number. Arithmetic is
in float64, the result in float32. Normalisation with the training data's statistics is the model's.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.labels.relabel import Float, return_scale, return_to_go
from auction_env.control.bidder import Campaigns, TickView
from auction_env.control.observation import FEATURE_NAMES
from auction_env.tasks import (
    BASES,
    CONSTRAINT_KINDS,
    LOWER_LIMITS,
    QUANTITIES,
    RATIO_BASES,
    REQUIREMENT_NAMES,
    RewardSignal,
    earned,
    wanted_basis,
)

Float32 = NDArray[np.float32]

REQUIREMENT_INPUTS = (
    "return_to_go",  # dimensionless: `relabel.return_to_go`; 0 for a policy that is not conditioned on a return
    "budget",  # log of the currency amount
    *(f"wants_{basis}" for basis in BASES),  # 0 or 1: what the objective counts; 2 where it subtracts the cost
    "worth_now",  # log of what the tick's impressions are worth by the objective over what they are by conversions
    *(name for kind in CONSTRAINT_KINDS for name in (f"has_{kind}_limit", f"{kind}_limit", f"{kind}_ratio")),
    *(f"{kind}_slack" for kind in RATIO_BASES),
)
"""What the requirements token holds. `*_limit`: log of the limit. `*_ratio`: log of realised over limit of the whole
episode, the logged one in training and the wanted one in use, or 0. `*_slack`: (what the limit lets the amounts so far
cost - cost so far) / budget: room under the limit, negative if above it."""


def _gate(name: str) -> str | None:
    """The mask of a requirement input: where it is 0 the input reads 0, whatever the constraint's numbers."""
    kind, _, what = name.rpartition("_")
    return f"has_{kind}_limit" if what in ("limit", "ratio", "slack") and not name.startswith("has_") else None


REQUIREMENT_GATES = tuple(map(_gate, REQUIREMENT_INPUTS))
REQUIREMENT_FLAGS = tuple(name for name in REQUIREMENT_INPUTS if name.startswith(("has_", "wants_")))

ADVERTISER_INPUTS = ("budget", "cpa_target")  # logs of currency amounts; the category is apart

LOG_RATIO_BOUND = 3.0
"""Bound of |log(realised over limit)|: an episode without conversions has no finite CPA."""

_SHARES = ("time_left", "budget_left", "win_rate_all", "win_rate_last_3")
_VOLUMES = ("volume_now", "volume_last_3", "volume_all")
_MONEY = ("bid_all", "bid_last_3", "least_winning_cost_all", "least_winning_cost_last_3")
_IS_VOLUME = np.isin(FEATURE_NAMES, _VOLUMES)
_IS_MONEY = np.isin(FEATURE_NAMES, _MONEY)
_IS_RATE = ~np.isin(FEATURE_NAMES, _SHARES + _VOLUMES)
_BUDGET_LEFT, _VOLUME_NOW = FEATURE_NAMES.index("budget_left"), FEATURE_NAMES.index("volume_now")
_COLUMN = {name: column for column, name in enumerate(REQUIREMENT_NAMES)}
_INPUT = {name: column for column, name in enumerate(REQUIREMENT_INPUTS)}
AMOUNT_COLUMNS: dict[RewardSignal, tuple[str, ...]] = {
    "expected": tuple(QUANTITIES[basis].expected for basis in BASES),
    "sampled": tuple(QUANTITIES[basis].sampled for basis in BASES),
}
"""The columns of a log, or (with `last_` before them) of a view, that count each of the `BASES` under a signal."""


class Conditions(NamedTuple):
    """What n episodes are conditioned on: in training what they reached, in use what they shall reach; (n,) each."""

    target_return: Float | None = None  # dimensionless return of the whole episode; None: not conditioned on one
    # by kind of constraint, log of realised over limit of the whole episode; kinds may be left out
    log_ratio: Mapping[str, Float] = MappingProxyType({})


class TickInputs(NamedTuple):
    """Model inputs of one tick for n campaigns."""

    requirements: Float32  # (n, len(REQUIREMENT_INPUTS))
    state: Float32  # (n, len(FEATURE_NAMES))


def state_inputs(features: Float, cpa_target: Float) -> Float32:
    """The state token: features (..., 16) in `FEATURE_NAMES` order, transformed; the same for every task.

    Shares stay as they are; volumes become log(1 + x); bids and costs are divided by the target CPA (...,), which
    makes them probabilities like the values, and then these small skewed numbers become square roots.
    """
    out = np.array(features, np.float64)
    out[..., _IS_VOLUME] = np.log1p(out[..., _IS_VOLUME])
    out[..., _IS_MONEY] /= cpa_target[..., None]
    out[..., _IS_RATE] = np.sqrt(np.maximum(out[..., _IS_RATE], 0.0))
    return np.asarray(out, np.float32)


def advertiser_inputs(budget: Float, cpa_target: Float) -> Float32:
    """The advertiser token without its category, shape (..., len(ADVERTISER_INPUTS))."""
    return np.asarray(np.log(np.stack([budget, cpa_target], axis=-1)), np.float32)


def log_ratio(ratio: Float) -> Float:
    """log of realised over limit within +-`LOG_RATIO_BOUND`."""
    with np.errstate(divide="ignore"):
        return np.clip(np.log(ratio), -LOG_RATIO_BOUND, LOG_RATIO_BOUND)


def log_worth_now(offered: Float, basis: NDArray[np.intp], base: Float, cpa_target: Float) -> Float:
    """(n,) log of the worth of a tick's impressions by the objective over their worth by conversions; 0 without any.

    Args:
        offered: (n, 4) predicted amounts of all impressions of the tick, in the order of `BASES`.
        basis: (n,) index into `BASES` of the objective.
        base, cpa_target: (n,) worth of a unit of the objective, and of a conversion.
    """
    if not basis.any():  # conversions, whose worth is the target CPA
        return np.zeros(len(base))
    own = np.take_along_axis(offered, basis[:, None], axis=1)[:, 0] * base
    by_conversions = offered[:, 0] * cpa_target
    ratio = np.divide(own, by_conversions, out=np.ones(len(own)), where=by_conversions > 0)
    return np.asarray(np.log(np.where(ratio > 0, ratio, 1.0)))


def requirement_inputs(
    requirements: Float,
    base: Float,
    *,
    conditions: Conditions,
    amounts_so_far: Float,
    cost_so_far: Float,
    worth_now: Float,
) -> Float32:
    """The requirements token y.

    Args:
        requirements: Requirement vectors, shape (n, N_REQUIREMENTS).
        base: Worth of a unit of the objective, shape (n,).
        conditions: Reached or wanted, shapes (n,).
        amounts_so_far: (n, 4) of the reward signal before the tick, in the order of `BASES`.
        cost_so_far: Cost before the tick, currency.
        worth_now: `log_worth_now` of the tick.

    Returns:
        Array of shape (n, len(REQUIREMENT_INPUTS)).
    """
    return RequirementInputs(requirements, base, conditions).at(amounts_so_far, cost_so_far, worth_now)


class RequirementInputs:
    """`requirement_inputs` tick by tick: what does not change within an episode is computed once.

    Args:
        requirements, base, conditions: As of `requirement_inputs`.
    """

    def __init__(self, requirements: Float, base: Float, conditions: Conditions) -> None:
        self._requirements, self._target_return = requirements, conditions.target_return
        self._budget = requirements[:, _COLUMN["budget"]]
        self._scale = return_scale(self._budget, base)
        self._fixed = np.zeros((len(requirements), len(REQUIREMENT_INPUTS)))
        self._limits: dict[str, tuple[NDArray[np.bool_], Float]] = {}  # of ratios: who has one, and the limit or 1
        self._fixed[:, _INPUT["budget"]] = np.log(self._budget)
        for name in REQUIREMENT_FLAGS:
            self._fixed[:, _INPUT[name]] = requirements[:, _COLUMN[name]]
        for kind in CONSTRAINT_KINDS:
            has = requirements[:, _COLUMN[f"has_{kind}_limit"]] > 0
            if not has.any():  # all of its inputs read 0
                continue
            limit = np.where(has, requirements[:, _COLUMN[f"{kind}_limit"]], 1.0)
            self._fixed[:, _INPUT[f"{kind}_limit"]] = np.log(limit)
            if kind in conditions.log_ratio:
                self._fixed[:, _INPUT[f"{kind}_ratio"]] = np.where(has, conditions.log_ratio[kind], 0.0)
            if kind in RATIO_BASES:
                self._limits[kind] = has, limit

    def at(self, amounts_so_far: Float, cost_so_far: Float, worth_now: Float) -> Float32:
        """The requirements token at a tick; arguments and result are those of `requirement_inputs`."""
        out = self._fixed.copy()
        if self._target_return is not None:
            so_far = earned(self._requirements, amounts_so_far, cost_so_far)
            out[:, _INPUT["return_to_go"]] = return_to_go(self._target_return, so_far, self._scale)
        out[:, _INPUT["worth_now"]] = worth_now
        for kind, (has, limit) in self._limits.items():
            amount = amounts_so_far[:, BASES.index(RATIO_BASES[kind])]
            allowed = amount / limit if kind in LOWER_LIMITS else limit * amount
            out[:, _INPUT[f"{kind}_slack"]] = np.where(has, (allowed - cost_so_far) / self._budget, 0.0)
        return np.asarray(out, np.float32)


class EpisodeInputs:
    """The acting side: follows n campaigns through an episode and gives the model's inputs tick by tick.

    Args:
        campaigns: The n campaigns.
        conditions: What they are conditioned on.
        signal: Reward signal that the model was trained with.
        budget_ratio: Budget that the policy is conditioned on, as a share of the true one.
        limit_ratio: Scale of the limits that the policy is conditioned on: its upper limits are this much higher and
            its lower limits this much lower than the true ones.
    """

    def __init__(
        self,
        campaigns: Campaigns,
        *,
        conditions: Conditions,
        signal: RewardSignal,
        budget_ratio: float = 1.0,
        limit_ratio: float = 1.0,
    ) -> None:
        requirements = np.array(campaigns.requirements, np.float64)
        requirements[:, _COLUMN["budget"]] *= budget_ratio
        for kind in CONSTRAINT_KINDS:
            looser = 1.0 / limit_ratio if kind in LOWER_LIMITS else limit_ratio
            requirements[:, _COLUMN[f"{kind}_limit"]] *= looser
        self._cpa_target = np.asarray(campaigns.cpa_target, np.float64)
        self._stated_budget, self._true_budget = budget_ratio * campaigns.budget, campaigns.budget
        self.base = np.asarray(campaigns.base, np.float64)
        self.advertiser = advertiser_inputs(self._stated_budget, self._cpa_target)
        self._basis = wanted_basis(requirements)
        self._requirements = RequirementInputs(requirements, self.base, conditions)
        self._columns = tuple(f"last_{name}" for name in AMOUNT_COLUMNS[signal])
        self._amounts_so_far = np.zeros((len(self.base), len(BASES)))
        self._cost_so_far = np.zeros(len(self.base))

    def observe(self, view: TickView) -> TickInputs:
        """Inputs at the start of a tick; call once a tick, in order."""
        self._amounts_so_far += np.stack([getattr(view, name) for name in self._columns], axis=1)
        self._cost_so_far += view.last_cost
        offered = view.predicted_mean * view.features[:, _VOLUME_NOW, None]
        worth_now = log_worth_now(offered, self._basis, self.base, self._cpa_target)
        requirements = self._requirements.at(self._amounts_so_far, self._cost_so_far, worth_now)
        return TickInputs(requirements, state_inputs(self._with_stated_budget(view.features), self._cpa_target))

    def _with_stated_budget(self, features: Float) -> Float:
        """The features with the share left of the budget that the policy is conditioned on."""
        out = np.array(features, np.float64)
        more_spent = self._cost_so_far / self._stated_budget - self._cost_so_far / self._true_budget
        out[:, _BUDGET_LEFT] = np.maximum(out[:, _BUDGET_LEFT] - more_spent, 0.0)
        return out
