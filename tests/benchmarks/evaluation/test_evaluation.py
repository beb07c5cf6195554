"""Evaluations: paired episodes of any market, the reference, rows, table, figure, page, command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import benchmarks
from agents import (
    Collection,
    FixedBidder,
    HindsightBidder,
    PidBidder,
    collect_data_set,
    measure_welfare,
    rollout,
)
from agents.families.family import make_task_family
from agents.families.storage import collect_family
from auction_env import MarketParams, random_population, save_replay
from auction_env.replay.bat.storage import import_bat, load_bat
from auction_env.replay.fixed_prices import FixedPriceMarket
from auction_env.replay.logged_values import logged_values
from auction_env.replay.simulation import LoggedMarket
from auction_env.tasks import TASKS, Constraint, Task
from benchmarks.cli import main
from benchmarks.evaluation.episodes import FIRST_SEED, in_log, in_market, of_data
from benchmarks.evaluation.evaluate import evaluate
from benchmarks.evaluation.named import named_bidder
from benchmarks.evaluation.result import PAGE, RECORD, ROWS, Evaluation, read
from benchmarks.studies.bat.recipe import made_up_bat
from tests.auction_env.replay.logs import three_periods

SMALL: dict[str, Any] = {"n_episodes": 3, "n_impressions": 400}
BIDDERS = {"pid": PidBidder(), "low": FixedBidder(0.3)}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    out = tmp_path_factory.mktemp("evaluation")
    return evaluate(BIDDERS, in_market(["TargetCPA", "MaxClicks"], **SMALL), out=out / "results", against="low")


def test_rows_are_those_of_rollouts_with_their_reference(found: Evaluation) -> None:
    task, rows = TASKS["TargetCPA"], found.rows
    params = MarketParams.for_task(task, n_impressions=400)
    episodes = {"seeds": FIRST_SEED + np.arange(3), "advertisers": [0, 1, 2], "task": task, "params": params}
    mine = (rows["task"] == "TargetCPA") & (rows["method"] == "pid")
    played, best = (rollout(bidder, **episodes) for bidder in (PidBidder(), HindsightBidder()))
    np.testing.assert_array_equal(rows["score_expected"][mine], played.score(expected=True))
    np.testing.assert_array_equal(rows["reference"][mine], best.score(expected=True))
    assert found.names == ("pid", "low") and found.tasks == ("TargetCPA", "MaxClicks")
    assert len(rows["seed"]) == 2 * 2 * 3


def test_workers_give_the_same_rows(found: Evaluation) -> None:
    told: list[int] = []
    bidders = {"pid": named_bidder("pid"), "low": named_bidder("fixed:ratio=0.3")}
    again = evaluate(
        bidders, in_market(["TargetCPA", "MaxClicks"], **SMALL), n_workers=2, progress=told.append, against="low"
    )
    assert sum(told) == 6
    for name, column in found.rows.items():
        np.testing.assert_array_equal(again.rows[name], column, err_msg=name)


def test_the_table_fits_on_80_columns_and_says_what_the_rows_say(found: Evaluation) -> None:
    lines = found.table().splitlines()
    assert max(map(len, lines)) <= 80
    share = next(s.share for s in found.summaries if s.method == "pid" and s.task is None)
    regret = next(s.share for s in found.regrets if s.method == "pid" and s.task is None)
    assert regret.value == pytest.approx(1 - share.value) and regret.low == pytest.approx(1 - share.high)
    assert any("pid" in line and "all tasks" in line and f"{share.value:.3f}" in line for line in lines)
    assert "Score minus that of low" in found.table() and "6 paired episodes" in " ".join(found.table().split())
    task = Task(name="a task with a long name as well", objective="conversions")
    long = evaluate({"a name of more characters than a terminal has room for": PidBidder()}, in_market(task, **SMALL))
    assert max(map(len, long.table().splitlines())) <= 80 and "0." in long.table()
    assert "Score minus" not in long.table()  # nobody to compare with


def test_welfare_and_regret_where_they_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task, people = TASKS["TargetCPA"], random_population(6, seed=1)
    params = MarketParams(n_impressions=240, n_ticks=6, budget_rule="auctionnet")
    (tmp_path / "people.json").write_text(people.to_json())
    sets = in_market(task, n_episodes=3, params=params, population=people)
    bidders = {"pid": named_bidder("pid"), "low": named_bidder("fixed:ratio=0.3")}
    found = evaluate(bidders, sets, metrics=["welfare"], out=tmp_path / "results")
    low = measure_welfare(
        FixedBidder(0.3), seeds=FIRST_SEED + np.arange(3), advertisers=[0, 1, 2], task=task, params=params,
        population=people,
    )  # fmt: skip
    mine = found.rows["method"] == "low"
    for column, expected in (("welfare", low.realised), ("efficient_welfare", low.efficient), ("revenue", low.revenue)):
        np.testing.assert_array_equal(found.rows[column][mine], expected)
    share = next(s.share.value for s in found.welfare if s.method == "low")
    assert share == pytest.approx(low.realised.sum() / low.efficient.sum())
    again = read(tmp_path / "results")
    assert again.table() == found.table() and f"{share:.3f}" in again.table() and "Regret" not in again.table()
    assert f"{share:.3f}" in (tmp_path / "results" / PAGE).read_text()
    command = f"evaluate --agent pid --agent hindsight --task TargetCPA --episodes 2 --workers 1 --out {tmp_path}/out"
    command += f" --impressions 240 --ticks 6 --population {tmp_path}/people.json --metrics regret welfare"
    main(command.split())
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines()[:-1])) <= 80
    assert shown.index("Within all limits") < shown.index("Regret: best") < shown.index("Welfare where")
    lines = [line.split() for line in shown[shown.index("Regret: best") :].splitlines()]
    assert ["hindsight", "TargetCPA", "0.000", "[0.000,", "0.000]", "0"] in lines


def test_welfare_is_refused_where_nobody_knows_it() -> None:
    (late,) = in_market("TargetCPA", n_episodes=1, params=MarketParams(n_impressions=240, conversion_delay=2.0))
    with pytest.raises(ValueError, match="`conversion_delay` must be 0 to trace impressions"):
        evaluate(BIDDERS, late, metrics=["welfare"])
    (live,) = in_market("TargetCPA", n_episodes=1)
    logged = replace(live, market=LoggedMarket(market=three_periods()))
    with pytest.raises(ValueError, match="`metrics` must not hold 'welfare' for task 'TargetCPA'"):
        evaluate(BIDDERS, logged, metrics=["regret", "welfare"])
    with pytest.raises(ValueError, match=r"`metrics` must be one of .* found 'wellfare', nearest: welfare"):
        evaluate(BIDDERS, live, metrics=["wellfare"])


def test_data_frame_figure_and_files(found: Evaluation, tmp_path: Path) -> None:
    assert list(found.to_pandas().columns) == list(found.rows)
    for task, title in ((None, "all tasks, 6 episodes"), ("MaxClicks", "MaxClicks, 3 episodes")):
        shares = {s.method: s.share.value for s in found.summaries if s.task == task}
        figure = found.plot(task)
        assert {dot.name: dot.x[0] for dot in figure.data} == pytest.approx(shares, rel=1e-5)
        assert figure.layout.title.text == title
    with pytest.raises(ValueError, match=r"`task` must be one of .*'MaxClicks'.*, found 'MaxCliks'"):
        found.plot("MaxCliks")
    evaluate(BIDDERS, in_market("TargetCPA", **SMALL), out=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {ROWS, RECORD, PAGE}
    again = read(tmp_path)
    assert again.against == "pid" and again.table().count("TargetCPA") == 5
    page = (tmp_path / PAGE).read_text()
    share = next(s.share for s in again.summaries if s.method == "low").value
    assert f"{share:.3f}" in page and "What was played" in page and "400000 to 400002" in page
    with pytest.raises(FileNotFoundError, match="must hold an evaluation"):
        read(tmp_path / "nothing")


def test_a_stopped_evaluation_goes_on_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stopped after each job in turn, it ends with the bytes of one that was never stopped."""
    out, whole = tmp_path / "out", tmp_path / "whole"
    (tmp_path / "mine.py").write_text(
        "class Mine:\n    name = 'mine'\n    def reset(self, campaigns):\n        self._base = campaigns.base\n"
        "    def act(self, view):\n        return self._base\n"
    )
    bidders = {"pid": named_bidder("pid"), "mine": named_bidder(f"{tmp_path}/mine.py:Mine")}
    params = MarketParams(n_impressions=60, n_ticks=6)
    sets = in_market("TargetCPA", n_episodes=33, params=params)  # three jobs
    evaluate(bidders, sets, out=whole)
    told: list[int] = []

    def stop(amount: int) -> None:
        told.append(amount)
        if len(told) == 2:  # what is kept, then one job
            raise KeyboardInterrupt

    starts = []
    for _ in range(3):
        told.clear()
        with pytest.raises(KeyboardInterrupt):
            evaluate(bidders, sets, out=out, progress=stop)
        starts.append(told[0])
    assert starts == [0, 16, 32] and not out.exists()
    for changed, sign in (
        ({"pid": named_bidder("pid:i=0.3"), "mine": bidders["mine"]}, "`bidders` differs"),
        ({"pid": bidders["pid"]}, "`bidders` differs"),
    ):
        with pytest.raises(FileExistsError, match=rf"{sign}.*finish it with those, or .*--force"):
            evaluate(changed, sets, out=out)
    with pytest.raises(FileExistsError, match="`episodes` differs"):
        evaluate(bidders, in_market("TargetCPA", n_episodes=32, params=params), out=out)
    last = evaluate(bidders, sets, out=out, n_workers=2, against="mine")  # nothing is left to play
    assert last.n_resumed == 33 and (out / ROWS).read_bytes() == (whole / ROWS).read_bytes()
    assert not (tmp_path / ".out.unfinished").exists()


