"""Sharing by a check of the responses: what the target's market cannot explain is not shared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from agents.labels.response_check import CostCheck
from vamo.alignment.sharing.shared_data import Sharing


def agreeing(checks: Sequence[Sequence[CostCheck]], factor: float, *, per_episode: bool) -> Sharing:
    """Shares what costs about as much as the target's response model predicts.

    A source is shared with a target if predicted over actual cost lies in [1 / factor, factor], with equal weights of
    the shared sources. With `per_episode` each episode is checked for itself; a source's weight is then proportional
    to the share of its episodes that pass, so that a source of which 30 % is wrong loses 30 %. Where nothing passes,
    the target learns from the source, or the episode, whose ratio is nearest to 1.

    Args:
        checks: Of target k for the episodes of source i, at [k][i].
        factor: How far predicted and actual cost may be apart, above 1.
        per_episode: Whether episodes instead of sources are checked.
    """
    weights = torch.zeros(len(checks), len(checks[0]), dtype=torch.float64)
    chosen = {}
    for k, of_target in enumerate(checks):
        if per_episode:
            distance = [check.episode_distance for check in of_target]
        else:
            distance = [np.full(len(check.actual), check.distance) for check in of_target]
        nearest = min(float(part.min()) for part in distance)
        bound = max(np.log(factor), nearest)
        for i, part in enumerate(distance):
            passing = np.flatnonzero(part <= bound)
            weights[k, i] = len(passing) / len(part)
            if 0 < len(passing) < len(part):
                chosen[k, i] = passing
    return Sharing((weights / weights.sum(dim=1, keepdim=True)).float(), chosen)
