from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from agents import NoisyBidder, PidBidder, collect
from agents.labels.actions import ActionLabel
from agents.labels.relabel import relabel
from auction_env import Funnel, MarketParams
from auction_env.control.bidder import Bidder, Campaigns, TickView
from auction_env.data import TrajectoryData
from auction_env.tasks import BASES, OUTCOMES, QUANTITIES, REQUIREMENT_NAMES, TASKS, Task
from tests.vamo.synthetic import N_IMPRESSIONS, N_TICKS, Float, make_data
from vamo.agent import ReturnTable, VamoBidder
from vamo.config import Config, DataConfig, RewardSignal, override
from vamo.examples.episodes import Episodes, conditions_of
from vamo.examples.inputs import Conditions, EpisodeInputs, log_ratio, state_inputs
from vamo.model.making import make_policy

MAX_CONVERSIONS, TARGET_CPA = TASKS["MaxConversions"], TASKS["TargetCPA"]


def campaigns_of(data: TrajectoryData, task: Task) -> Campaigns:
    first = data.episode_starts[:-1]
    targets = data.targets.at(first)
    return Campaigns(
        targets=targets,
        base=task.unit_worth(targets),
        category=data.category[first].astype(np.int64),
        advertiser=data.advertiser[first].astype(np.int64),
        requirements=task.requirements(targets),
        n_ticks=N_TICKS,
        seed=np.zeros(data.n_episodes, np.int64),
    )


def views_of(data: TrajectoryData) -> Iterator[TickView]:
    """What an agent would have seen of the logged episodes, all of 48 ticks."""

    def column(name: str, tick: int) -> np.ndarray:
        values: np.ndarray = data[name].reshape(data.n_episodes, N_TICKS)
        return values[:, tick] if tick >= 0 else np.zeros(data.n_episodes)

    features = data.features.reshape(data.n_episodes, N_TICKS, -1)
    offered = np.stack([data[QUANTITIES[basis].offered] for basis in BASES], axis=1)
    offered = offered.reshape(data.n_episodes, N_TICKS, len(BASES))
    for tick in range(N_TICKS):
        yield TickView(
            tick=tick,
            features=features[:, tick],
            budget_left=column("budget_left", tick),
            predicted_mean=offered[:, tick] / N_IMPRESSIONS,
            **{f"last_{name}": column(name, tick - 1) for name in OUTCOMES},
            last_exposures=column("exposures", tick - 1),
            last_wins=column("wins", tick - 1),
            last_volume=column("n_impressions", tick - 1),
        )


def logged(config: Config) -> Config:
    """The configuration for learning logged actions."""
    return override(config, ["data.action_label=logged"])


def asked_of(data: TrajectoryData, task: Task, label: ActionLabel, signal: RewardSignal = "expected") -> Conditions:
    """What training says that the logged episodes realised, one number an episode."""
    if label == "hindsight":
        return Conditions()
    first = data.episode_starts[:-1]
    returns, ratios = conditions_of(data, relabel(data, task, signal))
    assert returns is not None
    return Conditions(returns[first], {kind: ratio[first] for kind, ratio in ratios.items()})


def make_bidder(config: Config, **changes: float) -> VamoBidder:
    tables = [ReturnTable.of(task, np.linspace(0.0, 1.0 + i, 50)) for i, task in enumerate(TASKS.values())]
    return VamoBidder(make_policy(config.model, seed=1), config, tables, **changes)


@pytest.mark.parametrize("label", ["logged", "hindsight"])
@pytest.mark.parametrize("signal", ["expected", "sampled"])
@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_replay_gives_the_training_inputs(
    small_config: Config, task: Task, signal: RewardSignal, label: ActionLabel
) -> None:
    """Logged episodes through the acting code: the numbers of the training tensors, exactly."""
    data = make_data(7, task=MAX_CONVERSIONS, share_ended=0.5)
    campaigns = campaigns_of(data, task)
    acting = EpisodeInputs(campaigns, conditions=asked_of(data, task, label, signal), signal=signal)
    config = Config(data=DataConfig(reward_signal=signal, action_label=label), model=small_config.model)
    episodes = Episodes("source", data, config)
    training = episodes.view(task)
    for tick, view in enumerate(views_of(data)):
        inputs = acting.observe(view)
        alive = tick < episodes.length
        trained = training.requirements[alive, tick].numpy()
        np.testing.assert_array_equal(inputs.requirements[alive], trained)
        np.testing.assert_array_equal(inputs.state[alive], episodes.state[alive, tick].numpy())
    np.testing.assert_array_equal(acting.advertiser, episodes.advertiser.numpy())


class Spy:
    """A noisy bidder that remembers what it was shown."""

    name = "spy"

    def __init__(self) -> None:
        self._bidder = NoisyBidder(PidBidder())
        self.views: list[TickView] = []

    def reset(self, campaigns: Campaigns) -> None:
        self.campaigns = campaigns
        self._bidder.reset(campaigns)

    def act(self, view: TickView) -> Float:
        self.views.append(view)
        return self._bidder.act(view)


