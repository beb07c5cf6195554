"""Batches: windows in groups of equal size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """n windows of W consecutive ticks, padded at the end; groups of equal size lie one after the other."""

    requirements: Tensor  # (n, W, len(REQUIREMENT_INPUTS))
    state: Tensor  # (n, W, N_FEATURES)
    advertiser: Tensor  # (n, len(ADVERTISER_INPUTS))
    category: Tensor  # (n,) int64
    tick: Tensor  # (n, W) int64, absolute
    action: Tensor  # (n, W) log multiplier relative to the bid base
    mask: Tensor  # (n, W) 1 where the action counts, 0 elsewhere
    episode: Tensor  # (n,) int64 number of the episode within its source; -1: none of a log
    n_groups: int  # n is a multiple of it


def stack(groups: Sequence[Batch]) -> Batch:
    """One batch of all the groups, which must be of equal size, in their order."""
    columns = zip(*(group[:-1] for group in groups), strict=True)
    return Batch._make([*map(torch.cat, columns), sum(group.n_groups for group in groups)])


def joined(parts: Sequence[Batch]) -> Batch:
    """Group g of the batch holds the windows of group g of every part, in their order; as many groups as each part."""
    n_groups = parts[0].n_groups
    columns = zip(*(part[:-1] for part in parts), strict=True)
    in_groups = [torch.cat([c.view(n_groups, -1, *c.shape[1:]) for c in column], dim=1) for column in columns]
    return Batch._make([*(column.flatten(0, 1) for column in in_groups), n_groups])


def groups(batch: Batch, start: int, stop: int) -> Batch:
    """The groups of a batch from `start` to before `stop`."""
    size = len(batch.mask) // batch.n_groups
    columns = [column[start * size : stop * size] for column in batch[:-1]]
    return Batch._make([*columns, stop - start])
