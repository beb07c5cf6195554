"""A filter by dynamics and value: of other sources the trajectories that fit the target's market and score well."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vamo.alignment.sharing.shared_data import Float, Sharing


def dynamics_and_value(
    discrepancy: Sequence[Sequence[Float]],
    scores: Sequence[Sequence[Float]],
    own: Sequence[int],
    *,
    share: float,
    dynamics_weight: float,
) -> Sharing:
    """Keeps the trajectories of other sources whose market is the target's and whose value for it is high.

    Source: Z. Qiao et al., "Cross-domain offline policy adaptation with dynamics- and value-aligned data filtering"
    (DVDF, arXiv 2512.02435). Taken over: the claim that matching dynamics alone is not enough; one score per piece of
    source data, a weighted sum of its dynamics alignment and its value alignment; only the best share of the source
    data is used; the target's own data are all used.

    Not taken over: the paper scores single transitions, here a whole trajectory is scored, because what one tick's bid
    was worth shows at the end of the day. Its dynamics score is learned by contrast (or optimal transport), here it is
    how far the cost that the target's response model predicts lies from the logged cost. Its value score is the
    advantage under a policy that was trained on the source, here it is the score of the trajectory, relabelled for the
    target. It weights the losses of what it keeps, here all that is kept counts alike and is pooled. Both parts are
    ranks from 0 to 1 among the trajectories of the other sources, so that their units do not matter.

    Args:
        discrepancy: Of target k for the trajectories of source i, at [k][i]: |log(predicted / actual cost)|.
        scores: Relative scores for the target, in the same order.
        own: The source of each target's own trajectories, all of which are kept.
        share: Of the trajectories of the other sources that is kept, in (0, 1].
        dynamics_weight: Weight of the dynamics in the sum, in [0, 1]; the value has the rest.
    """
    picked = {}
    sizes = [len(score) for score in scores[0]]
    for k, i_own in enumerate(own):
        others = [i for i in range(len(sizes)) if i != i_own]
        picked[k, i_own] = np.arange(sizes[i_own])
        if not others:
            continue
        fit = _ranks(-np.concatenate([discrepancy[k][i] for i in others]))
        value = _ranks(np.concatenate([scores[k][i] for i in others]))
        total = dynamics_weight * fit + (1 - dynamics_weight) * value
        is_kept = np.zeros(len(total), bool)
        n_kept = max(round(share * len(total)), 1)
        is_kept[np.argsort(-total, kind="stable")[:n_kept]] = True
        ends = np.cumsum([sizes[i] for i in others])
        for i, kept in zip(others, np.split(is_kept, ends[:-1]), strict=True):
            picked[k, i] = np.flatnonzero(kept)
    return Sharing.pooled(picked, sizes, len(own))


def _ranks(values: Float) -> Float:
    """Ranks from 0 (least) to 1 (most), (n,); equal values share their mean rank."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    mean_rank = last - (counts - 1) / 2
    return np.asarray(mean_rank[group] / max(len(values) - 1, 1))
