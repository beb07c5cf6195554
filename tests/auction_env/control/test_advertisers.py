"""What controlled advertisers got: one array with named rows, and the totals of an episode."""

from __future__ import annotations

import numpy as np
import pytest

from auction_env.control.advertisers import ControlledTick, episode_totals, stack_ticks, without_funnel

N_FIELDS = len(ControlledTick._fields)


def test_a_tick_is_its_columns_by_name() -> None:
    columns = np.arange(2.0 * N_FIELDS).reshape(N_FIELDS, 2)
    tick = ControlledTick.of(columns)
    for position, (name, row) in enumerate(zip(ControlledTick._fields, tick, strict=True)):
        np.testing.assert_array_equal(getattr(tick, name), columns[position])
        np.testing.assert_array_equal(row, columns[position])
    for other in (ControlledTick(*columns), ControlledTick(**tick._asdict())):
        np.testing.assert_array_equal(other.columns, columns)
    np.testing.assert_array_equal(np.asarray(tick), columns)
    assert "multiplier=array([0., 1.])" in repr(tick)


def test_a_tick_needs_every_field() -> None:
    with pytest.raises(TypeError, match=r"needs the fields .*'offered_gmv'.* by name, found \('cost',\)"):
        ControlledTick(cost=np.zeros(1))


def test_totals_add_up_the_ticks_in_order() -> None:
    rng = np.random.default_rng(0)
    parts = [{name: rng.random(3) for name in ("cost", "conversions", "expected_conversions")} for _ in range(5)]
    stacked = stack_ticks([without_funnel(**part, n_impressions=np.array([1.0, 2.0, 3.0])) for part in parts])
    assert stacked.columns.shape == (N_FIELDS, 5, 3)
    totals = episode_totals(stacked)
    expected = np.zeros(3)
    for part in parts:
        expected += part["cost"]
    np.testing.assert_array_equal(totals.cost, expected)
    np.testing.assert_array_equal(totals.gmv, 0)
    share = stacked.cost / stacked.cost.sum(axis=0)
    np.testing.assert_allclose(totals.unevenness, 0.5 * np.abs(share - 0.2).sum(axis=0))
    without = episode_totals(stacked, has_unevenness=False)
    assert np.isnan(without.unevenness).all()
    np.testing.assert_array_equal(without[:-1], totals[:-1])