@pytest.mark.parametrize("label", ["logged", "hindsight"])
@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_live_views_give_the_training_inputs_of_their_log(small_config: Config, task: Task, label: ActionLabel) -> None:
    """What a bidder sees in the market and what training reads in the log of that market: equal numbers."""
    config = override(small_config, [f"data.action_label={label}"])
    spy = Spy()
    (log,) = collect(spy, seeds=[5], task=task, params=MarketParams(n_impressions=2000, funnel=Funnel()))
    acting = EpisodeInputs(spy.campaigns, conditions=asked_of(log, task, label), signal="expected")
    episodes = Episodes("log", log, config)
    assert len(episodes.length) == log.n_episodes == 48
    requirements = episodes.view(task).requirements
    for tick, view in enumerate(spy.views[: int(episodes.length.max())]):
        inputs = acting.observe(view)
        alive = tick < episodes.length
        np.testing.assert_array_equal(inputs.requirements[alive], requirements[alive, tick].numpy())
        np.testing.assert_array_equal(inputs.state[alive], episodes.state[alive, tick].numpy())


@pytest.mark.parametrize("label", ["logged", "hindsight"])
def test_acting_sees_the_training_window(small_config: Config, label: ActionLabel) -> None:
    """The bidder's decision is the model's output for the window of the training tensors."""
    config = override(small_config, [f"data.action_label={label}"])
    data = make_data(3, task=MAX_CONVERSIONS, share_ended=0.0)
    new = relabel(data, MAX_CONVERSIONS)
    episodes = Episodes("source", data, config)
    for e in range(3):
        one = data.select([e])
        asked = {"target_return": float(new.returns[e])} if label == "logged" else {}
        bidder = make_bidder(config, **asked)
        bidder.reset(campaigns_of(one, MAX_CONVERSIONS))
        for tick, view in enumerate(views_of(one)):
            multiplier = bidder.act(view)
            start = max(0, (tick // 3 - 1) * 3)  # the context of 6 ticks moves by half of it
            index = episodes.draw(1, 1, (0,))[0] * 0 + e
            batch = episodes.windows(MAX_CONVERSIONS, index, index * 0 + start, tick - start + 1)
            expected = bidder.model(*batch[:5]).action[:, -1].detach().numpy()
            np.testing.assert_allclose(np.log(multiplier / one.cpa_target[0]), expected, atol=1e-5)


def test_is_a_bidder(small_config: Config) -> None:
    assert isinstance(make_bidder(small_config), Bidder)


@pytest.mark.parametrize("n", [1, 48])
def test_output_is_finite(small_config: Config, n: int) -> None:
    bidder, rng = make_bidder(small_config), np.random.default_rng(0)
    for _ in range(2):  # a second reset starts afresh
        data = make_data(n)
        bidder.reset(campaigns_of(data, TARGET_CPA))
        for view in views_of(data):
            wild = view._replace(features=view.features * 10.0 ** rng.uniform(-9, 9, view.features.shape))
            multiplier = bidder.act(wild)
            assert multiplier.shape == (n,)
            assert np.isfinite(multiplier).all()
            assert (multiplier >= 0).all()


def test_campaigns_do_not_see_each_other(small_config: Config) -> None:
    data = make_data(6, share_ended=0.0)
    together, alone = make_bidder(small_config), make_bidder(small_config)
    together.reset(campaigns_of(data, TARGET_CPA))
    alone.reset(campaigns_of(data.select([4]), TARGET_CPA))
    for all_views, one_view in zip(views_of(data), views_of(data.select([4])), strict=True):
        np.testing.assert_allclose(together.act(all_views)[4], alone.act(one_view)[0], rtol=1e-5)


def test_reset_forgets(small_config: Config) -> None:
    data = make_data(2)
    bidder = make_bidder(small_config)
    runs = []
    for _ in range(2):
        bidder.reset(campaigns_of(data, TARGET_CPA))
        runs.append([bidder.act(view) for view in views_of(data)])
    np.testing.assert_array_equal(runs[0], runs[1])


def test_a_copy_plays_episodes_of_its_own(small_config: Config) -> None:
    bidder = make_bidder(small_config)
    data = make_data(2)
    campaigns = campaigns_of(data, TASKS["MaxConversions"])
    views = list(views_of(data))
    bidder.reset(campaigns)
    expected = [bidder.act(view) for view in views]
    bidder.reset(campaigns)
    found = []
    for view in views:
        other = copy.deepcopy(bidder)
        other.reset(campaigns)
        other.act(views[0])  # leaves the original's history alone
        found.append(bidder.act(view))
    np.testing.assert_array_equal(found, expected)


def test_asks_for_the_quantile_of_the_campaigns_task(small_config: Config) -> None:
    bidder = make_bidder(logged(small_config)).conditioned_on(quantile=0.5)
    data = make_data(2)
    for task, expected in ((MAX_CONVERSIONS, 0.5), (TARGET_CPA, 1.0)):
        asked = bidder.conditions(campaigns_of(data, task)).target_return
        assert asked is not None
        np.testing.assert_allclose(asked, expected)


def test_asks_for_a_number(small_config: Config) -> None:
    bidder = make_bidder(logged(small_config), target_return=0.7)
    campaigns = campaigns_of(make_data(2), TARGET_CPA)
    for asking, expected in (
        (bidder, 0.7),
        (bidder.conditioned_on(target_return=0.3), 0.3),
        (bidder.conditioned_on(limit_ratio=0.9), 0.7),
        (bidder.conditioned_on(quantile=1.0), 2.0),
    ):
        asked = asking.conditions(campaigns).target_return
        assert asked is not None
        np.testing.assert_allclose(asked, expected)
    with pytest.raises(ValueError, match=r"must not both be given, found 1\.0 and 0\.5"):
        bidder.conditioned_on(target_return=1.0, quantile=0.5)
    with pytest.raises(ValueError, match=r"`quantile` must be in \[0, 1\], found 2\.0"):
        bidder.conditioned_on(quantile=2.0)
    with pytest.raises(ValueError, match="`target_return` must be finite, found nan"):
        bidder.conditioned_on(target_return=float("nan"))


def test_never_asks_for_more_than_the_budget_buys(small_config: Config) -> None:
    campaigns = campaigns_of(make_data(2), TARGET_CPA)
    careful = make_bidder(logged(small_config), target_return=0.5).conditioned_on(limit_ratio=0.9)
    bidders = [make_bidder(logged(small_config), target_return=asked) for asked in (0.5, 2.0, -1.0)]
    for bidder, ratio in zip([*bidders, careful], (1.0, 0.5, 1.0, 0.9), strict=True):
        np.testing.assert_allclose(np.exp(bidder.conditions(campaigns).log_ratio["cpa"]), ratio)


def test_a_policy_of_hindsight_is_told_other_limits(small_config: Config) -> None:
    """Told a budget of 0.8 times the true one, it decides as it would with that budget."""
    bidder, data = make_bidder(small_config), make_data(4, share_ended=0.0)
    assert bidder.conditions(campaigns_of(data, TARGET_CPA)) == Conditions()
    first, budget = data.episode_starts[:-1], 0.8 * data.budget
    smaller = dataclasses.replace(data, budget=budget)
    spent = relabel(data, TARGET_CPA).cost_so_far
    campaigns = campaigns_of(smaller, TARGET_CPA)
    limits = campaigns.requirements * np.where(np.array(REQUIREMENT_NAMES) == "cpa_limit", 1.1, 1.0)
    truly = make_bidder(small_config)
    truly.reset(campaigns._replace(requirements=limits))
    told = bidder.conditioned_on(budget_ratio=0.8, limit_ratio=1.1)
    told.reset(campaigns_of(data, TARGET_CPA))
    for tick, view in enumerate(views_of(data)):
        left = view.features.copy()
        left[:, 1] = 1 - (spent / data.budget)[first + tick]
        less = left.copy()
        less[:, 1] = np.maximum(1 - (spent / budget)[first + tick], 0.0)
        a, b = told.act(view._replace(features=left)), truly.act(view._replace(features=less))
        np.testing.assert_allclose(a, b, rtol=1e-4)


def test_what_a_policy_is_not_asked_for_is_an_error(small_config: Config) -> None:
    with pytest.raises(ValueError, match=r"`quantile` must not be given .* 'hindsight', found 0\.5"):
        make_bidder(small_config).conditioned_on(quantile=0.5)
    with pytest.raises(ValueError, match=r"`target_return` must not be given .* 'hindsight', found 0\.5"):
        make_bidder(small_config, target_return=0.5)
    with pytest.raises(ValueError, match=r"`budget_ratio` must not be given .* 'logged', found 0\.9"):
        make_bidder(logged(small_config)).conditioned_on(budget_ratio=0.9)
    with pytest.raises(ValueError, match=r"`budget_ratio` must be positive, found 0\.0"):
        make_bidder(small_config).conditioned_on(budget_ratio=0.0)


def test_errors(small_config: Config) -> None:
    bidder, data = make_bidder(small_config), make_data(1)
    view = next(views_of(data))
    with pytest.raises(RuntimeError, match="`reset` must be called before `act`"):
        bidder.act(view)
    campaigns = campaigns_of(data, TARGET_CPA)
    with pytest.raises(ValueError, match="`n_ticks` must be that of the training data, 48, found 24"):
        bidder.reset(campaigns._replace(n_ticks=24))
    bidder.reset(campaigns)
    with pytest.raises(ValueError, match=r"`tick` must be in \[0, 48\), found 48"):
        bidder.act(view._replace(tick=48))


def test_state_inputs_are_free_of_currency() -> None:
    data = make_data(1)
    features, base = data.features.copy(), data.cpa_target
    before = state_inputs(features, base)
    features[:, [2, 3, 4, 8]] *= 7.0  # bids and least winning costs in another currency
    np.testing.assert_allclose(state_inputs(features, 7.0 * base), before, rtol=1e-6)


def test_ratios_are_bounded() -> None:
    np.testing.assert_allclose(log_ratio(np.array([0.0, np.inf, 1.0, 2.0])), [-3.0, 3.0, 0.0, np.log(2.0)])