def test_a_changed_file_of_a_bidder_is_another_bidder_and_force_drops_what_is_kept(tmp_path: Path) -> None:
    one = named_bidder("pid").identity
    assert one == named_bidder("p=pid").identity != named_bidder("pid:i=0.3").identity
    agent = tmp_path / "agent.safetensors"
    agent.write_bytes(b"one")
    before = named_bidder(str(agent)).identity
    agent.write_bytes(b"two")
    assert named_bidder(str(agent)).identity != before
    sets = in_market("TargetCPA", **SMALL)

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate({"pid": named_bidder("pid")}, sets, out=tmp_path / "out", progress=stop)
    found = evaluate({"dual": named_bidder("dual")}, sets, out=tmp_path / "out", force=True)
    assert found.names == ("dual",) and not (tmp_path / ".out.unfinished").exists()


def test_a_family_is_played_in_its_own_markets(tmp_path: Path) -> None:
    family = make_task_family(2, imbalance=(2, 2), n_impressions=300)
    collect_family(family, tmp_path, n_validation=1, n_test=1)
    sets = of_data(tmp_path, n_episodes=2)
    for of_task, member in zip(sets, family.members, strict=True):
        assert of_task.task == member.task and set(of_task.advertisers) <= set(member.advertisers)
        played = evaluate({"low": FixedBidder(0.3)}, of_task).rows
        arguments = {"task": member.task, "params": member.params, "population": member.population}
        alone = rollout(FixedBidder(0.3), seeds=of_task.seeds, advertisers=of_task.advertisers, **arguments)
        np.testing.assert_array_equal(played["score_expected"], alone.score(expected=True))
    (one,) = of_data(tmp_path, tasks=[family.names[1]], n_episodes=2)
    assert one.task.name == family.names[1]
    with pytest.raises(ValueError, match=r"`task` must be one of .* found 'Nothing'"):
        of_data(tmp_path, tasks=["Nothing"])


