"""The replay market: against the logs, against a slow reference, its environments, its files, bad input."""

from __future__ import annotations

import copy
import json
import logging
import shutil
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from auction_env import ReplayMarket, ReplayParams, StateFeatures
from auction_env.data.formats.auctionnet_csv import LOG_COLUMNS, AuctionNetLogError
from auction_env.replay.env import ReplayEnv, ReplayVectorEnv
from auction_env.replay.market import ReplayError
from tests.reference import replay as reference

ID = "auction_env/Replay-v0"
LOGS = Path(__file__).parents[3] / "shared" / "data" / "auctionnet_log"
needs_logs = pytest.mark.skipif(not LOGS.is_dir(), reason=f"the sample logs of AuctionNet are not at {LOGS}")
N_TICKS = 6


def make_log(seed: int, n: int = 150, n_advertisers: int = 7, n_slots: int = 3, coarse: bool = True) -> dict:
    """A random log; coarse bids make ties, bids of zero and below the reserve."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 0.2, (n, n_advertisers))
    bids = rng.uniform(0, 1, (n, n_advertisers))
    if coarse:
        bids, values = np.round(bids * 8) / 8, np.round(values * 40) / 40
    return {
        "tick": np.sort(rng.integers(0, N_TICKS, n)),
        "bids": bids,
        "values": values,
        "sigmas": values * 0.2,
        "exposed": rng.integers(-1, 2, (n, n_slots)),
        "budget": rng.uniform(0.5, 8, n_advertisers),
        "cpa_target": rng.uniform(2, 10, n_advertisers),
    }


def make_market(log: dict, *, period: int = 0, **rules: object) -> ReplayMarket:
    params = ReplayParams(**({"is_unsold_at_reserve": False} | rules))
    return ReplayMarket.from_bids(**log, rules=params, n_ticks=N_TICKS, period=period)


@pytest.fixture(scope="module")
def market() -> ReplayMarket:
    """Three periods, the last of which lacks advertiser 0."""
    logs = [make_log(k) for k in (1, 2)]
    third = make_log(3, n_advertisers=6)
    rules = ReplayParams(is_unsold_at_reserve=False)
    third_market = ReplayMarket.from_bids(**third, rules=rules, n_ticks=N_TICKS, period=12, advertisers=np.arange(1, 7))
    return ReplayMarket.concat([make_market(log, period=10 + k) for k, log in enumerate(logs)] + [third_market])


@needs_logs
def test_the_logged_bids_reproduce_the_log_exactly() -> None:
    market = ReplayMarket.from_auctionnet(LOGS)
    assert market.assumption == "full_ladder"
    assert market.episodes.shape == (96, 2)
    for period in (0, 1):
        log = pd.read_csv(LOGS / f"period-{period}.csv.gz").sort_values(["timeStepIndex", "pvIndex"], kind="stable")
        for advertiser, rows in log.groupby("advertiserNumber"):
            found = market.clear(period, int(advertiser), rows["bid"].to_numpy())
            np.testing.assert_array_equal(found.slot, rows["adSlot"])
            np.testing.assert_array_equal(found.slot > 0, rows["xi"] == 1)
            np.testing.assert_array_equal(found.price, rows["cost"].astype(np.float32))
            np.testing.assert_array_equal(found.exposed, rows["isExposed"] == 1)
            np.testing.assert_array_equal(found.least_winning_cost, rows["leastWinningCost"].astype(np.float32))


@needs_logs
def test_row_order_and_blocks_do_not_matter(tmp_path: Path) -> None:
    log = pd.read_csv(LOGS / "period-0.csv.gz")
    log.sample(frac=1, random_state=0).to_csv(tmp_path / "mixed.csv", index=False)
    mixed = ReplayMarket.from_auctionnet(tmp_path / "mixed.csv", block_bytes=100_000)
    plain = ReplayMarket.from_auctionnet(LOGS / "period-0.csv.gz")
    for name in plain.log._fields:
        np.testing.assert_array_equal(getattr(mixed.log, name), getattr(plain.log, name), err_msg=name)
    np.testing.assert_array_equal(mixed.budget, plain.budget)


@needs_logs
def test_a_log_of_one_advertiser_needs_an_assumption_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = pd.read_csv(LOGS / "period-0.csv.gz")
    rows = log[log["advertiserNumber"] == 39]
    rows.to_csv(tmp_path / "one.csv", index=False)
    with pytest.raises(ValueError, match=r"assumption='least_winning_cost'"):
        ReplayMarket.from_auctionnet(tmp_path)
    with caplog.at_level(logging.WARNING):
        market = ReplayMarket.from_auctionnet(tmp_path, assumption="least_winning_cost")
    assert "one-slot second-price" in caplog.text
    assert market.assumption == "least_winning_cost"
    seen = rows["isExposed"][rows["xi"] == 1].mean()
    assert market.rules.exposure == (pytest.approx(seen),)
    found = market.clear(0, 39, rows["bid"].to_numpy())
    np.testing.assert_array_equal(found.slot > 0, rows["xi"] == 1)
    won = found.slot > 0
    cost = rows["leastWinningCost"].to_numpy(np.float32)
    np.testing.assert_array_equal(found.price[won], cost[won])
    np.testing.assert_array_equal(found.least_winning_cost, cost)
    assert abs(found.exposed[won].mean() - seen) < 4 * np.sqrt(seen * (1 - seen) / won.sum())
    with caplog.at_level(logging.WARNING):
        forced = ReplayMarket.from_auctionnet(tmp_path, assumption="full_ladder")
    assert "differ from the log" in caplog.text
    assert forced.assumption == "full_ladder"


def log_rows(bids: list[list[float]], *, reserve: float) -> pd.DataFrame:
    """A log as AuctionNet writes it: a slot at the reserve price is unsold."""
    rows = []
    for pv, offers in enumerate(bids):
        order = sorted(range(len(offers)), key=lambda j: -offers[j])
        price = [max(([offers[k] for k in order] + [0.0])[s + 1], reserve) for s in range(3)]
        lwc = max(offers[order[3]] if len(order) > 3 else 0.0, reserve)
        for j, bid in enumerate(offers):
            slot = order.index(j) + 1 if order.index(j) < 3 and price[order.index(j)] > reserve else 0
            cost = price[slot - 1] if slot else 0.0
            head = [7, j, 0, 100.0, 50.0, 2, 100.0, pv, 0.001, 0.0, bid]
            rows.append([*head, int(slot > 0), slot, cost, int(slot > 0), 0, lwc, 0])
    return pd.DataFrame(rows, columns=LOG_COLUMNS)


def test_a_slot_at_the_reserve_price_is_unsold_as_in_auctionnet(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bids = [[0.5, 0.3, 0.2, 0.1], [0.5, 0.3, 0.005, 0.002], [0.005, 0.4, 0.0, 0.0], [0.002, 0.004, 0.001, 0.0]]
    log = log_rows(bids, reserve=0.01)
    log.to_csv(tmp_path / "log.csv", index=False)
    with caplog.at_level(logging.WARNING):
        market = ReplayMarket.from_auctionnet(tmp_path)
    assert not caplog.records
    for j, rows in log.groupby("advertiserNumber"):
        found = market.clear(7, int(j), rows["bid"].to_numpy())
        np.testing.assert_array_equal(found.slot, rows["adSlot"])
        np.testing.assert_array_equal(found.price, rows["cost"].astype(np.float32))
    sold = ReplayMarket.from_auctionnet(tmp_path, rules=ReplayParams(is_unsold_at_reserve=False))
    assert "in the slots on 2 of 4 impressions" in caplog.text
    np.testing.assert_array_equal(sold.clear(7, 1, log["bid"][log["advertiserNumber"] == 1]).slot, [2, 2, 1, 0])


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


def test_higher_bids_win_more_and_never_a_worse_slot(market: ReplayMarket) -> None:
    n = int(market.n_impressions[0])
    low = market.clear(10, 3, np.full(n, 0.5))
    high = market.clear(10, 3, np.full(n, 0.9))
    won = low.slot > 0
    assert np.all(high.slot[won] > 0) and np.all(high.slot[won] <= low.slot[won])
    assert np.all(low.price <= 0.5) and np.all(high.price >= low.price)
    assert np.all(market.clear(10, 3, np.zeros(n)).slot == 0)
    assert np.all(market.clear(10, 3, np.full(n, 1e30)).slot == 1)


def test_conversions_are_near_their_expectation() -> None:
    n = 40_000
    values = np.full((n, 2), 0.05)
    market = ReplayMarket.from_bids(
        tick=np.zeros(n, int), bids=np.full((n, 2), 0.1), values=values, sigmas=values * 0.3, budget=[1e9, 1e9],
        cpa_target=[10.0, 10.0], n_ticks=1, rules=ReplayParams(n_slots=1, exposure=(1.0,)),
    )  # fmt: skip
    env = ReplayEnv(market=market, advertiser=0)
    env.reset(seed=1)
    info = env.step(np.zeros(1))[-1]
    assert info["exposures"] == n
    assert abs(info["conversions"] - n * 0.05) < 4 * np.sqrt(n * 0.05)


def test_logged_exposures_are_used_and_unknown_ones_drawn() -> None:
    n = 20_000
    log = {
        "tick": np.zeros(n, int), "bids": np.tile([0.4, 0.3, 0.2, 0.1], (n, 1)), "values": np.full((n, 4), 0.001),
        "budget": np.full(4, 1e9), "cpa_target": np.ones(4),
    }  # fmt: skip
    drawn = ReplayMarket.from_bids(**log, n_ticks=1, rules=ReplayParams(exposure=(1.0, 0.8, 0.6)))
    for bid, share in ((0.5, 1.0), (0.25, 0.48)):
        found = drawn.clear(0, 3, np.full(n, bid), seed=5)
        assert abs(found.exposed.mean() - share) < 0.02
    exposed = np.random.default_rng(0).integers(0, 2, (n, 3))
    logged = ReplayMarket.from_bids(**log, exposed=exposed, n_ticks=1)
    np.testing.assert_array_equal(logged.clear(0, 3, np.full(n, 0.35)).exposed, exposed[:, 1] == 1)


@pytest.mark.parametrize("task", ["MaxConversions", "TargetCPA"])
def test_the_checkers_are_clean(market: ReplayMarket, task: str) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(ID, market=market, task=task)
        check_env(env.unwrapped)
        checker.check_env(env.unwrapped)


@pytest.mark.parametrize("n", [1, 3, 64])
def test_the_vector_env_is_the_single_env(market: ReplayMarket, n: int) -> None:
    vector = gym.make_vec(ID, num_envs=n, market=market, task="TargetCPA")
    assert isinstance(vector.unwrapped, ReplayVectorEnv)
    assert vector.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    vector.unwrapped._simulation._is_serial = n == 3
    singles = [ReplayEnv(market=market, task="TargetCPA") for _ in range(n)]
    observations, infos = vector.reset(seed=7)
    is_over = np.zeros(n, bool)
    for i, env in enumerate(singles):
        observation, info = env.reset(seed=7 + i)
        np.testing.assert_array_equal(observations[i], observation)
        assert (infos["period"][i], infos["advertiser"][i]) == (info["period"], info["advertiser"])
    rng = np.random.default_rng(0)
    for _ in range(2 * N_TICKS + 3):
        actions = rng.uniform(-1, 1, (n, 1)).astype(np.float32)
        observations, rewards, terminated, truncated, infos = vector.step(actions)
        assert vector.observation_space.contains(observations) and not truncated.any()
        for i, env in enumerate(singles):
            if is_over[i]:
                (observation, info), reward, is_over[i] = env.reset(), 0.0, False
            else:
                observation, reward, is_over[i], _, info = env.step(actions[i])
            np.testing.assert_array_equal(observations[i], observation)
            assert (rewards[i], terminated[i]) == (reward, is_over[i])
            for name in infos:
                if name.startswith("_"):
                    assert infos[name][i] == (name[1:] in info), name
                elif name in info and name != "ratios":
                    assert infos[name][i] == info[name], name
            if "ratios" in info:
                assert {name: infos["ratios"][name][i] for name in info["ratios"]} == info["ratios"]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_every_autoreset_mode_is_gymnasiums(market: ReplayMarket, mode: AutoresetMode) -> None:
    n = 5
    vector = gym.make_vec(ID, num_envs=n, market=market, task="TargetCPA", autoreset_mode=mode)
    assert vector.metadata["autoreset_mode"] is mode
    single = gym.vector.SyncVectorEnv(
        [lambda: ReplayEnv(market=market, task="TargetCPA") for _ in range(n)], autoreset_mode=mode
    )

    def check(found: tuple, expected: tuple) -> None:
        for left, right in zip(found[:-1], expected[:-1], strict=True):
            np.testing.assert_array_equal(left, right)
        check_info(found[-1], expected[-1])

    def check_info(found: dict, expected: dict) -> None:
        for name, value in expected.items():
            if name.startswith("_") or f"_{name}" not in expected:
                continue
            mask = expected[f"_{name}"]
            np.testing.assert_array_equal(found[f"_{name}"], mask, err_msg=name)
            if isinstance(value, dict):
                check_info(found[name], value)
            else:
                for i in np.flatnonzero(mask):
                    np.testing.assert_array_equal(found[name][i], value[i], err_msg=name)

    check(vector.reset(seed=3), single.reset(seed=3))
    rng = np.random.default_rng(1)
    for step in range(3 * N_TICKS):
        actions = rng.uniform(-1, 1, (n, 1)).astype(np.float32)
        found = vector.step(actions)
        check(found, single.step(actions))
        mask = found[2].copy()
        if mode is AutoresetMode.DISABLED:
            if mask.any():
                with pytest.raises(RuntimeError, match="call `reset` with `reset_mask`"):
                    vector.step(actions)
            elif step == 2:  # so that the episodes are no longer in step
                mask[[1, 3]] = True
            if mask.any():
                check(*(env.reset(options={"reset_mask": mask.copy()}) for env in (vector, single)))


def test_the_choice_of_the_episode(market: ReplayMarket) -> None:
    env = gym.make(ID, market=market)
    assert env.reset(options={"period": 12, "advertiser": 4})[1] == {"period": 12, "advertiser": 4}
    assert env.reset(seed=3)[1] == env.reset(seed=3)[1]
    seen = {tuple(env.reset()[1].values()) for _ in range(400)}
    assert seen == {(p, a) for p in (10, 11, 12) for a in range(7)} - {(12, 0)}
    fixed = ReplayEnv(market=market, period=11)
    assert {fixed.reset(seed=k)[1]["period"] for k in range(20)} == {11}
    for options in ({"period": 99}, {"advertiser": -1}, {"period": 12, "advertiser": 0}, {"speed": 3}):
        with pytest.raises(ValueError, match=r"must be one of|must hold only"):
            env.reset(options=options)
    with pytest.raises(ValueError, match="episode_seed"):
        env.reset(options={"episode_seed": -1})
    with pytest.raises(ValueError, match="`period` must be one of"):
        ReplayEnv(market=market, period=5)


def test_save_and_load(market: ReplayMarket, tmp_path: Path) -> None:
    market.save(tmp_path / "m")
    loaded = ReplayMarket.load(tmp_path / "m")
    for name in market.log._fields:
        np.testing.assert_array_equal(getattr(loaded.log, name), getattr(market.log, name))
        assert getattr(loaded.log, name).dtype == getattr(market.log, name).dtype
    for name in ("periods", "advertisers", "budget", "cpa_target", "category"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(market, name))
    assert (loaded.rules, loaded.assumption) == (market.rules, market.assumption)
    env = gym.make(ID, market=tmp_path / "m")
    again = gym.make(ID, market=market)
    np.testing.assert_array_equal(env.reset(seed=1)[0], again.reset(seed=1)[0])
    with pytest.raises(FileExistsError, match="must be empty"):
        market.save(tmp_path / "m")
    market.save(tmp_path / "m", force=True)
    (tmp_path / "m" / "other").touch()
    with pytest.raises(FileExistsError, match="'other'"):
        market.save(tmp_path / "m", force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]  # no scratch is left


def test_damaged_files_are_found(market: ReplayMarket, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no replay\.json"):
        ReplayMarket.load(tmp_path)
    market.save(tmp_path / "good")

    def damaged(name: str) -> Path:
        return Path(shutil.copytree(tmp_path / "good", tmp_path / name))

    truncated = damaged("truncated")
    (truncated / "replay.npz").write_bytes((truncated / "replay.npz").read_bytes()[:-10])
    gone = damaged("gone")
    (gone / "replay.npz").unlink()
    no_json = damaged("no_json")
    (no_json / "replay.json").write_text("{")
    manifest = json.loads((tmp_path / "good" / "replay.json").read_text())
    newer, wrong = damaged("newer"), damaged("wrong")
    (newer / "replay.json").write_text(json.dumps(manifest | {"format_version": 99}))
    (wrong / "replay.json").write_text(json.dumps(manifest | {"assumption": "none"}))
    for path, message in (
        (truncated, "changed"), (gone, "must exist"), (no_json, "must be JSON"), (newer, "found 99"),
        (wrong, "found 'none'"),
    ):  # fmt: skip
        with pytest.raises(ReplayError, match=message):
            ReplayMarket.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bids": np.full((4, 2), np.nan)}, r"`bids` must be finite and not negative, found nan at \(0, 0\)"),
        ({"bids": np.full((4, 2), -1.0)}, "`bids` must be finite and not negative"),
        ({"bids": np.full((4, 2), 1e300)}, r"`bids` must be finite and not negative, at most 3\.4e\+38, found 1e\+300"),
        ({"bids": np.ones(4)}, r"`bids` must have shape \(n_impressions, n_advertisers\)"),
        ({"bids": np.ones((4, 0))}, "`bids` must have shape"),
        ({"values": np.ones((3, 2))}, r"`values` must have shape \(4, 2\)"),
        ({"values": np.full((4, 2), 1.5)}, "`values` must be at most 1, found 1.5"),
        ({"sigmas": np.full((4, 2), np.inf)}, "`sigmas` must be finite"),
        ({"tick": [0, 1, 0, 1]}, "`tick` must not fall"),
        ({"tick": [0, 1, 2, 48]}, "lie in 0..47"),
        ({"tick": [0.0, 1.0, 2.0, 3.0]}, "`tick` must be 4 integers"),
        ({"budget": [1.0, 0.0]}, "`budget` must be 2 positive numbers"),
        ({"cpa_target": [1.0]}, "`cpa_target` must be 2 positive numbers"),
        ({"exposed": np.ones((4, 2))}, r"`exposed` must have shape \(4, 3\)"),
        ({"advertisers": [3, 1]}, "`advertisers` must be 2 ascending numbers"),
        ({"category": [0]}, r"`category` must have shape \(2,\)"),
    ],
)
def test_bad_arrays_are_named(change: dict, message: str) -> None:
    good = {
        "tick": [0, 0, 1, 1], "bids": np.ones((4, 2)), "values": np.full((4, 2), 0.1), "budget": [1.0, 1.0],
        "cpa_target": [1.0, 1.0],
    }  # fmt: skip
    ReplayMarket.from_bids(**good)
    with pytest.raises(ValueError, match=message):
        ReplayMarket.from_bids(**(good | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_slots": 0}, r"`n_slots` must lie in 1\.\.8, found 0"),
        ({"exposure": (1.0,)}, "`exposure` must hold 3 probabilities"),
        ({"exposure": (1.0, 2.0, 0.5)}, "`exposure` must hold 3 probabilities"),
        ({"reserve": float("nan")}, "`reserve` must be finite"),
        ({"mechanism": "auction"}, "`mechanism` must be one of"),
    ],
)
def test_bad_rules_are_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReplayParams(**change)


def test_bad_arguments_are_named(market: ReplayMarket) -> None:
    cases = [
        (lambda: ReplayEnv(), "`market` must be a ReplayMarket"),
        (lambda: ReplayEnv(market=market, max_ratio=1.0), "`max_ratio` must be greater than 1"),
        (lambda: ReplayEnv(market=market, max_ratio=1e300), "`max_ratio` must keep multipliers within float32"),
        (lambda: ReplayEnv(market=market, conversions="none"), "`conversions` must be one of"),
        (lambda: ReplayVectorEnv(0, market=market), "`num_envs` must be at least 1"),
        (lambda: ReplayVectorEnv(2, market=market).reset(seed=[1]), "`seed` must hold 2 numbers"),
        (lambda: ReplayVectorEnv(2, market=market, autoreset_mode="never"), "AutoresetMode"),
        (lambda: ReplayVectorEnv(2, market=market).reset(options={"speed": 1}), "`options` must hold only"),
        (lambda: ReplayVectorEnv(2, market=market).reset(options={"reset_mask": np.ones(2)}), "`reset_mask` must be"),
        (lambda: ReplayMarket.concat([]), "`markets` must hold at least one"),
        (lambda: ReplayMarket.concat([market, market]), "`periods` must be distinct"),
        (lambda: market.clear(10, 0, [1.0]), r"`bids` must have shape \(150,\)"),
        (lambda: market.clear(10, 0, np.full(150, np.nan)), "`bids` must be finite"),
        (lambda: market.clear(10, 0, np.ones(150), seed=-1), "`seed` must not be negative, found -1"),
        (lambda: market.clear(10, 99, np.ones(150)), "`advertiser` must be one of"),
        (lambda: market.clear(9, 0, np.ones(150)), "`period` must be one of"),
        (lambda: ReplayMarket.from_auctionnet(".", assumption="guess"), "`assumption` must be"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    env = ReplayEnv(market=market)
    with pytest.raises(RuntimeError, match="call `reset` first"):
        env.step(np.zeros(1))
    vector = ReplayVectorEnv(2, market=market)
    with pytest.raises(RuntimeError, match="call `reset` first"):
        vector.step(np.zeros((2, 1)))
    vector.reset(seed=0)
    for actions in (np.zeros(2), np.full((2, 1), np.nan), np.zeros((3, 1))):
        with pytest.raises(ValueError, match="`action` must be one finite number"):
            vector.step(actions)
    assert copy.deepcopy(market) is market


def test_more_advertisers_than_the_ladder_can_number() -> None:
    n = 40_000
    with pytest.raises(ValueError, match="at most 32767 advertisers, found 40000"):
        ReplayMarket.from_bids(
            tick=[0], bids=np.ones((1, n)), values=np.zeros((1, n)), budget=np.ones(n), cpa_target=np.ones(n)
        )


def test_ticks_without_impressions_and_a_lone_advertiser() -> None:
    market = ReplayMarket.from_bids(tick=[1], bids=[[0.5]], values=[[0.1]], budget=[5.0], cpa_target=[10.0], n_ticks=3)
    env = ReplayEnv(market=market, conversions="expected")
    env.reset(seed=0)
    infos = [env.step(np.zeros(1))[-1] for _ in range(3)]
    assert [info["n_impressions"] for info in infos] == [0, 1, 0]
    assert [info["wins"] for info in infos] == [0, 1, 0]
    assert infos[1]["cost"] == np.float32(0.01)  # nobody else: the reserve
    assert infos[1]["conversions"] == np.float32(0.1)
    empty = ReplayMarket.from_bids(
        tick=np.zeros(0, int), bids=np.zeros((0, 2)), values=np.zeros((0, 2)), budget=[1.0, 1.0], cpa_target=[1.0, 1.0]
    )
    assert ReplayEnv(market=empty).reset(seed=0)[0].shape == (31,)


def test_bad_logs_are_named(tmp_path: Path) -> None:
    log = log_rows([[0.5, 0.3, 0.2, 0.1], [0.5, 0.3, 0.25, 0.12]], reserve=0.01)

    def read(changed: pd.DataFrame) -> None:
        changed.to_csv(tmp_path / "log.csv", index=False)
        ReplayMarket.from_auctionnet(tmp_path)

    read(log)
    for column, row, value, message in (
        ("pvIndex", 4, 0, "`pvIndex` must be unique"),
        ("budget", 5, 99.0, r"`budget` must be 100.0 as on the first row of \(period 7, advertiser 1\), found 99.0"),
        ("leastWinningCost", 1, 0.2, "`leastWinningCost` must be the same on all rows"),
        ("pValue", 1, 1.5, "`pValue` must be at most 1 in period 7"),
        ("bid", 1, -1.0, "`bid` must be finite and not negative, found '-1.0'"),
    ):
        changed = log.astype({column: float})
        changed.loc[row, column] = value
        with pytest.raises(AuctionNetLogError, match=message):
            read(changed)
    changed = log.copy()
    changed.loc[0, "adSlot"] = 5
    with pytest.raises(ValueError, match="`n_slots` must be at least the log's `adSlot`, 5"):
        read(changed)


def test_the_files_of_a_period_must_follow_each_other(tmp_path: Path) -> None:
    first = log_rows([[0.5, 0.3, 0.2, 0.1]] * 3, reserve=0.01)
    other = first.assign(deliveryPeriodIndex=8)
    for name, frame in (("a.csv", first[:8]), ("b.csv", first[8:]), ("c.csv", other)):
        frame.to_csv(tmp_path / name, index=False)
    market = ReplayMarket.from_auctionnet(tmp_path)
    assert market.n_impressions.tolist() == [3, 3] and market.periods.tolist() == [7, 8]
    first.assign(pvIndex=first["pvIndex"] + 9).to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(AuctionNetLogError, match="must follow each other, found period 7 again"):
        ReplayMarket.from_auctionnet(tmp_path)
