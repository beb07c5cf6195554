from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from agents.labels.hindsight import best_log_multipliers
from agents.labels.relabel import relabel
from agents.labels.response import Response
from auction_env.data import TrajectoryData
from auction_env.tasks import TASKS
from tests.vamo.synthetic import make_data
from vamo.config import Config, override
from vamo.examples.episodes import Episodes
from vamo.examples.inputs import REQUIREMENT_FLAGS, REQUIREMENT_GATES, REQUIREMENT_INPUTS
from vamo.examples.normalisation import normalisation
from vamo.examples.sampler import WindowSampler
from vamo.examples.sources import by_task, data_hash, split
from vamo.training.loop import Trainer
from vamo.training.train import train

MAX_CONVERSIONS, TARGET_CPA = TASKS["MaxConversions"], TASKS["TargetCPA"]


def test_by_task_and_split() -> None:
    a, b = make_data(10, task=MAX_CONVERSIONS), make_data(5, task=TARGET_CPA, seed=1)
    sources = by_task(TrajectoryData.concat([a, b]))
    assert {name: data.n_episodes for name, data in sources.items()} == {"MaxConversions": 10, "TargetCPA": 5}
    train, validation = split(sources, 0.3, seed=4)
    assert [d.n_episodes for d in validation.values()] == [3, 2]
    for name, data in sources.items():
        parts = np.concatenate([train[name].period, validation[name].period])
        np.testing.assert_array_equal(np.sort(parts), np.sort(data.period))
    again, _ = split(sources, 0.3, seed=4)
    np.testing.assert_array_equal(again["TargetCPA"].action, train["TargetCPA"].action)


def test_split_keeps_one_episode_on_each_side() -> None:
    train, validation = split({"TargetCPA": make_data(2)}, 0.01)
    assert (train["TargetCPA"].n_episodes, validation["TargetCPA"].n_episodes) == (1, 1)
    with pytest.raises(ValueError, match="'TargetCPA' must have at least 2 episodes, found 1"):
        split({"TargetCPA": make_data(1)})
    with pytest.raises(ValueError, match=r"`share` must be in \(0, 1\), found 1"):
        split({}, 1)


def test_windows_hold_the_rows(small_config: Config) -> None:
    data = make_data(4, share_ended=0.0)
    episodes = Episodes("source", data, override(small_config, ["data.action_label=logged"]))
    batch = episodes.windows(MAX_CONVERSIONS, torch.tensor([2, 0]), torch.tensor([10, 42]), 6)
    new = relabel(data, MAX_CONVERSIONS)
    for window, first_row in enumerate((2 * 48 + 10, 42)):
        rows = slice(first_row, first_row + 6)
        np.testing.assert_array_equal(batch.tick[window], data.tick[rows])
        np.testing.assert_array_equal(batch.action[window], np.float32(new.action[rows]))
        scaled = new.returns_to_go[rows] * data.cpa_target[rows] / data.budget[rows]
        np.testing.assert_allclose(batch.requirements[window, :, 0], scaled, rtol=1e-5)
        np.testing.assert_array_equal(batch.mask[window], 1.0)
    assert batch.category.tolist() == [2, 0]


def test_hindsight_asks_for_no_return_and_labels_by_the_response(small_config: Config) -> None:
    data = make_data(4, share_ended=0.5)
    response = Response.fit([make_data(9, seed=3)])
    for given in (response, None):
        episodes = Episodes("source", data, small_config, response=given)
        view = episodes.view(TARGET_CPA)
        for name in ("return_to_go", "cpa_ratio"):
            assert (view.requirements[..., REQUIREMENT_INPUTS.index(name)] == 0).all()
        best = best_log_multipliers(data, TARGET_CPA, given or Response.fit([data])).reshape(4, 48)
        for e, length in enumerate(episodes.length):
            np.testing.assert_array_equal(view.action[e, :length], np.float32(best[e, :length]))
            assert view.mask[e].sum() == length


def test_tasks_that_ask_for_the_same_share_a_view(small_config: Config) -> None:
    """In a family of 128 tasks there are 10 requirements: what is asked for counts, not the name."""
    episodes = Episodes("source", make_data(3), small_config)
    view = episodes.view(TARGET_CPA)
    assert episodes.view(dataclasses.replace(TARGET_CPA, name="TargetCPA-007")) is view
    (limit,) = TARGET_CPA.constraints
    stricter = dataclasses.replace(TARGET_CPA, constraints=(dataclasses.replace(limit, scale=0.5),))
    for other in (MAX_CONVERSIONS, stricter, dataclasses.replace(TARGET_CPA, beta=1.0)):
        assert episodes.view(other) is not view
    assert not torch.equal(episodes.view(stricter).requirements, view.requirements)


