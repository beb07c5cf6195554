"""VCG and quality scores in `clear_auctions`: hand-computed cases, the plain reference, truthfulness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auction_env import clear_auctions
from tests.reference import market as reference

EXPOSURE = (1.0, 0.8, 0.6)  # slots are seen with probabilities 1, 0.8, 0.48


def test_vcg_by_hand() -> None:
    result = clear_auctions([[0.5, 0.2, 0.9, 0.3, 0.1]], mechanism="vcg", exposure=EXPOSURE)
    np.testing.assert_array_equal(result.slot, [[2, 0, 1, 3, 0]])
    third = 0.2
    second = ((0.8 - 0.48) * 0.3 + 0.48 * 0.2) / 0.8
    first = (1 - 0.8) * 0.5 + (0.8 - 0.48) * 0.3 + 0.48 * 0.2
    np.testing.assert_allclose(result.price, [[second, 0, first, third, 0]])


def test_vcg_with_one_slot_is_the_second_price() -> None:
    bids = np.random.default_rng(0).random((50, 4))
    vcg = clear_auctions(bids, n_slots=1, mechanism="vcg", reserve=0.3)
    gsp = clear_auctions(bids, n_slots=1, reserve=0.3)
    np.testing.assert_array_equal(vcg.price, gsp.price)


def test_vcg_floors_every_term_at_the_reserve() -> None:
    result = clear_auctions([[0.5, 0.4]], mechanism="vcg", exposure=EXPOSURE, reserve=0.3)
    np.testing.assert_allclose(result.price, [[0.2 * 0.4 + 0.8 * 0.3, 0.3]])


def test_a_slot_that_nobody_sees_has_a_finite_price() -> None:
    result = clear_auctions([[0.5, 0.4, 0.3]], mechanism="vcg", n_slots=2, exposure=(1.0, 0.0))
    np.testing.assert_allclose(result.price, [[0.4, 0.3, 0.0]])


def test_quality_by_hand() -> None:
    # scores 0.25, 0.3, 0.2
    result = clear_auctions([[0.5, 0.3, 0.4]], quality=[0.5, 1.0, 0.5], n_slots=2, reserve=0.1)
    np.testing.assert_array_equal(result.slot, [[2, 1, 0]])
    np.testing.assert_allclose(result.price, [[0.2 / 0.5, 0.25, 0]])
    np.testing.assert_allclose(result.least_winning_cost, [0.2])


def test_the_reserve_applies_to_bids_not_to_scores() -> None:
    result = clear_auctions([[0.5, 0.2]], quality=[0.1, 10.0], n_slots=2, reserve=0.3)
    np.testing.assert_array_equal(result.slot, [[1, 0]])
    np.testing.assert_allclose(result.price, [[0.3, 0]])


def test_quality_may_differ_between_impressions() -> None:
    rng = np.random.default_rng(0)
    bids, quality = rng.random((300, 5)), rng.uniform(0.5, 2, (300, 5))
    together = clear_auctions(bids, quality=quality)
    for i in (0, 127, 128, 299):
        alone = clear_auctions(bids[i : i + 1], quality=quality[i])
        np.testing.assert_array_equal(together.price[i], alone.price[0])


cases = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        "n_advertisers": st.integers(1, 9),
        "n_slots": st.integers(1, 8),
        "mechanism": st.sampled_from(["gsp", "first_price", "vcg"]),
        "reserve": st.sampled_from([0.0, 0.1, 0.5, 2.0]),
        "with_quality": st.booleans(),
        "scale": st.sampled_from([1e-6, 1.0, 1e100]),
    }
)


@settings(max_examples=150)
@given(case=cases)
def test_equals_the_reference_and_keeps_the_invariants(case: dict) -> None:
    rng = np.random.default_rng(case["seed"])
    shape = (20, case["n_advertisers"])
    bids = np.round(rng.random(shape), 1) * case["scale"]  # rounded: ties
    exposure = tuple(rng.choice([0.0, 0.5, 0.8, 1.0], case["n_slots"]))
    quality = rng.choice([0.3, 0.5, 1.0, 2.0], shape[1]) if case["with_quality"] else np.ones(shape[1])
    reserve = case["reserve"] * case["scale"] * rng.random(len(bids))
    rules = {"n_slots": case["n_slots"], "mechanism": case["mechanism"], "exposure": exposure}
    result = clear_auctions(bids, reserve=reserve, quality=quality, **rules)
    for i, row in enumerate(bids):
        winners, lwc = reference.clear(row, reserve[i], quality=quality, **rules)
        slot, price = np.zeros(len(row)), np.zeros(len(row))
        for rank, (j, paid) in enumerate(winners):
            slot[j], price[j] = rank + 1, paid
        np.testing.assert_array_equal(result.slot[i], slot)
        np.testing.assert_allclose(result.price[i], price, rtol=1e-12)
        np.testing.assert_allclose(result.least_winning_cost[i], lwc, rtol=1e-12)
    won = result.slot > 0
    assert np.all(result.price[won] <= bids[won])
    assert np.all((result.price >= reserve[:, None])[won])
    assert np.all(result.price[~won] == 0)


@settings(max_examples=60)
@given(case=cases)
def test_permuting_bidders_permutes_results(case: dict) -> None:
    rng = np.random.default_rng(case["seed"])
    bids = rng.random((100, case["n_advertisers"]))  # continuous: no ties, whose order would depend on the index
    quality = rng.uniform(0.5, 2, bids.shape)
    rules = {
        "n_slots": case["n_slots"], "mechanism": case["mechanism"], "reserve": 0.2, "exposure": [0.8] * case["n_slots"]
    }  # fmt: skip
    order = rng.permutation(case["n_advertisers"])
    result = clear_auctions(bids, quality=quality, **rules)
    permuted = clear_auctions(bids[:, order], quality=quality[:, order], **rules)
    np.testing.assert_array_equal(permuted.slot, result.slot[:, order])
    np.testing.assert_array_equal(permuted.price, result.price[:, order])


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), n_slots=st.integers(1, 8), n=st.integers(1, 9), with_quality=st.booleans())
def test_under_vcg_bidding_the_value_is_the_best_reply(seed: int, n_slots: int, n: int, with_quality: bool) -> None:
    rng = np.random.default_rng(seed)
    exposure = np.concatenate(([1.0], rng.uniform(0.3, 1.0, n_slots - 1)))
    seen = np.concatenate(([0.0], np.cumprod(exposure)))
    quality = rng.uniform(0.5, 2.0, n) if with_quality else np.ones(n)
    value, others = rng.random(), rng.random(n)
    bids = np.tile(others, (201, 1))
    bids[:, 0] = np.linspace(0, 1.5, 201)
    bids[0, 0] = value
    result = clear_auctions(
        bids, reserve=0.2, n_slots=n_slots, mechanism="vcg", exposure=exposure, quality=quality
    )  # fmt: skip
    gain = seen[result.slot[:, 0]] * (value - result.price[:, 0])
    assert gain[0] >= gain.max() - 1e-12


def test_under_gsp_it_is_not() -> None:
    bids = [[1.0, 0.95, 0.1], [0.5, 0.95, 0.1]]  # the second slot is nearly as good and far cheaper
    seen = np.array([0.0, 1.0, 0.9])
    gsp = clear_auctions(bids, n_slots=2)
    gain = seen[gsp.slot[:, 0]] * (1.0 - gsp.price[:, 0])
    assert gain[1] > gain[0]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"mechanism": "vcg"}, "`exposure` must be given for `vcg` with more than one slot, found None"),
        ({"exposure": [0.5]}, r"`exposure` must have shape \(3,\), found \(1,\)"),
        ({"exposure": [1.0, 2.0, 0.5]}, r"`exposure` must lie in \[0, 1\], found \[1.0, 2.0, 0.5\]"),
        ({"exposure": [1.0, np.nan, 0.5]}, r"`exposure` must lie in \[0, 1\], found"),
        ({"quality": [1.0, 2.0, 3.0]}, r"`quality` must have shape \(2,\) or \(1, 2\), found \(3,\)"),
        ({"quality": [1.0, 0.0]}, "`quality` must be finite and positive, found 0.0"),
        ({"quality": [1.0, np.nan]}, "`quality` must be finite and positive, found nan"),
        ({"quality": [1e308, 1e308]}, "`bids` x `quality` must be finite, found a bid of 20.0 whose score is not"),
    ],
)
def test_bad_input_is_named(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clear_auctions([[0.5, 20.0]], **kwargs)  # type: ignore[arg-type]
