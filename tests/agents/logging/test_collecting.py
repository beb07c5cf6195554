"""Collected data sets: equal bytes for any workers and after any kill; the policies that log."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import (
    Collection,
    FixedBidder,
    HindsightBidder,
    JointHindsightBidder,
    MixedBidder,
    NoisyBidder,
    OnlineLpBidder,
    PidBidder,
    RandomMultiplierBidder,
    collect,
    collect_data_set,
    record_prices,
    rollout,
)
from agents.logging.policies import MIXED_SHARES, POLICIES, dealt_policies, make_policy, parse_shares
from auction_env import TASKS, MarketParams, auctionnet_population
from auction_env.data import TrajectoryData, load, read_manifest
from auction_env.tasks import Targets
from tests import processes

ROOT = Path(__file__).parents[3]
PARAMS = MarketParams(n_impressions=960)
TASK = TASKS["TargetCPA"]
SMALL = Collection(task=TASK, n_episodes=20, seed=5, policy="noisy-pid=1,random=2", params=PARAMS, control="all")


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "set"
    summary = collect_data_set(SMALL, out)
    assert (summary.n_episodes, summary.n_trajectories, summary.n_resumed) == (20, 960, 0)
    assert summary.rate > 0
    assert os.listdir(out.parent) == ["set"]
    return out


def test_blocks_are_what_a_plain_collection_logs(whole: Path) -> None:
    population = auctionnet_population()
    policy = make_policy({"noisy-pid": 1, "random": 2}, TASK, PARAMS, population)
    plain = TrajectoryData.concat(list(collect(policy, seeds=np.arange(5, 25), task=TASK, params=PARAMS)))
    data = load(whole)
    for name in ("period", "seed", "action", "cost", "conversions", "budget_left", "observation"):
        np.testing.assert_array_equal(getattr(data, name), getattr(plain, name), err_msg=name)
    assert len(list(whole.glob("shard-*"))) == SMALL.n_blocks == 10


def test_the_manifest_says_how_the_data_were_made(whole: Path) -> None:
    parameters = read_manifest(whole).parameters
    assert parameters["seed"] == 5 and parameters["n_episodes"] == 20
    assert parameters["market"]["n_impressions"] == 960
    assert parameters["policies"]["shares"] == {"noisy-pid": 1, "random": 2}
    data = load(whole)
    first = data.episode_starts[:-1]
    names = np.array(data.labels["policy"])[data.policy[first]]
    assert {name: int((names == name).sum()) for name in np.unique(names)} == {"noisy-pid": 320, "random": 640}
    controlled = np.flatnonzero(names == "random")
    again = rollout(  # the market has other rivals: what the bidder does by itself is compared, its first multiplier
        POLICIES["random"].make(TASK, PARAMS, auctionnet_population()), seeds=data.seed[first][controlled[:3]],
        advertisers=data.advertiser[first][controlled[:3]], task=TASK, params=PARAMS,
    )  # fmt: skip
    np.testing.assert_allclose(data.action[first][controlled[:3]], again.ticks.multiplier[0], rtol=1e-6)


def test_by_default_an_episode_is_that_of_an_evaluation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One advertiser is controlled, all others follow the script: each has its turn, under every policy."""
    collection = Collection(task=TASK, n_episodes=96, policy="noisy-pid=1,random=1", params=PARAMS)
    summary = collect_data_set(collection, tmp_path / "one")
    assert summary.n_trajectories == 96 and not caplog.records
    log = load(tmp_path / "one")
    first = log.episode_starts[:-1]
    assert sorted(log.advertiser[first][:48]) == sorted(log.advertiser[first][48:]) == list(range(48))
    names = np.array(log.labels["policy"])[log.policy[first]]
    assert min(int((names == name).sum()) for name in ("random", "noisy-pid")) > 30  # 48 expected, sd 4.9
    rows = np.flatnonzero(names == "random")[:3]
    random = POLICIES["random"].make(TASK, PARAMS, auctionnet_population())
    again = rollout(
        random, seeds=log.seed[first][rows], advertisers=log.advertiser[first][rows], task=TASK,
        params=collection.params,
    )  # fmt: skip
    played = np.add.reduceat(log.cost, first)[rows]
    np.testing.assert_allclose(played, again.total("cost"), rtol=1e-6)
    some = Collection(task=TASK, n_episodes=5, advertisers=(9, 2), params=PARAMS)
    assert sorted(some.controlled_in(np.arange(4)).ravel()) == [2, 2, 9, 9]


