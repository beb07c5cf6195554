"""Rules on the response of logs: the forecast of the rest of a day, the roots of GRM, MPC over scenarios."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from agents import Bidder, FixedBidder, GrmBidder, ResponseMpcBidder, record_scenarios, rollout
from agents.labels.hindsight import LOG_GRID, best_log_multipliers
from agents.labels.response import Response
from agents.rules.grm import largest_root
from agents.rules.scenarios import Forecast, Scenarios
from auction_env import TASKS
from auction_env.control.bidder import TickView
from auction_env.data import TrajectoryData
from auction_env.tasks import BASES, QUANTITIES
from tests.agents.rules.logs import log_of, params_of
from tests.vamo.test_agent import campaigns_of, views_of

BIDDERS = [GrmBidder, ResponseMpcBidder]


@pytest.fixture(scope="module")
def log() -> TrajectoryData:
    return log_of("TargetCPA")


def seen(day: TrajectoryData) -> Iterator[TickView]:
    """What a bidder saw of a logged day."""
    for view in views_of(day):
        offered = np.array([day[QUANTITIES[basis].offered][view.tick] for basis in BASES])
        yield view._replace(predicted_mean=offered[None] / max(day.n_impressions[view.tick], 1))


def day_of(history: Scenarios, i: int) -> Scenarios:
    """The i-th day as the only scenario; the response is that of all."""
    to_go = {name: part[[i]] for name, part in history.to_go.items()}
    days = {name: getattr(history, name)[[i]] for name in ("log_worth", "volume", "price", "offered")}
    return history._replace(to_go=to_go, **days)


def test_a_day_that_was_logged_is_forecast_as_it_was(log: TrajectoryData) -> None:
    """A campaign that sees the one scenario's own ticks: what the response says of the rest of this day."""
    task, day = TASKS["TargetCPA"], log.select([3])
    forecast = Forecast(day_of(record_scenarios(log, task), 3), prior_ticks=4.0)
    forecast.reset(campaigns_of(day, task))
    brings = Response.fit([log]).outcomes(day, task, np.log(task.unit_worth(day.targets))[:, None] + LOG_GRID)
    for view in seen(day):
        forecast.see(view)
        to_go = forecast.to_go(view)
        assert set(to_go) == {"cost", "expected_conversions"}
        for name, found in to_go.items():
            np.testing.assert_allclose(found[0, 0], brings[name][view.tick :].sum(axis=0), rtol=2e-3)


def test_a_campaign_with_more_traffic_at_higher_prices_is_forecast_more_cost(log: TrajectoryData) -> None:
    task, day = TASKS["TargetCPA"], log.select([3])
    history, to_go = record_scenarios(log, task), []
    for volume, price in ((1.0, 1.0), (2.0, 1.0), (1.0, 2.0)):
        forecast = Forecast(day_of(history, 3), prior_ticks=1e-9)
        forecast.reset(campaigns_of(day, task))
        for view in seen(day):
            features = view.features.copy()
            features[:, 13] *= volume
            features[:, 4] *= price
            moved = view._replace(features=features)
            forecast.see(moved)
            if view.tick == 20:
                to_go.append(forecast.to_go(moved))
    np.testing.assert_allclose(to_go[1]["cost"], 2.0 * to_go[0]["cost"], rtol=1e-6)
    # at twice the price, twice the multiplier wins the same impressions at twice the cost
    steps = np.log(2.0) / (LOG_GRID[1] - LOG_GRID[0])
    same = [
        np.interp(np.arange(len(LOG_GRID)) - steps, np.arange(len(LOG_GRID)), part[0, 0]) for part in to_go[0].values()
    ]
    for found, expected, times in zip(to_go[2].values(), same, (2.0, 1.0), strict=True):
        np.testing.assert_allclose(found[0, 0, 10:], times * expected[10:], rtol=0.02)


def test_the_root_is_where_the_ratio_crosses_its_limit() -> None:
    ratio = np.stack([np.exp(LOG_GRID - 0.35), np.exp(LOG_GRID - 9.0), np.exp(LOG_GRID + 9.0), np.zeros(len(LOG_GRID))])
    ratio[3, -5:] = np.inf
    found = largest_root(ratio)
    assert found[0] == pytest.approx(0.35, abs=0.005)
    np.testing.assert_allclose(found[1:], [LOG_GRID[-1], LOG_GRID[0], LOG_GRID[-6]])


