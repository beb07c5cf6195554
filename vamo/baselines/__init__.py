"""The field's generative bidding baselines on the blocks, the reader and the trainer of `vamo`."""

from __future__ import annotations

from vamo.baselines.settings import ALGORITHMS, Settings, read
from vamo.baselines.training import GenerativeBidder, load_baseline, save_baseline, train_baseline

__all__ = ["ALGORITHMS", "GenerativeBidder", "Settings", "load_baseline", "read", "save_baseline", "train_baseline"]


def load_dt(path: str) -> GenerativeBidder:
    """The decision transformer of a checkpoint."""
    return load_baseline(path, algo="dt")


def load_cdt(path: str) -> GenerativeBidder:
    """The constrained decision transformer of a checkpoint."""
    return load_baseline(path, algo="cdt")


def load_diffbid(path: str) -> GenerativeBidder:
    """The diffusion planner of a checkpoint."""
    return load_baseline(path, algo="diffbid")


def load_gave(path: str) -> GenerativeBidder:
    """GAVE of a checkpoint."""
    return load_baseline(path, algo="gave")


def load_gas(path: str) -> GenerativeBidder:
    """GAS of a checkpoint."""
    return load_baseline(path, algo="gas")
