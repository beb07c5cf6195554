"""Offline estimates: the log's own score where the policy is the log's, the live score where it is another one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import agents
from agents import FixedBidder, HindsightBidder, NoisyBidder, OfflineEvaluation, PolicyEstimate, estimate, rollout
from agents.labels.completion import ESTIMATED
from agents.labels.off_policy.estimate import METHODS
from agents.labels.off_policy.fitted_q import decisions
from agents.labels.off_policy.intervals import LEAST_MODEL_ERROR, mean_interval, model_error, widened
from agents.labels.off_policy.trust import Evidence, warnings_of
from agents.rollouts import Episodes, to_trajectories
from auction_env import MarketParams
from auction_env.control.bidder import Campaigns, TickView
from auction_env.data import TrajectoryData
from auction_env.data.missing import MISSING
from auction_env.tasks import TASKS
from tests.vamo.synthetic import Float

TASK = TASKS["TargetCPA"]
N_TICKS, N_EPISODES = 12, 48
PARAMS = MarketParams(n_impressions=2400, n_ticks=N_TICKS)


class Replaying:
    """Bids what was logged."""

    name = "replaying"

    def __init__(self, log: TrajectoryData) -> None:
        self._action = log.action.reshape(log.n_episodes, -1)

    def reset(self, campaigns: Campaigns) -> None:
        pass

    def act(self, view: TickView) -> Float:
        return self._action[:, view.tick]


def played(bidder: agents.Bidder) -> Episodes:
    seeds = np.arange(N_EPISODES)
    return rollout(bidder, seeds=seeds, advertisers=seeds % 12, task=TASK, params=PARAMS, progress=False)


@pytest.fixture(scope="module")
def log() -> TrajectoryData:
    return to_trajectories(played(NoisyBidder(FixedBidder(0.8))), period=np.arange(N_EPISODES), policy="noisy")


@pytest.fixture(scope="module")
def evaluation(log: TrajectoryData) -> OfflineEvaluation:
    return OfflineEvaluation(log)


@pytest.mark.parametrize("method", ["importance", "doubly_robust"])
def test_the_logged_policy_gets_its_logged_scores(evaluation: OfflineEvaluation, method: str) -> None:
    """Weights of 1 and residuals of 0: the numbers of the log, where no budget cut a tick short."""
    found = evaluation.estimate(Replaying(evaluation.data), method=method)
    data = evaluation.data
    is_free = np.add.reduceat(data.cost, data.episode_starts[:-1]) < 0.98 * evaluation.targets.budget
    assert is_free.mean() > 0.5
    own, logged = found.scores[is_free], evaluation.logged_scores[is_free]
    if method == "importance":
        np.testing.assert_allclose(own, logged, rtol=1e-9)
    else:  # the last tick of an episode is predicted
        assert own.mean() == pytest.approx(logged.mean(), rel=0.05)
        assert np.corrcoef(own, logged)[0, 1] > 0.97
    assert found.effective_n == pytest.approx(N_EPISODES, rel=0.1)
    assert found.logged_score == pytest.approx(float(evaluation.logged_scores.mean()))


@pytest.mark.parametrize("method", ["direct", "doubly_robust"])
def test_the_estimate_is_near_the_live_score(evaluation: OfflineEvaluation, method: str) -> None:
    """Of a policy that nobody logged, on the same episodes."""
    bidder = FixedBidder(1.1)
    found, live = evaluation.estimate(bidder, method=method), played(bidder).score(expected=True)
    assert found.score == pytest.approx(float(live.mean()), rel=0.12)
    assert np.corrcoef(found.scores, live)[0, 1] > 0.8
    assert found.low < found.score < found.high and found.n_episodes == N_EPISODES


def test_importance_sampling_takes_nothing_where_nothing_was_logged(log: TrajectoryData) -> None:
    """In half of the ticks nobody bid: half of the outcomes are missing, and effective n says so."""
    silent = log.tick >= N_TICKS // 2
    names = ("action", "bid", "wins", "exposures", "cost", "conversions", "expected_conversions", "reward")
    columns: dict[str, Any] = {name: np.where(silent, 0.0, log[name]) for name in names}
    data = dataclasses.replace(log, **columns)
    half, whole = OfflineEvaluation(data), OfflineEvaluation(log)
    bidder = FixedBidder(0.8)
    importance = half.estimate(bidder, method="importance").score / whole.estimate(bidder, method="importance").score
    assert importance < 0.75
    direct = half.estimate(bidder, method="direct").score / whole.estimate(bidder, method="direct").score
    assert direct > 0.85
    assert half.estimate(bidder).effective_n < 0.6 * whole.estimate(bidder).effective_n


def test_fitted_q_knows_the_value_of_the_logged_policy(evaluation: OfflineEvaluation) -> None:
    """On-policy evaluation: the mean of the log, in units of what each budget buys."""
    found = evaluation.estimate(Replaying(evaluation.data), method="fitted_q")
    unit = evaluation.targets.budget / evaluation.targets.cpa
    assert (found.scores / unit).mean() == pytest.approx((evaluation.logged_scores / unit).mean(), rel=1e-6)


def test_decisions_are_made_in_logged_states(evaluation: OfflineEvaluation) -> None:
    seen = []

    class Watching(Replaying):
        def act(self, view: TickView) -> Float:
            seen.append(view)
            return super().act(view)

    data = evaluation.data
    found = decisions(Watching(data), TASK, data, N_TICKS)
    np.testing.assert_array_equal(found, data.action)
    np.testing.assert_array_equal(seen[5].features, data.features[5::N_TICKS])
    np.testing.assert_array_equal(seen[5].last_cost, data.cost[4::N_TICKS])
    np.testing.assert_allclose(seen[5].budget_left, data.budget_left[5::N_TICKS])


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_numbers(log: TrajectoryData, method: str) -> None:
    first, second = (estimate(log, FixedBidder(0.9), method=method, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.scores, second.scores)
    assert (first.low, first.high, first.warnings) == (second.low, second.high, second.warnings)
    assert "FixedBidder" not in repr(first) and method in repr(first)


def test_intervals_are_those_of_the_mean_within_advertisers() -> None:
    """Half-widths of normal scores: 1.645 sd / sqrt(n), whatever lies between advertisers."""
    rng = np.random.default_rng(0)
    advertiser = np.repeat(np.arange(40, dtype=np.int32), 3)
    scores = 50.0 * rng.standard_normal(40)[advertiser] + rng.standard_normal(120)
    low, high = mean_interval(scores, advertiser, 0.9, seed=1)
    assert (high - low) / 2 == pytest.approx(1.645 / np.sqrt(120), rel=0.15)
    alone = np.arange(120, dtype=np.int32)  # each once: drawn among each other
    low, high = mean_interval(scores, alone, 0.9, seed=1)
    assert (high - low) / 2 == pytest.approx(1.645 * scores.std() / np.sqrt(120), rel=0.1)


def test_the_error_of_the_model_widens_intervals(log: TrajectoryData) -> None:
    low, high = widened((0.9, 1.2), 1.0, 0.05, 0.9)
    assert (1.0 - low, high - 1.0) == pytest.approx(
        (np.hypot(0.1, 1.645 * 0.05), np.hypot(0.2, 1.645 * 0.05)), rel=1e-3
    )
    assert LEAST_MODEL_ERROR <= model_error(log, TASK, N_TICKS) < 0.3
    assert model_error(log.select(np.arange(7)), TASK, N_TICKS) == LEAST_MODEL_ERROR  # too few to tell
    # half of the episodes record a quarter of what they brought: the model of one half is wrong about the other
    loud = np.repeat(np.add.reduceat(log.action, log.episode_starts[:-1]), N_TICKS)
    few = np.where(loud > np.median(loud), 0.25, 1.0) * log.expected_conversions
    assert model_error(dataclasses.replace(log, expected_conversions=few), TASK, N_TICKS) > 0.5


def test_warnings_name_their_reasons(log: TrajectoryData, evaluation: OfflineEvaluation) -> None:
    def of(bidder: agents.Bidder, data: TrajectoryData, method: str = "direct") -> str:
        return " | ".join(estimate(data, bidder, method=method).warnings)

    near, far = of(FixedBidder(0.8), log), of(FixedBidder(3.0), log)
    assert "48 episodes are few, below 120" in near and "factor 2" not in near and "hardly vary" not in near
    assert "of its bids are more than a factor 2 from the logged ones" in far
    low = of(FixedBidder(0.05), log)
    assert "the effective sample size is" in low
    assert "wrong by tens of per cent" in of(FixedBidder(0.8), log, "fitted_q").replace("  ", " ")
    constant = to_trajectories(played(FixedBidder(1.0)), period=np.arange(N_EPISODES))
    assert "hardly vary" not in of(FixedBidder(0.8), constant)  # prices tell enough
    noted = dataclasses.replace(constant, metadata={ESTIMATED: ["least_winning_cost"]})
    assert "the logged bids hardly vary (standard deviation 0.000" in of(FixedBidder(0.8), noted)
    many = Evidence(n_episodes=500, effective_n=400.0, variation=0.3, far_share=0.1, n_at_once=48, has_prices=True)
    (text,) = warnings_of(many, "direct")
    assert "48 advertisers of one period" in text
    assert warnings_of(dataclasses.replace(many, n_at_once=1), "doubly_robust") == []


def test_a_log_without_predictions_is_completed_and_says_so(log: TrajectoryData) -> None:
    names = ["offered_conversions", "expected_conversions"]
    columns: dict[str, Any] = {name: np.full(len(log), np.nan) for name in names}
    lacking = dataclasses.replace(log, metadata={MISSING: names}, **columns)
    found = estimate(lacking, FixedBidder(0.8))
    assert np.isfinite(found.scores).all() and found.score > 0
    assert any("estimated, because the log lacks them" in text for text in found.warnings)


def test_a_log_without_costs_says_what_is_missing(log: TrajectoryData) -> None:
    lacking = dataclasses.replace(log, metadata={MISSING: ["cost"]}, cost=np.full(len(log), np.nan))
    with pytest.raises(ValueError, match="`cost` must be recorded"):
        estimate(lacking, FixedBidder(0.8))


def test_bad_input_is_named(log: TrajectoryData, evaluation: OfflineEvaluation) -> None:
    with pytest.raises(ValueError, match=r"`method` must be one of .*found 'directt'"):
        evaluation.estimate(FixedBidder(0.8), method="directt")
    with pytest.raises(ValueError, match="`level` must lie between 0 and 1, found 90"):
        evaluation.estimate(FixedBidder(0.8), level=90)
    with pytest.raises(ValueError, match="knows the episode beforehand"):
        evaluation.estimate(HindsightBidder())
    with pytest.raises(ValueError, match=r"write FixedBidder\(\)"):
        evaluation.estimate(FixedBidder)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="counts clicks, which must be recorded"):
        OfflineEvaluation(log, task="MaxClicks")
    both = TrajectoryData.concat([log.select([0]), log.select([1]).with_task(TASKS["MaxConversions"])])
    with pytest.raises(ValueError, match="`task` must be given for a log of 2 tasks"):
        estimate(both, FixedBidder(0.8))
    late = dataclasses.replace(log.select([0]), tick=np.arange(1, N_TICKS + 1, dtype=np.int32))
    with pytest.raises(ValueError, match="must hold an episode with all its 13 ticks, found 1"):
        estimate(late, FixedBidder(0.8))


def test_another_task_is_scored_from_the_same_log(log: TrajectoryData) -> None:
    found: PolicyEstimate = estimate(log, FixedBidder(0.8), task="MaxConversions")
    assert found.task == "MaxConversions" and found.score > estimate(log, FixedBidder(0.8)).score
