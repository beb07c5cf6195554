"""DAgger through the response: which states are visited, how they are labelled and drawn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from agents import FixedBidder, NoisyBidder, collect
from agents.labels.hindsight import best_log_multipliers
from agents.labels.kernels import sums_so_far
from agents.labels.predicted_log import predicted_logs
from auction_env import MarketParams
from auction_env.control.bidder import Campaigns, TickView
from auction_env.data import TrajectoryData
from auction_env.tasks import TASKS
from tests.vamo.synthetic import Float, make_data
from vamo.config import Config, override
from vamo.examples.dagger import MOST_PAIRS, Dagger, default_rounds, round_steps
from vamo.examples.episodes import Episodes
from vamo.examples.sampler import Visited, WindowSampler
from vamo.training.train import train

TASK = TASKS["MaxConversions"]
CONFIG = override(Config(), ["data.dagger_rounds=2", "data.dagger_episodes=6", "train.steps=12", "model.context=4"])


class Constant:
    """Bids a multiple of the base."""

    name = "constant"

    def __init__(self, ratio: float) -> None:
        self.ratio = ratio

    def reset(self, campaigns: Campaigns) -> None:
        self.base = campaigns.base

    def act(self, view: TickView) -> Float:
        return self.ratio * self.base


@pytest.fixture(scope="module")
def log() -> TrajectoryData:
    params = MarketParams(n_impressions=2400)
    (data,) = collect(NoisyBidder(FixedBidder(0.6)), seeds=[0], task=TASK, params=params)
    return data


def make(log: TrajectoryData, chosen: dict[tuple[int, int], np.ndarray] | None = None) -> tuple[Episodes, Dagger]:
    source = Episodes("a", log, CONFIG)
    dagger = Dagger([source], [TASK], [(0, 0)], chosen or {}, CONFIG, lambda step: Constant(step / 10))
    return source, dagger


def test_rounds_cut_the_training_into_equal_stages() -> None:
    assert round_steps(12, 2) == [4, 8] and round_steps(500, 1) == [250] and round_steps(5, 0) == []


def test_a_round_is_played_with_the_policy_of_its_step(log: TrajectoryData) -> None:
    """Bids of .4 in the first round and of .8 in the second, in episodes of the source."""
    source, dagger = make(log)
    assert dagger(3) == []
    assert len(dagger(4)) == len(dagger(7)) == 1
    rounds = [visited[0, 0] for visited in dagger(8)]
    assert len(rounds) == 2
    for (episodes, origin), ratio in zip(rounds, (0.4, 0.8), strict=True):
        assert len(origin) == 6
        active = episodes.data.action > 0
        np.testing.assert_allclose((episodes.data.action / episodes.data.cpa_target)[active], ratio)
        torch.testing.assert_close(episodes.advertiser, source.advertiser[origin])
        np.testing.assert_array_equal(episodes.data.period[::48], log.period[::48][origin])


def test_labels_are_the_best_from_what_the_policy_has_spent(log: TrajectoryData) -> None:
    """By the response of the source, not by one that is fitted to what it predicted itself."""
    source, dagger = make(log)
    part = dagger(4)[0][0, 0]
    visited = part.episodes
    assert visited.response is source.response
    wanted = best_log_multipliers(visited.data, TASK, source.response)
    view = visited.view(TASK)
    row = visited.length.min() - 1
    np.testing.assert_allclose(view.action[:, row].numpy(), wanted.reshape(-1, 48)[visited.kept, row], rtol=1e-6)
    spent = sums_so_far(visited.data.cost, visited.data.episode_starts) / visited.data.budget
    left = visited.state[:, row, 1].numpy()
    np.testing.assert_allclose(left, 1 - spent.reshape(-1, 48)[visited.kept, row], atol=1e-6)
    assert not np.allclose(left, source.state[part.origin, row, 1].numpy(), atol=0.01)


def test_only_shared_and_complete_episodes_are_played(log: TrajectoryData) -> None:
    _, dagger = make(log, {(0, 0): np.array([3, 9, 20])})
    assert dagger(4)[0][0, 0].origin.tolist() == [3, 9, 20]


def test_each_round_gets_as_many_windows_as_the_log(log: TrajectoryData) -> None:
    source = Episodes("a", log, CONFIG)
    parts = [Visited(Episodes("v", make_data(4, task=TASK, seed=seed), CONFIG), np.arange(4)) for seed in (1, 2)]
    rounds = [{(0, 0): part} for part in parts]
    sampler = WindowSampler([source], [source], [(0, 0)], CONFIG, visits=lambda step: rounds[: step // 4])

    def counts(step: int) -> list[int]:
        batch = sampler.alignment(step, [(0, 0)], 30)
        assert batch.n_groups == 1 and len(batch.mask) == 30
        rows = [tuple(row) for row in batch.advertiser.tolist()]
        known = [{tuple(row) for row in part.advertiser.tolist()} for part in (source, *(p.episodes for p in parts))]
        return [sum(row in of for row in rows) for of in known]

    assert counts(0) == [30, 0, 0] and counts(4) == [15, 15, 0] and counts(8) == [10, 10, 10]


def test_training_visits_and_is_deterministic(log: TrajectoryData) -> None:
    options = ["train.steps=6", "train.log_every=3", "train.batch_size=8", "model.width=8"]
    data = {"MaxConversions": log.select(np.arange(8))}

    def run(*rounds: str) -> torch.Tensor:
        config = override(Config(), [*options, *rounds, "train.snapshots=1"])
        result = train(data, data, config)
        assert list(result.snapshots) == [6]  # not those of the rounds
        return torch.cat([p.flatten() for p in result.bidder.model.parameters()])

    assert torch.equal(run("data.dagger_rounds=2"), run("data.dagger_rounds=2"))
    assert not torch.equal(run("data.dagger_rounds=2"), run("data.dagger_rounds=0"))
    assert torch.equal(run(), run("data.dagger_rounds=1"))  # the default


def test_a_round_is_played_by_default_where_that_is_possible_and_affordable() -> None:
    assert default_rounds(Config(), MOST_PAIRS) == 1
    assert default_rounds(Config(), MOST_PAIRS + 1) == 0
    impossible = ["data.action_label=logged"], ["train.steps=1"], ["model.backbone=ridge", "train.method=uniform"]
    assert [default_rounds(override(Config(), options), 1) for options in impossible] == [0, 0, 0]
    asked_for = override(Config(), ["data.dagger_spread=2"])
    assert default_rounds(asked_for, MOST_PAIRS + 1) == 1


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="`action_label` must be hindsight for `dagger_rounds`"):
        override(Config(), ["data.dagger_rounds=1", "data.action_label=logged"])
    with pytest.raises(ValueError, match="`dagger_rounds` must be fewer than `steps`, 2, found 2"):
        override(Config(), ["data.dagger_rounds=2", "train.steps=2"])


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (["data.dagger_spread=0.5"], "`dagger_spread` must be at least 1, found 0.5"),
        (["data.dagger_rounds=0"], "`dagger_rounds` must be at least 1, or left open, for `dagger_spread`"),
        (["data.action_label=logged"], "`action_label` must be hindsight for `dagger_spread`"),
        (["train.steps=1"], "`train.steps` must be at least 2 for `dagger_spread`"),
        (
            ["model.backbone=ridge", "train.method=uniform"],
            "`data.dagger_spread` must be 1 for `model.backbone` 'ridge'",
        ),
    ],
)
def test_a_spread_that_no_round_would_play_is_refused(others: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(Config(), ["data.dagger_spread=2", *others])


def test_episodes_may_be_played_under_other_budgets_and_targets(log: TrajectoryData) -> None:
    """Each by a factor of its own up to the spread; labels and inputs are those of the new ones."""
    config = override(CONFIG, ["data.dagger_spread=2"])
    source = Episodes("a", log, config)

    def visited() -> Visited:
        dagger = Dagger([source], [TASK], [(0, 0)], {}, config, lambda step: Constant(step / 10))
        return dagger(4)[0][0, 0]

    episodes, origin = visited()
    played, logged = episodes.data.targets.at(slice(None, None, 48)), log.targets.at(48 * origin)
    money, price = played.budget / logged.budget, played.cpa / logged.cpa
    is_other = money != 1
    assert is_other.sum() == 3 and (price[~is_other] == 1).all()  # half of six
    for factor in (money[is_other], price[is_other]):
        assert np.histogram(np.log2(factor), bins=3, range=(-1, 1))[0].tolist() == [1, 1, 1]  # evenly from 1/2 to 2
    assert not np.allclose(money, price)
    np.testing.assert_allclose(played.roas * price, logged.roas)
    np.testing.assert_allclose(played.cart_cost / price, logged.cart_cost)
    np.testing.assert_allclose(episodes.advertiser[:, 0].numpy(), np.log(played.budget), rtol=1e-6)
    wanted = best_log_multipliers(episodes.data, TASK, source.response).reshape(-1, 48)
    row = episodes.length.min() - 1
    np.testing.assert_allclose(episodes.view(TASK).action[:, row].numpy(), wanted[:, row], rtol=1e-6)
    np.testing.assert_array_equal(visited().episodes.data.budget, episodes.data.budget)  # a resumed run's


def test_a_policy_that_met_other_budgets_knows_what_to_do_with_half_of_its_own(log: TrajectoryData) -> None:
    """It bids less, as the best constant does; one that met the logged budgets only extrapolates."""
    data = {"MaxConversions": log}
    options = ["train.steps=400", "train.batch_size=128", "model.width=32", "train.log_every=100"]
    half = dataclasses.replace(log, budget=log.budget / 2, budget_left=log.budget_left / 2)
    first = slice(None, None, 48)
    response = Episodes("a", log, Config()).response
    wanted = best_log_multipliers(half, TASK, response)[first]

    def error(spread: float) -> float:
        settings = override(Config(), [*options, "data.dagger_episodes=48", f"data.dagger_spread={spread}"])
        bidder = train(data, data, settings).bidder
        (played,) = predicted_logs(bidder, TASK, [(half, response)], n_ticks=48, rng=np.random.default_rng(0))
        return float(np.abs(np.log(played.action[first] / half.cpa_target[first]) - wanted).mean())

    assert error(2.0) < 0.8 * error(1.0)
