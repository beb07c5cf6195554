"""A user's bidders as live competitors."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from agents import Campaigns, FixedBidder, HindsightBidder, MixedBidder, PidBidder, TickView, collect, rollout
from auction_env import TASKS, MarketParams, Shock, TrafficParams, auctionnet_population
from auction_env.control.bidder import Impressions
from auction_env.control.simulation import Simulation

PARAMS = MarketParams(n_impressions=4_000)
TASK = TASKS["MaxConversions"]


class Recorder:
    """A PID that keeps what it is told."""

    name = "recorder"

    def __init__(self) -> None:
        self.campaigns: list[Campaigns] = []
        self.views: list[TickView] = []
        self.impressions: list[Impressions] = []
        self._pid = PidBidder()

    def reset(self, campaigns: Campaigns) -> None:
        self.campaigns.append(campaigns)
        self._pid.reset(campaigns)

    def act(self, view: TickView) -> np.ndarray:
        self.views.append(view)
        assert view.impressions is not None
        self.impressions.append(view.impressions.now(0))
        return self._pid.act(view)


def play(competitors: dict | None, bidder=None, n: int = 6, **kwargs: object):
    arguments: dict[str, object] = {"params": PARAMS, "task": TASK, "competitors": competitors}
    return rollout(bidder or FixedBidder(1.1), seeds=np.arange(n), advertisers=np.arange(n), **(arguments | kwargs))


def test_a_bidder_that_does_what_the_script_does_changes_nothing() -> None:
    """The PID of the baselines with a CPA limit is the scripted behaviour."""
    scripted, replaced = play(None), play({j: PidBidder() for j in range(48)})
    shared = PidBidder()
    together = play({j: shared for j in (0, 3, 47)})
    for other in (replaced, together):
        np.testing.assert_array_equal(scripted.ticks.cost, other.ticks.cost)
        np.testing.assert_array_equal(scripted.features, other.features)


def test_competitors_meet_the_market_and_are_met() -> None:
    scripted = play(None)
    aggressive = play({j: FixedBidder(5.0) for j in range(24, 48)})
    assert aggressive.total("cost").sum() != scripted.total("cost").sum()
    assert aggressive.ticks.least_winning_cost[:5].mean() > 1.5 * scripted.ticks.least_winning_cost[:5].mean()


def test_a_competitor_sees_what_the_controlled_bidder_would_see() -> None:
    """The views of advertiser 9 as a competitor, and controlled, in the same episode are the same."""
    rival, controlled = Recorder(), Recorder()
    rollout(PidBidder(), seeds=[5], advertisers=[2], task=TASKS["TargetCPA"], params=PARAMS, competitors={9: rival})
    rollout(
        controlled, seeds=[5], advertisers=[9], task=TASKS["TargetCPA"], params=PARAMS, competitors={2: PidBidder()}
    )
    assert len(rival.views) == len(controlled.views) == 48
    for one, other in zip(rival.views, controlled.views, strict=True):
        for name in set(TickView._fields) - {"impressions"}:  # which are made when somebody asks for them
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for mine, theirs in zip(rival.impressions, controlled.impressions, strict=True):
        for values, others in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(values, others)
    for name in set(Campaigns._fields) - {"market", "task"}:  # which only references in hindsight may use
        np.testing.assert_array_equal(getattr(rival.campaigns[0], name), getattr(controlled.campaigns[0], name))


def test_who_is_controlled_is_not_also_a_competitor() -> None:
    rival = Recorder()
    play({0: rival, 1: rival}, n=3)  # advertiser i is controlled in market i
    assert rival.campaigns[0].advertiser.tolist() == [1, 0, 0, 1]
    alone = Recorder()
    play({0: alone}, n=1)
    assert alone.campaigns == []


def test_hindsight_replays_the_market_with_its_competitors() -> None:
    """The competitors keep a state of their own, which the replays must not disturb."""
    competitors = {j: PidBidder() for j in range(10, 20)}
    reference = HindsightBidder(n_coarse=3, n_fine=1)
    best = play(competitors, reference).score(expected=True)
    for ratio in np.geomspace(0.2, 5.0, 3):
        constant = play(competitors, FixedBidder(ratio)).score(expected=True)
        assert np.all(best >= constant)
    fixed = play(competitors, FixedBidder(reference.ratio)).score(expected=True)
    np.testing.assert_array_equal(best, fixed)


def test_days_reach_bidders_and_the_script() -> None:
    week = ((1.0, 3.0),) * 5 + ((3.0, 1.0),) * 2
    params = MarketParams(n_impressions=4_000, traffic=TrafficParams(weekly_curve=week))
    rival = Recorder()
    episodes = play({20: rival}, params=params, days=[0, 6, 1, 5, 2, 3])
    campaigns = rival.campaigns[0]
    assert campaigns.day.tolist() == [0, 6, 1, 5, 2, 3]
    assert campaigns.expected_traffic.shape == (6, 48)
    np.testing.assert_allclose(campaigns.expected_traffic[:, :24].sum(axis=1), [0.25, 0.75, 0.25, 0.75, 0.25, 0.25])
    early = episodes.ticks.n_impressions[:24].sum(axis=0) / episodes.total("n_impressions")
    assert np.all((early > 0.5) == [False, True, False, True, False, False])
    alone = play(None, params=params, days=[0, 6, 1, 5, 2, 3])
    np.testing.assert_array_equal(alone.ticks.cost, episodes.ticks.cost)  # script and PID plan alike
    apart = play({20: Recorder()}, MixedBidder([PidBidder(), FixedBidder()]), params=params, days=[0, 6, 1, 5, 2, 3])
    whole = play(None, PidBidder(), params=params, days=[0, 6, 1, 5, 2, 3])
    np.testing.assert_array_equal(apart.ticks.cost[:, 0::2], whole.ticks.cost[:, 0::2])
    logged = list(collect(PidBidder(), seeds=[0, 1], days=[0, 6], task=TASK, params=params))
    in_the_morning = [log.n_impressions[:24].sum() / log.n_impressions[:48].sum() for log in logged]
    np.testing.assert_allclose(in_the_morning, early[:2])  # the same markets
    drawn = play(None, params=params)
    again = play(None, params=params)
    np.testing.assert_array_equal(drawn.ticks.cost, again.ticks.cost)


def test_observations_stay_in_their_space_on_days_with_more_traffic() -> None:
    traffic = TrafficParams(weekday_volume=(3.0,) * 7, shocks=(Shock(probability=1.0, length=(30, 40), volume=4.0),))
    env = gymnasium.make("auction_env/Bidding-v0", params=MarketParams(n_impressions=500, traffic=traffic))
    observation, _ = env.reset(seed=1)
    done = False
    while not done:
        assert env.observation_space.contains(observation)
        observation, _, done, _, _ = env.step(env.action_space.sample())
    assert env.observation_space.contains(observation)
    assert observation[15] > 1500


class _Wrong:
    name = "wrong"

    def reset(self, campaigns: Campaigns) -> None:
        self._n = len(campaigns.budget)

    def act(self, view: TickView) -> np.ndarray:
        return np.full(self._n, np.nan)


SAME = PidBidder()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: play({48: PidBidder()}), r"`competitors` must have advertisers 0..47 as keys, found 48"),
        (lambda: play({"a": PidBidder()}), "`competitors` must have advertisers 0..47 as keys, found 'a'"),
        (lambda: play({1: "PID"}), "a bidder must be an object, found 'PID'"),
        (lambda: play({30: _Wrong()}), "bidder 'wrong' must return finite multipliers >= 0, found nan"),
        (lambda: play({30: SAME}, SAME), "`competitors` must be other objects than the bidder, found bidder 'PID'"),
        (lambda: play(None, days=[0, 1]), r"`days` must have a day for each seed, found shapes \(2,\) and \(6,\)"),
        (
            lambda: next(collect(PidBidder(), seeds=[1], days=[0, 1], task=TASK, params=PARAMS)),
            r"`days` must have a day for each seed, found shapes \(2,\) and \(1,\)",
        ),
        (lambda: play(None, days=[9] * 6), r"`days` must lie in 0..6 .* found 9"),
        (
            lambda: Simulation(
                PARAMS,
                auctionnet_population(),
                controlled_market=[0],
                controlled_advertiser=[0],
                competitor_task="nothing",
            ),
            "nothing",
        ),
    ],
)
def test_bad_competitors_are_named(call, message: str) -> None:
    with pytest.raises((ValueError, KeyError), match=message):
        call()