def test_tasks_share_everything_but_requirements(small_config: Config) -> None:
    episodes = Episodes("source", make_data(4), small_config)
    drawn = episodes.draw(8, 6, (0, 1))
    a, b = (episodes.windows(task, *drawn, 6) for task in (MAX_CONVERSIONS, TARGET_CPA))
    flag = REQUIREMENT_INPUTS.index("has_cpa_limit")
    assert (a.requirements[..., flag:] == 0).all()
    assert (b.requirements[..., flag] == 1).all()
    torch.testing.assert_close(a.requirements[..., :flag], b.requirements[..., :flag])
    assert (a.action >= b.action).all()  # a limit never asks for a higher bid
    for name in ("state", "advertiser", "category", "tick", "mask"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name))


def test_windows_end_with_the_campaign(small_config: Config) -> None:
    data = make_data(20, share_ended=1.0)
    episodes = Episodes("source", data, small_config)
    lengths = [int(np.flatnonzero(a)[-1]) + 1 for a in data.action.reshape(20, 48)]
    assert episodes.length.tolist() == lengths
    episode, start = episodes.draw(500, 6, (0,))
    assert (start + 6 <= torch.tensor(lengths)[episode]).logical_or(start == 0).all()
    batch = episodes.windows(TARGET_CPA, episode, start, 6)
    assert (batch.mask.sum(dim=1) >= min(6, *lengths)).all()


def test_every_tick_is_drawn_about_equally(small_config: Config) -> None:
    episodes = Episodes("source", make_data(3, share_ended=0.0), small_config)
    batch = episodes.windows(TARGET_CPA, *episodes.draw(5000, 6, (1,)), 6)
    share = torch.bincount(batch.tick.reshape(-1), minlength=48) / 5000
    expected = 6 / (48 + 6 - 1)  # of the windows hold any given middle tick
    assert (share > 0.8 * expected).all()
    assert (share < 2.4 * expected).all()  # the last of the first six ticks is in 11 of 53 places


def test_episodes_without_action_are_left_out(small_config: Config, caplog: pytest.LogCaptureFixture) -> None:
    data = make_data(3, share_ended=0.0)
    action = data.action.copy()
    action[48:96] = 0
    episodes = Episodes("source", dataclasses.replace(data, action=action), small_config)
    assert len(episodes.length) == 2
    assert episodes.category.tolist() == [0, 2]
    assert "left out 1 episodes" in caplog.text
    with pytest.raises(ValueError, match="'source' must have an episode with an action above 0"):
        Episodes("source", dataclasses.replace(data, action=0 * action), small_config)


def test_bad_sources(small_config: Config) -> None:
    mixed = TrajectoryData.concat([make_data(1, task=MAX_CONVERSIONS), make_data(1, seed=1)])
    with pytest.raises(ValueError, match="'mixed' must hold episodes of exactly one task, found"):
        Episodes("mixed", mixed, small_config)
    short = dataclasses.replace(small_config.model, n_ticks=24)
    with pytest.raises(ValueError, match=r"`tick` of source 'long' must be in \[0, 24\), found 0 to 47"):
        Episodes("long", make_data(1), dataclasses.replace(small_config, model=short))


def test_batches_depend_on_step_and_seed_alone(small_config: Config) -> None:
    def sampler(seed: int) -> WindowSampler:
        train = dataclasses.replace(small_config.train, seed=seed)
        config = dataclasses.replace(small_config, train=train)
        episodes = [Episodes("source", make_data(4), config)]
        return WindowSampler(episodes, episodes, [(0, 0)], config)

    a, b, c = sampler(0), sampler(0), sampler(1)
    pairs = [(0, 0)]
    a.train(0, pairs)  # drawing moves nothing
    torch.testing.assert_close(a.train(5, pairs).state, b.train(5, pairs).state)
    torch.testing.assert_close(a.validation(5, [0], 8).state, b.validation(5, [0], 8).state)
    torch.testing.assert_close(a.alignment(5, pairs, 8).state, b.alignment(5, pairs, 8).state)
    assert not torch.equal(a.train(5, pairs).state, a.train(6, pairs).state)
    assert not torch.equal(a.train(5, pairs).state, c.train(5, pairs).state)
    assert not torch.equal(a.train(5, pairs).state[:8], a.validation(5, [0], 8).state)
    assert not torch.equal(a.train(5, pairs).state[:8], a.alignment(5, pairs, 8).state)


