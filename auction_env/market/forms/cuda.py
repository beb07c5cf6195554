"""`ExperimentalCudaMarket`: the market on a CUDA device, behind the interface of `BatchMarket`.

Needs a CUDA device, or numba's simulator (`NUMBA_ENABLE_CUDASIM=1` before numba is imported), which is for tests.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import numpy as np
from numba import cuda as _cuda
from numba.core.errors import NumbaPerformanceWarning
from numpy.typing import ArrayLike, NDArray

from auction_env.kernels import cuda as kernel
from auction_env.kernels.clearing import MECHANISMS
from auction_env.kernels.outcomes import COST
from auction_env.kernels.running import threads
from auction_env.kernels.step import auctions
from auction_env.kernels.values import N_BASES
from auction_env.market.episode import Float, MarketState
from auction_env.market.market import BatchMarket, Found
from auction_env.market.params import MAX_MONEY, MarketParams, TrafficParams
from auction_env.market.population import Population

cuda: Any = _cuda  # partly without types

# what the device kernels know; any other parameter must have its default
_MARKET_FIELDS = {"n_impressions", "n_ticks", "n_slots", "exposure", "reserve", "mechanism", "traffic"}
_TRAFFIC_FIELDS = {
    "diurnal_curve", "volume_swing", "volume_window", "value_mean", "category_swing", "advertiser_swing",
    "value_window", "sd_ratio_mean", "sd_ratio_sd", "sd_ratio_tick_sd", "sigma_mean", "sigma_sd", "sigma_by_impression",
}  # fmt: skip
_OUTCOME = ("winner", "price", "gain", "state", "lwc")  # what `kernel.settle` writes, in order
_MECHANISMS = ("gsp", "first_price")
_COMMITTED = 1024  # impressions that `kernel.commit` adds up in about 20 us


def is_available() -> bool:
    """Whether there is a CUDA device, or the simulator in its place."""
    return bool(cuda.is_available())


class ExperimentalCudaMarket(BatchMarket):
    """`BatchMarket` whose ticks run on a CUDA device; same arguments, methods and results.

    Experimental: it has run in numba's simulator of a device only, never on a GPU, and its speed is unknown.

    Draws have the same integer bits as on the CPU and floating-point results agree to rounding, so that two
    markets with the same seeds go the same way but for the rare impression whose outcome hangs on the last bit.
    Budgets are exact: impressions are settled on the device as if no money ran out and added up on the host in
    arrival order; where somebody cannot pay, the rest of that market's tick is settled again without them.

    Raises:
        RuntimeError: There is no CUDA device.
        ValueError: A parameter that the device kernels do not support has another value than its default.
    """

    def __init__(
        self, params: MarketParams | None = None, population: Population | None = None, n_markets: int = 1
    ) -> None:
        if not is_available():
            raise RuntimeError("ExperimentalCudaMarket needs a CUDA device that numba can use, found none")
        super().__init__(params, population, n_markets)
        self._may_be_one_call = False
        _check_supported(self.params, _MARKET_FIELDS)
        _check_supported(self.params.traffic, _TRAFFIC_FIELDS)
        if self.params.mechanism not in _MECHANISMS:
            raise ValueError(f"`mechanism` must be one of {_MECHANISMS} on CUDA, found {self.params.mechanism!r}")
        self._capacity = 0
        self._device: dict[str, Any] = {}
        self._host: dict[str, NDArray[Any]] = {}

    @property
    def buffer_bytes(self) -> int:
        """Size of the largest buffer on the device, the values of a tick's impressions."""
        return 4 * self.n_advertisers * self._capacity

    def values(self, market: int = 0) -> NDArray[np.float32]:
        """See `BatchMarket.values`."""
        start, n = self._start[market], int(self.opening.n_impressions[market])
        columns = np.ascontiguousarray(self._device["values"].copy_to_host()[:, start : start + n].T)
        return np.asarray(columns, np.float32)

    def values_of(self, market: int, advertiser: int) -> NDArray[np.float32]:
        """See `BatchMarket.values_of`."""
        return self.values(market)[:, advertiser]

    def _alike(self, state: MarketState) -> None:
        """Every market draws its own values."""

    def _reserve(self, n_blocks: int) -> None:
        """Nothing on the host: `_allocate` makes room on the device."""

    def _bid_on_impressions(self, submitted: Float, bids: Mapping[tuple[int, int], ArrayLike]) -> None:
        raise ValueError(
            "bids on impressions must be made in a market on the CPU, found some on CUDA, where everybody bids with a"
            " multiplier: use `BatchMarket`"
        )

    def _draw(self, state: MarketState) -> Float:
        """Draws the tick's values on the device."""
        n = state.volume[state.tick]
        self._start = np.cumsum(n) - n
        self._allocate(int(n.sum()))
        keys = np.empty((self.n_markets, 4, self.n_advertisers, 2), np.uint32)
        slot_keys = np.empty((self.n_markets, self.params.n_slots, 2), np.uint32)
        kernel.make_keys(state.seed, state.tick, keys, slot_keys)
        advertisers, device = state.advertisers, self._device
        for name, array in (("n", n), ("start", self._start), ("keys", keys), ("slot_keys", slot_keys)):
            device[name] = cuda.to_device(array)
        for name in advertisers._fields:
            device[name] = cuda.to_device(np.ascontiguousarray(getattr(advertisers, name)))
        most = max(int(n.max()), 1)
        n_parts = -(-most // kernel.SUMMED)
        partial = cuda.device_array((*self._shape, n_parts), np.float64)
        with _quiet_small_grids():
            kernel.draw_values[self._grid(most), (kernel.THREADS, 1)](
                device["n"], device["start"], device["keys"], device["mean"], device["sd"], device["values"]
            )
            kernel.sum_values[(-(-n_parts // 32), self.n_advertisers, self.n_markets), (32, 1, 1)](
                device["n"], device["start"], device["values"], partial
            )
        self._value_sum = partial.copy_to_host().sum(axis=-1)  # (n_markets, n_advertisers)
        expected_mean = np.zeros((*self._shape, N_BASES))
        expected_mean[..., 0] = self._value_sum / np.maximum(n, 1)[:, None]
        return expected_mean

    def _run(self, state: MarketState, given: Float, found: Found) -> bool:
        """See `BatchMarket._run`: settled on the device, added up on the host until somebody cannot pay."""
        multiplier = self._multiplier
        if not auctions.take_multipliers(given, state.active, MAX_MONEY, multiplier):
            return False
        submitted, value_sum = multiplier.copy(), self._value_sum.copy()
        totals, lwc_sum, bid_sum = found
        totals[:], lwc_sum[:] = 0.0, 0.0
        n, first = state.volume[state.tick], np.zeros(self.n_markets, np.int64)
        broke = np.empty(self.n_markets, np.int64)
        while np.any(first < n):
            self._settle_from(first, multiplier)
            host = self._host
            known = (
                n, self._start, first, host["winner"], host["price"], host["gain"], host["state"], host["lwc"],
                state.budget_left, totals, lwc_sum, broke,
            )  # fmt: skip
            threads.run_shared(threads.committing, kernel.commit, len(n), int(n.sum()) // _COMMITTED, known)
            for market in np.flatnonzero(broke >= 0):
                advertiser = broke[market]
                multiplier[market, advertiser] = 0.0
                value_sum[market, advertiser] = self._value_sum_until(market, advertiser, int(first[market]))
        state.budget_left -= totals[..., COST]
        auctions.close_tick(given, multiplier, n, lwc_sum, state.active)
        bid_sum[:] = submitted * value_sum
        return True

    def _settle_from(self, first: NDArray[np.int64], multiplier: NDArray[np.float32]) -> None:
        """Settles impressions from `first` on, on the device, and copies the outcomes to the host."""
        device, most = self._device, int(self.opening.n_impressions.max())
        outcome = [device[name] for name in _OUTCOME]
        with _quiet_small_grids():
            kernel.settle[self._grid(most), (kernel.THREADS, 1)](
                device["n"], device["start"], cuda.to_device(first), device["keys"], device["slot_keys"],
                device["values"], cuda.to_device(multiplier), np.float32(self.params.reserve),
                MECHANISMS[self.params.mechanism], device["exposure"], device["sigma"], device["lower"],
                device["upper"], *outcome,
            )  # fmt: skip
        for name in _OUTCOME:
            device[name].copy_to_host(self._host[name])

    def _grid(self, n: int) -> tuple[int, int]:
        return -(-n // kernel.THREADS), self.n_markets

    def _value_sum_until(self, market: np.int64, advertiser: np.int64, n: int) -> float:
        """Sum of an advertiser's predicted values over the first n impressions of the tick."""
        start = self._start[market]
        row = self._device["values"][advertiser, start : start + n]
        return float(row.copy_to_host().sum(dtype=np.float64)) if n else 0.0

    def _allocate(self, n: int) -> None:
        """Buffers for n impressions; they grow to the busiest tick."""
        if n <= self._capacity and self._device:
            return
        self._capacity = max(n, 1)
        slots = (self.params.n_slots, self._capacity)
        shapes: dict[str, tuple[tuple[int, ...], type]] = {
            "winner": (slots, np.int32), "price": (slots, np.float32), "gain": (slots, np.float32),
            "state": (slots, np.uint8), "lwc": ((self._capacity,), np.float32),
        }  # fmt: skip
        self._device = {name: cuda.device_array(shape, dtype) for name, (shape, dtype) in shapes.items()}
        self._host = {name: np.empty(shape, dtype) for name, (shape, dtype) in shapes.items()}
        self._device["values"] = cuda.device_array((self.n_advertisers, self._capacity), np.float32)
        self._device["exposure"] = cuda.to_device(self._rules.exposure)


class _quiet_small_grids(warnings.catch_warnings):
    """Numba warns of grids that leave a device idle; a quiet tick of a small market is one."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", NumbaPerformanceWarning)


def _check_supported(params: MarketParams | TrafficParams, known: set[str]) -> None:
    """Raises ValueError at a parameter unknown to the device kernels that is not at its default."""
    for field in fields(params):
        if field.name in known:
            continue
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if getattr(params, field.name) != default:
            raise ValueError(
                f"`{field.name}` must be {default!r} on CUDA, which does not support it, found"
                f" {getattr(params, field.name)!r}"
            )
