"""Times full-size episodes on a CUDA device: `python -m benchmarks.gpu.market`.

Prints milliseconds per episode of 500,000 impressions and 48 pacing advertisers for several batch sizes, the CPU
market beside it, and how much of the time the host's commit takes. Needs a CUDA device.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats

from numba import get_num_threads

from auction_env import BatchMarket, MarketParams
from auction_env.market.forms.cuda import ExperimentalCudaMarket, is_available
from benchmarks.speed.market import pid_episode
from benchmarks.speed.measure import median_seconds


def main() -> int:
    """Measures and prints; returns 1 where there is no device."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--impressions", type=int, default=500_000, help="of an episode")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 128], help="episodes side by side")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    if not is_available():
        print("no CUDA device that numba can use: nothing to measure")
        return 1
    params = MarketParams(n_impressions=arguments.impressions)
    cpu = BatchMarket(params)
    seconds = median_seconds(lambda: pid_episode(cpu, 1), arguments.repeats)
    print(f"CPU, {get_num_threads()} threads: {1e3 * seconds:.2f} ms an episode")
    for n_markets in arguments.batches:
        market = ExperimentalCudaMarket(params, n_markets=n_markets)

        def work(market: ExperimentalCudaMarket = market) -> None:
            pid_episode(market, 1)

        seconds = median_seconds(work, arguments.repeats)
        print(f"CUDA, {n_markets} episodes at once: {1e3 * seconds / n_markets:.2f} ms an episode")
        profile = cProfile.Profile()
        profile.runcall(work)
        pstats.Stats(profile).sort_stats("tottime").print_stats(8)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
