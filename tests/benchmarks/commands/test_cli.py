"""The `vamo` command: the demo in its smallest form, the importer, the speed table, errors."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import agents
from agents import Collection, make_task_family
from auction_env import TASKS, BatchMarket, Funnel, Task, data
from auction_env.control.simulation import LiveMarket
from auction_env.market.competitors.presets import preset, read_population
from auction_env.market.params import LOG_IMPRESSIONS
from benchmarks.cli import main
from benchmarks.commands import add_episodes, read_episodes
from benchmarks.commands.demo import suite_of
from benchmarks.speed.reference.numpy_market import run_episode
from benchmarks.speed.reference.synthetic_log import write_log
from benchmarks.suites.catalogue import SUITES, get_suite
from benchmarks.suites.data.opening import open_variant
from benchmarks.suites.methods.tuning import choose, chosen_shares
from benchmarks.suites.running.run import Job, execute
from benchmarks.suites.storage.store import Store


def test_the_demo_leaves_rows_a_page_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["demo", "--quick", "--out", str(tmp_path)])
    assert "demo/v2/testing" in capsys.readouterr().out
    suite, store = get_suite("demo/v2/testing"), Store(tmp_path)
    rows = store.rows().to_pandas()
    assert set(rows["method"]) == {arm.name for arm in suite.arms}
    assert set(rows["task"]) == {"MaxConversions", "TargetCPA"}
    assert len(rows["score_sampled"]) == len(suite.runs()) * 2 * suite.test.n
    assert np.all(np.array(rows["budget_ratio"]) <= 1 + 1e-9)
    assert store.suite().command == "vamo demo --quick"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "uniform sharing" in page and len(page) > 1_000_000  # plotly is inside
    assert (tmp_path / "summary.png").read_bytes().startswith(b"\x89PNG")
    main(["demo", "--quick", "--out", str(tmp_path)])  # finds all runs finished
    pd.testing.assert_frame_equal(store.rows().to_pandas(), rows)


def test_the_demo_trains_on_imported_logs(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    write_log(tmp_path / "logs" / "two.csv", n_periods=2)
    suite = suite_of(tmp_path / "logs", tmp_path / "run", "testing")
    assert data.load(tmp_path / "run" / "imported").n_episodes == 96
    assert suite_of(tmp_path / "run" / "imported", tmp_path / "run", "testing").hash() == suite.hash()
    opened = open_variant(suite.variants[0], suite, tmp_path / "cache")
    train, validation = opened.load_logs()
    assert {name: log.n_episodes for name, log in train.items()} == opened.n_train
    assert sum(log.n_episodes for log in (*train.values(), *validation.values())) == 96  # each in one part
    assert {name: log.tasks[0].name for name, log in train.items()} == {name: name for name in opened.targets}
    parts = [set(zip(log.period, log.advertiser, strict=True)) for log in (*train.values(), *validation.values())]
    assert len(set.union(*parts)) == 96
    one = suite.only(n_seeds=1, arms=(suite.arms[0],)).runs()[0]
    tables = execute(Job(run=one, cache=str(tmp_path / "cache"), commit=""))
    assert tables["runs"]["failed"][0].as_py() == "" and tables["rows"].num_rows == 2 * suite.test.n
    (tmp_path / "run" / "imported" / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match="they changed"):
        open_variant(suite.variants[0], suite, tmp_path / "cache")


def test_collect_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["collect", "--out", str(tmp_path / "set"), "--episodes", "3", "--impressions", "480", "--workers", "1"]
    main([*arguments, "--task", "TargetCPA", "--policy", "random=1,noisy-pid=1", "--seed", "7", "--control", "all"])
    assert "3 market episodes -> 144 trajectories in" in capsys.readouterr().out.replace("\n", " ")
    collected = data.load(tmp_path / "set")
    assert collected.n_episodes == 144 and set(collected.seed) == {7, 8, 9}
    with pytest.raises(SystemExit):
        main(arguments)
    assert "--force on the command line" in capsys.readouterr().err
    main([*arguments, "--policy", "random", "--advertisers", "5", "2", "--force"])
    some = data.load(tmp_path / "set")
    assert set(some.seed) == {0, 1, 2} and set(some.advertiser) == {2, 5} and some.n_episodes == 3
    with pytest.raises(SystemExit):
        main([*arguments, "--advertisers", "48", "--force"])
    assert "`advertisers` must be different indices in 0..47" in capsys.readouterr().err


def test_markets_by_name_and_budgets_drawn_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["collect", "--episodes", "2", "--impressions", "240", "--workers", "1", "--control", "all"]
    few = [*arguments, "--advertisers", "5", "2", "--out", str(tmp_path / "set")]
    main([*few, "--preset", "dense", "--redraw", "0.5,0.2"])
    log, made = data.load(tmp_path / "set"), data.read_manifest(tmp_path / "set").parameters
    params, population = preset("dense", n_impressions=240, funnel=Funnel())
    population = replace(population, budget_swing=0.5, cpa_swing=0.2)
    assert made["population"] == population.to_json() and made["market"]["reserve"] == params.reserve
    simulated = BatchMarket(params, population, 2)
    simulated.reset([0, 1])
    first = log.episode_starts[:-1]
    assert len(set(log.budget[first])) == len(set(log.cpa_target[first])) == 4
    np.testing.assert_array_equal(log.cpa_target[first], simulated.episode_targets.cpa[:, [2, 5]].ravel())
    main([*few, "--population", "auctionnet-agents", "--force"])
    made = data.read_manifest(tmp_path / "set").parameters
    assert made["population"] == read_population("auctionnet-agents").to_json()
    for wrong, message in (
        (["--redraw", "much"], "`--redraw` must be BUDGET or BUDGET,CPA"),
        (["--preset", "dens"], "nearest: dense"),
    ):
        with pytest.raises(SystemExit):
            main([*few, *wrong, "--force"])
        assert message in capsys.readouterr().err.replace("\n", " ")


def test_evaluations_play_markets_by_name() -> None:
    parser = argparse.ArgumentParser()
    add_episodes(parser)
    market = ["--preset", "sparse", "--redraw", "0.3", "--impressions", "240", "--ticks", "6"]
    given = ["--agent", "pid", "--task", "MaxClicks", "TargetCPA", "--episodes", "2", *market]
    clicks, cpa = read_episodes(parser.parse_args(given))
    for of_task, task in ((clicks, "MaxClicks"), (cpa, "TargetCPA")):
        params, population = preset("sparse", task=task, n_impressions=240, n_ticks=6)
        assert isinstance(of_task.market, LiveMarket) and of_task.market.params == params
        assert of_task.market.population == replace(population, budget_swing=0.3, cpa_swing=0.3)
    with pytest.raises(ValueError, match="`--preset` must not be given with `--data`"):
        read_episodes(parser.parse_args(["--agent", "pid", "--data", "logs", "--preset", "sparse"]))
    with pytest.raises(ValueError, match=r"`is_unsold_at_reserve` needs `mechanism` 'gsp' .* found 'vcg'"):
        read_episodes(parser.parse_args([*given, "--mechanism", "vcg"]))


OWN = '{"name": "Mine", "objective": "clicks", "constraints": [{"kind": "cpc", "scale": 0.8}]}'


def test_a_task_of_one_s_own_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same `--task FILE.json` where logs are made, read and learned from, and where an agent plays."""
    (tmp_path / "mine.json").write_text(OWN)
    task, out = ["--task", str(tmp_path / "mine.json")], tmp_path / "set"
    main(["collect", "--out", str(out), "--episodes", "8", "--impressions", "480", "--workers", "1", *task])
    assert [found.to_json() for found in data.load(out).tasks] == [Task.from_json(OWN).to_json()]
    main(["export", "numpy", str(out), "--out", str(tmp_path / "set.npz"), *task])
    assert "8 trajectories" in capsys.readouterr().out
    sets = ["--set", "steps=4", "--set", "batch_size=8", "--set", "hidden=[8]"]
    main(["train", "--agent", "bc", "--data", str(out), "--out", str(tmp_path / "bc"), *sets, *task])
    assert agents.load(tmp_path / "bc").task == Task.from_json(OWN)
    sets = ["--set", "run.steps=48", "--set", "run.n_envs=2", "--set", "run.scaling_episodes=2",
            "--set", "run.validation_episodes=2", "--set", "algorithm.n_steps=24", "--impressions", "240"]  # fmt: skip
    main(["train", "--agent", "ppo", "--out", str(tmp_path / "ppo"), *sets, *task])
    assert agents.load(tmp_path / "ppo").task == Task.from_json(OWN)