def test_a_pair_named_twice_gets_other_windows(small_config: Config) -> None:
    episodes = [Episodes("source", make_data(8), small_config)]
    batch = WindowSampler(episodes, episodes, [(0, 0)], small_config).train(0, [(0, 0), (0, 0)])
    first, second = batch.state.chunk(2)
    assert batch.n_groups == 2
    assert not torch.equal(first, second)


def test_training_gradient_comes_from_the_own_source(small_config: Config) -> None:
    """The ablation: windows of the training set in place of the validation set, for the same target."""
    both = (MAX_CONVERSIONS, TARGET_CPA)
    train_set = {t: Episodes(t.name, make_data(4, task=t, seed=i), small_config) for i, t in enumerate(both)}
    sources, tasks = list(train_set.values()), list(train_set)
    held_out = [Episodes(t.name, make_data(4, task=t, seed=9), small_config) for t in reversed(tasks)]
    pairs = [(k, i) for k in range(2) for i in range(2)]
    config = override(small_config, ["weighting.gradient=training"])
    sampler = WindowSampler(sources, held_out, pairs, config)
    found = sampler.validation(0, [0, 1], 30).advertiser
    own = torch.cat([sources[1].advertiser, sources[0].advertiser])
    assert all((row == own).all(dim=1).any() for row in found)
    with pytest.raises(ValueError, match="must find a source of every target's task, found none of 'TargetCPA'"):
        WindowSampler(sources[:1], held_out, pairs, config)


@pytest.mark.parametrize("estimator", ["ghost", "forward_mode", "explicit"])
def test_a_step_copies_nothing_but_indices(
    small_config: Config, monkeypatch: pytest.MonkeyPatch, estimator: str
) -> None:
    """The data stay where they are: a step makes tensors of indices only, three a window.

    Everything that leaves numpy or Python for a tensor goes through these functions.
    """
    made: list[tuple[str, torch.dtype, int]] = []

    def spy(module: object, name: str) -> None:
        real = getattr(module, name)

        def record(*args: object, **kwargs: object) -> torch.Tensor:
            out: torch.Tensor = real(*args, **kwargs)
            made.append((name, out.dtype, out.numel()))
            return out

        monkeypatch.setattr(module, name, record)

    steps: list[int] = []
    real_step = Trainer.step

    def step(trainer: Trainer[object]) -> object:
        made.clear()
        out = real_step(trainer)
        assert made and {name for name, _, _ in made} <= {"from_numpy", "tensor"}
        for _, dtype, size in made:
            assert dtype == torch.int64
            assert size <= 3 * max(small_config.train.batch_size, small_config.weighting.alignment_batch_size)
        steps.append(trainer.n_steps)
        return out

    monkeypatch.setattr(Trainer, "step", step)
    for name in ("from_numpy", "tensor", "as_tensor"):
        spy(torch, name)
    own = ["data.dagger_rounds=0"]  # the step after a round plays episodes and adds them to the data
    config = override(small_config, [f"weighting.estimator={estimator}", "train.steps=8", *own])
    train(*split({"TargetCPA": make_data(8), "Other": make_data(8, seed=1)}, 0.25), config)
    assert steps == list(range(1, 9))


def test_groups_follow_the_pairs(small_config: Config) -> None:
    tasks = (MAX_CONVERSIONS, TARGET_CPA)
    sources = [Episodes(t.name, make_data(4, task=t, seed=i), small_config) for i, t in enumerate(tasks)]
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1)]
    sampler = WindowSampler(sources, sources, pairs, small_config)
    batch = sampler.train(0, pairs)
    assert (batch.n_groups, len(batch.mask)) == (4, 16)
    groups = [sampler.groups(batch, i, i + 1) for i in range(4)]
    torch.testing.assert_close(groups[0].state, groups[2].state)  # source 0 for both targets
    torch.testing.assert_close(groups[1].state, groups[3].state)
    flag = REQUIREMENT_INPUTS.index("has_cpa_limit")
    assert [bool(group.requirements[..., flag].all()) for group in groups] == [False, False, True, True]


