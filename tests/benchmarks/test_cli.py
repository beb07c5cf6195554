"""The `vamo` command: the demo in its smallest form, the importer, the speed table, errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import vamo
from auction_env import data
from benchmarks.cli import main
from benchmarks.experiment import Arena, EpisodeSet
from benchmarks.reference.numpy_market import run_episode
from benchmarks.reference.synthetic_log import write_log
from benchmarks.tuning import choose, chosen_shares


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "demo"
    main(["demo", "--quick", "--out", str(out)])
    return out


def test_the_demo_leaves_data_models_rows_and_a_report(demo: Path) -> None:
    assert data.load(demo / "data" / "TargetCPA").n_episodes == 48
    rows = pq.read_table(demo / "rows.parquet").to_pydict()
    assert set(rows["method"]) == {"PID (tuned)", "single-task", "pooled sharing", "uniform sharing", "VAO"}
    assert set(rows["task"]) == {"MaxConversions", "TargetCPA"}
    assert len(rows["score"]) == 5 * 2 * 8
    assert np.all(np.array(rows["budget_ratio"]) <= 1 + 1e-9)
    assert np.all(np.array(rows["seed"]) >= 300_000)  # test seeds, which no tuning saw
    assert {seed for seed, method in zip(rows["train_seed"], rows["method"], strict=True) if "PID" in method} == {-1}
    models = sorted(path.name for path in (demo / "models").iterdir())
    assert models == [
        "VAO.safetensors", "pooled-sharing.safetensors", "single-task-MaxConversions.safetensors",
        "single-task-TargetCPA.safetensors", "uniform-sharing.safetensors",
    ]  # fmt: skip
    assert vamo.load(demo / "models" / "VAO.safetensors").name == "VAO"
    page = (demo / "report.html").read_text(encoding="utf-8")
    assert "uniform sharing" in page and len(page) > 1_000_000  # plotly is inside
    assert (demo / "summary.png").read_bytes().startswith(b"\x89PNG")


def test_the_demo_is_reproducible(demo: Path, tmp_path: Path) -> None:
    main(["demo", "--quick", "--out", str(tmp_path)])
    first, again = (pq.read_table(out / "rows.parquet").to_pydict() for out in (demo, tmp_path))
    for name, column in first.items():
        np.testing.assert_array_equal(column, again[name], err_msg=name)


def test_the_demo_trains_on_imported_logs(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    write_log(tmp_path / "logs" / "two.csv", n_periods=2)
    main(["demo", "--quick", "--logs", str(tmp_path / "logs"), "--out", str(tmp_path / "run")])
    imported = data.load(tmp_path / "run" / "imported")
    assert imported.n_episodes == 96
    assert (tmp_path / "run" / "report.html").exists()


def test_import_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    n_rows = write_log(tmp_path / "log.csv", n_periods=1)
    main(["import-auctionnet", str(tmp_path / "log.csv"), "--out", str(tmp_path / "out")])
    assert f"{n_rows:,} rows -> 48 trajectories, 2,304 ticks" in capsys.readouterr().out.replace("\n", " ")
    assert len(data.load(tmp_path / "out")) == 2304


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import-auctionnet", "nowhere.csv", "--out", "out"], "nowhere.csv"),
        (["demo", "--logs", "nowhere"], "`LOGS` must be a directory of logs, found nowhere"),
        (["bench", "speed", "--only", "fun"], "invalid choice: 'fun'"),
        (["dance"], "invalid choice: 'dance'"),
    ],
)
def test_bad_arguments_end_with_a_message(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_speed_rows_have_the_stated_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["bench", "speed", "--quick", "--only", "env", "--json", str(tmp_path / "speed.json")])
    rows = json.loads((tmp_path / "speed.json").read_text())
    assert rows and all(set(row) == {"name", "value", "unit", "reference", "bound"} for row in rows)
    assert "env_steps_per_s" in {row["name"] for row in rows}


def test_the_numpy_reference_spends_as_the_market_does() -> None:
    """Same traffic, same controllers, other draws and another over-spend rule: budgets are spent alike."""
    from auction_env import BatchMarket, MarketParams, auctionnet_population
    from auction_env.pacing import Pacer

    params, population = MarketParams(n_impressions=20_000), auctionnet_population()
    market = BatchMarket(params, population)
    market.reset([1])
    pacer = Pacer(
        base=market.cpa_target[None], cpa_limit=market.cpa_target, budget=market.budget,
        expected_traffic=params.traffic.expected_share(48), gains=population.gains,
    )  # fmt: skip
    cost = value = spent = np.zeros((1, 48))
    for tick in range(48):
        result = market.step(pacer.multipliers(tick, last_cost=cost, last_value=value))
        cost, value = result.cost, result.value
        spent = spent + cost
    reference = run_episode(1, params, population).sum(axis=0)
    np.testing.assert_allclose(spent[0] / market.budget, reference / market.budget, atol=0.12)


def test_a_choice_takes_the_best_candidate_and_says_how_stable_it_is() -> None:
    from agents import FixedBidder
    from auction_env import TASKS, MarketParams

    candidates = [FixedBidder(0.01), FixedBidder(1.0), FixedBidder(0.02)]
    episodes = EpisodeSet.draw(6, first_seed=0, n_advertisers=48)
    choice = choose(
        candidates, seeds=episodes.seeds, advertisers=episodes.advertisers, task=TASKS["MaxConversions"],
        params=MarketParams(n_impressions=2000),
    )  # fmt: skip
    assert choice.position == 1 and choice.bidder is candidates[1]
    assert choice.stability > 0.9
    assert choice.scores.shape == (3, 6)


def test_the_choice_is_the_steadier_the_more_episodes_it_rests_on() -> None:
    noise = np.random.default_rng(0).normal(size=(2, 5000))
    scores = noise + np.array([[0.0], [0.3]])  # the second is better by 0.3, with a deviation of sqrt(2) an episode
    shares = [chosen_shares(scores, n, n_resamples=4000) for n in (10, 40, 160)]
    expected = [0.7488, 0.9102, 0.9964]  # normal probability of 0.3 sqrt(n / 2) sigmas
    np.testing.assert_allclose([share[1] for share in shares], expected, atol=0.04)
    np.testing.assert_allclose([share.sum() for share in shares], 1.0)


def test_validation_and_test_seeds_must_not_meet() -> None:
    from auction_env import MarketParams, auctionnet_population

    with pytest.raises(ValueError, match="must not share market seeds, found 5 in both"):
        Arena(
            params=MarketParams(), population=auctionnet_population(),
            validation=EpisodeSet.draw(6, first_seed=0, n_advertisers=48),
            test=EpisodeSet.draw(6, first_seed=5, n_advertisers=48),
        )  # fmt: skip
