"""The field's generative bidding baselines on the blocks, the reader and the trainer of `vamo`."""

from __future__ import annotations

from vamo.baselines.settings import ALGORITHMS, Settings, read
from vamo.baselines.training import GenerativeBidder, load_baseline, save_baseline, train_baseline

__all__ = ["ALGORITHMS", "GenerativeBidder", "Settings", "load_baseline", "read", "save_baseline", "train_baseline"]


def load_dt(path: str, *, quantile: float | None = None) -> GenerativeBidder:
    """The decision transformer of a checkpoint; what it is asked for as in `GenerativeBidder.asking`."""
    return load_baseline(path, algo="dt").asking(quantile=quantile)


def load_cdt(path: str, *, quantile: float | None = None, cost: float | None = None) -> GenerativeBidder:
    """The constrained decision transformer of a checkpoint."""
    return load_baseline(path, algo="cdt").asking(quantile=quantile, cost=cost)


def load_diffbid(path: str, *, quantile: float | None = None, cost: float | None = None) -> GenerativeBidder:
    """The diffusion planner of a checkpoint."""
    return load_baseline(path, algo="diffbid").asking(quantile=quantile, cost=cost)


def load_gave(path: str, *, quantile: float | None = None) -> GenerativeBidder:
    """GAVE of a checkpoint."""
    return load_baseline(path, algo="gave").asking(quantile=quantile)


def load_gas(path: str, *, quantile: float | None = None, search_sd: float | None = None) -> GenerativeBidder:
    """GAS of a checkpoint."""
    return load_baseline(path, algo="gas").asking(quantile=quantile, search_sd=search_sd)