def test_a_number_of_impressions_is_the_same_default_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("collect", "family", "train"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        shown = " ".join(capsys.readouterr().out.split())
        assert f"--impressions N of a market episode; default: {LOG_IMPRESSIONS:,}" in shown
    assert Collection(task=TASKS["TargetCPA"], n_episodes=1).params.n_impressions == LOG_IMPRESSIONS
    assert {member.params.n_impressions for member in make_task_family(2).members} == {LOG_IMPRESSIONS}


def test_import_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    n_rows = write_log(tmp_path / "log.csv", n_periods=1)
    main(["import", "auctionnet-impressions", str(tmp_path / "log.csv"), "--out", str(tmp_path / "out")])
    assert f"{n_rows:,} rows -> 48 trajectories, 2,304 ticks" in capsys.readouterr().out.replace("\n", " ")
    assert len(data.load(tmp_path / "out")) == 2304


def test_trajectories_go_out_and_come_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(tmp_path / "log.csv", n_periods=1)
    data.import_auctionnet_impressions(tmp_path / "log.csv", tmp_path / "set")
    file, again = tmp_path / "log-rlData.csv", tmp_path / "again"
    main(["export", "auctionnet-trajectories", str(tmp_path / "set"), "--out", str(file)])
    assert "48 trajectories, 2,304 ticks" in capsys.readouterr().out.replace("\n", " ")
    main(["import", "auctionnet-trajectories", str(file), "--out", str(again)])
    shown = " ".join(capsys.readouterr().out.split())
    assert "the log lacks, of its ticks: wins in 2.1%, exposures in" in shown
    assert "2,304 rows -> 48 trajectories, 2,304 ticks" in shown
    np.testing.assert_allclose(data.load(again).bid, data.load(tmp_path / "set").bid, rtol=1e-9)


def test_data_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    out = tmp_path / "set"
    collected = [
        "collect",
        "--out",
        str(out),
        "--episodes",
        "4",
        "--impressions",
        "960",
        "--workers",
        "1",
        "--control",
        "all",
    ]
    main([*collected, "--policy", "random,noisy-pid", "--task", "TargetCPA"])
    main(["data", "split", str(out), "--test", "40", "--validation", "0.1"])
    assert "train 133, validation 19, test 40 episodes" in capsys.readouterr().out
    main(["data", "describe", str(out), "--page", str(tmp_path / "page.html")])
    shown = capsys.readouterr().out
    for text in ("192", "9,216", "noisy-pid", "cpa kept", "s: budget_left", "test 40 (seed 0)"):
        assert text in shown
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for text in ("Data set set", "noisy-pid", "Action coverage", "plot-pace", "plot-ratio-cpa"):
        assert text in page
    main(["data", "check", str(out), "--responses"])
    shown = capsys.readouterr().out
    for text in (": sound", "Response check: predicted over actual cost", "TargetCPA", "left out for"):
        assert text in shown
    assert "outside [0.2, 5]" in " ".join(shown.split())  # its line may break there
    shard = out / "shard-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(SystemExit) as stop:
        main(["data", "check", str(out)])
    assert stop.value.code == 1
    assert "shard-00000.parquet: truncated" in capsys.readouterr().out


def test_a_family_counts_as_all_its_data_sets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    out = tmp_path / "family"
    main(["family", "--out", str(out), "--tasks", "2", "--most", "12", "--fewest", "6", "--validation", "4",
          "--test", "4", "--impressions", "480", "--workers", "1"])  # fmt: skip
    names = sorted(path.parent.name for path in out.glob("*/manifest.json"))
    capsys.readouterr()
    main(["data", "check", str(out)])
    shown = capsys.readouterr().out
    assert len(names) == 2 and all(f"{out / name}: sound" in shown for name in names)
    main(["data", "describe", str(out), "--page", str(tmp_path / "page.html")])
    shown = capsys.readouterr().out
    for name in names:
        assert name in shown.replace("\n", "") and (tmp_path / f"page-{name}.html").exists()
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(f'<a href="page-{name}.html">{name}</a>' in page for name in names)
    with pytest.raises(SystemExit):
        main(["data", "describe", str(out / names[0]), "--agent", "x", "--page", str(tmp_path / "page.html")])
    assert "`--agent` must be given with `--page` and a family, found a data set" in capsys.readouterr().err
    main(["data", "split", str(out), "--validation", "3", "--test", "3", "--force"])
    assert all(data.read_manifest(out / name).splits["validation"] == 3 for name in names)  # type: ignore[index]
    next((out / names[1]).glob("shard-*")).unlink()
    with pytest.raises(SystemExit) as stop:
        main(["data", "check", str(out)])
    assert stop.value.code == 1
    shown = capsys.readouterr().out
    assert f"{out / names[0]}: sound" in shown and f"{out / names[1]}: 1 problems" in shown
    with pytest.raises(SystemExit):
        main(["export", "numpy", str(out), "--out", str(tmp_path / "x.npz")])
    assert f"data sets in it: {out / names[0]}, {out / names[1]}" in capsys.readouterr().err


@pytest.mark.parametrize("width", ["80", "60"])
def test_the_list_of_suites_is_a_screen_with_whole_ids(
    width: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.commands.bench.console", Console(width=int(width)))
    main(["bench", "list"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 24 and max(map(len, lines)) <= int(width)
    assert set(SUITES) <= {line.split()[0] for line in lines}
    main(["bench", "list", "auctionnet-synthetic/v3", "demo/v2"])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert all(f"demo/v2{size} " in shown for size in ("", "/cpu", "/testing"))
    main(["bench", "list", "demo/v2/cpu"])
    shown = capsys.readouterr().out
    assert shown.count("demo/v2/cpu") == 2 and "demo/v2 " not in shown and "testing" not in shown


def test_export_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from auction_env.data.formats.numpy_file import import_numpy

    of_what = ["--episodes", "2", "--impressions", "1920", "--policy", "random,noisy-pid", "--task", "TargetCPA",
               "--preset", "sparse"]  # fmt: skip
    main(["collect", "--out", str(tmp_path / "set"), "--workers", "1", "--control", "all", *of_what])
    main(["data", "split", str(tmp_path / "set")])
    main(["export", "numpy", str(tmp_path / "set"), "--out", str(tmp_path / "set.npz"), "--split", "test"])
    assert import_numpy(tmp_path / "set.npz").n_episodes == data.load(tmp_path / "set", split="test").n_episodes == 10
    main(["export", "minari", str(tmp_path / "set"), "--out", str(tmp_path / "minari"), "--task", "TargetCPA"])
    assert "96 trajectories, 4,608 ticks" in capsys.readouterr().out
    main(["import", "minari", str(tmp_path / "minari"), "--out", str(tmp_path / "back")])
    assert "96 trajectories, 4,608 ticks" in capsys.readouterr().out
    np.testing.assert_array_equal(data.load(tmp_path / "back").observation, data.load(tmp_path / "set").observation)
    main(["export", "auctionnet-impressions", "--out", str(tmp_path / "csv"), *of_what])
    assert "2 periods" in capsys.readouterr().out
    main(["import", "auctionnet-impressions", str(tmp_path / "csv"), "--out", str(tmp_path / "imported")])
    collected, imported = data.load(tmp_path / "set"), data.load(tmp_path / "imported")
    np.testing.assert_allclose(imported.cost, collected.cost, rtol=1e-6)
    np.testing.assert_array_equal(imported.conversions, collected.conversions)
    for command in (
        ["numpy", str(tmp_path / "set"), "--out", str(tmp_path / "set.npz")],
        ["auctionnet-impressions", "--out", str(tmp_path / "csv"), *of_what],
    ):
        with pytest.raises(SystemExit) as stop:
            main(["export", *command])
        assert stop.value.code == 2
        assert "must not exist, found a file" in capsys.readouterr().err


def test_a_description_has_the_numbers_of_the_log(tmp_path: Path) -> None:
    from benchmarks.pages.data_set.describing import describe
    from benchmarks.pages.data_set.page import action_figures, pace_figure, ratio_figures, score_figures

    out = tmp_path / "set"
    collected = [
        "collect",
        "--out",
        str(out),
        "--episodes",
        "2",
        "--impressions",
        "960",
        "--workers",
        "1",
        "--control",
        "all",
    ]
    main([*collected, "--policy", "random,noisy-pid", "--task", "TargetCPA"])
    log, found = data.load(out), describe(out)
    assert found.sizes == {
        "trajectories": 96, "ticks": 4608, "periods": 2, "advertisers": 48, "tasks": 1, "shards": 2,
    }  # fmt: skip
    (group,) = found.tasks
    starts = log.episode_starts[:-1]
    np.testing.assert_allclose(group.spent, np.add.reduceat(log.cost, starts) / log.budget[starts])
    assert group.objective.sum() == log.conversions.sum()
    assert group.idle == pytest.approx((log.action == 0).mean())
    assert [(g.policy, g.n) for g in found.policies] == [("noisy-pid", 48), ("random", 48)]
    assert sum(g.objective.sum() for g in found.policies) == log.conversions.sum()
    np.testing.assert_allclose(found.ranges["cost"], np.quantile(log.cost, [0, 0.05, 0.5, 0.95, 1]))
    assert found.pace["TargetCPA"][-1] == pytest.approx(group.spent.mean())
    for trace in action_figures(found)["action-0"]["traces"]:
        assert sum(trace["trace"]["y"]) == pytest.approx(1, abs=1e-4)
    assert len(score_figures(found)["score-0"]["traces"]) == 2
    assert ratio_figures(found)["ratio-cpa"]["traces"][0]["trace"]["y"][-1] <= 1
    assert len(pace_figure(found)["traces"][0]["trace"]["x"]) == 49


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "check", "nowhere"], "it has no manifest.json"),
        (["data", "describe", "nowhere"], "it has no manifest.json"),
        (["import", "auctionnet-impressions", "nowhere.csv", "--out", "out"], "nowhere.csv"),
        (["demo", "--logs", "nowhere"], "`LOGS` must be a directory of logs, found nowhere"),
        (["collect", "--out", "out", "--task", "Dance"], "`task` must be a Task or one of"),
        (["collect", "--out", "out", "--task", "targetCPA"], "found 'targetCPA', nearest: TargetCPA"),
        (["collect", "--out", "out", "--task", "gone.json"], "No such file or directory: 'gone.json'"),
        (["train", "--agent", "ppo", "--out", "out", "--task", "bad.json"], "bad.json: a task must be JSON, found '{'"),
        (["collect", "--out", "out", "--policy", "magic"], "`policy` must be 'mixed' or made of"),
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
    Path("bad.json").write_text("{")
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_speed_rows_have_the_stated_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size, small in (("N_COPIES", 4), ("N_IMPRESSIONS", 480)):  # the form, not the figures
        monkeypatch.setattr(f"benchmarks.speed.environment.{size}", small)
    out = ["--json", str(tmp_path / "speed.json"), "--out", str(tmp_path)]
    main(["bench", "speed", "--quick", "--only", "env", *out])
    rows = json.loads((tmp_path / "speed.json").read_text())
    keys = {"name", "value", "unit", "reference", "bound", "reference_value", "bound_value", "more_is_better"}
    assert rows and all(set(row) == keys for row in rows)
    assert "env_steps_per_s" in {row["name"] for row in rows}


def test_the_numpy_reference_spends_as_the_market_does() -> None:
    """Same traffic, same controllers, other draws and another over-spend rule: budgets are spent alike."""
    from auction_env import BatchMarket, MarketParams, auctionnet_population
    from auction_env.market.pacing import Pacer

    params, population = MarketParams(n_impressions=20_000), auctionnet_population()
    market = BatchMarket(params, population)
    market.reset([1])
    pacer = Pacer(
        base=market.cpa_target[None], cpa_limit=market.cpa_target, budget=market.budget,
        expected_traffic=params.traffic.expected_share(48), gains=population.gains,
    )  # fmt: skip
    cost = value = spent = np.zeros((1, 48))
    for tick in range(48):
        result = market.step(pacer.multipliers(tick, last_cost=cost, last_expected_conversions=value))
        cost, value = result.cost, result.expected_conversions
        spent = spent + cost
    reference = run_episode(1, params, population).sum(axis=0)
    np.testing.assert_allclose(spent[0] / market.budget, reference / market.budget, atol=0.12)


def test_a_choice_takes_the_best_candidate_and_says_how_stable_it_is() -> None:
    from agents import FixedBidder
    from auction_env import MarketParams

    candidates = [FixedBidder(0.01), FixedBidder(1.0), FixedBidder(0.02)]
    choice = choose(
        candidates, seeds=np.arange(6), advertisers=np.arange(6), task=TASKS["MaxConversions"],
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
