"""Every variant of the model through the whole of training and acting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from auction_env.tasks import TASKS
from tests.vamo.model.test_model import VARIANTS
from tests.vamo.synthetic import make_data
from tests.vamo.test_agent import campaigns_of, views_of
from vamo.config import Config, DataConfig, ModelConfig, TrainConfig
from vamo.training.train import train

TRAINING = TrainConfig(steps=30, batch_size=8, learning_rate=1e-2, warmup_steps=2, log_every=5, evaluation_windows=16)
TRAINED = {name: replace(config, n_ticks=48) for name, config in VARIANTS.items() if name != "days"} | {
    "two days": replace(VARIANTS["periods"], n_ticks=48, context=96)
}


@pytest.mark.parametrize("model", TRAINED.values(), ids=TRAINED)
def test_variant_trains_and_acts(small_config: Config, model: ModelConfig) -> None:
    """Validation-aligned training lowers the loss, alignments included, and the bidder bids."""
    config = replace(small_config, data=DataConfig(action_label="logged"), model=model, train=TRAINING)
    tasks = (TASKS["MaxConversions"], TASKS["TargetCPA"])
    data = {task.name: make_data(8, task=task, seed=i) for i, task in enumerate(tasks)}
    result = train(data, data, config)  # few episodes: what is learned shows on them
    first, last = np.mean(result.history[0].validation_loss), result.best_loss
    assert last < 0.95 * first
    assert np.isfinite(result.history[-1].alignment).all()
    new = make_data(3, seed=9)
    result.bidder.reset(campaigns_of(new, TASKS["TargetCPA"]))
    for view in views_of(new):
        assert np.isfinite(result.bidder.act(view)).all()