def test_batch_must_hold_every_pair(small_config: Config) -> None:
    train = dataclasses.replace(small_config.train, batch_size=3)
    with pytest.raises(ValueError, match=r"`batch_size` must be at least the number of pairs .*, 4, found 3"):
        WindowSampler([], [], [(0, 0)] * 4, dataclasses.replace(small_config, train=train))


def test_normalisation(small_config: Config) -> None:
    config = override(small_config, ["data.action_label=logged"])
    sources = [Episodes(str(i), make_data(6, seed=i), config) for i in range(2)]
    pairs = [(k, i) for k in range(2) for i in range(2)]
    statistics = normalisation(sources, [MAX_CONVERSIONS, TARGET_CPA], pairs)
    view = [source.view(TARGET_CPA) for source in sources]
    rows = torch.cat([v.requirements[v.mask > 0] for v in view]).double().numpy()
    flag = REQUIREMENT_INPUTS.index("has_cpa_limit")
    assert (statistics.requirements_mean[flag], statistics.requirements_std[flag]) == (0, 1)
    mean, std = statistics.requirements_mean, statistics.requirements_std
    for column, (name, gate) in enumerate(zip(REQUIREMENT_INPUTS, REQUIREMENT_GATES, strict=True)):
        if name in REQUIREMENT_FLAGS or gate not in (None, "has_cpa_limit"):  # flags, and limits that nobody has
            assert (mean[column], std[column]) == (0, 1), name
        elif gate is not None:  # inputs of the limit: over the targets that have one
            np.testing.assert_allclose(mean[column], rows.mean(axis=0)[column], err_msg=name)
            np.testing.assert_allclose(std[column], rows.std(axis=0)[column] or 1.0, err_msg=name)
    budget = REQUIREMENT_INPUTS.index("budget")
    np.testing.assert_allclose(std[budget], rows.std(axis=0)[budget])
    states = torch.cat([s.state[v.mask > 0] for s, v in zip(sources, view, strict=True)]).double().numpy()
    np.testing.assert_allclose(statistics.state_mean, states.mean(axis=0))
    assert statistics.action_low < statistics.action_mean < statistics.action_high


def test_a_pair_counts_as_often_as_it_occurs(small_config: Config) -> None:
    """Equal views are kept once; the statistics are those of all rows of all pairs put together, to the last bit."""
    sources = [Episodes(str(i), make_data(6, seed=i, share_ended=0.3 * i), small_config) for i in range(3)]
    tasks = [TARGET_CPA, dataclasses.replace(TARGET_CPA, name="TargetCPA-001"), MAX_CONVERSIONS, TASKS["TargetROAS"]]
    pairs = [(0, 0), (1, 0), (1, 2), (2, 1), (3, 1), (0, 2)]
    found = normalisation(sources, tasks, pairs)
    views = [sources[i].view(tasks[k]) for k, i in pairs]
    rows = torch.cat([view.requirements[view.mask > 0] for view in views]).numpy().astype(np.float64)
    action = torch.cat([view.action[view.mask > 0] for view in views]).numpy().astype(np.float64)
    for column, (name, gate) in enumerate(zip(REQUIREMENT_INPUTS, REQUIREMENT_GATES, strict=True)):
        asked = rows if gate is None else rows[rows[:, REQUIREMENT_INPUTS.index(gate)] > 0]
        if name not in REQUIREMENT_FLAGS and len(asked):
            assert found.requirements_mean[column] == asked[:, column].mean(), name
            std = asked[:, column].std()
            assert found.requirements_std[column] == (std if std > 1e-6 else 1.0), name
    assert (found.action_mean, found.action_std) == (action.mean(), action.std())


def test_constant_inputs_are_centred_not_scaled(small_config: Config) -> None:
    data = make_data(4)
    observation = data.observation.copy()
    observation[:, 5] = 0.25
    source = Episodes("constant", dataclasses.replace(data, observation=observation), small_config)
    statistics = normalisation([source], [TARGET_CPA], [(0, 0)])
    assert (statistics.state_mean[5], statistics.state_std[5]) == (0.5, 1.0)  # the square root of 0.25


def test_data_hash() -> None:
    data = make_data(3)
    changed = data.action.copy()
    changed[7] += 1e-9
    assert data_hash({"a": data}) == data_hash({"a": make_data(3)})
    assert data_hash({"a": data}) != data_hash({"b": data})
    assert data_hash({"a": data}) != data_hash({"a": dataclasses.replace(data, action=changed)})
