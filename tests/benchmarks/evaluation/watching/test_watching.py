"""A watched episode: that of a rollout, its price ladder, the terminal, the page, the command."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import benchmarks
from agents import FixedBidder, PidBidder, rollout
from auction_env.control.bidder import Bidder
from auction_env.control.simulation import LiveMarket
from auction_env.market.params import MarketParams
from auction_env.market.population import auctionnet_population
from auction_env.market.tracing import trace_tick
from auction_env.tasks import TASKS
from benchmarks.cli import main
from benchmarks.evaluation.episodes import EpisodeSet, in_log, in_market
from benchmarks.evaluation.watching.episode import WatchedEpisode
from benchmarks.evaluation.watching.ladder import ladder_of
from benchmarks.evaluation.watching.page import write_page
from benchmarks.evaluation.watching.playing import unfold, watch
from benchmarks.evaluation.watching.terminal import panel, show, sparkline
from tests.auction_env.replay.logs import three_periods
from tests.benchmarks.browser import Opened, data_of, needs_browser

N_TICKS = 6
TASK = TASKS["MultiConstraint"]
PARAMS = MarketParams.for_task(TASK, n_impressions=480, n_ticks=N_TICKS)
BIDDERS: dict[str, Bidder] = {"pid": PidBidder(), "<low>": FixedBidder(0.5)}


def episodes() -> EpisodeSet:
    return in_market(TASK, n_episodes=3, params=PARAMS)[0]


@pytest.fixture(scope="module")
def states() -> list[WatchedEpisode]:
    return list(unfold(BIDDERS, episodes(), 1))


@pytest.fixture(scope="module")
def watched(states: list[WatchedEpisode]) -> WatchedEpisode:
    return states[-1]


def test_the_episode_is_that_of_a_rollout(states: list[WatchedEpisode], watched: WatchedEpisode) -> None:
    assert [state.n_played for state in states] == [1, 2, 3, 4, 5, 6] and watched.n_ticks == N_TICKS
    frame = watched.to_pandas()
    assert len(frame) == 2 * N_TICKS
    for name, bidder in BIDDERS.items():
        alone = rollout(bidder, **episodes().part(1, 2))
        last = frame[frame.bidder == name].iloc[-1]
        expected = {
            "score_expected": alone.score(expected=True),
            "objective": alone.objective(),
            "spent": alone.total("cost") / alone.budget,
            "won": alone.ticks.wins[-1] / alone.ticks.n_impressions[-1],
            **{f"{kind}_ratio_expected": alone.ratios(expected=True)[kind] for kind in watched.limits},
        }
        for column, value in expected.items():
            np.testing.assert_allclose(last[column], value[0], err_msg=column)
        half = states[2].played[name]
        np.testing.assert_array_equal(half.ticks.cost[:, 0], alone.ticks.cost[:3, 0])
    assert watched.plan[-1] == pytest.approx(1.0)
    assert "market seed 400001, advertiser 1" in watched.title and "6 of 6 ticks" in repr(watched)
    assert [trace.name for trace in watched.plot().data][:2] == ["traffic", "pid"]


@pytest.mark.parametrize("quality", [None, tuple(np.linspace(0.5, 2.0, 48))])
def test_the_ladder_of_a_live_market_is_what_others_bid(quality: tuple[float, ...] | None) -> None:
    task, own = TASKS["TargetCPA"], 5
    params = MarketParams(n_impressions=2_000, n_ticks=N_TICKS, quality=quality)
    simulation = LiveMarket(params=params, population=auctionnet_population()).one_each(task, np.array([own]))
    simulation.reset([3])
    everyone = simulation.decide([1.0]).multipliers[0]
    traced = trace_tick(simulation.market, everyone).bid * (np.ones(48) if quality is None else quality)
    others = np.sort(np.delete(traced, own, axis=1), axis=1)[:, ::-1][:, :3]
    others /= 1.0 if quality is None else quality[own]
    simulation.reset([3])
    _, ladder = ladder_of(simulation).step(np.array([1.0]))
    expected = np.quantile(np.maximum(others, params.reserve), (0.1, 0.5, 0.9), axis=0).T
    np.testing.assert_allclose(ladder[0], expected, rtol=1e-5)
    assert (np.diff(ladder[0], axis=0) <= 0).all() and (np.diff(ladder[0], axis=1) >= 0).all()


def test_the_ladder_of_a_log_is_what_the_highest_bidder_pays() -> None:
    log = three_periods()
    (some,) = in_log(log, "MaxConversions")
    which = 9
    found = watch({"high": FixedBidder(1e3)}, some, which)
    period, advertiser = int(some.days[which]), int(some.advertisers[which])  # type: ignore[index]
    row, _ = log.index(period, advertiser)
    start = log.log.tick_start[row[0]] - log.log.tick_start[row[0], 0]
    price = log.clear(period, advertiser, np.full(start[-1], 1e3)).price  # of slot 1: the highest bid of the others
    medians = [np.median(price[a:b]) for a, b in pairwise(start)]
    np.testing.assert_allclose(found.ladder[:, 0, 0, 1], medians, rtol=1e-6)
    assert f"period {period}" in found.title
    (fixed,) = in_log(log, "MaxConversions", protocol="fixed-prices")
    ladder = watch({"high": FixedBidder(1e3)}, fixed, which).ladder
    cost = log.least_winning_costs(slice(*log.log.tick_start[row[0], :2]))
    np.testing.assert_allclose(ladder[0, 0], [np.quantile(cost, (0.1, 0.5, 0.9))], rtol=1e-6)
    (live,) = in_log(log, "MaxConversions", protocol="live")
    assert np.isfinite(watch({"high": FixedBidder(1.0)}, live, which).ladder).all()


def test_the_panel_fits_and_says_what_the_ticks_say(states: list[WatchedEpisode]) -> None:
    many: dict[str, Bidder] = {f"bidder {k} with a long name": FixedBidder(k / 4) for k in range(1, 8)}
    for state in (states[3], watch(many, episodes())):
        console = Console(width=80, file=io.StringIO(), record=True)
        console.print(panel(state, 80))
        shown = console.export_text()
        assert max(map(len, shown.splitlines())) <= 80
        for columns in list(state.ticks.values())[:5]:
            assert f"{100 * columns['spent'][-1]:.1f}" in shown and f"{columns['cpa_ratio_expected'][-1]:.2f}" in shown
        assert f"tick {state.n_played} of 6" in shown and ("and 2 more bidders" in shown) == (len(state.names) == 7)


def test_a_sparkline_fills_as_the_episode_unfolds() -> None:
    series = np.array([0.0, 0.5, 1.0, 2.0, np.nan, np.inf])
    assert sparkline(series, 8, 8, 1.0) == "▁▅██  "
    assert sparkline(series[:4], 8, 4, 2.0) == "▂▇"  # two ticks a block
    assert sparkline(series, 8, 0, 1.0) == "" and sparkline(series[:2], 8, 8, 0.0) == "▁▁"


def test_a_terminal_gets_every_tick_and_its_cursor_back(states: list[WatchedEpisode]) -> None:
    screen = io.StringIO()
    console = Console(width=80, file=screen, force_terminal=True)
    assert show(iter(states), console, speed=1e6) is states[-1]
    assert all(f"tick {tick} of 6" in screen.getvalue() for tick in range(1, 7))

    def stopped() -> Iterator[WatchedEpisode]:
        yield states[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        show(stopped(), console, speed=1e6)
    assert screen.getvalue().rstrip().endswith("\x1b[?25h")


def test_the_page_says_what_the_ticks_say(watched: WatchedEpisode, tmp_path: Path) -> None:
    page = write_page(tmp_path / "new" / "page.html", watched).read_text(encoding="utf-8")
    found = data_of(page)
    assert found["initial"] == {"frame": 5} and found["controls"]["market"] == ["pid", "<low>"]
    lines = [part for part in found["figures"]["episode"]["traces"] if part["trace"]["name"] == "pid"]
    assert all(part["until"] == "frame" for part in lines)
    np.testing.assert_allclose(lines[1]["trace"]["y"], 100 * watched.ticks["pid"]["spent"], rtol=1e-5)
    assert f"{watched.ticks['pid']['score_expected'][2]:.4g}" in page and "<low>" not in page.split("<script")[0]
    assert page.count(" hidden>") == N_TICKS - 1  # without JavaScript the last state is shown


@needs_browser
def test_the_slider_and_the_button_move_the_page(browser: Any, watched: WatchedEpisode, tmp_path: Path) -> None:
    opened = Opened(browser, write_page(tmp_path / "page.html", watched), viewport={"width": 400, "height": 800})
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.locator("#frame").focus()
    page.keyboard.press("Home")
    assert page.locator("output").inner_text() == "1 of 6" and page.locator("caption:visible").all_inner_texts() == [
        "After tick 1"
    ]
    drawn = opened.drawn("episode")
    assert {len(trace["y"]) for trace in drawn["data"] if trace["name"] != "plan"} == {1}
    assert drawn["shapes"][-1]["x0"] == 1
    ladder = opened.drawn("ladder")["data"]
    opened.pick("market", 1)
    assert [trace["name"] for trace in opened.drawn("episode")["data"] if "mean bid" in trace["name"]] == [
        "&lt;low&gt;: mean bid"
    ]
    page.locator("#play").click()
    page.wait_for_selector("#play:text-is('Play')")
    assert page.locator("output").inner_text() == "6 of 6"
    assert opened.drawn("ladder")["data"] != ladder
    opened.close()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    market = "--task TargetCPA --seeds 7 9 --advertisers 4 --impressions 480 --ticks 6 --episode 1"
    main(["watch", "--agent", "pid", "--agent", "low=fixed:ratio=0.5", *market.split(), "--page", str(page)])
    shown = capsys.readouterr().out
    assert "TargetCPA: market seed 9, advertiser 4, after tick 6 of 6" in shown and "low" in shown
    assert str(page) in shown.replace("\n", "") and len(data_of(page.read_text(encoding="utf-8"))["figures"]) == 2
    assert benchmarks.watch is watch


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--task TargetCPA MaxClicks", "`--task` must name the one task to watch, found 2: TargetCPA, MaxClicks"),
        ("--task TargetCPA --episodes 2 --episode 2", "`episode` must lie in 0..1, found 2"),
        ("--task TargetCPA --speed 0", "`--speed` must be positive, found 0"),
        ("--task TargetCPA --agent pid", "found 'pid' twice"),
    ],
)
def test_bad_options_are_named(options: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["watch", "--agent", "pid", *options.split()])
    assert stop.value.code == 2 and message in capsys.readouterr().err
