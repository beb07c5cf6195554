"""Collection of trajectories with a progress bar; needs no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agents import Collection, CollectionSummary, collect_data_set
from agents.logging.impressions import log_impressions
from agents.logging.policies import make_policy, parse_shares
from benchmarks.console import progress_bar


def collect(collection: Collection, out: Path, *, n_workers: int, force: bool) -> CollectionSummary:
    """Collects a data set (`agents.collect_data_set`) with a progress bar in trajectories."""
    n_trajectories = collection.n_episodes * len(collection.controlled)
    with progress_bar(f"collecting {collection.task.name}", n_trajectories, "traj") as bar:
        return collect_data_set(collection, out, n_workers=n_workers, force=force, progress=bar.advance)


def write_impressions(collection: Collection, out: Path, *, force: bool) -> list[Path]:
    """Writes the impressions of a collection's episodes as AuctionNet's CSV files, with a progress bar."""
    c = collection
    policy = make_policy(parse_shares(c.policy), c.task, c.params, c.population)
    with progress_bar("writing impressions", c.n_episodes, "periods") as bar:
        return log_impressions(
            policy,
            out,
            seeds=np.arange(c.seed, c.seed + c.n_episodes),
            task=c.task,
            params=c.params,
            population=c.population,
            force=force,
            progress=bar.advance,
        )