def test_grm_bids_the_smaller_root_of_budget_and_limit(log: TrajectoryData) -> None:
    """One scenario that is the day itself: of the forecast, the larger ratio ends at its limit."""
    task = TASKS["TargetCPA"]
    all_days, n_at_limit = record_scenarios(log, task), {"budget": 0, "cpa": 0}
    for episode in range(log.n_episodes):
        day = log.select([episode])
        history, campaigns = day_of(all_days, episode), campaigns_of(day, task)
        bidder, forecast, view = GrmBidder(history), Forecast(history, 4.0), next(seen(day))
        bidder.reset(campaigns)
        z = np.log(bidder.act(view) / campaigns.base)
        forecast.reset(campaigns)
        forecast.see(view)
        totals = forecast.totals({name: part[:, 0] for name, part in forecast.to_go(view).items()})
        ratios = task.ratios(totals, forecast.targets_like(totals.cost), expected=True)
        ends = {name: float(np.interp(z, LOG_GRID, ratio[0])[0]) for name, ratio in ratios.items()}
        if LOG_GRID[0] < z < LOG_GRID[-1]:
            assert max(ends.values()) == pytest.approx(1.0, abs=0.01)
            n_at_limit[max(ends, key=lambda name: ends[name])] += 1
    assert min(n_at_limit.values()) > 0


def test_mpc_on_the_day_itself_bids_the_hindsight_optimal_action(log: TrajectoryData) -> None:
    task = TASKS["TargetCPA"]
    history, best = record_scenarios(log, task), best_log_multipliers(log, task, Response.fit([log]))
    for episode in (0, 5, 9):
        day = log.select([episode])
        bidder, campaigns = ResponseMpcBidder(day_of(history, episode)), campaigns_of(day, task)
        bidder.reset(campaigns)
        found = np.log(bidder.act(next(seen(day))) / campaigns.base)
        assert found[0] == pytest.approx(best[log.episode_starts[episode]], abs=0.1)


@pytest.mark.parametrize("make", BIDDERS)
@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_is_played_within_its_budget_and_whatever_the_batch(make: type[Bidder], task: str) -> None:
    arguments = {"task": TASKS[task], "params": params_of(task)}
    bidder = make(record_scenarios(log_of(task, 8), TASKS[task]))  # type: ignore[call-arg]
    together = rollout(bidder, seeds=[7, 8, 9], advertisers=[3, 20, 40], **arguments)
    alone = rollout(bidder, seeds=[8], advertisers=[20], **arguments)
    np.testing.assert_allclose(together.ticks.multiplier[:, 1], alone.ticks.multiplier[:, 0], rtol=1e-9)
    assert np.all(together.total("cost") <= together.budget * (1 + 1e-9))
    assert np.ptp(together.ticks.multiplier, axis=0).min() > 0  # controls


@pytest.mark.parametrize("make", BIDDERS)
def test_both_beat_the_worth_of_a_unit_and_keep_the_limit(make: type[Bidder], log: TrajectoryData) -> None:
    everyone = {"seeds": np.arange(24), "advertisers": np.arange(24), "task": TASKS["TargetCPA"]}
    market = params_of("TargetCPA")
    bidder = make(record_scenarios(log, TASKS["TargetCPA"]))  # type: ignore[call-arg]
    played, constant = (rollout(each, params=market, **everyone) for each in (bidder, FixedBidder(1.0)))
    assert played.score(expected=True).mean() > 1.05 * constant.score(expected=True).mean()
    assert np.median(played.ratios(expected=True)["cpa"]) < 1.05


@pytest.mark.parametrize("make", BIDDERS)
def test_errors_name_what_was_found(make: type[Bidder], log: TrajectoryData) -> None:
    task = TASKS["TargetCPA"]
    history = record_scenarios(log, task)
    with pytest.raises(ValueError, match=r"`scale` must be positive, found 0"):
        make(history, scale=0.0)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"`prior_ticks` must be positive, found -1"):
        make(history, prior_ticks=-1.0)  # type: ignore[call-arg]
    campaigns = campaigns_of(log, task)
    with pytest.raises(ValueError, match=r"`scenarios` must have the 24 ticks that are played, found 48"):
        make(history).reset(campaigns._replace(n_ticks=24))  # type: ignore[call-arg]
    other = TASKS["MaxConversions"].requirements(campaigns.targets)
    with pytest.raises(ValueError, match=r"must be of the task that is played, found those of 'TargetCPA'"):
        make(history).reset(campaigns._replace(requirements=other))  # type: ignore[call-arg]


def test_scenarios_are_complete_days_spread_over_the_logs(log: TrajectoryData) -> None:
    task = TASKS["TargetCPA"]
    scenarios = record_scenarios([log.select([0, 1, 2]), log.select([3, 4])], task, n_scenarios=3)
    wanted = [log.select([episode]).n_impressions for episode in (0, 2, 4)]
    np.testing.assert_array_equal(scenarios.volume, wanted)
    with pytest.raises(ValueError, match="`n_scenarios` must be at least 1, found 0"):
        record_scenarios(log, task, n_scenarios=0)
