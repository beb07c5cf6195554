"""The counter-based draws: bit-exact against plain Python, distributed as they should be, independent."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from numba import njit
from scipy.special import ndtri

from auction_env.kernels import rng
from tests.reference import market as reference


@njit
def fill_bits(key, out):
    low, high = rng.low_word(key), rng.high_word(key)
    for i in range(out.shape[0]):
        out[i] = rng.bits(np.uint32(i), low, high)


@njit
def fill_normal(u, out):
    for i in range(out.shape[0]):
        out[i] = rng.to_normal(u[i])


def draw(seed: int, tick: int, lane: int, stream: int, n: int) -> np.ndarray:
    out = np.empty(n, np.uint32)
    fill_bits(np.uint64(rng.make_key(np.uint64(seed), tick, lane, stream)), out)
    return out


def uniforms(*key: int) -> np.ndarray:
    return (draw(*key) + 0.5) * 2.0**-32


def test_bits_equal_the_plain_reference() -> None:
    out = draw(2**63 + 12345, 17, 40, 3, 50)
    assert [int(x) for x in out] == [reference.draw_bits(2**63 + 12345, 17, 40, 3, i) for i in range(50)]


@pytest.mark.parametrize("key", [(0, 0, 0, 1), (1, 0, 0, 1), (7, 47, 47, 5)])
def test_uniform_within_a_sequence(key: tuple[int, int, int, int]) -> None:
    u = uniforms(*key, 400_000)
    assert scipy.stats.kstest(u, "uniform").pvalue > 1e-4
    for lag in (1, 2, 64):
        correlation = np.corrcoef(u[:-lag], u[lag:])[0, 1]
        assert abs(correlation) < 4.5 / np.sqrt(len(u))
    # each of the 32 bits is fair
    words = draw(*key, 400_000)
    for bit in range(32):
        assert abs(((words >> bit) & 1).mean() - 0.5) < 4.5 * 0.5 / np.sqrt(len(words))


@pytest.mark.parametrize("other", [(1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1), (0, 0, 0, 2), (2**32, 0, 0, 1)])
def test_sequences_of_neighbouring_keys_are_independent(other: tuple[int, int, int, int]) -> None:
    a, b = uniforms(0, 0, 0, 1, 200_000), uniforms(*other, 200_000)
    assert abs(np.corrcoef(a, b)[0, 1]) < 4.5 / np.sqrt(len(a))
    table = np.histogram2d(a, b, bins=16, range=[[0, 1], [0, 1]])[0]
    assert scipy.stats.chisquare(table.ravel()).pvalue > 1e-4
    # nor is one a shifted copy of the other
    assert len(np.intersect1d(draw(0, 0, 0, 1, 20_000), draw(*other, 20_000))) < 20


def test_normal_quantile_is_accurate_over_the_whole_range() -> None:
    u = ((np.arange(0, 2**24, 97) + 0.5) * 2.0**-24).astype(np.float32)
    u = u[u < 1]
    z = np.empty_like(u)
    fill_normal(u, z)
    assert np.abs(z - ndtri(u.astype(np.float64))).max() < 5e-6
    edge = np.empty(1, np.float32)
    fill_normal(np.array([2.0**-25], np.float32), edge)
    assert edge[0] == pytest.approx(ndtri(2.0**-25), abs=5e-6)
