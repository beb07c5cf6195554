"""The CUDA path against the CPU market: in numba's simulator (a process of its own), and compiled to PTX.

The simulator runs one Python thread per impression, so markets are tiny.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import field, make_dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
needs_cuda_target = pytest.mark.skipif(
    importlib.util.find_spec("numba.cuda") is None, reason="this numba has no CUDA target"
)
pytestmark = needs_cuda_target

COMPARE = """
import numpy as np
from numba import cuda

from auction_env import BatchMarket, MarketParams, Population
from auction_env.market.forms.cuda import ExperimentalCudaMarket
from auction_env.kernels.cuda import draw_words
from auction_env.kernels.rng import bits

key = np.array([0x9E3779B9, 0x12345678], np.uint32)
words = cuda.device_array(40, np.uint32)
draw_words[2, 32](cuda.to_device(key), words)
assert words.copy_to_host().tolist() == [bits(np.uint32(i), *key) for i in range(40)]

population = Population(
    budget=(4000.0, 1500.0, 3000.0, 2000.0), cpa_target=(100.0, 80.0, 120.0, 90.0), category=(0, 0, 1, 1)
)
n_exhausted = n_conversions = 0
for n_slots, mechanism, seeds in ((2, "gsp", [3, 4]), (3, "first_price", [5, 6]), (5, "gsp", [0, 9])):
    params = MarketParams(
        n_impressions=60, n_ticks=2, n_slots=n_slots, exposure=(0.9, 0.6, 0.5, 1.0, 0.8)[:n_slots],
        mechanism=mechanism,
    )
    cpu, gpu = BatchMarket(params, population, 2), ExperimentalCudaMarket(params, population, 2)
    cpu.reset(seeds)
    gpu.reset(seeds)
    multipliers = 2 * cpu.cpa_target * np.array([[1, 3, 1, 0.7], [0, 2, 5, 0.1]])
    for _ in range(params.n_ticks):
        for found, expected in zip(gpu.opening, cpu.opening, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        for market in range(2):
            np.testing.assert_allclose(gpu.values(market), cpu.values(market), rtol=1e-5, atol=1e-8)
        found, expected = gpu.step(multipliers), cpu.step(multipliers)
        for name in ("n_impressions", "wins", "exposures", "conversions", "done", "tick"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
        for name in ("bid", "cost", "expected_conversions", "least_winning_cost", "budget_left"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-5, atol=1e-6)
        assert found.budget_left.min() >= 0
        n_conversions += found.conversions.sum()
    n_exhausted += (~gpu._state.active).sum()
assert n_exhausted >= 3, n_exhausted
for call in (lambda: gpu.opening, lambda: gpu.step(multipliers)):
    try:
        call()
    except RuntimeError as error:
        assert "call `reset` first" in str(error)
    else:
        raise AssertionError("the episode is over")
gpu.reset([1, 2])
for wrong in (-multipliers, multipliers * np.nan, multipliers[0]):
    try:
        gpu.step(wrong)
    except ValueError as error:
        assert "`multipliers` must" in str(error)
    else:
        raise AssertionError("must be refused")
print("equal")
"""

CONVERSIONS = """
import numpy as np

from auction_env import BatchMarket, MarketParams, Population, TrafficParams
from auction_env.market.forms.cuda import ExperimentalCudaMarket

# values near a half, so that many impressions convert and the truncated-normal draw decides
traffic = TrafficParams(value_mean=0.4, category_swing=0.1, advertiser_swing=0.1, sigma_mean=0.25)
params = MarketParams(n_impressions=100, n_ticks=1, n_slots=2, exposure=(1.0, 0.8), traffic=traffic)
population = Population(budget=(1e9,) * 3, cpa_target=(1.0,) * 3, category=(0, 1, 2))
cpu, gpu = BatchMarket(params, population), ExperimentalCudaMarket(params, population)
cpu.reset([8])
gpu.reset([8])
found, expected = gpu.step([[1.0, 1.0, 1.0]]), cpu.step([[1.0, 1.0, 1.0]])
np.testing.assert_array_equal(found.conversions, expected.conversions)
assert found.conversions.sum() > 30, found.conversions
print("equal")
"""

# Overloads ask the current device for its generation; there need not be one to compile for one.
COMPILE = """
from types import SimpleNamespace

import numba.cuda.dispatcher
from numba import cuda, float32, float64, int32, int64, uint8, uint32
from numba.cuda.cudadrv.error import NvvmSupportError

from auction_env.kernels import cuda as kernel

numba.cuda.dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(9, 0))
counts, table, words = int64[::1], float32[:, ::1], uint32[:, :, :, ::1]
signatures = {
    kernel.draw_words: (uint32[::1], uint32[::1]),
    kernel.draw_values: (counts, counts, words, table, table, table),
    kernel.sum_values: (counts, counts, table, float64[:, :, ::1]),
    kernel.settle: (
        counts, counts, counts, words, uint32[:, :, ::1], table, table, float32, int64, float32[::1], table, table,
        table, int32[:, ::1], table, table, uint8[:, ::1], float32[::1],
    ),
}
try:
    for function, signature in signatures.items():
        ptx, _ = cuda.compile_ptx(function.py_func, signature, cc=(9, 0))
        assert ".entry" in ptx
except NvvmSupportError as error:
    print("skip: there is no libNVVM:", error)
else:
    print("compiled")
"""


def run(code: str, **environment: str) -> str:
    command = [sys.executable, "-W", "error::UserWarning", "-c", code]
    settings = os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_NUM_THREADS": "1"} | environment
    settings = {name: value for name, value in settings.items() if value}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=240, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.mark.parametrize("code", [COMPARE, CONVERSIONS], ids=["market", "conversions"])
def test_the_simulated_device_goes_the_way_of_the_cpu(code: str) -> None:
    assert run(code, NUMBA_ENABLE_CUDASIM="1") == "equal"


def test_a_device_goes_the_way_of_the_cpu() -> None:
    from auction_env.market.forms.cuda import is_available

    if not is_available():
        pytest.skip("there is no CUDA device")
    for code in (COMPARE, CONVERSIONS):
        assert run(code, NUMBA_ENABLE_CUDASIM="") == "equal"


def test_the_kernels_compile_for_a_device() -> None:
    answer = run(COMPILE, NUMBA_ENABLE_CUDASIM="")
    if answer.startswith("skip"):
        pytest.skip(answer)
    assert answer == "compiled"


def test_without_a_device_an_error_says_so() -> None:
    from auction_env.market.forms.cuda import ExperimentalCudaMarket, is_available

    if is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(RuntimeError, match="needs a CUDA device"):
        ExperimentalCudaMarket()


def test_parameters_that_the_device_does_not_know_are_refused() -> None:
    from auction_env.market.forms.cuda import _check_supported

    params_type = make_dataclass(
        "Params", [("n_slots", int, 3), ("quality", float, 1.0), ("days", list, field(default_factory=list))]
    )
    _check_supported(params_type(n_slots=5), {"n_slots"})
    with pytest.raises(ValueError, match=r"`quality` must be 1\.0 on CUDA, which does not support it, found 2\.0"):
        _check_supported(params_type(quality=2.0), {"n_slots"})
    with pytest.raises(ValueError, match="`days` must be"):
        _check_supported(params_type(days=[1]), {"n_slots"})


def test_the_benchmark_says_that_there_is_no_device() -> None:
    from auction_env.market.forms.cuda import is_available

    if is_available():
        pytest.skip("there is a CUDA device")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.market"], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 1 and "nothing to measure" in done.stdout