def test_controlling_most_of_the_market_at_once_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few = Collection(
        task=TASK, n_episodes=1, advertisers=tuple(range(16)), control="all", policy="random", params=PARAMS
    )
    collect_data_set(few, tmp_path / "few")
    assert not caplog.records
    collect_data_set(dataclasses.replace(few, advertisers=None), tmp_path / "all")
    assert "48 of 48 advertisers are controlled at once: the log shows another market" in caplog.text


def test_workers_do_not_change_a_byte(whole: Path, tmp_path: Path) -> None:
    told: list[int] = []
    collect_data_set(SMALL, tmp_path / "set", n_workers=2, progress=told.append)
    assert contents(tmp_path / "set") == contents(whole)
    assert sum(told) == 960 and len(told) == SMALL.n_blocks


SCRIPT = """
import sys
from agents import Collection, collect_data_set
from auction_env import TASKS, MarketParams

if __name__ == "__main__":
    collection = Collection(task=TASKS["TargetCPA"], n_episodes=20, seed=5, policy="noisy-pid=1,random=2",
                            params=MarketParams(n_impressions=960), control="all")
    collect_data_set(collection, sys.argv[1], n_workers=int(sys.argv[2]))
"""


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_killed_collection_goes_on_to_the_same_bytes(whole: Path, tmp_path: Path, n_workers: int) -> None:
    out = tmp_path / "out" / "set"
    run = processes.Run(SCRIPT, str(out), str(n_workers), folder=ROOT, work=tmp_path / "process")
    blocks = out.parent / ".set.unfinished" / "blocks"
    deadline = time.monotonic() + 120
    while not (blocks.is_dir() and len(list(blocks.glob("*.json"))) >= 2):
        assert run.process.is_alive() and time.monotonic() < deadline
        time.sleep(0.005)
    run.kill()
    assert not out.exists()
    n_left = len(list(blocks.glob("0*.json")))
    assert 2 <= n_left < SMALL.n_blocks
    (out.parent / ".set.unfinished" / "data" / ".shard-00009.parquet.1.tmp").write_bytes(b"half")
    summary = collect_data_set(SMALL, out)
    assert summary.n_resumed >= n_left * 96
    assert contents(out) == contents(whole)
    assert os.listdir(out.parent) == ["set"]


def test_a_script_without_a_guard_is_explained(tmp_path: Path) -> None:
    """Without the guard of a script's main part, a worker runs the script again and dies."""
    unguarded = SCRIPT.replace('if __name__ == "__main__":', "if True:")
    run = processes.run(unguarded, str(tmp_path / "set"), "2", folder=ROOT, work=tmp_path / "process")
    assert run.returncode == 1
    assert "ChildProcessError: block " in run.stderr and "without `if __name__ == '__main__'`" in run.stderr
    assert not (tmp_path / "set").exists()


def _interrupted(out: Path, collection: Collection, n_blocks: int) -> Path:
    """Stops a collection after some blocks; returns its stage."""

    def stop(_: int, seen: list[int] = []) -> None:  # noqa: B006 - counts its calls
        seen.append(1)
        if len(seen) == n_blocks:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect_data_set(collection, out, progress=stop)
    return out.parent / f".{out.name}.unfinished"


def test_changed_blocks_are_made_again(whole: Path, tmp_path: Path) -> None:
    stage = _interrupted(tmp_path / "set", SMALL, 4)
    shards = sorted((stage / "data").glob("*.parquet"))
    shards[0].write_bytes(shards[0].read_bytes()[:-1])
    shards[1].unlink()
    (stage / "blocks" / "00002.json").write_text("{")
    assert collect_data_set(SMALL, tmp_path / "set").n_resumed == 96
    assert contents(tmp_path / "set") == contents(whole)


