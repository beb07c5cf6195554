"""The reader of logs for offline learners: against the relabelling of `vamo`, the environment and a plain loop."""

from __future__ import annotations

import dataclasses
from typing import get_args

import numpy as np
import pytest

pytest.importorskip("torchrl")
import torch

from agents import Campaigns, FixedBidder, NoisyBidder, TickView, rollout, to_trajectories
from agents.labels.actions import ActionLabel
from agents.labels.hindsight import best_log_multipliers
from agents.labels.relabel import relabel
from agents.labels.response import Response
from agents.learning.policy import DeterministicActor, Policy
from agents.learning.policy_bidder import PolicyBidder
from agents.offline import read_transitions
from agents.offline.training import OfflineLearner
from auction_env import TASKS, MarketParams
from auction_env.data import TrajectoryData
from tests.agents.offline.cases import PARAMS, small_log


@pytest.fixture(scope="module")
def log() -> TrajectoryData:
    return small_log()


def lavish_log() -> TrajectoryData:
    """Bids so high that the money ends before the day."""
    episodes = rollout(
        NoisyBidder(FixedBidder(6.0)), seeds=[1, 2, 3, 4], advertisers=[3, 9, 20, 30], task=TASKS["TargetCPA"],
        params=PARAMS,
    )  # fmt: skip
    return to_trajectories(episodes, period=np.arange(4))


@pytest.mark.parametrize("name", list(TASKS))
@pytest.mark.parametrize("signal", ["expected", "sampled"])
def test_returns_and_actions_are_those_of_the_relabelling(log: TrajectoryData, name: str, signal: str) -> None:
    task = TASKS[name]
    read = read_transitions(log, task, signal=signal)
    seen = relabel(log, task, signal)
    penalty = np.prod([np.maximum(ratio, 1.0) ** -task.beta for ratio in seen.signal_ratios.values()], axis=0)
    np.testing.assert_allclose(read.returns, seen.returns * penalty, rtol=1e-12)
    np.testing.assert_array_equal(read.action, seen.action[seen.action_mask])
    np.testing.assert_array_equal(read.observation[:, 16:], seen.requirements[seen.action_mask].astype(np.float32))
    totals = np.bincount(read.episode, read.reward, minlength=log.n_episodes)
    np.testing.assert_allclose(totals, read.returns, rtol=1e-9, atol=1e-12)


def test_what_acts_sees_the_numbers_that_the_reader_reads() -> None:
    task = TASKS["TargetCPA"]
    policy = Policy(DeterministicActor((4,)), torch.zeros(31), torch.ones(31), -1.0, 1.0)
    learned = PolicyBidder(policy, "bc", OfflineLearner("bc").settings(), task)
    seen = []

    class Watched:
        """Plays a noisy constant, with the learned bidder looking on."""

        name = "watched"
        inner = NoisyBidder(FixedBidder(0.3))  # spends its budget in no campaign

        def reset(self, campaigns: Campaigns) -> None:
            self.inner.reset(campaigns)
            learned.reset(campaigns)

        def act(self, view: TickView) -> np.ndarray:
            seen.append(learned.observe(view))
            return self.inner.act(view)

    episodes = rollout(Watched(), seeds=[5, 6, 7], advertisers=[0, 11, 40], task=task, params=PARAMS)
    read = read_transitions(to_trajectories(episodes, period=np.arange(3)), task)
    assert len(read.action) == 18
    np.testing.assert_array_equal(read.observation, np.stack(seen, axis=1).reshape(18, 31))


@pytest.mark.parametrize("n_step", [1, 3, 50])
def test_n_step_transitions_equal_a_plain_loop(n_step: int) -> None:
    data, task, discount = lavish_log(), TASKS["TargetCPA"], 0.9
    one = read_transitions(data, task, discount=discount)
    read = read_transitions(data, task, discount=discount, n_step=n_step)
    assert len(one.action) < len(data), "some campaign must end before the day, or this shows little"
    for i, episode in enumerate(one.episode):
        ahead = [j for j in range(i, min(i + n_step, len(one.action))) if one.episode[j] == episode]
        assert read.reward[i] == pytest.approx(sum(discount**k * one.reward[j] for k, j in enumerate(ahead)))
        assert read.steps[i] == len(ahead)
        assert read.terminated[i] == one.terminated[ahead[-1]]
        np.testing.assert_array_equal(read.next_observation[i], one.next_observation[ahead[-1]])


