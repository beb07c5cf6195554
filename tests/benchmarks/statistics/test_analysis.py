"""Statistics of suites against analytic targets, and the tables made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import norm

from benchmarks.pages import readme_tables
from benchmarks.pages.tables.cells import Cells
from benchmarks.pages.tables.suite import against_cells, all_cells, markdown
from benchmarks.pages.tables.variant import score_cells
from benchmarks.statistics.analysis import analyse, analyse_variant
from benchmarks.statistics.bootstrap import Bootstrap, draw
from benchmarks.statistics.pairing import pair
from benchmarks.statistics.profiles import profile, same_seeds
from benchmarks.suites.storage.publishing import round_significant
from benchmarks.suites.storage.store import RATIOS, ROWS, RUNS, Store, SuiteRecord

N = 50


def rows_of(scores: dict[str, dict[str, Any]], *, seeds: dict[str, tuple[int, ...]] | None = None) -> pa.Table:
    """Rows from method -> task -> (n,) of an untrained method or (R, n); the reference is 2."""
    columns: dict[str, list[Any]] = {name: [] for name in ROWS.names}
    for method, tasks in scores.items():
        for task, values in tasks.items():
            grid = np.atleast_2d(values)
            trained = (seeds or {}).get(method, tuple(range(len(grid)))) if np.ndim(values) == 2 else (-1,)
            for train_seed, line in zip(trained, grid, strict=True):
                for unit, score in enumerate(line):
                    row = {
                        "suite": "s/v1", "variant": "v", "method": method, "task": task, "train_seed": train_seed,
                        "seed": unit, "advertiser": 0, "score_sampled": score, "score_expected": score,
                        "objective": score, "cost": 1.0, **dict.fromkeys(RATIOS, np.nan), "budget_ratio": 0.5,
                        "reference": 2.0,
                    }  # fmt: skip
                    for name in ROWS.names:
                        columns[name].append(row[name])
    return pa.table(columns, schema=ROWS)


def record_of(methods: dict[str, bool], **fields: Any) -> SuiteRecord:
    usual: dict[str, Any] = {
        "id": "s/v1", "version": 1, "size": "full", "title": "S", "question": "", "tasks": {},
        "variants": [{"name": "v", "label": "variant", "x": None, "group": ""}],
        "methods": [
            {"name": name, "label": name.upper(), "kind": "rule", "is_trained": is_trained, "x": None}
            for name, is_trained in methods.items()
        ],
    }  # fmt: skip
    return SuiteRecord(**usual | fields)


def normal(mean: float, n: int = N, *, runs: int | None = None, seed: int = 0) -> Any:
    """Normal quantiles, so that the sample's moments are exact; with `runs` in other orders."""
    values = mean + 0.1 * norm.ppf((np.arange(n) + 0.5) / n)
    if runs is None:
        return values
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(values) for _ in range(runs)])


# ------------------------------------------------------------------ profiles


def test_profile_of_known_scores() -> None:
    paired = pair(rows_of({"a": {"T": [0.0, 1.0, 2.0, 3.0]}}), "score_sampled").normalised()  # over 2: 0, 0.5, 1, 1.5
    found = profile(paired, "a", draw(paired), np.array([-0.1, 0.0, 0.5, 0.75, 1.5]))
    assert found.value.tolist() == [1.0, 0.75, 0.5, 0.5, 0.0]
    assert ((found.low <= found.value) & (found.value <= found.high)).all()
    assert (found.low[0], found.high[-1]) == (1.0, 0.0)  # all above, none above: in every resample


