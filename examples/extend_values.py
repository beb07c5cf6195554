"""Own values: predicted values of a file in the live market, where all competitors react to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from agents import PidBidder
from auction_env import MarketParams, TrafficParams, ValueDistribution, load_values
from benchmarks import evaluate, in_market


def main(path: Path = Path("values.npy"), n_episodes: int = 4) -> None:
    # a model's predictions, one column an advertiser: few impressions are good, and for each advertiser more or less
    rng = np.random.default_rng(0)
    good = rng.random((4_000, 48)) < np.linspace(0.02, 0.2, 48)
    np.save(path, np.where(good, 4e-3, 2e-4) * rng.lognormal(0.0, 0.3, good.shape))

    distributions = {
        "normal, the default": None,
        "log-normal": ValueDistribution.lognormal(sd=1.0),
        "of the file": load_values(path, per="advertiser"),
    }
    params = MarketParams(n_impressions=480, n_ticks=12)
    for name, values in distributions.items():
        own = replace(params, traffic=TrafficParams(values=values))
        assert MarketParams.from_json(own.to_json()) == own  # what data sets and results record
        found = evaluate({"PID": PidBidder()}, in_market("MaxConversions", n_episodes=n_episodes, params=own))
        print(f"{name:20s} PID's share of the best constant {found.summaries[0].share.value:.3f}")


if __name__ == "__main__":
    main()
