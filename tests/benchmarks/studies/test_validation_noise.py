"""The noise of alignments against the number of validation trajectories, at a tiny size."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from auction_env.tasks import TASKS
from benchmarks.studies.validation_noise import TARGETS, Noise, draw, measure, to_json
from tests.vamo.synthetic import make_data
from vamo.config import Config, ModelConfig, TrainConfig


@pytest.fixture(scope="module")
def noise() -> Noise:
    torch.set_num_threads(1)
    tasks = [TASKS[name] for name in TARGETS]
    sources = {f"{task.name}, {i}": make_data(6, task=task, seed=i) for task in tasks for i in range(2)}
    validation = {task.name: make_data(70, task=task, seed=9, share_ended=0.1) for task in tasks}
    config = Config(
        model=ModelConfig(backbone="transformer", d_model=8, n_blocks=1, n_heads=1, context=8),
        train=TrainConfig(steps=5, batch_size=16, evaluation_windows=8, warmup_steps=0),
    )
    return measure(sources, validation, config=config, sizes=(10, 40), n_draws=400)


def test_deviation_falls_as_the_square_root(noise: Noise) -> None:
    assert noise.alignment.shape == noise.weights.shape == noise.shrunken.shape == (2, 400, 2, 4)
    ratio = noise.deviation[0] / noise.deviation[1]  # 400 draws: a deviation is known to about 4 %
    np.testing.assert_allclose(ratio, 2.0, rtol=0.25)


def test_weights_settle_with_more_trajectories(noise: Noise) -> None:
    np.testing.assert_allclose(noise.weights.sum(axis=3), 1.0, rtol=1e-5)
    np.testing.assert_allclose(noise.shrunken.sum(axis=3), 1.0, rtol=1e-5)
    assert (noise.weights[0].std(axis=0) > noise.weights[1].std(axis=0)).mean() > 0.5
    assert (noise.changes[0] >= noise.changes[1]).all()
    # shrinkage: nearer to uniform where there are fewer trajectories
    distance = np.abs(noise.shrunken - 0.25).mean(axis=(1, 2, 3)) / np.abs(noise.weights - 0.25).mean(axis=(1, 2, 3))
    assert distance[0] < distance[1] <= 1.0


def test_outputs(noise: Noise) -> None:
    rows = json.loads(to_json(noise))
    assert len(rows) == 2 * 2 * 4
    assert {row["trajectories"] for row in rows} == {10, 40}
    picture = draw(noise)
    assert picture.startswith(b"\x89PNG") and len(picture) > 20_000


def test_too_few_trajectories_are_an_error() -> None:
    data = {"TargetCPA": make_data(3)}
    with pytest.raises(ValueError, match="`validation` of 'TargetCPA' must hold 20 trajectories, found 3"):
        measure(data, data, sizes=(20,))
