"""`auction_env/Bidding-v0`: the checkers, the specification, determinism."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import auction_env
from auction_env import FEATURE_NAMES, Funnel, MarketParams, Population, Shock, TrafficParams
from auction_env.control.actions import ACTION_KINDS
from auction_env.envs.single import BiddingEnv
from auction_env.market.competitors.shipped import shipped_population
from auction_env.tasks import TASKS, Constraint, Task, unevenness
from tests.auction_env.envs.small import BAT, BIDDING, IDS, LOGGED_VALUES, MARKET, REPLAY


def make(**kwargs: object) -> gym.Env:
    return gym.make(BIDDING, **({"n_impressions": 2000} | kwargs))


def play(env: gym.Env, actions: np.ndarray, **reset: object) -> tuple[np.ndarray, np.ndarray, dict]:
    observations = [env.reset(**reset)[0]]
    rewards, terminated, info = [], False, {}
    for action in actions:
        assert not terminated
        observation, reward, terminated, truncated, info = env.step(np.array([action], np.float32))
        assert not truncated
        observations.append(observation)
        rewards.append(reward)
    assert terminated
    return np.stack(observations), np.array(rewards), info


def test_a_limit_on_the_unevenness_of_the_spend_is_kept_as_in_tasks() -> None:
    env = make(n_impressions=480, task=Task(name="even", constraints=(Constraint(kind="smoothness"),)))
    env.reset(seed=0)
    infos = [env.step(np.array([action], np.float32))[4] for action in np.linspace(-1.0, 1.0, 48)]
    cost, seen = (np.array([[info[name]] for info in infos]) for name in ("cost", "n_impressions"))
    assert infos[-1]["ratios"]["smoothness"] == unevenness(cost, seen)[0] / 0.25 > 0


RECORDED_TASKS = ("MaxConversions", "TargetCPA")  # a log without clicks has these only
CHECKED = [
    *((name, kind, "MaxConversions") for name in IDS for kind in ACTION_KINDS),
    *((BIDDING, "log_multiplier", task) for task in sorted(TASKS) if task != "MaxConversions"),
    *((REPLAY, "log_multiplier", task) for task in RECORDED_TASKS[1:]),
]


@pytest.mark.parametrize(("name", "kind", "task"), CHECKED)
def test_the_checkers_of_gymnasium_and_stable_baselines_are_clean(name: str, kind: str, task: str) -> None:
    assert {task for _, _, task in CHECKED} == set(TASKS)
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    arguments = {"n_impressions": 2000} if name == BIDDING else MARKET[name]
    env = gym.make(name, task=task, action_kind=kind, **arguments).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # makes and draws every render mode, too, once a task: no picture depends on the kind of the action
        check_env(env, skip_render_check=kind != "log_multiplier")
        checker.check_env(env)


def test_every_registered_id_is_tested() -> None:
    assert {*IDS, BAT} == {name for name in gym.registry if name.startswith("auction_env/")}


@pytest.mark.parametrize("name", IDS)
def test_every_registered_id_runs(name: str) -> None:
    arguments = MARKET[name]
    env = gym.make(name, **arguments)
    env.reset(seed=0)
    observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
    assert env.observation_space.contains(observation) and not terminated and not truncated
    assert np.isfinite(reward)
    for mode in ("sync", "vector_entry_point"):
        envs = gym.make_vec(name, num_envs=2, vectorization_mode=mode, **arguments)
        observations, _ = envs.reset(seed=0)
        assert envs.observation_space.contains(observations)
        assert envs.observation_space.contains(envs.step(envs.action_space.sample())[0])
        envs.close()


@pytest.mark.parametrize("name", IDS)
def test_an_unknown_argument_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match="'max_ration'"):
        gym.make(name, max_ration=2.0, **MARKET[name])
    with pytest.raises(TypeError, match="'max_ration'"):
        gym.make_vec(name, num_envs=2, vectorization_mode="vector_entry_point", max_ration=2.0, **MARKET[name])


def test_gymnasiums_normalising_wrappers_run() -> None:
    env = gym.wrappers.NormalizeReward(gym.wrappers.NormalizeObservation(make(task="TargetCPA")))
    for seed in range(2):
        observations, rewards, _ = play(env, np.linspace(-1, 1, 48), seed=seed)
        assert np.isfinite(observations).all() and np.isfinite(rewards).all()


@pytest.mark.parametrize(
    "options",
    [
        {"mechanism": "vcg"},
        {"reserve_noise": 2.0, "reserve": 50.0},
        {"quality": (10.0, 0.1) * 24},
        {"funnel": Funnel(), "conversion_delay": 20.0},
        {"traffic": TrafficParams(value_mean=0.9, shocks=(Shock(probability=1.0, volume=7.0, value=1.1),))},
    ],
    ids=lambda options: "-".join(options),
)
def test_observations_stay_in_their_space_under_the_markets_options(options: dict[str, Any]) -> None:
    env = make(n_impressions=None, params=MarketParams(n_impressions=60, n_ticks=12, **options))
    for seed in range(5):
        for observation in play(env, np.ones(12), seed=seed)[0]:
            assert env.observation_space.contains(observation)


@pytest.mark.parametrize("name", [BIDDING, LOGGED_VALUES])
def test_budgets_and_targets_drawn_anew_are_seen_and_in_the_space(name: str) -> None:
    plain, redrawn = (gym.make(name, **MARKET[name], task="TargetCPA", redraw=redraw) for redraw in (None, (0.5, 0.3)))
    seen = []
    for seed in range(6):
        choice = {"seed": seed, "options": {"advertiser": 2}}
        usual, observation = (env.reset(**choice)[0] for env in (plain, redrawn))
        assert observation in redrawn.observation_space
        seen.append(observation[[16, 21]] / usual[[16, 21]])  # budget and limit on the CPA
        while True:
            observation, _, is_over, _, _ = redrawn.step(np.ones(1, np.float32))
            assert observation in redrawn.observation_space
            if is_over:
                break
    factors = np.array(seen)
    assert len(np.unique(factors[:, 0])) == len(np.unique(factors[:, 1])) == 6
    assert np.all(np.abs(factors - 1) <= [0.5001, 0.3001])
    with pytest.raises(ValueError, match=r"`budget_swing` must lie in \[0, 1\), found 1"):
        gym.make(name, **MARKET[name], redraw=(1, 0.3))
    with pytest.raises(ValueError, match=r"`redraw` must be \(budget, CPA\), .* found \(0.5,\)"):
        gym.make(name, **MARKET[name], redraw=(0.5,))


def test_a_population_by_name() -> None:
    env = gym.make(BIDDING, **MARKET[BIDDING], population="auctionnet-agents")
    assert env.unwrapped._bidding.spec.market.population == shipped_population()
    with pytest.raises(ValueError, match="nearest: auctionnet-agents"):
        gym.make(BIDDING, **MARKET[BIDDING], population="auctionnet-agent")


def test_mechanism_is_a_shortcut() -> None:
    options = {"episode_seed": 1, "advertiser": 0}
    direct = play(make(mechanism="first_price"), np.zeros(48), options=options)
    params = MarketParams(n_impressions=2000, mechanism="first_price")
    long_way = play(make(params=params, n_impressions=None), np.zeros(48), options=options)
    assert direct[2] == long_way[2]
    assert direct[2] != play(make(), np.zeros(48), options=options)[2]


def test_the_docstrings_table_is_the_observation() -> None:
    lines = [line.strip() for line in (BiddingEnv.__doc__ or "").splitlines()]
    rows = [line.split("|")[1:3] for line in lines if line.startswith("| ") and line[2].isdigit()]
    assert [int(index) for index, _ in rows] == list(range(31))
    names = [name.split(":")[0].split(",")[0].strip().removeprefix("requirement ") for _, name in rows]
    assert tuple(names) == FEATURE_NAMES + auction_env.REQUIREMENT_NAMES


def test_an_episode_hangs_together() -> None:
    env = make(task="TargetCPA", advertiser=3)
    observations, rewards, info = play(env, np.zeros(48), seed=1)
    assert info["multiplier"] == 110.0  # the target CPA of advertiser 3: the documented base
    assert observations.dtype == np.float32
    np.testing.assert_allclose(observations[:, 0], (48 - np.arange(49)) / 48, rtol=1e-6)
    assert np.all(np.diff(observations[:, 1]) <= 0)
    assert observations[-1, 15] == 2000  # every impression has been counted
    limits = dict(zip(auction_env.REQUIREMENT_NAMES, observations[:, 16:].T, strict=True))
    assert np.all(limits["wants_conversions"] == 1) and np.all(limits["has_roas_limit"] == 0)
    np.testing.assert_allclose(limits["cpa_limit"], 110.0)
    np.testing.assert_allclose(limits["has_cpa_limit"], 1.0)
    assert info["objective"] == rewards.sum()
    spent = 1 - observations[-1, 1]
    assert info["ratios"]["budget"] == pytest.approx(spent, abs=1e-6)
    assert set(info["ratios"]) == {"budget", "cpa"}


def test_expected_ratios_are_finite_where_sampled_ones_are_not() -> None:
    """Money spent on nothing: few impressions, so that some episodes have no sampled conversion."""
    env = make(task="TargetCPA", n_impressions=100)
    ends = [play(env, np.full(48, 0.9), seed=seed)[2] for seed in range(8)]
    assert any(np.isinf(info["ratios"]["cpa"]) for info in ends)
    for info in ends:
        ratios = np.array(list(info["ratios_expected"].values()))
        assert np.all(np.isfinite(ratios)) and set(info["ratios_expected"]) == set(info["ratios"])
        assert np.isfinite(info["score_expected"]) and info["score_expected"] > 0
    lazy = Task(name="lazy", objective="conversions", constraints=(Constraint(kind="min_delivery", limit=0.5),))
    nothing_is_sold = MarketParams(n_impressions=100, reserve=1e6)
    info = play(gym.make(BIDDING, task=lazy, params=nothing_is_sold), np.full(48, -1.0), seed=0)[2]
    assert info["ratios"]["min_delivery"] == np.inf and info["ratios_expected"]["min_delivery"] == 1e6


def test_the_score_is_objective_times_penalty() -> None:
    task = Task(name="tight", objective="expected_conversions", constraints=(Constraint(kind="cpa", limit=1.0),))
    _, _, info = play(make(task=task, advertiser=0), np.zeros(48), seed=2)
    assert info["ratios"]["cpa"] > 1
    assert info["score"] == pytest.approx(info["objective"] * info["ratios"]["cpa"] ** -2)


def test_a_masked_requirement_is_zero() -> None:
    observation, _ = make(task="MaxConversions", advertiser=0).reset(seed=0)
    y = dict(zip(auction_env.REQUIREMENT_NAMES, observation[16:], strict=True))
    assert {name for name, number in y.items() if number} == {"budget", "wants_conversions"}


def test_same_seed_same_episode_another_seed_another() -> None:
    actions = np.linspace(-1, 1, 48)
    first, again, other = (play(make(), actions, seed=seed)[0] for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_episode_seed_selects_the_market_episode_whatever_was_played_before() -> None:
    env = make()
    options = {"episode_seed": 77, "advertiser": 4}
    first = play(env, np.zeros(48), seed=0, options=options)[0]
    play(env, np.ones(48))
    np.testing.assert_array_equal(first, play(env, np.zeros(48), options=options)[0])


def test_the_action_scales_the_multiplier_by_max_ratio() -> None:
    env = make(advertiser=0, max_ratio=4.0)
    env.reset(seed=0)
    multipliers = [env.step(np.array([a], np.float32))[4]["multiplier"] for a in (-1.0, 0.0, 0.5, 1.0)]
    np.testing.assert_allclose(multipliers, 100.0 * np.array([0.25, 1.0, 2.0, 4.0]), rtol=1e-6)


def test_own_market_and_population() -> None:
    population = Population(budget=(1e5, 2e5), cpa_target=(50.0, 60.0), category=(0, 1))
    env = make(n_impressions=None, params=MarketParams(n_impressions=100, n_ticks=5), population=population)
    observations, _, _ = play(env, np.zeros(5), seed=0)
    assert env.observation_space.contains(observations[-1])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"task": "MaxConversion"},
            "`task` must be a Task or one of .*'AddToCart'.*, found 'MaxConversion', nearest: MaxConversions",
        ),
        ({"max_ratio": 1.0}, "`max_ratio` must be greater than 1, found 1.0"),
        ({"advertiser": 48}, r"`advertiser` must lie in 0..47, found 48"),
        ({"params": MarketParams()}, "give `params` or `n_impressions`, not both"),
        (
            {"params": MarketParams(), "n_impressions": None, "mechanism": "gsp"},
            "give `params` or `mechanism`, not both",
        ),
        ({"mechanism": "lottery"}, "`mechanism` must be one of"),
    ],
)
def test_bad_arguments_are_named(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**kwargs)


def test_bad_actions_and_calls_are_named() -> None:
    env = make().unwrapped
    with pytest.raises(RuntimeError, match="call `reset` first"):
        env.step(np.zeros(1, np.float32))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"`action` must be finite, found \[nan\]"):
        env.step(np.array([np.nan], np.float32))
    with pytest.raises(ValueError, match="`options` must hold only"):
        env.reset(options={"sede": 1})
