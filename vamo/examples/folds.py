"""Cross-fitting: a target learns from all of its own trajectories and is judged on those that it just left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from agents.labels.kernels import Int
from auction_env.data import TrajectoryData
from vamo.examples.sources import task_of

_FOLDS = 102  # stream of random numbers, apart from those of the batches


class Folds(NamedTuple):
    """The episodes of a target's own source in k folds."""

    source: int  # index of the source
    members: tuple[Int, ...]  # k times the episodes of a fold, ascending
    others: tuple[Int, ...]  # k times those of all other folds

    @classmethod
    def deal(cls, source: int, n_episodes: int, k: int, seed: int) -> Folds:
        """Deals the episodes at random, as evenly as it goes; determined by `source` and `seed`.

        Raises:
            ValueError: Fewer than k episodes.
        """
        if n_episodes < k:
            raise ValueError(
                f"`cross_fit` must be at most the number of a target's own episodes, {n_episodes}, found {k}"
            )
        order = np.random.default_rng([seed, _FOLDS, source]).permutation(n_episodes)
        members = tuple(np.sort(order[fold::k]) for fold in range(k))
        return cls(source, members, tuple(np.setdiff1d(np.arange(n_episodes), fold) for fold in members))


def with_validation(
    sources: Mapping[str, TrajectoryData], validation: Mapping[str, TrajectoryData], targets: tuple[str, ...]
) -> dict[str, TrajectoryData]:
    """The sources, in which the targets' own ones also hold their validation trajectories.

    A target without a source of its own gets one: its validation trajectories.

    Raises:
        ValueError: A source of a target's name is of another task.
    """
    out = dict(sources)
    for name in targets:
        if name not in out:
            out[name] = validation[name]
            continue
        own, held_out = out[name], validation[name]
        if task_of(name, own) != task_of(name, held_out):
            raise ValueError(f"source {name!r} must be of its target's task for `cross_fit`, found another")
        # both may count their periods from 0: those of the validation set follow
        shift = int(own.period.max()) + 1 - int(held_out.period.min())
        out[name] = TrajectoryData.concat([own, dataclasses.replace(held_out, period=held_out.period + shift)])
    return out
