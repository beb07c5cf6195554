"""Statistics against hand-computed values, analytic targets, scipy, and under invariances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats
from numpy.typing import NDArray

from benchmarks.statistics import summaries as st
from benchmarks.statistics.bootstrap import weighted_interquartile_mean
from benchmarks.statistics.pairing import columns, pair

Table = dict[str, NDArray[Any]]


def rows_of(
    scores: dict[str, dict[str, Any]], reference: float | dict[str, Any] = 1.0, n_advertisers: int = 1
) -> Table:
    """Rows from method -> task -> (n,) of an untrained method, or (R, n) with training seeds 0, 1, ...

    Unit u is (seed u // n_advertisers, advertiser u % n_advertisers).
    """
    out: dict[str, list[Any]] = {name: [] for name in ("suite", *st_columns())}
    for method, tasks in scores.items():
        for task, values in tasks.items():
            grid = np.atleast_2d(np.asarray(values, float))
            refs = np.broadcast_to(reference[task] if isinstance(reference, dict) else reference, grid.shape)
            for run, line in enumerate(grid):
                for unit, score in enumerate(line):
                    seed, advertiser = divmod(unit, n_advertisers)
                    train_seed = run if np.ndim(values) == 2 else -1
                    row = (
                        "s",
                        method,
                        task,
                        train_seed,
                        seed,
                        advertiser,
                        score,
                        refs[run, unit],
                        0.5,
                        np.nan,
                    )
                    for name, value in zip(out, row, strict=True):
                        out[name].append(value)
    return {name: np.array(column) for name, column in out.items()}


def st_columns() -> tuple[str, ...]:
    keys = ("method", "task", "train_seed", "seed", "advertiser")
    return (*keys, "score", "reference", "budget_ratio", "cpa_ratio")


@pytest.fixture(scope="module")
def noisy() -> Table:
    """Three methods, one of them trained with 3 seeds, on two tasks of 40 and 60 episodes."""
    rng = np.random.default_rng(1)
    scores: dict[str, dict[str, Any]] = {"PID": {}, "Fixed": {}, "VAO": {}}
    reference = {}
    for task, n in (("A", 40), ("B", 60)):
        level = rng.gamma(4.0, 2.0, n)
        reference[task] = level + 1
        scores["PID"][task] = level + rng.normal(0, 1, n)
        scores["Fixed"][task] = level - 1 + rng.normal(0, 1, n)
        scores["VAO"][task] = level + 0.8 + rng.normal(0, 1, (3, n))
    return rows_of(scores, reference)


# ------------------------------------------------------------------ hand-computed values


def test_hand_computed_values() -> None:
    rows = rows_of({"a": {"T": [2.0, 4.0, 6.0, 9.0, 100.0]}, "b": {"T": [1.0, 4.0, 7.0, 8.0, 20.0]}}, 50.0)
    paired = pair(rows)
    draws = st.draw(paired)
    assert st.mean(paired, "a", draws).value == pytest.approx(121 / 5)
    assert st.interquartile_mean(paired, "a", draws).value == pytest.approx((4 + 6 + 9) / 3)  # 5 // 4 = 1 cut
    assert st.share_of_reference(paired, "a", draws).value == pytest.approx(121 / 250)
    assert st.difference(paired, "a", "b", draws).value == pytest.approx((1 + 0 - 1 + 1 + 80) / 5)
    assert st.improvement(paired, "a", "b", draws).value == pytest.approx((3 + 0.5) / 5)


def test_delta_m_of_the_paper() -> None:
    assert st.delta_m([10.0, 20.0], [12.0, 25.0]) == pytest.approx(-22.5)
    assert st.delta_m([10.0, 20.0], [10.0, 20.0]) == 0
    rows = rows_of({"single": {"T": [1.0, 3.0], "U": [4.0, 4.0]}, "all": {"T": [2.0, 4.0], "U": [2.0, 4.0]}})
    paired = pair(rows)
    found = st.delta_m_estimate(paired, "all", "single", st.draw(paired))
    assert found.value == pytest.approx(-12.5)  # (-50 + 25) / 2
    assert found.low <= found.value <= found.high


def test_average_over_tasks_weighs_tasks_equally() -> None:
    rows = rows_of({"a": {"T": [1.0, 1.0], "U": [3.0] * 8}}, {"T": 2.0, "U": 4.0})
    paired = pair(rows)
    draws = st.draw(paired)
    assert st.mean(paired, "a", draws).value == pytest.approx(2.0)
    assert st.share_of_reference(paired, "a", draws).value == pytest.approx((1 / 2 + 3 / 4) / 2)
    pooled = st.interquartile_mean(paired.normalised(), "a", draws).value
    # half of the weight on 0.5 and half on 0.75: the middle half of it, with 10 // 4 of 10 cut at each end
    assert pooled == pytest.approx((0.3 * 0.5 + 0.3 * 0.75) / 0.6)


def test_holm_by_hand() -> None:
    adjusted = st.holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert st.holm([0.9, 0.6]) == pytest.approx([1.0, 1.0])
    assert len(st.holm([])) == 0


def test_feasibility_by_hand() -> None:
    rows = rows_of({"a": {"T": np.ones(4), "U": np.ones(4)}, "b": {"T": np.ones(4), "U": np.ones(4)}})
    rows["budget_ratio"] = np.tile([0.5, 1.0, 1.0 + 1e-12, 1.2], 4)
    rows["cpa_ratio"] = np.tile([np.nan] * 4 + [1.5, 0.5, np.inf, 0.9], 2)
    found = {(f.method, f.task, f.constraint): f for f in st.feasibility(rows)}
    assert set(found) == {
        (m, t, c) for m in "ab" for t, c in [("T", "budget"), ("T", None), ("U", "budget"), ("U", "cpa"), ("U", None)]
    }
    assert found["a", "T", "budget"].feasible.value == 0.75
    assert found["a", "T", "budget"].mean_overrun == pytest.approx(0.2 / 4)
    cpa = found["b", "U", "cpa"]
    assert (cpa.feasible.value, cpa.unbounded, cpa.mean_overrun) == (0.5, 0.25, pytest.approx(0.5 / 3))
    assert found["a", "U", None].feasible.value == 0.25
    assert found["a", "U", None].mean_overrun == pytest.approx((0.5 + 0 + 0.2) / 3)
    assert found["a", "U", None].feasible.n_episodes == 4


def test_wilson_has_a_width_at_the_ends_and_equals_scipy() -> None:
    low, high = st.wilson(1.0, 20)
    assert high == 1.0 and 0.8 < low < 0.9
    expected = scipy.stats.binomtest(7, 20).proportion_ci(method="wilson")
    assert st.wilson(7 / 20, 20) == pytest.approx((expected.low, expected.high))


# ------------------------------------------------------------------ against scipy and analytic targets


@pytest.mark.parametrize("n", [2, 3, 4, 7, 50, 101])
def test_interquartile_mean_equals_scipys_trimmed_mean(n: int) -> None:
    rng = np.random.default_rng(n)
    x = np.sort(rng.normal(size=n))
    counts = rng.multinomial(n, np.full(n, 1 / n), size=20)
    expected = [scipy.stats.trim_mean(np.repeat(x, count), 0.25) for count in counts]
    assert weighted_interquartile_mean(x, np.ones((1, n))) == pytest.approx(scipy.stats.trim_mean(x, 0.25))
    assert weighted_interquartile_mean(x, counts.astype(float)) == pytest.approx(expected)
    assert weighted_interquartile_mean(x, 0.3 * counts) == pytest.approx(expected)


def test_interquartile_mean_in_chunks(noisy: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    paired = pair(noisy)
    draws = st.draw(paired)
    whole = st.interquartile_mean(paired, "VAO", draws)
    monkeypatch.setattr("benchmarks.statistics.bootstrap.CHUNK_SIZE", 1000)
    chunked = st.interquartile_mean(paired, "VAO", draws)
    expected = (whole.value, whole.low, whole.high)
    assert (chunked.value, chunked.low, chunked.high) == pytest.approx(expected, rel=1e-12)


def test_interval_width_of_the_mean_is_the_standard_error() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(5.0, 2.0, 400)
    paired = pair(rows_of({"a": {"T": x}}))
    found = st.mean(paired, "a", st.draw(paired, st.Bootstrap(n_resamples=4000)))
    error = x.std() / np.sqrt(len(x))
    # an end of the interval is a quantile of 4000 draws: standard error 0.043 of the normal's at 2.5 %
    assert (found.high - found.value) / error == pytest.approx(1.96, abs=4 * 0.043)
    assert (found.value - found.low) / error == pytest.approx(1.96, abs=4 * 0.043)


def test_pairing_removes_what_methods_share() -> None:
    rng = np.random.default_rng(4)
    level = rng.normal(0, 100, 200)
    paired = pair(rows_of({"a": {"T": level + 1 + rng.normal(0, 1, 200)}, "b": {"T": level}}))
    found = st.difference(paired, "a", "b", st.draw(paired))
    assert found.low < 1 < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 / np.sqrt(200), rel=0.25)


@pytest.mark.parametrize("n_train_seeds", [2, 5])
def test_training_seeds_widen_the_interval_by_their_variance(n_train_seeds: int) -> None:
    # only training varies, so the variance of the mean is s^2 / R, which n - 1 of n draws keep unbiased
    level = np.random.default_rng(5).normal(0, 1, n_train_seeds)
    paired = pair(rows_of({"a": {"T": np.repeat(level[:, None], 20, axis=1)}}))
    draws = st.draw(paired, st.Bootstrap(n_resamples=20_000))
    weights = draws.train[tuple(range(n_train_seeds))]
    assert weights.sum(axis=1) == pytest.approx(n_train_seeds)
    resampled = (weights @ level) / n_train_seeds
    expected = level.var(ddof=1) / n_train_seeds
    # relative standard error of a variance of 20,000 draws is sqrt(2 / 20,000) = 0.01 for a normal, less here
    assert resampled.var() == pytest.approx(expected, rel=0.04)
    found = st.mean(paired, "a", draws)
    # no other variance: Student's t with R - 1 degrees of freedom, found from the variance of 20,000 draws
    widening = scipy.stats.t.ppf(0.975, n_train_seeds - 1) / scipy.stats.norm.ppf(0.975)
    ends = level.mean() + widening * (np.quantile(resampled, [0.025, 0.975]) - level.mean())
    assert (found.low, found.high) == pytest.approx(tuple(ends), rel=0.05)
    assert (found.n_episodes, found.n_train_seeds) == (20, n_train_seeds)


def coverage(draw_sample: Any, target: float, statistic: Any, repeats: int = 400) -> float:
    rng = np.random.default_rng(6)
    hits = 0
    for repeat in range(repeats):
        paired = pair(rows_of({"a": {"T": draw_sample(rng)}}))
        found = statistic(paired, "a", st.draw(paired, st.Bootstrap(n_resamples=300, seed=repeat)))
        hits += found.low <= target <= found.high
    return hits / repeats


# tolerance: 3 standard errors, 3 * sqrt(0.95 * 0.05 / 400) = 0.033, and 0.01 below for what remains of the
# bias of 50 values


@pytest.mark.parametrize("statistic", [st.mean, st.interquartile_mean])
def test_coverage_on_a_normal(statistic: Any) -> None:
    found = coverage(lambda rng: rng.normal(2.0, 3.0, 50), 2.0, statistic)
    assert 0.95 - 0.043 < found < 0.95 + 0.033


@pytest.mark.parametrize(
    ("n_train_seeds", "training", "bias"), [(3, 1.0, 0.03), (5, 1.0, 0.01), (5, 0.3, 0.0), (3, 0.0, 0.0)]
)
def test_coverage_with_few_training_seeds(n_train_seeds: int, training: float, bias: float) -> None:
    def sample(rng: np.random.Generator) -> NDArray[np.float64]:
        run = rng.normal(0, training, (n_train_seeds, 1))
        return run + rng.normal(0, 0.5, 40) + rng.normal(0, 0.3, (n_train_seeds, 40))

    assert coverage(sample, 0.0, st.mean) > 0.95 - 0.033 - bias


def test_bootstrap_p_value_is_uniform_without_a_difference() -> None:
    rng = np.random.default_rng(7)
    p_values = []
    for repeat in range(200):
        paired = pair(rows_of({"a": {"T": rng.normal(size=60)}, "b": {"T": rng.normal(size=60)}}))
        draws = st.draw(paired, st.Bootstrap(n_resamples=400, seed=repeat))
        p_values.append(st.p_value(paired, "a", "b", draws))
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.01
    assert np.mean(np.array(p_values) < 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_p_value_agrees_with_the_interval_and_wilcoxon_with_scipy(noisy: Table) -> None:
    paired = pair(noisy)
    draws = st.draw(paired)
    for method in ("Fixed", "VAO"):
        for task in ("A", "B", None):
            gap = st.difference(paired, method, "PID", draws, task)
            p = st.p_value(paired, method, "PID", draws, task)
            assert (p < 0.05) == (gap.low > 0 or gap.high < 0)
    x, y = paired.values["Fixed"][1][0], paired.values["PID"][1][0]
    # the t test, but for the standard error: that of 2000 resamples (1.6 %) and of n rather than n - 1
    of_t, of_bootstrap = scipy.stats.ttest_rel(x, y).pvalue, st.p_value(paired, "Fixed", "PID", draws, "B")
    quantiles = scipy.stats.norm.isf([of_t / 2, of_bootstrap / 2])
    assert quantiles[0] == pytest.approx(quantiles[1], rel=0.06)
    x, y = paired.values["Fixed"][0][0], paired.values["PID"][0][0]
    expected = scipy.stats.wilcoxon(x, y, zero_method="pratt").pvalue
    assert st.p_value(paired, "Fixed", "PID", draws, "A", test="wilcoxon") == pytest.approx(expected)


def test_certain_improvement_has_a_width() -> None:
    paired = pair(rows_of({"a": {"T": np.arange(20.0) + 1}, "b": {"T": np.arange(20.0)}}))
    found = st.improvement(paired, "a", "b", st.draw(paired))
    assert (found.value, found.low, found.high) == pytest.approx((1.0, *st.wilson(1.0, 20)))


def test_equal_methods_do_not_differ() -> None:
    paired = pair(rows_of({"a": {"T": np.arange(9.0)}, "b": {"T": np.arange(9.0)}}))
    draws = st.draw(paired)
    assert st.p_value(paired, "a", "b", draws) == 1
    assert st.p_value(paired, "a", "b", draws, test="wilcoxon") == 1
    assert st.improvement(paired, "a", "b", draws).value == pytest.approx(0.5)
    gap = st.difference(paired, "a", "b", draws)
    assert (gap.low, gap.value, gap.high) == (0, 0, 0)


# ------------------------------------------------------------------ invariances


def test_same_seed_same_numbers_other_seed_others(noisy: Table) -> None:
    first, again = st.summarise(noisy), st.summarise(noisy)
    assert first == again
    other = st.summarise(noisy, bootstrap=st.Bootstrap(seed=1))
    assert [s.mean.value for s in first] == [s.mean.value for s in other]
    assert [s.mean.low for s in first] != [s.mean.low for s in other]


def test_order_of_rows_and_further_methods_change_nothing(noisy: Table) -> None:
    order = np.random.default_rng(8).permutation(len(noisy["score"]))
    shuffled = {name: column[order] for name, column in noisy.items()}
    by_key = {(s.method, s.task): s for s in st.summarise(noisy)}
    for summary in st.summarise(shuffled):
        expected = by_key[summary.method, summary.task]
        for name in ("mean", "interquartile_mean", "share"):
            found, wanted = getattr(summary, name), getattr(expected, name)
            numbers = (found.value, found.low, found.high)
            assert numbers == pytest.approx((wanted.value, wanted.low, wanted.high), rel=1e-12)
    without = {name: column[noisy["method"] != "Fixed"] for name, column in noisy.items()}
    assert all(by_key[s.method, s.task] == s for s in st.summarise(without))


def test_scaling_and_swapping(noisy: Table) -> None:
    scaled = {**noisy, "score": 3 * noisy["score"], "reference": 3 * noisy["reference"]}
    for one, three in zip(st.summarise(noisy), st.summarise(scaled), strict=True):
        assert three.share.low == pytest.approx(one.share.low)
        assert three.mean.high == pytest.approx(one.mean.high * (3 if one.task else 1))
    paired = pair(noisy)
    draws = st.draw(paired)
    ahead, behind = st.difference(paired, "VAO", "PID", draws), st.difference(paired, "PID", "VAO", draws)
    assert (ahead.low, ahead.high) == pytest.approx((-behind.high, -behind.low))
    wins, losses = st.improvement(paired, "VAO", "PID", draws), st.improvement(paired, "PID", "VAO", draws)
    assert wins.value + losses.value == pytest.approx(1)
    assert st.p_value(paired, "VAO", "PID", draws) == st.p_value(paired, "PID", "VAO", draws)


@pytest.mark.parametrize("form", ["arrow", "structured"])
def test_forms_of_rows(noisy: Table, form: str) -> None:
    rows: Any = pa.table(noisy)
    if form == "structured":
        rows = np.empty(len(noisy["score"]), [(name, column.dtype) for name, column in noisy.items()])
        for name, column in noisy.items():
            rows[name] = column
    assert st.summarise(rows) == st.summarise(noisy)


def width(found: st.Estimate) -> float:
    return found.high - found.low


def test_advertisers_of_one_market_are_one_cluster() -> None:
    level = np.repeat(np.random.default_rng(9).normal(0, 1, 20), 5)  # the 5 advertisers of a market are equal
    apart, together = pair(rows_of({"a": {"T": level}})), pair(rows_of({"a": {"T": level}}, n_advertisers=5))
    ratio = width(st.mean(together, "a", st.draw(together))) / width(st.mean(apart, "a", st.draw(apart)))
    assert ratio == pytest.approx(np.sqrt(5), rel=0.2)


def test_market_seeds_are_drawn_jointly_for_all_tasks() -> None:
    level = np.random.default_rng(10).normal(0, 1, 50)
    paired = pair(rows_of({"a": {"T": level, "U": level, "V": -level}}))
    draws = st.draw(paired)
    np.testing.assert_array_equal(draws.units[0], draws.units[2])
    assert [(stratum.tasks, stratum.n_seeds) for stratum in draws.strata] == [((0, 1, 2), 50)]
    one = width(st.mean(paired, "a", draws, "T"))
    assert width(st.mean(paired, "a", draws)) == pytest.approx(one / 3)  # (level + level - level) / 3
    alone = pair(rows_of({"a": {"V": -level}}))
    np.testing.assert_array_equal(st.draw(alone).units[0], draws.units[2])


def test_seeds_of_some_tasks_are_drawn_among_themselves() -> None:
    paired = pair(rows_of({"a": {"T": np.arange(4.0), "U": np.arange(9.0)}}))
    draws = st.draw(paired)
    assert [(stratum.tasks, stratum.n_seeds) for stratum in draws.strata] == [((0, 1), 4), ((1,), 5)]
    assert (draws.units[0].sum(axis=1) == 4).all() and (draws.units[1].sum(axis=1) == 9).all()
    np.testing.assert_array_equal(draws.units[0], draws.units[1][:, :4])


@pytest.mark.parametrize("n_train_seeds", [1, 4])
def test_coverage_over_tasks_that_share_market_seeds(n_train_seeds: int) -> None:
    rng = np.random.default_rng(16)
    hits, too_short, repeats = 0, 0, 300
    deviation = 0.2 if n_train_seeds > 1 else 0.0  # one seed says nothing about others
    arranged = pair(rows_of({"a": dict.fromkeys("ABCD", np.ones((n_train_seeds, 30)))}))
    # seeds that differ by task are taken as independent: what joint draws mend
    apart = replace(arranged, units=tuple(units + np.array([1000 * k, 0]) for k, units in enumerate(arranged.units)))
    for repeat in range(repeats):
        market = rng.normal(0, 1, 30)
        training = rng.normal(0, deviation, (n_train_seeds, 1))
        values = {"a": tuple(market + training + rng.normal(0, 0.5, (n_train_seeds, 30)) for _ in "ABCD")}
        paired, taken_apart = replace(arranged, values=values), replace(apart, values=values)
        found = st.mean(paired, "a", st.draw(paired, st.Bootstrap(n_resamples=200, seed=repeat)))
        hits += found.low <= 0 <= found.high
        found = st.mean(taken_apart, "a", st.draw(taken_apart, st.Bootstrap(n_resamples=200, seed=repeat)))
        too_short += found.low <= 0 <= found.high
    assert 0.90 <= hits / repeats <= 0.98
    assert too_short / repeats < 0.85


def test_compare_spans_baselines_and_adjusts_all(noisy: Table) -> None:
    found = st.compare(noisy, ["PID", "Fixed"])
    assert len(found) == 2 * 3 * 2  # baselines x (two tasks and all) x other methods
    assert [c.p_holm for c in found] == pytest.approx(list(st.holm([c.p_value for c in found])))
    assert {c.difference.n_episodes for c in found} == {40, 60, 100}
    vao = next(c for c in found if (c.method, c.baseline, c.task) == ("VAO", "Fixed", "A"))
    assert vao.difference.low > 0 and vao.improvement.low > 0.5 and vao.difference.n_train_seeds == 3
    table = st.as_table(found)
    assert table["difference_low"][0] == found[0].difference.low and len(table["p_holm"]) == len(found)


def test_one_task_has_no_average() -> None:
    found = st.summarise(rows_of({"a": {"T": [1.0, 2.0]}}))
    assert [(s.method, s.task) for s in found] == [("a", "T")]


# ------------------------------------------------------------------ errors


def without_row(rows: Table, row: int) -> Table:
    return {name: np.delete(column, row) for name, column in rows.items()}


def test_unpaired_rows_name_the_missing_key(noisy: Table) -> None:
    row = int(np.flatnonzero(noisy["method"] == "VAO")[45])
    key = [str(noisy[name][row]) for name in ("train_seed", "seed", "advertiser")]
    with pytest.raises(ValueError, match="found 0 for method 'VAO', task 'A', ") as error:
        pair(without_row(noisy, row))
    assert "train_seed {}, seed {}, advertiser {}".format(*key) in str(error.value)
    twice = {name: np.append(column, column[:1]) for name, column in noisy.items()}
    with pytest.raises(ValueError, match="found 2 for method 'PID', task 'A', train_seed -1, seed 0"):
        pair(twice)


def test_errors_name_thing_rule_and_value(noisy: Table) -> None:
    bad = {**noisy, "score": noisy["score"].copy()}
    bad["score"][7] = np.nan
    with pytest.raises(ValueError, match="`score` must be finite, found nan for method 'PID', task 'A'"):
        st.summarise(bad)
    with pytest.raises(ValueError, match="at least 2 market seeds that the same tasks have, found 1 of 'T'"):
        st.summarise(rows_of({"a": {"T": [1.0]}}))
    with pytest.raises(ValueError, match="`reference` must be the same in all rows of an episode"):
        pair({**noisy, "reference": np.arange(len(noisy["score"]))})
    with pytest.raises(ValueError, match=r"mean `reference` of task 'T' must be positive, found 0\.0"):
        st.summarise(rows_of({"a": {"T": [1.0, 2.0]}}, 0.0))
    with pytest.raises(ValueError, match="in every resample"):
        st.summarise(rows_of({"a": {"T": [1.0, 2.0]}}, {"T": np.array([0.0, 1.0])}))
    with pytest.raises(ValueError, match=r"`method` must be one of \['PID', 'Fixed', 'VAO'\], found 'X'"):
        st.compare(noisy, ["X"])
    with pytest.raises(ValueError, match="rows must be of one suite, found"):
        pair({**noisy, "suite": np.arange(len(noisy["score"])).astype(str)})
    with pytest.raises(ValueError, match=r"must have the columns \['score_expected'\], found"):
        pair(noisy, "score_expected")
    with pytest.raises(ValueError, match="rows must not be empty"):
        columns({"method": np.array([])}, ["method"])
    with pytest.raises(ValueError, match="columns must have one length"):
        columns({"method": np.ones(2), "task": np.ones(3)}, ["method"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: st.Bootstrap(n_resamples=3), "`n_resamples` must be at least 100, found 3"),
        (lambda: st.Bootstrap(seed=-1), "`seed` must not be negative, found -1"),
        (lambda: st.Bootstrap(level=1.0), "`level` must lie between 0 and 1, found 1.0"),
        (lambda: st.delta_m([0.0], [1.0]), "`single` must be positive and finite, found"),
        (lambda: st.delta_m([1.0], [1.0, 2.0]), "must have one shape"),
        (lambda: st.holm([2.0]), "`p_values` must be a vector of numbers from 0 to 1, found"),
    ],
)
def test_bad_arguments(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_ratios_are_checked() -> None:
    rows = rows_of({"a": {"T": np.ones(3)}})
    with pytest.raises(ValueError, match="`cpa_ratio` of task 'T' must be NaN in all rows or in none, found 1 of 3"):
        st.feasibility({**rows, "cpa_ratio": np.array([1.0, np.nan, 1.0])})
    with pytest.raises(ValueError, match="`budget_ratio` of task 'T' must not be negative"):
        st.feasibility({**rows, "budget_ratio": np.array([1.0, -0.1, 1.0])})