def test_a_collected_data_set_is_played_in_its_own_market(tmp_path: Path) -> None:
    population = random_population(48, seed=2)
    params = MarketParams(n_impressions=300, mechanism="first_price")
    wanted = Collection(
        task=TASKS["TargetCPA"], n_episodes=1, policy="random", advertisers=(4, 7), params=params, population=population
    )
    collect_data_set(wanted, tmp_path / "logs", n_workers=1)
    (episodes,) = of_data(tmp_path / "logs", n_episodes=3)
    assert episodes.advertisers.tolist() == [4, 7, 4]
    assert episodes.description["params"]["mechanism"] == "first_price"
    assert episodes.market.params == params and episodes.market.population == population  # type: ignore[attr-defined]


def test_a_log_is_played_by_every_advertiser_of_every_period(tmp_path: Path) -> None:
    log = three_periods()
    save_replay(log, tmp_path / "log")
    (every,) = in_log(tmp_path / "log", "MaxConversions")
    assert len(every) == len(log.episodes) == 20
    (some,) = in_log(log, "MaxConversions", n_episodes=4)
    assert set(some.days) == {10, 11, 12}  # spread over the log
    rows = evaluate(BIDDERS, some).rows
    played = rollout(PidBidder(), **some.part(0, 4))
    np.testing.assert_array_equal(rows["score_expected"][rows["method"] == "pid"], played.score(expected=True))
    (fixed,) = in_log(log, "MaxConversions", n_episodes=4, protocol="fixed-prices")
    assert fixed.market.difference(FixedPriceMarket(market=log)) == "" and fixed.market.difference(some.market)
    assert (fixed.description["protocol"], some.description["protocol"]) == ("fixed-prices", "logged-bids")
    bidder = named_bidder("fixed:ratio=3")
    (live,) = in_log(log, "MaxConversions", n_episodes=4, protocol="live", competitors=bidder.make)
    assert live.market.difference(logged_values(log)) == "other competitors" and live.description["protocol"] == "live"
    with pytest.raises(ValueError, match="`competitors` must be given with `protocol` 'live' only"):
        in_log(log, "MaxConversions", competitors=bidder.make)
    with pytest.raises(ValueError, match=r"`protocol` must be one of .* nearest: fixed-prices"):
        in_log(log, "MaxConversions", protocol="fixed_price")


