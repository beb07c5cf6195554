"""`auction_env/Replay-v0` beside what all environments share: outcomes, the choice of episodes, arguments."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auction_env import ReplayMarket, ReplayParams, StateFeatures, replay_from_bids
from auction_env.replay.env import ReplayEnv, ReplayVectorEnv
from auction_env.replay.simulation import ReplaySimulation
from tests.auction_env.replay.logs import N_TICKS, make_log, make_market, three_periods
from tests.reference import replay as reference

ID = "auction_env/Replay-v0"


@pytest.fixture(scope="module")
def market() -> ReplayMarket:
    return three_periods()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    n_slots=st.integers(1, 4),
    n_advertisers=st.integers(1, 7),
    mechanism=st.sampled_from(["gsp", "first_price"]),
    is_unsold=st.booleans(),
    reserve=st.sampled_from([0.0, 0.125, 0.3, 2.0]),
    is_expected=st.booleans(),
    coarse=st.booleans(),
)
def test_equals_the_slow_reference(
    seed: int, n_slots: int, n_advertisers: int, mechanism: str, is_unsold: bool, reserve: float, is_expected: bool,
    coarse: bool,
) -> None:  # fmt: skip
    log = make_log(seed, 60, n_advertisers, n_slots, coarse)
    exposure = (0.9, 0.8, 0.6, 0.5)[:n_slots]
    market = make_market(
        log, n_slots=n_slots, exposure=exposure, reserve=reserve, mechanism=mechanism, is_unsold_at_reserve=is_unsold
    )
    rng = np.random.default_rng(seed)
    own = int(rng.integers(n_advertisers))
    env = ReplayEnv(market=market, advertiser=own, conversions="expected" if is_expected else "sampled", max_ratio=4.0)
    observation, _ = env.reset(options={"episode_seed": seed})
    actions = np.round(rng.uniform(-1, 1, N_TICKS) * 2) / 2
    multipliers = log["cpa_target"][own] * 4.0**actions
    rules = {"n_slots": n_slots, "reserve": reserve, "mechanism": mechanism, "is_unsold": is_unsold}
    expected = reference.play(log, own, multipliers, seed, rules=rules, exposure=exposure, is_expected=is_expected)
    features = StateFeatures(1, N_TICKS)
    budget_left = log["budget"][own]
    for tick, total in enumerate(expected):
        n = max(total["n_impressions"], 1)
        now = features.observe(
            tick, budget_left=budget_left / log["budget"][own], value_now=total["offered_conversions"] / n,
            volume_now=total["n_impressions"],
        )[0]  # fmt: skip
        np.testing.assert_allclose(observation[:16], now, rtol=1e-6, atol=1e-12)
        observation, reward, is_over, is_truncated, info = env.step(np.array([actions[tick]]))
        for name in ("wins", "exposures", "n_impressions"):
            assert info[name] == total[name], (tick, name)
        for name in ("cost", "conversions", "expected_conversions", "least_winning_cost", "budget_left"):
            np.testing.assert_allclose(info[name], total[name], rtol=1e-10, atol=1e-12, err_msg=f"{tick} {name}")
        assert reward == info["conversions"]
        assert (is_over, is_truncated) == (tick == N_TICKS - 1, False)
        assert 0 <= info["budget_left"] <= budget_left
        assert info["exposures"] <= info["wins"] <= info["n_impressions"]
        budget_left = info["budget_left"]
        features.update(
            bid=total["bid"] / n, least_winning_cost=total["least_winning_cost"], value=total["offered_conversions"] /
            n, conversions=total["conversions"] / n, win_rate=total["wins"] / n, volume=total["n_impressions"],
        )  # fmt: skip


def test_conversions_are_near_their_expectation() -> None:
    n = 40_000
    values = np.full((n, 2), 0.05)
    market = replay_from_bids(
        tick=np.zeros(n, int), bids=np.full((n, 2), 0.1), values=values, sigmas=values * 0.3, budget=[1e9, 1e9],
        cpa_target=[10.0, 10.0], n_ticks=1, rules=ReplayParams(n_slots=1, exposure=(1.0,)),
    )  # fmt: skip
    env = ReplayEnv(market=market, advertiser=0)
    env.reset(seed=1)
    info = env.step(np.zeros(1))[-1]
    assert info["exposures"] == n
    assert abs(info["conversions"] - n * 0.05) < 4 * np.sqrt(n * 0.05)


def test_the_choice_of_the_episode(market: ReplayMarket) -> None:
    env = gym.make(ID, market=market)
    assert env.reset(options={"period": 12, "advertiser": 4})[1] == {"period": 12, "advertiser": 4}
    assert env.reset(seed=3)[1] == env.reset(seed=3)[1]
    infos = [env.reset()[1] for _ in range(400)]
    seen = {(info["period"], info["advertiser"]) for info in infos}
    assert seen == {(p, a) for p in (10, 11, 12) for a in range(7)} - {(12, 0)}
    fixed = ReplayEnv(market=market, period=11)
    assert {fixed.reset(seed=k)[1]["period"] for k in range(20)} == {11}
    assert fixed.reset(options={"period": 10})[1]["period"] == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"period": 99}, r"`period` must be one of \[10, 11, 12\] or None, found 99"),
        ({"advertiser": -1}, "`advertiser` must be one of .* or None, found -1"),
        ({"period": 12, "advertiser": 0}, "`advertiser` must be one of .* or None, found 0"),
        ({"speed": 3}, r"must hold only \['advertiser', 'episode_seed', 'period'\], found \['speed'\]"),
        ({"episode_seed": -1}, "`episode_seed` must not be negative, found -1"),
        ({"episode_seed": 1.5}, "`episode_seed` must be an integer, found 1.5"),
    ],
)
def test_bad_options_are_named(market: ReplayMarket, options: dict, message: str) -> None:
    env = ReplayEnv(market=market)
    with pytest.raises(ValueError, match=message):
        env.reset(options=options)


def test_bad_arguments_are_named(market: ReplayMarket) -> None:
    cases = [
        (lambda: ReplayEnv(), "`market` must be a ReplayMarket"),
        (lambda: ReplayEnv(market=market, max_ratio=1.0), "`max_ratio` must be greater than 1"),
        (lambda: ReplayEnv(market=market, max_ratio=1e300), r"`max_ratio` must keep multipliers at most 1e\+30"),
        (lambda: ReplayEnv(market=market, conversions="none"), "`conversions` must be one of"),
        (lambda: ReplayEnv(market=market, period=5), "`period` must be one of"),
        (lambda: ReplayEnv(market=market, task="MaxClicks"), "counts clicks, which must be recorded"),
        (lambda: ReplayVectorEnv(0, market=market), "`num_envs` must be at least 1"),
        (lambda: ReplaySimulation(market, [[1]]), r"`advertiser` must be a vector, found shape \(1, 1\)"),
        (lambda: ReplaySimulation(market, [1]).reset([0]), r"`days` must be 1 of the periods \[10, 11, 12\]"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


def test_threads_do_not_matter(market: ReplayMarket) -> None:
    ticks = []
    for is_serial in (True, False):
        simulation = ReplaySimulation(market, np.arange(1, 7))
        simulation._is_serial = is_serial
        simulation.reset(np.arange(6), np.array([10, 11, 12, 12, 11, 10]))
        ticks.append([simulation.step(np.full(6, 4.0)) for _ in range(N_TICKS)])
    for one, other in zip(*ticks, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_bidder_plays_a_log(market: ReplayMarket) -> None:
    """What a rollout needs: campaigns and views, which agree with the environment."""
    simulation = ReplaySimulation(market, [4], task="TargetCPA")
    simulation.reset([7], [12])
    campaigns, env = simulation.campaigns(), ReplayEnv(market=market, task="TargetCPA")
    observation, _ = env.reset(options={"episode_seed": 7, "period": 12, "advertiser": 4})
    assert campaigns.budget == market.budget[2, 4] and campaigns.cpa_target == market.cpa_target[2, 4]
    last_cost = 0.0
    for tick in range(simulation.n_ticks):
        view = simulation.view()
        assert (view.tick, view.last_cost[0]) == (tick, last_cost)
        assert view.predicted_mean[0].tolist() == [view.features[0, 12], 0, 0, 0]
        np.testing.assert_array_equal(observation, np.append(view.features[0], campaigns.requirements[0]).astype("f4"))
        played = simulation.step(campaigns.base)
        observation, _, _, _, info = env.step(np.zeros(1))
        last_cost = played.cost[0]
        assert (info["cost"], info["budget_left"]) == (last_cost, played.budget_left[0])


def test_ticks_without_impressions_and_a_lone_advertiser() -> None:
    market = replay_from_bids(tick=[1], bids=[[0.5]], values=[[0.1]], budget=[5.0], cpa_target=[10.0], n_ticks=3)
    env = ReplayEnv(market=market, conversions="expected")
    env.reset(seed=0)
    infos = [env.step(np.zeros(1))[-1] for _ in range(3)]
    assert [info["n_impressions"] for info in infos] == [0, 1, 0]
    assert [info["wins"] for info in infos] == [0, 1, 0]
    assert infos[1]["cost"] == np.float32(0.01)  # nobody else: the reserve
    assert infos[1]["conversions"] == np.float32(0.1)
    empty = replay_from_bids(
        tick=np.zeros(0, int), bids=np.zeros((0, 2)), values=np.zeros((0, 2)), budget=[1.0, 1.0], cpa_target=[1.0, 1.0]
    )
    assert ReplayEnv(market=empty).reset(seed=0)[0].shape == (31,)


def test_copies_may_each_have_an_advertiser_and_a_period(market: ReplayMarket) -> None:
    """As arguments and as options; each copy then is the single environment of its choice, resets included."""
    advertisers, periods = [1, 2, 3, 4], [12, 10, 11, 12]
    whole = {"market": market, "vectorization_mode": "vector_entry_point", "num_envs": 4}
    many = gym.make_vec(ID, **whole, advertiser=advertisers, period=np.array(periods))
    observation, info = many.reset(seed=5)
    assert info["advertiser"].tolist() == advertisers and info["period"].tolist() == periods
    by_option, _ = gym.make_vec(ID, **whole).reset(seed=5, options={"advertiser": advertisers, "period": periods})
    np.testing.assert_array_equal(observation, by_option)
    for copy in range(4):
        one = gym.make(ID, market=market, advertiser=advertisers[copy], period=periods[copy])
        np.testing.assert_array_equal(one.reset(seed=5 + copy)[0], observation[copy])
    for _ in range(N_TICKS + 1):  # the last step begins the next episodes
        info = many.step(np.zeros((4, 1), np.float32))[-1]
    assert info["advertiser"].tolist() == advertisers and info["period"].tolist() == periods
    mask = np.array([False, True, False, True])
    _, info = many.reset(options={"reset_mask": mask})
    assert info["advertiser"][mask].tolist() == [2, 4]
    _, info = many.reset(options={"advertiser": 5, "period": 10})  # options go before arguments
    assert info["advertiser"].tolist() == [5] * 4 and info["period"].tolist() == [10] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"advertiser": [1, 2, 3]}, r"`advertiser` must be an integer or 4 of them, found \[1, 2, 3\]"),
        ({"advertiser": [1, 2, 3], "period": [10, 11]}, "must be integers or one a copy"),
        ({"advertiser": [0, 1, 2, 3], "period": 12}, "`advertiser` must be one of .* found 0"),
        ({"advertiser": [[1, 2, 3, 4]]}, "must be integers or one a copy"),
    ],
)
def test_choices_that_do_not_fit_the_copies_are_named(
    market: ReplayMarket, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ReplayVectorEnv(4, market=market, **arguments)
    with pytest.raises(ValueError, match=r"`advertiser` must be an integer, found \[1, 2\]"):
        ReplayEnv(market=market, advertiser=[1, 2])
