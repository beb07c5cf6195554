"""What a trained policy may be conditioned on, and the choice among it by offline estimates.

Where there is no market to play in, `train.select` 'estimate' chooses here what a training returns. The candidates are
the kept stages of the training under each of their conditions. Each is estimated on the validation trajectories of
every target, by the response model of those (`agents.labels.off_policy`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agents.labels.off_policy.estimate import OfflineEvaluation
from auction_env.data import TrajectoryData
from auction_env.tasks import Task

if TYPE_CHECKING:  # torch only where a policy exists
    from vamo.agent import VamoBidder

BUDGET_RATIOS = (0.9, 0.95, 1.0, 1.05, 1.1, 1.2)
"""Of a policy that learned hindsight-optimal actions: the budget that it is conditioned on, over the true one."""
RETURN_QUANTILES = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Of a policy that learned logged actions: the return that it is conditioned on, a quantile of the training returns."""


def conditioned(policy: VamoBidder) -> dict[str, VamoBidder]:
    """The policy under each of its conditions, by description."""
    if policy.config.data.action_label == "hindsight":
        return {f"budget_ratio={ratio:g}": policy.conditioned_on(budget_ratio=ratio) for ratio in BUDGET_RATIOS}
    return {f"quantile={quantile:g}": policy.conditioned_on(quantile=quantile) for quantile in RETURN_QUANTILES}


class Chosen(NamedTuple):
    """The outcome of a choice.

    Attributes:
        bidder: The chosen candidate.
        step: Of the training, after which its parameters were kept.
        condition: Its description.
        scores: By target, its estimated score.
        n_candidates: Among how many it was chosen.
    """

    bidder: VamoBidder
    step: int
    condition: str
    scores: dict[str, float]
    n_candidates: int


class Judge:
    """Estimates candidates on the validation trajectories of the targets.

    Args:
        validation: Of each target, by name.
        tasks: Of the targets.

    Raises:
        ValueError: Trajectories of which nothing can be estimated; the target is named.
    """

    def __init__(self, validation: Mapping[str, TrajectoryData], tasks: Mapping[str, Task]) -> None:
        self._logs = {}
        for name, task in tasks.items():
            try:
                self._logs[name] = OfflineEvaluation(validation[name], task=task)
            except ValueError as error:
                raise ValueError(f"`train.select` 'estimate' needs validation logs of {name!r}: {error}") from error

    def choose(self, stages: Mapping[int, VamoBidder]) -> Chosen:
        """The candidate with the highest mean over the targets of its score over the best of the target.

        Args:
            stages: Bidders of a training by the number of steps done.
        """
        candidates = [
            (step, condition, bidder)
            for step, stage in stages.items()
            for condition, bidder in conditioned(stage).items()
        ]
        scores = np.array(
            [
                [log.estimate(bidder, method="direct").score for log in self._logs.values()]
                for _, _, bidder in candidates
            ]
        )  # (candidates, K)
        best = np.maximum(scores.max(axis=0), 1e-12)
        place = int((scores / best).mean(axis=1).argmax())
        step, condition, bidder = candidates[place]
        of_targets = dict(zip(self._logs, scores[place].tolist(), strict=True))
        return Chosen(bidder, step, condition, of_targets, len(candidates))
