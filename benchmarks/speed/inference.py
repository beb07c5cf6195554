"""Latency of the generative agent's decisions, as rows of `vamo bench speed`.

Every decision is timed as the market asks for it, the making of inputs included. `python -m
benchmarks.speed.inference` measures every variant of the model, for the table in the docs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from rich.table import Table

from agents import collect, rollout
from auction_env import TASKS, MarketParams, auctionnet_population
from auction_env.control.bidder import Bidder
from benchmarks.console import console
from benchmarks.speed.measure import Measurement, Row, median_seconds
from benchmarks.suites.running.timing import Timed
from vamo.agent import VamoBidder
from vamo.config import MODEL_SIZES, Config, ModelConfig, TrainConfig
from vamo.model.making import make_policy
from vamo.model.transformer import N_TOKENS

TASK = TASKS["TargetCPA"]
N_IMPRESSIONS = 4800  # a market that takes little of the processor's cache
TRANSFORMER = ModelConfig(backbone="transformer", conditioning="film")
VARIANTS = {
    "default: MLP": ModelConfig(),
    "ridge": ModelConfig(backbone="ridge", conditioning="concat"),
    "transformer: film, action head": TRANSFORMER,
    "conditioning=token": replace(TRANSFORMER, conditioning="token"),
    "conditioning=prompt": replace(TRANSFORMER, conditioning="prompt"),
    "conditioning=hyper": replace(TRANSFORMER, conditioning="hyper"),
    "conditioning=concat": replace(TRANSFORMER, conditioning="concat"),
    "head=planner": replace(TRANSFORMER, head="planner"),
    "n_periods=2": replace(TRANSFORMER, n_periods=2),
    "context=48": replace(TRANSFORMER, context=48),
    "1M": MODEL_SIZES["1M"],
    "100M": MODEL_SIZES["100M"],
}


class Latency(NamedTuple):
    """Seconds a decision."""

    median: float  # over all ticks and episodes
    slowest_tick: float  # the largest of the ticks' medians over the episodes


def latency(config: ModelConfig, n_campaigns: int, n_episodes: int) -> Latency:
    """Of an untrained model, whose arithmetic is that of a trained one, on one core.

    Args:
        config: The model.
        n_campaigns: 1, or all advertisers of the market.
        n_episodes: Episodes that are timed, after one that is not.
    """
    with _one_thread():
        bidder = Timed(untrained_bidder(config))
        for seed in range(n_episodes + 1):
            _run_episode(bidder, seed, n_campaigns)
    ticks = np.reshape(bidder.seconds, (n_episodes + 1, -1))[1:]
    return Latency(float(np.median(ticks)), float(np.median(ticks, axis=0).max()))


def _run_episode(bidder: Bidder, seed: int, n_campaigns: int) -> None:
    params = MarketParams(n_impressions=N_IMPRESSIONS)
    if n_campaigns == 1:
        rollout(bidder, seeds=[seed], advertisers=[seed % 48], task=TASK, params=params)
    else:
        assert n_campaigns == auctionnet_population().n_advertisers
        next(collect(bidder, seeds=[seed], task=TASK, params=params))


def untrained_bidder(model: ModelConfig) -> VamoBidder:
    """A bidder as of training, by a method that every model can be trained by."""
    return VamoBidder(make_policy(model), replace(Config(), model=model, train=TrainConfig(method="uniform")), ())


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for torch, for as long as the block lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def linear_seconds(config: ModelConfig, n_campaigns: int) -> float:
    """Of the linear layers alone, applied to the tokens or numbers of one tick: what no cache can save."""
    layers = [module for module in make_policy(config).modules() if isinstance(module, torch.nn.Linear)]
    n_tokens = N_TOKENS if config.backbone == "transformer" else 1
    inputs = [torch.randn(n_campaigns * n_tokens, layer.in_features) for layer in layers]

    def work() -> None:
        for layer, x in zip(layers, inputs, strict=True):
            layer(x)

    with _one_thread(), torch.inference_mode():
        return median_seconds(work, 101)


def inference_rows(quick: bool) -> Iterator[Row]:
    """Milliseconds a decision of the default model: for one campaign, and for a market's advertisers at once."""
    config, n_episodes = ModelConfig(), 3 if quick else 11
    n_all = auctionnet_population().n_advertisers
    for name, n in (("decision_ms", 1), (f"decision_{n_all}_ms", n_all)):
        measured, bound = latency(config, n, n_episodes), linear_seconds(config, n)
        yield Row(
            name=name,
            value=1e3 * measured.median,
            unit="ms",
            reference=f"n = {n}, one core, median over the ticks of {n_episodes} episodes; "
            f"slowest tick, where the window moves: {1e3 * measured.slowest_tick:.2f} ms",
            bound=f"{1e3 * bound:.2f} ms: the linear layers alone, on one tick",
            bound_value=1e3 * bound,
        )


MEASUREMENTS = (Measurement(what="decisions", rows=inference_rows),)


def main() -> None:
    """Prints a table over all variants of the model."""
    table = Table("variant", "parameters", "n = 1, ms", "slowest tick, ms", "n = 48, ms")
    for name, config in VARIANTS.items():
        n_parameters = sum(parameter.numel() for parameter in make_policy(config).parameters())
        n_episodes = 1 if n_parameters > 1e7 else 5
        one, many = (latency(config, n, n_episodes) for n in (1, 48))
        figures = (f"{1e3 * x:.2f}" for x in (one.median, one.slowest_tick, many.median))
        table.add_row(name, f"{n_parameters:,}", *figures)
    console.print(table)


if __name__ == "__main__":
    main()
