"""Collection of trajectories with a progress bar; needs no torch."""

from __future__ import annotations

from pathlib import Path

from agents import Collection, CollectionSummary, collect_data_set
from benchmarks.console import progress_bar


def collect(collection: Collection, out: Path, *, n_workers: int, force: bool) -> CollectionSummary:
    """Collects a data set (`agents.collect_data_set`) with a progress bar in trajectories."""
    n_trajectories = collection.n_episodes * collection.population.n_advertisers
    with progress_bar(f"collecting {collection.task.name}", n_trajectories, "traj") as bar:
        return collect_data_set(collection, out, n_workers=n_workers, force=force, progress=bar.advance)
