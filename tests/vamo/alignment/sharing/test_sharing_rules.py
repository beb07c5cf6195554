"""Conservative and nearest-task sharing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from auction_env.tasks import TASKS, Constraint, Task
from tests.vamo.synthetic import make_data
from vamo.alignment.sharing.conservative import conservative
from vamo.alignment.sharing.nearest import nearest_tasks, requirement_distance, task_distance
from vamo.alignment.sharing.rules import choose
from vamo.alignment.weighting import Given, make_weighting
from vamo.config import Config, override
from vamo.examples.episodes import Episodes
from vamo.examples.sampler import WindowSampler
from vamo.training.train import train

SCORES = [[np.arange(10.0), np.array([0.0, 8.5, 20.0])], [np.array([5.0, 1.0] + 8 * [0.0]), np.array([6.0, 7.0, 8.0])]]


def test_conservative_sharing_by_hand() -> None:
    """Percentile 90 of 0..9 is 8.1: two of source 1 for target 0; of 6, 7, 8 it is 7.8: none of source 0."""
    found = conservative(SCORES, [0, 1], 90.0)
    np.testing.assert_allclose(found.weights, [[10 / 12, 2 / 12], [0, 1]], rtol=1e-6)
    assert found.pairs == [(0, 0), (0, 1), (1, 1)]
    assert {pair: picked.tolist() for pair, picked in found.chosen.items()} == {(0, 1): [1, 2]}


def test_percentile_0_of_a_worse_target_pools_everything() -> None:
    found = conservative([[np.array([-1.0, 2.0]), np.array([0.0, 1.0, 5.0])]], [0], 0.0)
    np.testing.assert_allclose(found.weights, [[0.4, 0.6]])
    assert found.chosen == {}


def test_windows_come_from_the_chosen_episodes_only() -> None:
    data, config = make_data(8), override(Config(), ["train.batch_size=64"])
    episodes = Episodes("a", data, config)
    sampler = WindowSampler([episodes], [episodes], [(0, 0)], config, {(0, 0): np.array([2, 5])})
    drawn = sampler.train(3, [(0, 0)]).advertiser
    assert {tuple(row) for row in drawn.tolist()} == {tuple(row) for row in episodes.advertiser[[2, 5]].tolist()}


def test_scores_are_those_of_the_target_task() -> None:
    data = make_data(6)
    task = TASKS["MaxClicks"]
    scores = Episodes("a", data, Config()).relative_scores(task)
    first = data.episode_starts[:-1]
    wanted = task.score(data.totals(), data.targets.at(first)) * task.unit_worth(data.targets)[first]
    np.testing.assert_allclose(scores, wanted / data.budget[first])


def test_nearest_are_those_of_the_same_task() -> None:
    near, far = TASKS["TargetCPA"], TASKS["MaxClicks"]
    sources = [make_data(task=near, seed=1), make_data(task=far, seed=2), make_data(task=near, seed=3)]
    found = nearest_tasks(sources, [0, 2], 1)
    np.testing.assert_allclose(found.weights, [[0.5, 0, 0.5], [0.5, 0, 0.5]])
    with pytest.raises(ValueError, match="`n_nearest` must be at most the 2 other sources, found 3"):
        nearest_tasks(sources, [0], 3)


def test_distances_of_requirements() -> None:
    one = Task(name="a", constraints=(Constraint(kind="cpa", scale=1.0),))
    two = Task(name="b", constraints=(Constraint(kind="cpa", scale=2.0), Constraint(kind="roas")))
    fixed = Task(name="c", objective="clicks", constraints=(Constraint(kind="cpa", limit=3.0),))
    assert requirement_distance(one, one) == 0
    assert requirement_distance(one, two) == pytest.approx(1 + np.log(2))
    assert requirement_distance(one, fixed) == 2
    data = make_data()
    assert task_distance(data, data) == 0


def test_missing_sources_and_weights_are_named() -> None:
    config = override(Config(), ["train.method=cds"])
    data = make_data()
    with pytest.raises(ValueError, match=r"method 'cds' must find its targets in `sources`, found no \['b'\]"):
        choose({"a": data}, {"a": data}, [Episodes("a", data, config)], {"b": TASKS["TargetCPA"]}, config)
    with pytest.raises(ValueError, match="source 'a' must be of its target's task for method 'cds', found another"):
        choose({"a": data}, {"a": data}, [Episodes("a", data, config)], {"a": TASKS["MaxClicks"]}, config)
    with pytest.raises(ValueError, match="found none for 'cds'"):
        make_weighting(config.train, config.weighting)
    with pytest.raises(ValueError, match="found some for 'vao'"):
        make_weighting(Config().train, Config().weighting, torch.ones(1, 1))
    with pytest.raises(ValueError, match="`weights` must not be negative, with rows of sum 1"):
        Given(torch.tensor([[0.5, 0.4]]))


@pytest.mark.parametrize("method", ["cds", "nearest", "response_check", "dvdf"])
def test_training_reports_the_weights(method: str) -> None:
    tasks = {"a": TASKS["TargetCPA"], "b": TASKS["MaxClicks"]}
    sources = {name: make_data(task=task, seed=index) for index, (name, task) in enumerate(tasks.items())}
    options = ["train.steps=2", "train.log_every=2", "train.batch_size=16", "model.width=8"]
    result = train(sources, sources, override(Config(), [f"train.method={method}", *options]))
    weights = np.array(result.history[-1].weights)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    assert np.all(np.diag(weights) > 0)