def test_profile_weighs_tasks_equally_and_its_band_is_that_of_a_proportion() -> None:
    n = 400
    scores = {"a": {"T": np.tile([0.0, 2.0], n // 2), "U": np.full(n // 4, 2.0)}}
    paired = pair(rows_of(scores), "score_sampled").normalised()
    found = profile(paired, "a", draw(paired, Bootstrap(n_resamples=4000)), np.array([0.5]))
    assert found.value[0] == pytest.approx((0.5 + 1.0) / 2)
    expected = 2 * 1.96 * 0.5 * np.sqrt(0.25 / n)  # half the width of T's, since U does not vary
    assert found.high[0] - found.low[0] == pytest.approx(expected, rel=0.1)


# ------------------------------------------------------------------ comparisons


def test_the_best_baseline_of_each_task_is_compared_and_gains_are_found() -> None:
    rows = rows_of(
        {
            "ours": {"T": normal(1.4, runs=4), "U": normal(1.0, runs=4, seed=1)},
            "good-on-t": {"T": normal(1.2), "U": normal(0.8)},
            "good-on-u": {"T": normal(0.9), "U": normal(1.2)},
        }
    )
    found = analyse_variant(rows, record_of({"ours": True, "good-on-t": False, "good-on-u": False}, ours=["ours"]), "v")
    by_task = {c.task: c for c in found.comparisons}
    assert {task: c.baseline for task, c in by_task.items()} == {"T": "good-on-t", "U": "good-on-u", None: "good-on-u"}
    for task, gap in (("T", 0.1), ("U", -0.1), (None, 0.075)):  # over the reference of 2
        assert by_task[task].difference.value == pytest.approx(gap)
        assert by_task[task].difference.low < gap < by_task[task].difference.high
        assert by_task[task].p_holm < 0.01
    assert by_task["T"].improvement.value > 0.8 > 0.2 > by_task["U"].improvement.value


def test_equal_methods_are_not_found_different() -> None:
    rows = rows_of({"ours": {"T": normal(1.0, runs=5)}, "other": {"T": normal(1.0, runs=5, seed=9)}})
    found = analyse_variant(rows, record_of({"ours": True, "other": True}, ours=["ours"]), "v").comparisons
    assert len(found) == 1 and found[0].p_holm > 0.5 and found[0].difference.value == pytest.approx(0, abs=1e-12)


def test_holm_spans_tasks_and_methods() -> None:
    rng = np.random.default_rng(3)
    noisy = {name: {"T": rng.normal(1, 0.3, N), "U": rng.normal(1, 0.3, N)} for name in ("ours", "mine", "other")}
    found = analyse_variant(
        rows_of(noisy), record_of(dict.fromkeys(noisy, False), ours=["ours", "mine"]), "v"
    ).comparisons
    assert len(found) == 2 * 3
    smallest = min(found, key=lambda c: c.p_value)
    assert smallest.p_holm == pytest.approx(min(1.0, 6 * smallest.p_value))


def test_methods_are_paired_on_the_seeds_that_both_have() -> None:
    grid = normal(1.0, runs=3)
    grid[2] += 5.0  # a seed that only one of them has
    rows = rows_of(
        {"ours": {"T": grid}, "other": {"T": grid[:2] - 0.2}, "rule": {"T": normal(0.5)}},
        seeds={"ours": (1, 2, 3), "other": (1, 2)},
    )
    paired = pair(rows, "score_sampled")
    both = same_seeds(paired, ("ours", "other"))
    assert both is not None and both.train_seeds["ours"].tolist() == [1, 2]
    assert both.of("ours")[0].shape == (2, N)
    rule = same_seeds(paired, ("ours", "rule"))
    assert rule is not None and rule.train_seeds["ours"].tolist() == [1, 2, 3]
    found = analyse_variant(rows, record_of({"ours": True, "other": True, "rule": False}, ours=["ours"]), "v")
    assert found.comparisons[0].difference.value == pytest.approx(0.1)  # 0.2 over 2, without seed 3
    assert found.summary("ours", None).mean.n_train_seeds == 3
    apart = rows_of({"a": {"T": grid[:1]}, "b": {"T": grid[:1]}}, seeds={"a": (1,), "b": (2,)})
    assert same_seeds(pair(apart, "score_sampled"), ("a", "b")) is None


def test_delta_m_and_deviation_follow_their_definitions() -> None:
    grid = np.stack([normal(1.0), normal(1.2)])
    rows = rows_of({"single": {"T": normal(1.0), "U": normal(0.5)}, "all": {"T": grid, "U": grid}})
    found = analyse_variant(rows, record_of({"single": False, "all": True}, baseline="single"), "v")
    assert found.delta_m["all"].value == pytest.approx(100 * ((1.0 - 1.1) / 1.0 + (0.5 - 1.1) / 0.5) / 2)
    assert "single" not in found.delta_m
    assert found.deviation["all"] == pytest.approx(np.std([0.5, 0.6], ddof=1))  # over the reference of 2
    assert np.isnan(found.deviation["single"])
    assert found.methods == ("single", "all")


def test_no_delta_m_where_the_baseline_scores_nothing(caplog: pytest.LogCaptureFixture) -> None:
    rows = rows_of({"single": {"T": np.array([0.0, 0.0, 1.0])}, "all": {"T": np.ones(3)}})
    assert analyse_variant(rows, record_of({"single": False, "all": False}, baseline="single"), "v").delta_m == {}
    assert "must be positive in every resample, found 0.0" in caplog.text


def test_the_same_rows_give_the_same_numbers_in_any_order() -> None:
    rng = np.random.default_rng(5)
    rows = rows_of({name: {"T": rng.normal(1, 0.3, (3, N)), "U": rng.normal(1, 0.3, (3, N))} for name in ("a", "b")})
    record = record_of({"a": True, "b": True}, ours=["a"])
    shuffled = rows.take(rng.permutation(rows.num_rows))
    one, other = (analyse_variant(table, record, "v") for table in (rows, shuffled))
    key = lambda c: str(c.task)  # noqa: E731
    for a, b in zip(sorted(one.comparisons, key=key), sorted(other.comparisons, key=key), strict=True):
        assert a.difference.value == pytest.approx(b.difference.value) and a.p_holm == pytest.approx(b.p_holm)
        assert a.difference.low == pytest.approx(b.difference.low)


# ------------------------------------------------------------------ from a store to tables


def run_row(method: str, seed: int, failed: str = "") -> pa.Table:
    usual = {pa.string(): "", pa.int64(): 0, pa.float64(): 1.0}
    row = {column.name: usual[column.type] for column in RUNS}
    row |= {"run_id": f"{method}-{seed}", "variant": "v", "method": method, "train_seed": seed, "failed": failed}
    return pa.table({name: [row[name]] for name in RUNS.names}, schema=RUNS)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A suite in which one run failed and one was never done."""
    store = Store(tmp_path / "results" / "s-v1")
    store.write_suite(
        record_of({"rule": False, "ours": True}, train_seeds=[1, 2, 3], ours=["ours"], command="vamo bench run s/v1")
    )
    store.write_run("rule--1", {"runs": run_row("rule", -1), "rows": rows_of({"rule": {"T": normal(1.0)}})})
    of_seed = rows_of({"ours": {"T": normal(1.1)[None]}}, seeds={"ours": (1,)})
    store.write_run("ours-1", {"runs": run_row("ours", 1), "rows": of_seed})
    store.write_run("ours-2", {"runs": run_row("ours", 2, "OSError: disk")})
    return tmp_path / "results"


def test_missing_and_failed_runs_are_reported_and_the_rest_is_used(results: Path) -> None:
    found = analyse(Store(results / "s-v1"))["v"]
    assert [(m.method, m.seeds, m.errors) for m in found.missing] == [("ours", (2, 3), ("OSError: disk",))]
    assert found.summary("ours", "T").mean.value == pytest.approx(1.1)
    scores = all_cells(results / "s-v1")[0]
    assert any("OURS lacks training seeds 2, 3: OSError: disk" in note for note in scores.notes)
    assert scores.rows[1][0] == "OURS" and scores.rows[1][1].startswith("0.550 [")


def test_no_rows_is_an_error_that_says_so(tmp_path: Path) -> None:
    Store(tmp_path).write_suite(record_of({"a": False}))
    with pytest.raises(ValueError, match="must hold rows, found none"):
        analyse(Store(tmp_path))


def test_every_method_is_compared_with_a_named_one(tmp_path: Path) -> None:
    scores = {
        "base": {"T": normal(1.0), "U": normal(1.0)},
        "better": {"T": normal(1.2, runs=4), "U": normal(1.2, runs=4, seed=1)},
        "same": {"T": normal(1.0), "U": normal(1.0)},
        "worse": {"T": normal(0.8), "U": normal(0.8)},
    }
    store = Store(tmp_path)
    store.write_suite(record_of({"base": False, "better": True, "same": False, "worse": False}))
    store.write_run("all", {"runs": run_row("base", -1), "rows": rows_of(scores)})
    (cells,) = against_cells(tmp_path, "base")
    assert cells.header == ("method", "T", "U", "all")
    assert [row[0] for row in cells.rows] == ["BETTER", "SAME", "WORSE"]
    assert all(
        cell.startswith("+0.100 [") and cell.endswith("*") for cell in cells.rows[0][1:]
    )  # over the reference of 2
    assert cells.rows[1][1:] == ("+0.000 [+0.000, +0.000]",) * 3
    assert next(markdown(tmp_path, ["against=base"])).startswith("**Against BASE (exploratory): variant**")
    with pytest.raises(ValueError, match=r"one of \['base', 'better', 'same', 'worse'\], found 'nobody'"):
        against_cells(tmp_path, "nobody")


def test_more_tasks_than_methods_go_down_the_page(tmp_path: Path) -> None:
    tasks = ("T", "U", "V", "W")
    scores = {name: {task: normal(1.0 + k) for k, task in enumerate(tasks)} for name in ("one", "two", "three")}
    store = Store(tmp_path)
    store.write_suite(record_of(dict.fromkeys(scores, False)))
    store.write_run("all", {"runs": run_row("one", -1), "rows": rows_of(scores)})
    found = {cells.kind: cells for cells in (*all_cells(tmp_path), *against_cells(tmp_path, "one"))}
    assert found["tasks"].header == found["feasibility"].header == ("task", "ONE", "TWO", "THREE")
    assert found["tasks"].rows[1] == ("U", "1.000", "1.000", "1.000")  # over the reference of 2
    assert found["feasibility"].rows[3] == ("W", "100%", "100%", "100%")
    assert found["against"].header == ("task", "TWO", "THREE")
    assert [row[0] for row in found["against"].rows] == [*tasks, "all"]


@pytest.mark.parametrize(
    ("n_seeds", "said"), [(0, None), (1, "says nothing about others"), (3, "3 training seeds are few"), (10, None)]
)
def test_few_training_seeds_are_named(n_seeds: int, said: str | None) -> None:
    values = normal(1.0, runs=n_seeds) if n_seeds else normal(1.0)
    record = record_of({"a": bool(n_seeds)})
    notes = score_cells(record, analyse_variant(rows_of({"a": {"T": values}}), record, "v"), "variant").notes
    assert f"{n_seeds} training seed" in notes[0]
    assert notes[-1].startswith("Sampled: ")
    assert notes[1:-1] == () if said is None else said in notes[1]


def test_markdown() -> None:
    cells = Cells(kind="scores", title="T", header=("a", "b"), rows=(("x", "1"),), notes=("n",))
    assert cells.to_markdown() == "**T**\n\n| a | b |\n| --- | ---: |\n| x | 1 |\n\nn"


@pytest.mark.parametrize("file", readme_tables.FILES, ids=lambda file: file.name)
def test_published_tables_are_up_to_date(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert readme_tables.render(text) == text, "run python -m benchmarks.pages.readme_tables"


def test_tables_are_written_between_markers(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n\n<!-- results: s-v1 scores cost -->\nold\n<!-- end of results -->\n\nend\n")
    with pytest.raises(SystemExit, match="must have the tables of the committed rows"):
        readme_tables.main([str(page), "--results", str(results), "--check"])
    readme_tables.main([str(page), "--results", str(results)])
    text = page.read_text()
    assert "| OURS | 0.550 [" in text and "Cost of a run" in text and "old" not in text and text.endswith("\n\nend\n")
    assert "`vamo bench run s/v1` at commit" in text
    readme_tables.main([str(page), "--results", str(results), "--check"])
    assert readme_tables.render(text, results) == text
    some = readme_tables.render("<!-- results: s-v1 scores only=ours -->\n<!-- end of results -->", results)
    assert "| OURS | 0.550 [" in some and "| RULE |" not in some
    for bad, message in (
        ("<!-- results: s-v1 only=nobody -->\n<!-- end of results -->", "found 'nobody'"),
        ("<!-- results: s-v1 -->", "markers must come in pairs"),
        ("<!-- results: other-v1 -->\n<!-- end of results -->", r"published suite \(s-v1\), found 'other-v1'"),
        ("<!-- results: s-v1 pictures -->\n<!-- end of results -->", "found 'pictures'"),
    ):
        with pytest.raises(ValueError, match=message):
            readme_tables.render(bad, results)


def test_rounding_keeps_five_digits() -> None:
    values = np.array([0.0, -123456.0, 1.2345678e-7, np.nan, np.inf, 1.0])
    np.testing.assert_array_equal(round_significant(values), [0.0, -123460.0, 1.2346e-7, np.nan, np.inf, 1.0])
