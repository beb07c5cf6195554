from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.vamo.model.test_model import VARIANTS, random_batch, trained
from vamo.config import ModelConfig
from vamo.model.decoding import WindowDecoder
from vamo.model.transformer import Transformer

N_TICKS = 10


@pytest.mark.parametrize(
    ("context", "starts"),
    [
        (1, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (3, [0, 0, 0, 2, 2, 4, 4, 6, 6, 8]),
        (4, [0, 0, 0, 0, 2, 2, 4, 4, 6, 6]),
        (N_TICKS, [0] * N_TICKS),
        (2 * N_TICKS, [0] * N_TICKS),
    ],
)
@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_a_decision_is_the_model_at_the_end_of_its_window(config: ModelConfig, context: int, starts: list[int]) -> None:
    """Windows that move, and windows that hold the whole episode: what training computes for the same rows.

    `starts` is the first tick of the window behind each decision.
    """
    config = replace(config, context=context, n_periods=min(config.n_periods, context // 2))
    model, batch = trained(Transformer(config)), random_batch(3, N_TICKS)
    decoder = WindowDecoder(model, batch.advertiser, batch.category)
    for tick, start in enumerate(starts):
        decided = decoder.decide(batch.requirements[:, tick], batch.state[:, tick], int(batch.tick[0, tick]))
        rows = slice(start, tick + 1)
        inputs = batch.requirements[:, rows], batch.state[:, rows], batch.advertiser, batch.category
        expected = model(*inputs, batch.tick[:, rows]).action[:, -1]
        torch.testing.assert_close(decided, expected.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_an_episode_step_by_step_is_one_forward_pass(config: ModelConfig) -> None:
    config = replace(config, context=N_TICKS)
    model, batch = trained(Transformer(config)), random_batch(3, N_TICKS)
    decoder = WindowDecoder(model, batch.advertiser, batch.category)
    columns = zip(batch.requirements.unbind(1), batch.state.unbind(1), batch.tick[0].tolist(), strict=True)
    decided = torch.stack([decoder.decide(*row) for row in columns], dim=1)
    torch.testing.assert_close(decided, model(*batch[:5]).action.detach(), rtol=0, atol=1e-5)
