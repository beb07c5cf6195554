"""Every kernel that runs on several threads gives the same numbers on one, on two, and in a process forked after that.

Tests that run beside each other have one thread each (`conftest`), so that this is where a second one is tried.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from numba.core.dispatcher import Dispatcher

from agents.labels import hindsight, response
from agents.labels.hindsight import best_log_multipliers
from agents.labels.response import Response
from auction_env import BatchMarket, TrafficParams
from auction_env.kernels.running.threads import BLOCKS_PER_THREAD, drawing, settling
from auction_env.market.shapes.value_distribution import ValueDistribution
from auction_env.replay.simulation import ReplaySimulation
from auction_env.tasks import TASKS
from tests.agents.labels.test_response import exact
from tests.auction_env.market.test_market import CASES, run_all, small_params, small_population
from tests.auction_env.replay.logs import N_TICKS, three_periods

ROOT = Path(__file__).parents[1]
KERNELS = {
    "auction_env.kernels.replay.step_envs_parallel",
    "auction_env.kernels.step.auctions.run_markets_parallel",
    "auction_env.kernels.tick.settle_items",
    "auction_env.kernels.values.draw_correlated_values",
    "auction_env.kernels.values.draw_funnel_values",
    "auction_env.kernels.values.draw_shaped_values",
    "auction_env.kernels.values.draw_values",
}
"""Those with loops of numba's threads, which `numbers` runs, as it does those that `run_shared` calls."""


def numbers() -> dict[str, list[float]]:
    """What the kernels find, by what uses them."""
    found: dict[str, list[float]] = {}
    for choice in (drawing, settling, hindsight._labelling, response._evaluating):
        choice.is_fixed = True
    shape = ValueDistribution.of_samples(np.random.default_rng(0).lognormal(-8.0, 1.0, 2000))
    traffic = (TrafficParams(value_correlation=0.4), TrafficParams(values=shape))
    for number, options in enumerate((*CASES, *({"traffic": of_market} for of_market in traffic))):
        market = BatchMarket(small_params(n_impressions=10_000, **options), small_population(budget=0.2), 2)
        found |= {f"market {number} {name}": v.ravel().tolist() for name, v in run_all(market, [3, 4]).items()}
    several = BatchMarket(small_params(n_impressions=2_000), small_population(budget=0.2), 8)
    found |= {f"markets {name}": v.ravel().tolist() for name, v in run_all(several, list(range(8))).items()}
    replay = ReplaySimulation(three_periods(), np.arange(1, 7))
    replay._is_serial = False  # this small log is not worth a thread
    replay.reset(np.arange(6), np.array([10, 11, 12, 12, 11, 10]))
    for tick in range(N_TICKS):
        found[f"replay {tick}"] = replay.step(np.full(6, 4.0)).columns.ravel().tolist()
    log = exact(2 * BLOCKS_PER_THREAD)
    fitted = Response.fit([log])
    found["labels"] = best_log_multipliers(log, TASKS["TargetCPA"], fitted).tolist()
    grid = np.tile(np.linspace(-1.0, 1.0, 100), (len(log), 1))
    found["response"] = fitted.outcomes(log, TASKS["TargetCPA"], grid)["cost"].ravel().tolist()
    return found


def test_all_kernels_with_threads_are_tried() -> None:
    found = set()
    for package in ("auction_env", "agents", "vamo", "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            if "parallel=True" in path.read_text(encoding="utf-8"):
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                for name, value in vars(importlib.import_module(module)).items():
                    if isinstance(value, Dispatcher) and value.targetoptions.get("parallel"):
                        found.add(f"{value.__module__}.{name}")
    assert found == KERNELS


def test_results_depend_neither_on_the_number_of_threads_nor_on_a_fork() -> None:
    found = []
    for n_threads in ("1", "2"):
        environment = os.environ | {
            "NUMBA_NUM_THREADS": n_threads, "NUMBA_THREADING_LAYER": "omp", "PYTHONPATH": str(ROOT)
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, __file__], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert [part.pop("n_threads") for part in found] == [1, 2]
    assert found[0] == found[1]


if __name__ == "__main__":
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    import numba

    here = numbers()
    if numba.get_num_threads() > 1:
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
            assert pool.submit(numbers).result() == here  # GNU OpenMP would end the process
    print(json.dumps({**here, "n_threads": numba.get_num_threads()}))