def test_an_episode_ends_with_its_last_bid() -> None:
    data, task = lavish_log(), TASKS["TargetCPA"]
    read = read_transitions(data, task)
    assert np.bincount(read.episode[read.terminated]).tolist() == [1, 1, 1, 1]
    early = read.terminated & (read.observation[:, 0] > 0.2)  # time is left
    assert early.any() and read.has_next[early].all()  # the tick after it is in the log
    np.testing.assert_allclose(np.bincount(read.episode, read.reward), read.returns, rtol=1e-12)


def test_ticks_without_a_bid_begin_no_transition(log: TrajectoryData) -> None:
    whole = read_transitions(log, TASKS["MaxConversions"])
    log = log.select(np.flatnonzero(np.bincount(whole.episode) == 6))  # the campaigns that last all day
    action = log.action.copy()
    action[[2, 5]] = 0.0  # in the day, and its last tick
    read = read_transitions(dataclasses.replace(log, action=action), TASKS["MaxConversions"])
    whole = read_transitions(log, TASKS["MaxConversions"])
    assert len(read.action) == len(whole.action) - 2
    np.testing.assert_array_equal(read.next_observation[1], whole.observation[2])  # what followed stays what it was
    assert read.terminated[3]
    # what was earned in the last tick moves to the one before it
    assert read.reward[3] == pytest.approx(whole.reward[4] + whole.reward[5])
    np.testing.assert_array_equal(read.returns, whole.returns)


def test_bad_input_is_refused(log: TrajectoryData) -> None:
    plain = rollout(
        FixedBidder(), seeds=[0], advertisers=[0], task=TASKS["MaxConversions"],
        params=MarketParams(n_impressions=60, n_ticks=6),
    )  # fmt: skip
    with pytest.raises(ValueError, match="task 'MaxClicks' counts clicks, which must be recorded"):
        read_transitions(to_trajectories(plain, period=0), TASKS["MaxClicks"])
    with pytest.raises(ValueError, match="`data` must hold at least one episode"):
        read_transitions(log.select([]), TASKS["MaxConversions"])
    silent = dataclasses.replace(log, action=np.zeros(len(log)), bid=np.zeros(len(log)))
    with pytest.raises(ValueError, match="must hold bids on what task 'AddToCart' counts, found none in 72 ticks"):
        read_transitions(silent, TASKS["AddToCart"])
    with pytest.raises(ValueError, match="`n_step` must be at least 1, found 0"):
        read_transitions(log, TASKS["MaxConversions"], n_step=0)
    with pytest.raises(ValueError, match="`signal` must be 'expected' or 'sampled', found 'value'"):
        read_transitions(log, TASKS["MaxConversions"], signal="value")


def test_hindsight_optimal_actions_stand_where_the_logged_ones_did() -> None:
    log, task = small_log(), TASKS["MaxConversions"]
    logged, best = (read_transitions(log, task, action_label=label) for label in get_args(ActionLabel))
    is_taught = (log.action > 0) & ~(log.done & (log.tick < log.tick.max()))
    np.testing.assert_array_equal(best.action, best_log_multipliers(log, task, Response.fit([log]))[is_taught])
    assert not np.allclose(best.action, logged.action)
    for name in set(logged._fields) - {"action"}:
        np.testing.assert_array_equal(getattr(best, name), getattr(logged, name))
    with pytest.raises(ValueError, match=r"`label` must be one of \('logged', 'hindsight'\), found 'best'"):
        read_transitions(log, task, action_label="best")  # type: ignore[arg-type]  # what is tested
