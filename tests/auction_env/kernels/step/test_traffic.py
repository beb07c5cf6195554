"""What begins an episode: states of generators as NumPy makes them, values and uncertainties against plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from auction_env.kernels.step.traffic import shape_uncertainties, shape_values, shape_volumes, spawn_states


def test_states_are_those_of_numpys_seed_sequences() -> None:
    seeds = np.array([0, 1, 2**32 - 1, 2**32, 123_456_789_012_345, 2**63 - 1])
    states = np.empty((len(seeds), 7, 4), np.uint64)
    spawn_states(seeds, states)
    for seed, of_seed in zip(seeds.tolist(), states, strict=True):
        for child, words in zip(np.random.SeedSequence(seed).spawn(7), of_seed, strict=True):
            np.testing.assert_array_equal(words, child.generate_state(4, np.uint64))


@pytest.mark.parametrize("has_own", [False, True])
def test_values_are_those_of_plain_numpy(has_own: bool) -> None:
    rng, n, n_ticks, n_advertisers, window = np.random.default_rng(0), 2, 7, 3, 3
    category = np.array([1, 0, 1])
    by_category, by_advertiser = rng.uniform(0.3, 1.7, (n, 2, 3)), rng.uniform(0.5, 1.5, (n, n_advertisers, 3))
    level, ratio = rng.uniform(0.8, 1.2, (n, n_ticks)), rng.normal(0.5, 0.5, (n, n_advertisers))
    z = rng.standard_normal((n, n_ticks, n_advertisers))
    own = rng.uniform(0.5, 2.0, (2, n_advertisers if has_own else 0))
    mean, sd = np.empty((2, n_ticks, n, n_advertisers), np.float32)
    for e in range(n):
        drawn = by_category[e], category, by_advertiser[e]
        shape_values(e, 5e-4, *drawn, window, level, ratio[e], 0.2, z[e], own, mean, sd)
    by_window = 5e-4 * (by_category[:, category] * by_advertiser)
    expected = np.repeat(by_window, window, axis=2)[..., :n_ticks].transpose(2, 0, 1) * level.T[..., None]
    usual = np.clip(ratio, 0.1, 1.0)
    ratios = np.clip(usual + 0.2 * usual * z.swapaxes(0, 1), 0.1, 1.0)
    if has_own:
        expected, ratios = expected * own[0], np.broadcast_to(own[1], expected.shape)
    np.testing.assert_array_equal(mean, expected.astype(np.float32))
    np.testing.assert_array_equal(sd, (ratios * expected).astype(np.float32))


def test_uncertainties_are_capped_and_bounds_are_probabilities() -> None:
    rng = np.random.default_rng(0)
    sigma, bounds, out = rng.normal(0.2, 0.2, (2, 5)), rng.random((2, 2, 5)), np.empty((3, 2, 5), np.float32)
    shape_uncertainties(0.3, sigma, bounds, out)
    np.testing.assert_array_equal(out[0], np.minimum(np.abs(sigma), 0.3).astype(np.float32))
    for probabilities, z in ((out[1], -2.0 * bounds[:, 0]), (out[2], 2.0 * bounds[:, 1])):
        expected = [0.5 * math.erfc(-x / math.sqrt(2.0)) for x in z.ravel().tolist()]
        np.testing.assert_array_equal(probabilities.ravel(), np.array(expected, np.float32))


def test_volumes_round_so_that_the_total_is_exact() -> None:
    share = np.random.default_rng(0).uniform(0.5, 1.5, (3, 9))
    shock, volumes = np.ones((3, 9)), np.empty((9, 3), np.int64)
    shock[2, 4:] = 2.0
    shape_volumes(share, share.sum(axis=1), shock, np.array([10.0, 1000.0, 1000.0]), volumes)
    edges = np.rint(np.cumsum(share * shock, axis=1) / share.sum(axis=1)[:, None] * [[10.0], [1000.0], [1000.0]])
    np.testing.assert_array_equal(volumes.T, np.diff(edges, axis=1, prepend=0.0))
    assert volumes.sum(axis=0)[:2].tolist() == [10, 1000] and volumes[:, 2].sum() > 1000
