from __future__ import annotations

import numpy as np
import torch

from vamo.alignment.episode_weights import EpisodeWeights

SOURCE = torch.tensor([0, 0, 0, 1, 1])


def test_factors_have_mean_one_within_each_source() -> None:
    weights = EpisodeWeights(SOURCE, 2, eta=1.0, decay=1.0)
    torch.testing.assert_close(weights.factors(), torch.ones(2, 5))
    weights.logits.copy_(torch.tensor([[0.0, 1.0, -2.0, 500.0, 499.0], [3.0, 3.0, 3.0, -400.0, 0.0]]))
    factors = weights.factors()
    expected = 3 * torch.softmax(torch.tensor([0.0, 1.0, -2.0]), 0)
    torch.testing.assert_close(factors[0, :3], expected)
    torch.testing.assert_close(factors[:, 3:].mean(dim=1), torch.ones(2))
    torch.testing.assert_close(factors[1], torch.tensor([1.0, 1.0, 1.0, 0.0, 2.0]))


def test_update_by_hand() -> None:
    """Samples count against the mean of their pair; an episode with two samples moves by their mean."""
    weights = EpisodeWeights(SOURCE, 2, eta=0.5, decay=0.5)
    weights.logits.fill_(2.0)
    episodes = torch.tensor([[0, 0, 1, 1], [3, 4, 4, 4]])
    alignments = torch.tensor([[1.0, 3.0, 0.0, 0.0], [4.0, 0.0, 0.0, 0.0]])
    weights.update(torch.tensor([0, 1]), episodes, alignments)
    first = [1.0 + 0.5 * 1.0, 1.0 - 0.5 * 1.0, 2.0, 2.0, 2.0]  # the means are 2 and 0, less 1; episode 2 had no sample
    second = [2.0, 2.0, 2.0, 1.0 + 0.5 * 3.0, 1.0 - 0.5 * 1.0]
    torch.testing.assert_close(weights.logits, torch.tensor([first, second]))


def test_a_source_of_which_a_part_is_bad_loses_that_part() -> None:
    """One source, 30 % of whose 200 episodes pull the other way, in noise ten times as large as the difference."""
    rng = np.random.default_rng(0)
    n, bad = 200, np.arange(200) < 60
    weights = EpisodeWeights(torch.zeros(n, dtype=torch.int64), 1, eta=0.05, decay=1.0)
    for _ in range(3000):
        episodes = rng.integers(n, size=16)
        alignments = np.where(bad[episodes], -0.1, 0.1) + rng.normal(size=16) * 2.0
        weights.update(
            torch.tensor([0]), torch.tensor(episodes)[None], torch.tensor(alignments, dtype=torch.float32)[None]
        )
    factors = weights.factors()[0]
    assert float(factors[torch.tensor(bad)].sum() / n) < 0.1  # of 0.3
    kept = factors[torch.tensor(~bad)]
    assert float(kept.square().sum()) > 0 and float(kept.sum() ** 2 / kept.square().sum()) > 20  # not one of them alone