def test_unfinished_work_with_other_arguments_is_not_mixed_in(tmp_path: Path) -> None:
    other = Collection(task=TASK, n_episodes=20, seed=6, policy="noisy-pid=1,random=2", params=PARAMS, control="all")
    stage = _interrupted(tmp_path / "set", other, 1)
    with pytest.raises(FileExistsError, match=r"unfinished work with other arguments \(`seed` differs\)"):
        collect_data_set(SMALL, tmp_path / "set")
    assert (stage / "blocks" / "00000.json").exists()
    assert collect_data_set(SMALL, tmp_path / "set", force=True).n_resumed == 0
    assert load(tmp_path / "set").seed.min() == 5


def test_a_data_set_is_replaced_only_on_request(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    shutil.copytree(whole, out)
    with pytest.raises(FileExistsError, match=r"must be empty, found .*--force on the command line"):
        collect_data_set(SMALL, out)
    one = Collection(task=TASK, n_episodes=1, policy="random", params=PARAMS)
    collect_data_set(one, out, force=True)
    assert load(out).n_episodes == 1
    assert os.listdir(tmp_path) == ["set"]


def test_two_processes_cannot_make_the_same_data_set(tmp_path: Path) -> None:
    def again(_: int) -> None:
        with pytest.raises(FileExistsError, match="is being made by another process"):
            collect_data_set(SMALL, tmp_path / "set")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect_data_set(SMALL, tmp_path / "set", progress=again)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_episodes": 0}, "`n_episodes` must be at least 1, found 0"),
        ({"seed": -1}, "`seed` must not be negative, found -1"),
        ({"control": "some"}, r"`control` must be one of \('one', 'all'\), found 'some'"),
        ({"policy": "magic"}, "`policy` must be 'mixed' or made of .* found 'magic'"),
        ({"policy": "random=0"}, "`policy` must give 'random' a whole share above 0, found '0'"),
        ({"policy": "random,random"}, "`policy` must name a policy once, found 'random' twice"),
    ],
)
def test_bad_collections(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Collection(**{"task": TASK, "n_episodes": 1, **arguments})


def test_workers_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`n_workers` must be at least 1, found 0"):
        collect_data_set(SMALL, tmp_path / "set", n_workers=0)


# --- policies ----------------------------------------------------------------------------------------------


def test_shares_are_dealt_evenly() -> None:
    assert parse_shares("mixed") == MIXED_SHARES
    assert parse_shares("random=1,noisy-pid=3") == {"random": 1, "noisy-pid": 3}
    dealt = dealt_policies({"random": 1, "noisy-pid": 3})
    assert sorted(dealt) == ["noisy-pid"] * 3 + ["random"]


def test_the_policies_have_the_quality_they_are_said_to_have() -> None:
    """Shares of the best constant in hindsight, in the order of the registry."""
    params, population = MarketParams(n_impressions=4800), auctionnet_population()
    seeds, advertisers = np.full(24, 1000), np.arange(0, 48, 2)
    for name in ("MaxConversions", "TargetCPA"):
        task = TASKS[name]
        episodes = {"seeds": seeds, "advertisers": advertisers, "task": task, "params": params}
        best = rollout(HindsightBidder(), **episodes).score(expected=True).sum()
        made = {name: policy.make(task, params, population) for name, policy in POLICIES.items()}
        shares = [rollout(bidder, **episodes).score(expected=True).sum() / best for bidder in made.values()]
        assert list(made) == ["random", "noisy-pid", "online-lp", "near-optimal"]
        assert np.all(np.diff(shares) > 0), shares
        assert shares[0] < 0.5 and shares[-1] > 0.8, shares


def test_a_repeated_bidder_has_one_state() -> None:
    pid, fixed = PidBidder(), FixedBidder(0.5)
    episodes = {"seeds": [1] * 6, "advertisers": range(6), "task": TASK, "params": PARAMS}
    shared = rollout(MixedBidder([pid, fixed, pid]), **episodes)
    apart = rollout(MixedBidder([PidBidder(), fixed, PidBidder()]), **episodes)
    np.testing.assert_array_equal(shared.ticks.cost, apart.ticks.cost)


def test_random_multipliers_are_log_uniform_and_a_function_of_the_campaign() -> None:
    seeds, advertisers = np.repeat(np.arange(20), 48), np.tile(np.arange(48), 20)
    params = MarketParams(n_impressions=48)
    episodes = rollout(RandomMultiplierBidder(0.5, 2.0), seeds=seeds, advertisers=advertisers, task=TASK, params=params)
    ratio = np.log2(episodes.ticks.multiplier[0] / episodes.targets.cpa)
    assert np.all(np.abs(ratio) <= 1)
    assert abs(ratio.mean()) < 4 / np.sqrt(3 * len(ratio))  # uniform on [-1, 1]: sd 1 / sqrt(3)
    assert ratio.std() == pytest.approx(1 / np.sqrt(3), rel=0.1)
    other = rollout(RandomMultiplierBidder(0.5, 2.0), seeds=[3], advertisers=[7], task=TASK, params=params)
    assert other.ticks.multiplier[0, 0] == episodes.ticks.multiplier[0, 3 * 48 + 7]
    with pytest.raises(ValueError, match="`lowest` must be positive and below `highest`, found 2"):
        RandomMultiplierBidder(2.0, 1.0)


def test_online_lp_solves_the_programme_of_its_history() -> None:
    """At tick 0 the threshold is the largest whose impressions the budget pays for, and which keeps the CPA limit."""
    population = auctionnet_population()
    history = record_prices(PARAMS, population, [77, 78])
    cost, value = history.cost.sum(axis=1), history.value.sum(axis=1)  # of the day
    assert np.all(np.diff(cost, axis=1) >= 0) and np.all(np.diff(value, axis=1) >= 0)
    everyone = {"seeds": np.full(48, 5), "advertisers": np.arange(48), "params": PARAMS}
    free = rollout(OnlineLpBidder(history), task=TASKS["MaxConversions"], **everyone)
    limited = rollout(OnlineLpBidder(history), task=TASK, **everyone)
    for j in range(48):
        affordable = np.flatnonzero(cost[j] <= free.budget[j])
        assert free.ticks.multiplier[0, j] == history.threshold[j, affordable[-1]]
        within = affordable[cost[j, affordable] <= free.targets.cpa[j] * value[j, affordable]]
        assert limited.ticks.multiplier[0, j] == history.threshold[j, within[-1]]
    spent = free.total("cost") / free.budget
    assert 0.7 < spent.mean() <= 1
    with pytest.raises(ValueError, match="`history` must be of the market that is played"):
        OnlineLpBidder(history).reset(_campaigns(n_ticks=24))


def _campaigns(n_ticks: int) -> Any:
    from agents import Campaigns

    one = np.ones(1)
    targets = Targets.of(one, one)
    requirements = TASKS["MaxConversions"].requirements(targets)
    return Campaigns(targets, one, np.zeros(1, int), np.zeros(1, int), requirements, n_ticks, np.zeros(1, int))


def test_joint_hindsight_finds_the_constant_that_did_best() -> None:
    """One campaign alone in its market: the constant with the best score among those tried one by one."""
    task = TASKS["MaxConversions"]
    bidder = JointHindsightBidder(lowest=0.5, highest=2.0, n_constants=4)
    episodes = {"seeds": [3, 4], "advertisers": [10, 20], "task": task, "params": PARAMS}
    found = rollout(bidder, **episodes)
    tried = [rollout(FixedBidder(ratio), **episodes) for ratio in np.geomspace(0.5, 2.0, 4)]
    best = np.argmax([each.score(expected=True) for each in tried], axis=0)
    np.testing.assert_array_equal(
        found.ticks.multiplier[0], [tried[k].ticks.multiplier[0, i] for i, k in enumerate(best)]
    )
    noisy = NoisyBidder(bidder, level_sd=0.0, tick_sd=0.0)
    np.testing.assert_array_equal(rollout(noisy, **episodes).ticks.cost, found.ticks.cost)
    for arguments, message in (({"lowest": 3.0}, "below `highest`"), ({"n_constants": 1}, "at least 2")):
        with pytest.raises(ValueError, match=message):
            JointHindsightBidder(**arguments)
