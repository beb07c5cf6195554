"""Runs bidders on test episodes and turns what happened into result rows, one an episode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents import Episodes
from auction_env.tasks import CONSTRAINT_KINDS

Rows = dict[str, NDArray[Any]]


def result_rows(
    episodes: Mapping[str, Episodes],
    reference: Episodes,
    *,
    suite: str,
    train_seed: Mapping[str, int] | int = -1,
) -> Rows:
    """The rows of several methods on the same episodes of one task.

    Args:
        episodes: Finished episodes by method.
        reference: The same episodes played by the best constant multiplier in hindsight.
        suite: Label of the suite.
        train_seed: Seed of the training run, -1 for what is not trained; one for all or by method.

    Returns:
        Columns `suite`, `method`, `task`, `train_seed`, `seed`, `advertiser`, `score_sampled` (sampled conversions),
        `score_expected` (expected conversions), `objective`, `cost`, `budget_ratio`, `cpa_ratio` and so on for every
        kind of constraint (of predicted amounts; NaN where there is no limit) and `reference` (the reference's
        expected score: a constant that is best for sampled conversions in hindsight is best at guessing noise).

    Raises:
        ValueError: No method, or a method that did not play the reference's episodes.
    """
    if not episodes:
        raise ValueError("`episodes` must hold the finished episodes of at least one method, found none")
    parts = []
    for method, played in episodes.items():
        played.check_same(reference, names=(f"the episodes of {method!r}", "the reference"))
        n = len(played.seed)
        seed = train_seed if isinstance(train_seed, int) else train_seed[method]
        labels = {"suite": suite, "method": method, "task": played.task.name, "train_seed": seed}
        parts.append(
            {name: np.full(n, value) for name, value in labels.items()}
            | episode_columns(played)
            | {"reference": reference.score(expected=True)}
        )
    return concatenate(parts)


def episode_columns(played: Episodes) -> Rows:
    """The measured columns of result rows: those that do not depend on what is compared."""
    n, ratios = len(played.seed), played.ratios(expected=True)
    return {
        "seed": played.seed,
        "advertiser": played.advertiser,
        "score_sampled": played.score(),
        "score_expected": played.score(expected=True),
        "objective": played.objective(),
        "cost": played.total("cost"),
        **{f"{name}_ratio": ratios.get(name, np.full(n, np.nan)) for name in ("budget", *CONSTRAINT_KINDS)},
    }


def concatenate(parts: list[Rows]) -> Rows:
    """Rows below each other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
