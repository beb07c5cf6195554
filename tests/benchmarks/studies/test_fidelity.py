"""The study of scores and ranking against the size of an episode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.cli import main
from benchmarks.studies.fidelity import FIXED, HINDSIGHT, METHODS, PID, TUNED, FidelitySettings, analyse, measure

TINY = FidelitySettings(sizes=(500, 1_000), n_episodes=3, n_validation=1, tasks=("TargetCPA",))


def made_up_rows(means: dict[int, dict[str, float]], n: int = 40) -> dict[str, np.ndarray]:
    """Episode k scores the mean times 1 + 0.1 sin k, the same factor for every method; its budget is 500."""
    factor = 1 + 0.1 * np.sin(np.arange(n))
    columns: dict[str, list] = {name: [] for name in ("task", "method", "n_impressions", "score_expected", "seed")}
    for size, by_method in means.items():
        for method, mean in by_method.items():
            values = {"task": "T", "method": method, "n_impressions": size}
            for name, value in values.items():
                columns[name] += [value] * n
            columns["score_expected"] += (mean * factor).tolist()
            columns["seed"] += list(range(n))
    rows = {name: np.asarray(values) for name, values in columns.items()}
    rows["budget"] = np.full(len(rows["seed"]), 500.0)
    return rows


def test_scores_and_ranks_by_hand() -> None:
    small = {FIXED: 1.0, PID: 4.0, TUNED: 3.0, HINDSIGHT: 6.0}
    large = {FIXED: 2.0, PID: 4.0, TUNED: 5.0, HINDSIGHT: 6.0}
    points = {(p.n_impressions, p.method): p for p in analyse(made_up_rows({100: small, 200: large}))}
    factor = np.mean(1 + 0.1 * np.sin(np.arange(40)))
    for (size, method), point in points.items():
        mean = {100: small, 200: large}[size][method]
        assert point.per_budget == pytest.approx(mean / 500 * 1000 * factor)
        # the episodes' common factor cancels: the intervals have no width
        for value in (point.relative, point.relative_low, point.relative_high):
            assert value == pytest.approx(mean / large[method])
        assert point.per_episode == pytest.approx(mean * factor)
        assert point.n_episodes == 40
    ranks = {size: [points[size, method].rank for method in METHODS] for size in (100, 200)}
    assert ranks == {100: [4, 2, 3, 1], 200: [4, 3, 2, 1]}


def test_rows_pair_the_sizes_and_scale_the_budgets() -> None:
    done: list[float] = []
    rows = measure(TINY, done.append)
    assert sum(done) == 2 * TINY.episodes_per_size
    small, large = (rows["n_impressions"] == size for size in TINY.sizes)
    for name in ("method", "seed", "advertiser"):
        np.testing.assert_array_equal(rows[name][small], rows[name][large])
    np.testing.assert_allclose(2 * rows["budget"][small], rows["budget"][large])
    assert set(rows["method"]) == set(METHODS)
    best = rows["score_expected"][rows["method"] == HINDSIGHT].mean()
    assert best > rows["score_expected"][rows["method"] == FIXED].mean()


def test_the_command_writes_rows_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.studies.fidelity.QUICK", TINY)
    main(["bench", "fidelity", "--quick", "--out", str(tmp_path / "out")])
    table = pq.read_table(tmp_path / "out" / "fidelity.parquet")
    assert table.num_rows == 2 * len(METHODS) * 3
    assert (tmp_path / "out" / "fidelity.png").read_bytes().startswith(b"\x89PNG")
    assert not list((tmp_path / "out").glob("*.part"))
    assert "TargetCPA: score per 1,000 currency of budget" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"sizes": (5,)}, r"`sizes` must be at least two ascending numbers, found \(5,\)"),
        ({"sizes": (9, 5)}, "`sizes` must be at least two ascending numbers"),
        ({"n_episodes": 1}, "`n_episodes` must be at least 2 .* found 1 and 6"),
        ({"tasks": ("Fun",)}, "`tasks` must hold names from .* found 'Fun'"),
    ],
)
def test_bad_settings_are_named(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FidelitySettings(**kwargs)  # type: ignore[arg-type]
