"""Registered contrasts, families as a random effect, and the recovered share, against analytic targets and coverage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.stats

from benchmarks.statistics.analysis import (
    analyse_variant,
    family_groups,
    recovered_between,
    registered_contrasts,
    shares_by_task,
)
from benchmarks.statistics.bootstrap import (
    Bootstrap,
    Resampled,
    draw,
    p_equivalent,
    recovered_share,
    resampled_difference,
)
from benchmarks.statistics.families import over_families, ratio_over_families
from benchmarks.statistics.pairing import pair
from benchmarks.suites.storage.store import SuiteRecord
from tests.benchmarks.statistics.test_analysis import normal, record_of, rows_of

FAST = Bootstrap(n_resamples=200)


def contrast(name: str, first: str, second: str, **fields: Any) -> dict[str, Any]:
    usual = {"variants": [], "kind": "difference", "margin": None}
    return {"name": name, "first": first, "second": second, **usual, **fields}


def suite_of(variants: dict[str, str], methods: dict[str, bool], contrasts: list[dict[str, Any]]) -> SuiteRecord:
    records = [{"name": name, "label": name, "x": None, "group": group} for name, group in variants.items()]
    return record_of(methods, variants=records, contrasts=contrasts)


# ------------------------------------------------------------------ families


def test_families_without_shared_noise_give_students_t_interval() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(1.0, 0.5, 8)
    found = over_families([Resampled(x, x + 1e-3 * rng.normal(size=500), 50.0) for x in values])
    expected = scipy.stats.t.interval(0.95, 7, values.mean(), values.std(ddof=1) / np.sqrt(8))
    assert found.interval(0.95) == pytest.approx(expected, rel=1e-3)
    assert found.p_different() == pytest.approx(scipy.stats.ttest_1samp(values, 0.0).pvalue, rel=0.02)


def test_noise_that_families_share_is_not_averaged_away() -> None:
    rng = np.random.default_rng(1)
    shared = rng.normal(0, 0.3, 4000)
    found = over_families([Resampled(1.0, 1.0 + shared + 0.4 * rng.normal(size=4000), 30.0) for _ in range(10)])
    assert found.error == pytest.approx(0.3, rel=0.06)  # families' values are equal: nothing lies between them
    assert found.freedom == pytest.approx(30.0)
    with pytest.raises(ValueError, match="at least 2 families, found 1"):
        over_families([Resampled(1.0, shared, 3.0)])


@pytest.mark.parametrize(("between", "market"), [(0.3, 0.0), (0.1, 0.5), (0.0, 0.5)])
def test_coverage_of_the_mean_over_families(between: float, market: float) -> None:
    rng = np.random.default_rng(2)
    hits, repeats, bootstrap = 0, 300, Bootstrap(n_resamples=100)
    arranged = pair(rows_of({"a": {"T": np.ones((3, 24))}, "b": {"T": np.ones(24)}}), "score_expected")
    for _ in range(repeats):
        common, training = rng.normal(0, market, 24), rng.normal(0, 0.1, (3, 1))
        families = []
        for _ in range(8):
            gap = rng.normal(0, between) + common + training + rng.normal(0, 0.4, (3, 24))
            paired = replace(arranged, values={"a": (1.0 + gap,), "b": (np.ones((1, 24)),)})
            families.append(resampled_difference(paired, "a", "b", draw(paired, bootstrap)))
        low, high = over_families(families).interval(0.95)
        hits += low <= 0 <= high
    assert 0.90 <= hits / repeats <= 0.98


def test_groups_of_families_have_means_and_recovered_shares() -> None:
    gains = {"one": 0.1, "two": 0.2, "three": 0.3}
    record = suite_of(
        {**dict.fromkeys(gains, "wrong"), "alone": ""}, dict.fromkeys(("uniform", "vao", "oracle"), False), []
    )
    found = {}
    for name, gain in {**gains, "alone": 0.1}.items():
        levels = {"uniform": 1.0, "vao": 1.0 + gain, "oracle": 1.4}
        rows = rows_of({method: {"T": normal(level)} for method, level in levels.items()})
        found[name] = analyse_variant(rows, record, name, bootstrap=FAST)
    (group,) = family_groups(record, found)
    assert (group.name, group.variants) == ("wrong", tuple(gains))
    assert group.share["vao"].value == pytest.approx(0.6)  # 1.2 over the reference of 2
    half = scipy.stats.t.ppf(0.975, 2) * np.std([0.55, 0.6, 0.65], ddof=1) / np.sqrt(3)
    assert group.share["vao"].high - 0.6 == pytest.approx(half, rel=0.1)
    assert set(group.recovered) == {"vao"} and group.recovered["vao"].value == pytest.approx(0.5)
    assert found["alone"].recovered["vao"].value == pytest.approx(0.25)
    equal = [Resampled(x, np.full(100, x), 9.0) for x in (0.1, -0.1)]
    assert ratio_over_families(equal, equal) is None


def test_groups_whose_families_have_the_same_tasks_have_means_of_each() -> None:
    record = suite_of({"one": "all", "two": "all", "odd": "other", "even": "other"}, dict.fromkeys("ab", False), [])
    gains = {"one": 0.1, "two": 0.3, "odd": 0.1, "even": 0.3}
    found = {}
    for name, gain in gains.items():
        tasks = ("T", "U") if name != "even" else ("T", "V")
        level = {"a": dict.fromkeys(tasks, 1.0), "b": {tasks[0]: 1.0 + gain, tasks[1]: 1.0 + 3 * gain}}
        rows = rows_of({method: {task: normal(x) for task, x in of.items()} for method, of in level.items()})
        found[name] = analyse_variant(rows, record, name, bootstrap=FAST)
    shared, different = family_groups(record, found)
    by_task = shares_by_task(shared, found)
    assert {task: round(shares["b"].value, 6) for task, shares in by_task.items()} == {"T": 0.6, "U": 0.8}
    assert shared.share["b"].value == pytest.approx(0.7)
    assert shared.share["b"].n_episodes == 2 * by_task["T"]["b"].n_episodes
    assert shares_by_task(different, found) == {}


def test_the_recovered_share_is_between_methods_of_the_same_suffix() -> None:
    methods = ("uniform", "oracle", "vao", "uniform-mlp", "oracle-mlp", "vao-mlp", "uniform-ridge", "vao-ridge")
    assert recovered_between(methods) == {"vao": ("uniform", "oracle"), "vao-mlp": ("uniform-mlp", "oracle-mlp")}
    assert recovered_between(("oracle", "vao")) == {}


# ------------------------------------------------------------------ registered contrasts


def test_holm_spans_the_registered_contrasts_alone() -> None:
    rng = np.random.default_rng(3)
    scores = {name: {"T": rng.normal(1 + 0.05 * k, 0.3, 60)} for k, name in enumerate("abcdef")}
    contrasts = [contrast("one", "f", "a"), contrast("two", "c", "a")]
    record = suite_of({"v": ""}, dict.fromkeys(scores, False), contrasts)
    found = registered_contrasts(record, {"v": analyse_variant(rows_of(scores), record, "v")})
    assert [(c.name, c.variants, c.group) for c in found] == [("one", ("v",), ""), ("two", ("v",), "")]
    smallest, other = sorted(found, key=lambda c: c.p_value)
    assert smallest.p_holm == pytest.approx(min(1.0, 2 * smallest.p_value)) and other.p_holm >= other.p_value
    gap = (scores["f"]["T"] - scores["a"]["T"]) / 2
    assert found[0].difference is not None and found[0].difference.value == pytest.approx(gap.mean())
    normal_quantiles = scipy.stats.norm.isf([scipy.stats.ttest_1samp(gap, 0).pvalue / 2, found[0].p_value / 2])
    assert normal_quantiles[0] == pytest.approx(normal_quantiles[1], rel=0.06)


def test_equivalence_needs_the_interval_of_90_per_cent_within_the_margin() -> None:
    rng = np.random.default_rng(4)
    base = rng.normal(1.0, 0.3, 100)
    scores = {"a": {"T": base}, "b": {"T": base + rng.normal(0.0, 0.05, 100)}}
    contrasts = [contrast(f"m={m}", "a", "b", kind="equivalence", margin=m) for m in (0.002, 0.02)]
    record = suite_of({"v": ""}, dict.fromkeys(scores, False), contrasts)
    narrow, wide = registered_contrasts(record, {"v": analyse_variant(rows_of(scores), record, "v")})
    for found, margin in ((narrow, 0.002), (wide, 0.02)):
        assert found.difference is not None and found.level == 0.90
        is_within = -margin < found.difference.low and found.difference.high < margin
        assert (found.p_value < 0.05) == is_within == (margin == 0.02)
    assert wide.holds and not narrow.holds
    # against two t tests of known numbers: the larger p counts
    assert p_equivalent(0.5, 1.0, 20.0, 2.0) == pytest.approx(scipy.stats.t.cdf(-1.5, 20))
    assert (p_equivalent(0.0, 0.0, 5.0, 0.1), p_equivalent(0.2, 0.0, 5.0, 0.1)) == (0.0, 1.0)


def test_a_contrast_is_answered_once_a_group_of_families() -> None:
    methods = {"a": False, "b": False}
    variants = {"s1": "sound", "s2": "sound", "w1": "wrong", "w2": "wrong", "alone": ""}
    contrasts = [contrast("all", "a", "b"), contrast("some", "a", "b", variants=["w1", "w2"])]
    record = suite_of(variants, methods, contrasts)
    found = {}
    for k, name in enumerate(variants):
        rows = rows_of({"a": {"T": normal(1.0 + 0.2 * k)}, "b": {"T": normal(1.0)}})
        found[name] = analyse_variant(rows, record, name, bootstrap=FAST)
    answers = registered_contrasts(record, found, FAST)
    assert [(c.name, c.group, c.variants) for c in answers] == [
        ("all", "sound", ("s1", "s2")), ("all", "wrong", ("w1", "w2")), ("all", "", ("alone",)),
        ("some", "wrong", ("w1", "w2")),
    ]  # fmt: skip
    values = [c.difference.value for c in answers if c.difference is not None]
    assert values == pytest.approx([0.05, 0.25, 0.4, 0.25])  # over the reference of 2
    del found["w2"]  # not run yet: no answer, and no smaller correction for the others
    missing = registered_contrasts(record, found, FAST)
    assert [c.difference is None for c in missing] == [False, True, False, True] and missing[1].p_value == 1.0
    assert missing[0].p_holm >= answers[0].p_value


# ------------------------------------------------------------------ recovered share


def test_recovered_share_covers_and_is_absent_without_a_gap() -> None:
    rng = np.random.default_rng(5)
    hits, repeats = 0, 300
    arranged = pair(rows_of({name: {"T": np.ones(40)} for name in "umo"}), "score_expected").normalised()
    for repeat in range(repeats):
        level = rng.normal(1.0, 0.3, 40)
        gains = {"u": 0.0, "m": 0.15, "o": 0.2}
        values = {name: (level[None] + gain + rng.normal(0, 0.1, (1, 40)),) for name, gain in gains.items()}
        paired = replace(arranged, values=values)
        found = recovered_share(paired, "m", "u", "o", draw(paired, Bootstrap(n_resamples=200, seed=repeat)))
        assert found is not None
        hits += found.low <= 0.75 <= found.high
    assert 0.90 <= hits / repeats <= 0.98
    noise = {name: {"T": rng.normal(1.0, 0.3, 40)} for name in "umo"}
    paired = pair(rows_of(noise), "score_expected").normalised()
    assert recovered_share(paired, "m", "u", "o", draw(paired, FAST)) is None


def test_sampled_scores_stand_beside_expected_ones_where_rows_have_them() -> None:
    rows = rows_of({"a": {"T": normal(1.0)}})
    low = rows.set_column(rows.column_names.index("score_sampled"), "score_sampled", [normal(0.8)])
    record = record_of({"a": False})
    assert analyse_variant(low, record, "v").sampled["a"].value == pytest.approx(0.4)
    assert analyse_variant(low.drop_columns(["score_sampled"]), record, "v").sampled == {}
    assert analyse_variant(low, record, "v", metric="score_sampled").sampled == {}
