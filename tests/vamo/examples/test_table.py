"""Windows gathered from the joint table of all sources are those of the sources themselves."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from auction_env.tasks import TASKS
from tests.vamo.synthetic import make_data
from vamo.config import Config, ModelConfig
from vamo.examples.batch import groups
from vamo.examples.episodes import Episodes
from vamo.examples.sampler import WindowSampler


@pytest.mark.parametrize("window", [1, 3])
def test_windows_are_those_of_the_sources(small_config: Config, window: int) -> None:
    model = ModelConfig() if window == 1 else ModelConfig(backbone="transformer", context=window)
    config = replace(small_config, model=model)
    tasks = (TASKS["MaxConversions"], TASKS["TargetCPA"])
    sources = [Episodes(f"s{i}", make_data(2 + i, task=t, seed=i), config) for i, t in enumerate(tasks)]
    held_out = [Episodes(f"v{i}", make_data(2, task=t, seed=9 + i), config) for i, t in enumerate(tasks)]
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1)]
    sampler = WindowSampler(sources, held_out, pairs, config)
    batch = sampler.train(4, pairs)
    assert batch.state.shape[:2] == (16, window)
    drawn = [(groups(batch, p, p + 1), sources[i], tasks[k]) for p, (k, i) in enumerate(pairs)]
    validation = sampler.validation(0, [1, 0], 3)
    drawn += [(groups(validation, p, p + 1), held_out[k], tasks[k]) for p, k in enumerate((1, 0))]
    drawn.append((sampler.evaluation(1), held_out[1], tasks[1]))
    for group, episodes, task in drawn:
        starts = itertools.product(range(len(episodes.length)), range(int(episodes.length.max()) - window + 1))
        episode, start = torch.tensor(list(starts)).T
        every = episodes.windows(task, episode, start, window)
        for n in range(len(group.mask)):
            same = (every.state == group.state[n]).all(dim=(1, 2)).nonzero()[:, 0]
            assert len(same) == 1
            for own, expected in zip(group[:-1], every[:-1], strict=True):
                assert torch.equal(own[n], expected[same[0]])


def test_windows_of_a_single_tick_reach_every_tick(small_config: Config) -> None:
    config = replace(small_config, model=ModelConfig(), train=replace(small_config.train, batch_size=4000))
    source = Episodes("s", make_data(2, share_ended=0.0), config)
    batch = WindowSampler([source], [source], [(0, 0)], config).train(0, [(0, 0)])
    counts = torch.bincount(batch.tick[:, 0], minlength=48)
    assert counts.min() > 40 and counts.max() < 140  # 83 on average, standard deviation 9


def test_all_ticks_of_a_pair(small_config: Config) -> None:
    source = Episodes("s", make_data(4), small_config)
    ticks = WindowSampler([source], [source], [(0, 0)], small_config).every_tick(0, 0)
    assert len(ticks.mask) == int((source.view(source.task).mask > 0).sum())
    chosen = WindowSampler([source], [source], [(0, 0)], small_config, {(0, 0): np.array([1])}).every_tick(0, 0)
    assert torch.equal(chosen.advertiser.unique(dim=0), source.advertiser[1:2])
