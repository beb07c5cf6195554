"""Own distributions of predicted values, from formulas and files, in the live market."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from scipy import stats
from scipy.special import ndtr, ndtri

from auction_env import (
    BatchMarket,
    Funnel,
    MarketParams,
    TrafficParams,
    ValueDistribution,
    auctionnet_population,
    load_values,
)
from auction_env.kernels.values import HIGHEST_Z, N_POINTS
from benchmarks.cli import main
from benchmarks.commands import read_values
from tests.reference import market as reference

STILL: dict[str, Any] = {"category_swing": 0.0, "advertiser_swing": 0.0}
Z = np.linspace(-float(HIGHEST_Z), float(HIGHEST_Z), N_POINTS)


def market_of(
    values: ValueDistribution, n_markets: int = 1, funnel: Funnel | None = None, **traffic: Any
) -> BatchMarket:
    own = TrafficParams(values=values, **STILL | traffic)
    return BatchMarket(MarketParams(n_impressions=4_800, n_ticks=1, funnel=funnel, traffic=own), n_markets=n_markets)


def test_a_lognormal_has_its_quantiles_and_moments() -> None:
    made = ValueDistribution.lognormal(sd=1.2, mean=3e-4)
    log_sd = np.sqrt(np.log1p(1.2**2))
    np.testing.assert_allclose(made.quantiles[0], 3e-4 * np.exp(log_sd * Z - log_sd**2 / 2), rtol=1e-5)
    shapes = made.for_population(auctionnet_population())
    assert made.mean == pytest.approx(3e-4, rel=1e-3) and shapes.sd[0] == pytest.approx(1.2, rel=5e-3)


def test_a_mixture_has_the_probabilities_of_its_parts() -> None:
    parts = ((3.0, 2e-4, 0.5), (1.0, 4e-3, 1.0))
    made = ValueDistribution.mixture(*parts)
    points, below = np.array(made.quantiles[0]), np.zeros(N_POINTS)
    for weight, mean, sd in parts:
        log_sd = np.sqrt(np.log1p(sd**2))
        below += weight / 4 * stats.lognorm(log_sd, scale=mean * np.exp(-(log_sd**2) / 2)).cdf(points)
    np.testing.assert_allclose(below, ndtr(Z), atol=1e-5)
    assert made.mean == pytest.approx(0.75 * 2e-4 + 0.25 * 4e-3, rel=5e-3)


@pytest.mark.parametrize("correlation", [0.0, 0.4])
@pytest.mark.parametrize("funnel", [None, Funnel()])
def test_values_are_quantiles_of_the_same_normals(correlation: float, funnel: Funnel | None) -> None:
    """Against quantiles interpolated one by one; who bids on clicks meets the same conversions."""
    made = ValueDistribution(
        quantiles=tuple(tuple((k + 1) * 1e-4 * ndtr(Z) ** (k + 1)) for k in range(6)), per="category"
    )
    market = market_of(made, n_markets=2, funnel=funnel, value_correlation=correlation)
    market.reset([4, 9])
    values = market.values(1)
    unit = 5e-4 / made.mean
    for i in (0, 1, 777, 4799):
        shared = ndtri(reference.draw_uniform(9, 0, 0, 20, i))
        own = np.array([ndtri(reference.draw_uniform(9, 0, j, 1, i)) for j in range(48)])
        z = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
        rows = np.asarray(made.quantiles)[list(market.population.category)]
        expected = [np.interp(z[j], Z, rows[j]) * unit for j in range(48)]
        np.testing.assert_allclose(values[i], expected, rtol=2e-4, atol=1e-8)
    np.testing.assert_allclose(values.mean(axis=0), market.opening.value_mean[1], rtol=1e-4)


def test_an_empirical_distribution_keeps_its_mean_spread_and_zeros_in_the_market() -> None:
    samples = np.concatenate((np.zeros(3_000), np.random.default_rng(0).lognormal(-8.0, 1.0, 7_000)))
    made = ValueDistribution.of_samples(samples)
    market = market_of(made, value_mean=made.mean)
    market.reset([3])
    values = market.values()
    assert (values == 0).mean() == pytest.approx(0.3, abs=0.03)  # the step lies within a 40th of the impressions
    assert values.mean() == pytest.approx(samples.mean(), rel=0.02)
    assert values.std() == pytest.approx(samples.std(), rel=0.05)


def test_who_takes_part_in_a_share_of_the_auctions_has_a_value_in_it_and_no_other() -> None:
    base = ValueDistribution.lognormal(sd=0.8)
    assert base.taking_part(1.0).quantiles[0] == pytest.approx(base.quantiles[0], rel=1e-5)
    shares = (0.25, *[1.0] * 46, 0.6)
    some = base.taking_part(shares)
    assert some.per == "advertiser"
    points = np.array(some.quantiles[0])  # the upper quarter of the normals spans the whole distribution
    high = ndtr(-Z) < 0.25
    assert np.all(points[~high] == 0.0)
    np.testing.assert_allclose(points[high], np.interp(-ndtri(ndtr(-Z[high]) / 0.25), Z, base.quantiles[0]), rtol=1e-5)
    market = market_of(some)
    market.reset([3])
    values = market.values()
    present = (values > 0).mean(axis=0)
    np.testing.assert_allclose(present[[0, 5, 47]], [0.25, 1.0, 0.6], atol=0.03)
    together = (values[:, 0] > 0) & (values[:, 47] > 0)
    assert together.mean() == pytest.approx(present[0] * present[47], abs=0.03)  # drawn for each advertiser
    level = values.mean(axis=0)[[0, 5]] / [0.25, 1.0]
    np.testing.assert_allclose(level, values.mean() / np.mean(shares), rtol=0.1)
    alone = market.step(np.where(np.arange(48) == 0, 1e9, 0.0)[None])
    assert alone.wins[0, 0] == (values[:, 0] > 0).sum()  # no rival, money to the end, and yet not every impression


def test_outcomes_are_of_the_drawn_values_with_a_funnel_and_without() -> None:
    """With a funnel the values of winners are drawn again: a funnel changes no conversion."""
    made, played = ValueDistribution.of_samples(np.array([0.0, 0.02, 0.2])), []
    for funnel in (None, Funnel()):
        market = market_of(made, funnel=funnel, value_mean=0.05)
        market.reset([1])
        played.append(market.step(0.05 * market.cpa_target[None]))
    plain, with_funnel = played
    assert plain.conversions.sum() > 100
    np.testing.assert_allclose(with_funnel.expected_conversions, plain.expected_conversions, rtol=1e-4)
    np.testing.assert_array_equal(with_funnel.conversions, plain.conversions)


def test_parameters_come_back_from_json_and_can_be_keys() -> None:
    params = MarketParams(traffic=TrafficParams(values=ValueDistribution.lognormal(0.8)))
    again = MarketParams.from_json(params.to_json())
    assert again == params and hash(again) == hash(params)
    assert repr(params.traffic.values) == "ValueDistribution(one row for all, mean 0.0005)"
    with pytest.raises(ValueError, match="must have keys of"):
        MarketParams.from_json('{"traffic": {"values": {"shape": 3}}}')


def test_files_of_all_kinds_say_the_same(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).lognormal(-8.0, 1.0, (200, 3))
    np.save(tmp_path / "all.npy", samples[:, 0])
    np.save(tmp_path / "each.npy", samples)
    order = np.random.default_rng(2).permutation(600)
    who, value = np.tile([0, 1, 2], 200)[order], samples.ravel()[order]
    pq.write_table(pa.table({"advertiser": who, "value": value}), tmp_path / "each.parquet")
    pa.csv.write_csv(pa.table({"n": who, "pValue": value}), tmp_path / "each.csv")
    each = ValueDistribution.of_samples(list(samples.T), per="advertiser")
    assert load_values(tmp_path / "all.npy") == ValueDistribution.of_samples(samples[:, 0])
    assert load_values(tmp_path / "each.npy", per="advertiser") == each
    assert load_values(tmp_path / "each.parquet", per="advertiser") == each
    assert load_values(tmp_path / "each.csv", per="advertiser", column="pValue", group="n") == each
    assert read_values(f"advertiser={tmp_path / 'each.npy'}") == each
    assert read_values(f"{tmp_path / 'all.npy'}") == load_values(tmp_path / "all.npy")
    assert read_values("mixture:1,2e-4,0.5/2,1e-3,1") == ValueDistribution.mixture((1, 2e-4, 0.5), (2, 1e-3, 1))
    assert read_values("lognormal:1.5") == ValueDistribution.lognormal(1.5)
    assert read_values("lognormal:1.5@0.4") == ValueDistribution.lognormal(1.5).taking_part(0.4)


GOOD = ValueDistribution.lognormal(1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: ValueDistribution.of_samples([0.1, 1.5]), r"in \[0, 1\], found 1.5 at position 1"),
        (lambda p: ValueDistribution.of_samples([0.1, np.nan]), "found nan at position 1"),
        (lambda p: ValueDistribution.of_samples([]), "at least one number"),
        (lambda p: ValueDistribution.of_samples([0.0, 0.0]), "positive value, found only zeros"),
        (lambda p: ValueDistribution.of_samples([[0.1], [-1.0]], per="category"), "values of category 1 .* found -1.0"),
        (lambda p: ValueDistribution(quantiles=((0.1, 0.2),)), f"must be {N_POINTS} numbers, found 2"),
        (lambda p: ValueDistribution(quantiles=(GOOD.quantiles[0][::-1],)), "must not fall"),
        (lambda p: ValueDistribution(quantiles=GOOD.quantiles * 2), "one row for all, or one a group, found 2"),
        (lambda p: ValueDistribution.of_samples([[0.1]], per="advertisers"), "nearest: advertiser"),
        (lambda p: GOOD.taking_part(0.0), r"`share` must lie in \(0, 1\], found 0.0"),
        (
            lambda p: GOOD.taking_part((0.5, 0.5)).taking_part((0.1, 0.2, 0.3)),
            r"`share` must be one number, or one a row \(2\), found 3",
        ),
        (lambda p: ValueDistribution.mixture(), r"must be \(weight, mean, sd over mean\)"),
        (lambda p: ValueDistribution.lognormal(-1.0), "positive finite numbers"),
        (lambda p: TrafficParams(values=GOOD, sd_ratio_mean=0.3), "`sd_ratio_mean` must not be given with `values`"),
        (lambda p: TrafficParams(values="x.npy"), "`load_values` reads a file"),  # type: ignore[arg-type]
        (lambda p: market_of(replace(GOOD, per="category")), r"a row per category of the population \(6\), found 1"),
        (lambda p: load_values(p / "values.txt"), "must be a .npy, .csv, .csv.gz or .parquet file, found '.txt'"),
        (lambda p: load_values(p / "wide.npy"), r"must hold numbers of shape \(n,\), found float64 \(2, 3\)"),
        (lambda p: load_values(p / "table.csv"), r"must have the columns \['value'\], found \['a', 'b', 'c'\]"),
        (lambda p: load_values(p / "table.csv", column="b"), "`b` must hold numbers, found string"),
        (lambda p: load_values(p / "table.csv", column="c"), "found 1 empty fields"),
        (lambda p: load_values(p / "table.csv", column="a", group="a", per="category"), r"without a gap, found \[0.1"),
        (lambda p: read_values("lognormal:1@1.5"), r"`share` must lie in \(0, 1\], found 1.5"),
        (lambda p: read_values("lognormal:much"), "`--values` must be lognormal:SD with numbers"),
        (lambda p: read_values("mixture:1,2"), "`--values` must be mixture:WEIGHT,MEAN,SD"),
    ],
)
def test_what_is_no_distribution_is_named(call: Any, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.full((2, 3), 0.1))
    (tmp_path / "table.csv").write_text("a,b,c\n0.1,x,0.2\n0.3,y,\n")
    with pytest.raises(ValueError, match=message):
        call(tmp_path)


def test_the_command_records_what_was_played(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from auction_env.data import read_manifest

    options = ["--task", "MaxConversions", "--episodes", "1", "--impressions", "480", "--values", "lognormal:1.5"]
    main(["collect", *options, "--out", str(tmp_path / "logs"), "--workers", "1"])
    recorded = read_manifest(tmp_path / "logs").parameters["market"]["traffic"]["values"]
    assert tuple(recorded["quantiles"][0]) == ValueDistribution.lognormal(1.5).quantiles[0]
    with pytest.raises(SystemExit):
        main(["evaluate", "--agent", "pid", "--data", str(tmp_path / "logs"), "--values", "lognormal:1"])
    assert "`--values` must not be given with `--data`" in capsys.readouterr().err