def test_campaigns_of_bat_are_episodes(tmp_path: Path) -> None:
    import_bat(*made_up_bat(3, seed=1), tmp_path / "bat", mechanism="first_price")
    (episodes,) = in_log(tmp_path / "bat", Task(name="clicks", objective="clicks"))
    assert episodes.advertisers.tolist() == [0, 1, 2] and episodes.description["mechanism"] == "first_price"
    named = {name: named_bidder(name) for name in ("ta-pid", "fixed")}
    found = evaluate(named, episodes, out=tmp_path / "out")
    assert (found.rows["reference"] >= 0.95 * found.rows["score_expected"])[found.rows["method"] == "fixed"].all()
    assert "BAT" in (tmp_path / "out" / "report.html").read_text()
    again = evaluate(named, replace(episodes, market=load_bat(tmp_path / "bat")))
    np.testing.assert_array_equal(again.rows["score_expected"], found.rows["score_expected"])
    with pytest.raises(ValueError, match="`protocol` must be 'logged-bids' in BAT's market, found 'live'"):
        in_log(tmp_path / "bat", "MaxConversions", protocol="live")


def test_competitors_take_all_other_seats() -> None:
    task, bidder = TASKS["TargetCPA"], named_bidder("fixed:ratio=3")
    pressed = evaluate({"pid": PidBidder()}, in_market(task, **SMALL, competitors=bidder.make)).rows
    params = MarketParams.for_task(task, n_impressions=400)
    arguments: dict[str, Any] = {"seeds": FIRST_SEED + np.arange(3), "advertisers": [0, 1, 2], "task": task}
    arguments |= {"params": params, "competitors": dict.fromkeys(range(48), FixedBidder(3.0))}
    for column, played in (("score_expected", PidBidder()), ("reference", HindsightBidder())):
        np.testing.assert_array_equal(pressed[column], rollout(played, **arguments).score(expected=True))
    alone = evaluate({"pid": PidBidder()}, in_market(task, **SMALL)).rows
    assert not np.array_equal(pressed["reference"], alone["reference"])  # the reference met them, too


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evaluate({}, in_market("TargetCPA", **SMALL)), "at least one bidder, found none"),
        (lambda: evaluate({"a": 3}, in_market("TargetCPA", **SMALL)), "found 3 as 'a'"),  # type: ignore[dict-item]
        (lambda: evaluate(BIDDERS, []), "`episodes` must hold those of at least one task"),
        (lambda: evaluate(BIDDERS, in_market("TargetCPA", **SMALL), against="x"), "`against` must be one of"),
        (lambda: evaluate(BIDDERS, in_market("TargetCPA", **SMALL) * 2), "tasks of different names"),
        (lambda: in_market("TargetCPA", seeds=[1, 1]), "`seeds` must be different integers"),
        (lambda: in_market("TargetCPA", n_episodes=0), "`n_episodes` must be at least 1, found 0"),
        (lambda: in_market("TargetCPA", advertisers=[]), "`advertisers` must hold at least one"),
        (lambda: in_market([]), "`tasks` must hold tasks of different names"),
        (lambda: in_market("TargetCPA", params=MarketParams(), n_impressions=3), "give `params` or `n_impressions`"),
        (lambda: in_market("MaxClicks", params=MarketParams()), "the market must have a funnel"),
    ],
)
def test_what_cannot_be_evaluated_is_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_public_names_are_lazy_and_there() -> None:
    assert benchmarks.evaluate is evaluate and benchmarks.in_market is in_market
    assert all(getattr(benchmarks, name) for name in benchmarks.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = benchmarks.nothing


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = Task(name="Own", objective="conversions", constraints=(Constraint(kind="cpa", scale=0.8),))
    (tmp_path / "own.json").write_text(own.to_json())
    (tmp_path / "people.json").write_text(random_population(5, seed=1).to_json())
    (tmp_path / "mine.py").write_text(
        "class Mine:\n    name = 'mine'\n    def reset(self, campaigns):\n        self._base = campaigns.base\n"
        "    def act(self, view):\n        return self._base\n"
    )
    command = f"evaluate --agent pid --agent {tmp_path}/mine.py:Mine --task TargetCPA {tmp_path}/own.json"
    command += f" --seeds 7 9 --impressions 300 --ticks 12 --mechanism first_price --population {tmp_path}/people.json"
    main([*command.split(), "--workers", "1", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "Own" in said and "Mine" in said and str(tmp_path / "out" / PAGE) in said.replace("\n", "")
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert [entry["seeds"] for entry in record["episodes"]] == [[7, 9]] * 2
    params = record["episodes"][0]["params"]
    assert (params["n_impressions"], params["n_ticks"], params["mechanism"]) == (300, 12, "first_price")
    assert len(record["episodes"][1]["population"]["budget"]) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--agent pid", "`--task` must be given"),
        ("--agent pid --agent pid --task TargetCPA", "found 'pid' twice: write NAME=pid"),
        ("--agent pid --task TargetCPA --seeds 1 --episodes 2", "give `--episodes` or `--seeds`"),
        ("--agent pid --data logs --mechanism vcg", "`--mechanism` must not be given with `--data`"),
        ("--agent pid --task TargetCPA --replay logs --competitors pid", "`--competitors` must not be given with"),
        ("--agent pid --task TargetCPA --protocol fixed-prices", "give `--replay DIR` with it"),
        ("--agent pidd --task TargetCPA", "nearest: pid"),
    ],
)
def test_bad_options_of_the_command_are_named(options: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *options.split()])
    assert stop.value.code == 2 and message in capsys.readouterr().err
