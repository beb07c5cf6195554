"""Conservative data sharing: of other sources only the trajectories that are good for the target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vamo.alignment.sharing.shared_data import Float, Sharing


def conservative(scores: Sequence[Sequence[Float]], own: Sequence[int], percentile: float) -> Sharing:
    """Conservative data sharing (CDS): of other sources only the trajectories that are good for the target.

    A trajectory is shared with a target if its value is at least the `percentile` of the target's own. The paper
    compares a conservative Q function of single transitions; here the value is what the whole trajectory scored, once
    relabelled for the target (objective times penalties, over what the budget buys at the base price). It needs no
    learned critic and overestimates nothing, but it credits a policy with the luck of its day. All that is shared is
    pooled: a source's weight is its number of trajectories.

    Source: T. Yu et al., "Conservative data sharing for multi-task offline reinforcement learning" (NeurIPS 2021, arXiv
    2109.08128), equation 5 and the rule without its temperature.

    Args:
        scores: Of target k for the trajectories of source i, at [k][i].
        own: The source of each target's own trajectories, all of which are kept.
        percentile: In [0, 100].
    """
    picked = {}
    for k, of_target in enumerate(scores):
        least = np.percentile(of_target[own[k]], percentile)
        for i, score in enumerate(of_target):
            picked[k, i] = np.arange(len(score)) if i == own[k] else np.flatnonzero(score >= least)
    return Sharing.pooled(picked, [len(score) for score in scores[0]], len(scores))
