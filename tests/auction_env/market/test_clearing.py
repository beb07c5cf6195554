"""`clear_auctions`: hand-computed cases, the plain reference, and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import auction_env
from auction_env import clear_auctions
from tests.reference import market as reference


def test_hand_computed_case() -> None:
    result = clear_auctions([[0.5, 0.2, 0.9, 0.3, 0.1]], reserve=0.05, n_slots=3)
    assert isinstance(result, auction_env.Clearing)
    np.testing.assert_array_equal(result.slot, [[2, 0, 1, 3, 0]])
    np.testing.assert_allclose(result.price, [[0.3, 0, 0.5, 0.2, 0]])
    np.testing.assert_allclose(result.least_winning_cost, [0.2])


def test_reserve_prices_the_last_winner_and_excludes_low_bids() -> None:
    result = clear_auctions([[0.5, 0.2, 0.0], [0.0, 0.0, 0.0], [0.3, 0.3, 0.3]], reserve=[0.3, 0.1, 0.3])
    np.testing.assert_array_equal(result.slot, [[1, 0, 0], [0, 0, 0], [1, 2, 3]])
    np.testing.assert_allclose(result.price, [[0.3, 0, 0], [0, 0, 0], [0.3, 0.3, 0.3]])
    np.testing.assert_allclose(result.least_winning_cost, [0.3, 0.1, 0.3])


def test_zero_bids_never_win_even_without_a_reserve() -> None:
    result = clear_auctions([[0.0, 0.4]], reserve=0.0)
    np.testing.assert_array_equal(result.slot, [[0, 1]])
    np.testing.assert_allclose(result.price, [[0, 0.0]])


def test_ties_go_to_the_lower_index_and_cost_the_equal_bid() -> None:
    result = clear_auctions([[0.4, 0.4, 0.4]], n_slots=2)
    np.testing.assert_array_equal(result.slot, [[1, 2, 0]])
    np.testing.assert_allclose(result.price, [[0.4, 0.4, 0]])


def test_first_price_charges_the_own_bid() -> None:
    result = clear_auctions([[0.5, 0.2]], n_slots=1, mechanism="first_price")
    np.testing.assert_allclose(result.price, [[0.5, 0]])
    np.testing.assert_allclose(result.least_winning_cost, [0.2])


def test_no_impressions_give_empty_arrays() -> None:
    result = clear_auctions(np.empty((0, 4)))
    assert result.slot.shape == result.price.shape == (0, 4)
    assert result.least_winning_cost.shape == (0,)


matrices = arrays(
    np.float64,
    st.tuples(st.integers(1, 300), st.integers(1, 9)),
    elements=st.sampled_from([0.0, 0.01, 0.02, 0.1, 0.1, 0.25, 1.0, 3.5, 1e6]),
)


@settings(max_examples=60, deadline=None)
@given(bids=matrices, reserve=st.sampled_from([0.0, 0.02, 0.3, 10.0]), n_slots=st.integers(1, 8))
def test_equals_the_reference_and_prices_stay_between_reserve_and_bid(
    bids: np.ndarray, reserve: float, n_slots: int
) -> None:
    result = clear_auctions(bids, reserve=reserve, n_slots=n_slots)
    for i, row in enumerate(bids):
        winners, lwc = reference.clear(row, reserve, n_slots)
        slot, price = np.zeros(len(row)), np.zeros(len(row))
        for rank, (j, paid) in enumerate(winners):
            slot[j], price[j] = rank + 1, paid
        np.testing.assert_array_equal(result.slot[i], slot)
        np.testing.assert_array_equal(result.price[i], price)
        assert result.least_winning_cost[i] == lwc
    won = result.slot > 0
    assert np.all(result.price[won] <= bids[won])
    assert np.all(result.price[won] >= reserve)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), scale=st.sampled_from([0.25, 2.0, 1024.0]))
def test_permuting_bidders_permutes_results_and_scaling_money_scales_prices(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    bids = rng.random((200, 7))  # continuous: no ties, whose order would depend on the index
    result = clear_auctions(bids, reserve=0.2)
    order = rng.permutation(7)
    permuted = clear_auctions(bids[:, order], reserve=0.2)
    np.testing.assert_array_equal(permuted.slot, result.slot[:, order])
    np.testing.assert_array_equal(permuted.price, result.price[:, order])
    scaled = clear_auctions(scale * bids, reserve=scale * 0.2)
    np.testing.assert_array_equal(scaled.slot, result.slot)
    np.testing.assert_array_equal(scaled.price, scale * result.price)


@pytest.mark.parametrize(
    ("bids", "kwargs", "message"),
    [
        ([0.1, 0.2], {}, r"`bids` must have shape \(n_impressions, n_advertisers\), found \(2,\)"),
        (np.empty((3, 0)), {}, "`bids` must have at least one advertiser"),
        ([[0.1, -0.2]], {}, r"`bids` must be finite and not negative, found -0.2 at \(0, 1\)"),
        ([[np.nan]], {}, "`bids` must be finite and not negative, found nan"),
        ([[np.inf]], {}, "`bids` must be finite and not negative, found inf"),
        ([[0.1]], {"reserve": -1.0}, "`reserve` must be finite and not negative, found -1.0"),
        ([[0.1]], {"reserve": [0.1, 0.2]}, r"`reserve` must be a scalar or have shape \(1,\), found \(2,\)"),
        ([[0.1]], {"n_slots": 0}, "`n_slots` must be an integer in 1..8, found 0"),
        ([[0.1]], {"n_slots": 2.5}, "`n_slots` must be an integer in 1..8, found 2.5"),
        ([[0.1]], {"mechanism": "english"}, "`mechanism` must be one of .* found 'english'"),
    ],
)
def test_bad_input_is_named(bids: object, kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clear_auctions(bids, **kwargs)  # type: ignore[arg-type]
