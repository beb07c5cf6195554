"""Estimators that play the policy through the logged episodes: what a tick would have brought at its multiplier.

All meet their own states: the policy sees what its earlier ticks brought by the same rule, and its budget ends. They
differ in where a tick's outcome comes from. Let q(m) be what the response model (`agents.labels.response`) predicts at
the multiplier m, and w the importance weight: the share of impressions won at the policy's multiplier over that at the
logged one, both from the bid landscape, the response's curve of wins. An auction is deterministic given the bids, so
that the landscape, the distribution of the competitors' bids, stands in for a propensity (arXiv 2512.03354).

The doubly robust one is `carried_over`: q(policy) + rho x q(policy) / q(logged) x (logged outcome - q(logged)). Actions
are continuous, so that the residual counts by a kernel rho around the logged multiplier, scaled as the prediction is
(N. Kallus and A. Zhou, "Policy evaluation and optimization with continuous treatments", AISTATS 2018). Weights up to
`MOST_WEIGHT` in the kernel's place are noisy, and a limit on a ratio makes a bias of noise: -1 to -12 % in a trial.

A weight is at most `MOST_WEIGHT`. A tick without a logged bid, or one that the budget cut short, has no outcome to
weight: importance sampling takes 0 for it, which is why it is too low for policies that spend later than the log did.
"""

from __future__ import annotations

import numpy as np

from agents.labels.predicted_log import MOST_WEIGHT, Near, OutcomeRule, carried_over
from agents.labels.relabel import Float


def direct(logged: Float, predicted: Float, near: Near) -> Float:
    """q(policy): the response model alone."""
    return predicted


def importance(logged: Float, predicted: Float, near: Near) -> Float:
    """w x logged outcome. Costs need prices that do not depend on the own bid: second price, VCG."""
    return near.weight * logged


def self_normalised(logged: Float, predicted: Float, near: Near) -> Float:
    """The same, in each tick scaled so that an advertiser's wins over its episodes are those the landscape predicts.

    Source: A. Swaminathan and T. Joachims, "The self-normalized estimator for counterfactual learning" (NIPS 2015);
    arXiv 2512.03354 weights rates of won impressions this way.
    """
    return np.minimum(near.balance * near.weight, MOST_WEIGHT) * logged


RULES: dict[str, OutcomeRule] = {
    "direct": direct,
    "importance": importance,
    "self_normalised": self_normalised,
    "doubly_robust": carried_over,
}
"""The estimators of this module, by name."""
