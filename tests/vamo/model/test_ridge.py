"""Ridge regression in closed form: optimal for the weighted loss, and a backbone like the others in a training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from auction_env.tasks import TASKS
from tests.vamo.model.test_model import random_batch
from tests.vamo.synthetic import make_data
from vamo.config import Config, ModelConfig, TrainConfig, override
from vamo.examples.batch import Batch
from vamo.model.losses import losses
from vamo.model.ridge import Ridge, WeightedTicks, fit_ridge
from vamo.training.train import train

TASKS_OF_TRAINING = ("MaxConversions", "TargetCPA")


def parts() -> list[WeightedTicks]:
    """Two targets with unequal weights; some ticks do not count."""
    out = []
    for seed, (target, weight) in enumerate([(0, 0.7), (0, 0.3), (1, 1.0)]):
        batch = random_batch(80, 1, seed=seed)
        mask = (torch.arange(80)[:, None] % 5 > 0).float()
        out.append(WeightedTicks(target, weight, batch._replace(mask=mask)))
    return out


def loss_of(model: Ridge, ticks: Batch) -> torch.Tensor:
    return losses(model, dict(model.named_parameters()), ticks).mean()


def test_the_gradient_of_the_penalised_weighted_loss_is_zero() -> None:
    model = Ridge(ModelConfig(backbone="ridge", penalty=0.05))
    found = fit_ridge(model, parts(), 2)
    expected = torch.zeros(2)
    for target, weight, ticks in parts():
        expected[target] += weight * loss_of(model, ticks).detach()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    coefficients = [p for name, p in model.named_parameters() if not name.endswith("bias")]
    penalty = 0.05 * torch.stack([p.square().sum() for p in coefficients]).sum()
    objective = torch.stack([weight * loss_of(model, ticks) for _, weight, ticks in parts()]).sum() / 2 + penalty
    objective.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() < 1e-5, name


def test_a_linear_truth_is_found() -> None:
    model = Ridge(ModelConfig(backbone="ridge", penalty=1e-8))
    batch = random_batch(400, 1)
    truth = 0.3 * batch.state[..., 2] - 0.2 * batch.requirements[..., 1] + 0.1
    fit_ridge(model, [WeightedTicks(0, 1.0, batch._replace(action=truth))], 1)
    torch.testing.assert_close(model(*batch[:5]).action, truth, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", ["uniform", "single", "cds"])
def test_a_training_without_gradients(method: str) -> None:
    data = {name: make_data(10, task=TASKS[name], seed=i) for i, name in enumerate(TASKS_OF_TRAINING)}
    result = train(data, data, override(Config(), ["model.backbone=ridge", f"train.method={method}"]))
    (record,) = result.history
    assert record.step == 1 and np.isfinite(record.validation_loss).all()
    np.testing.assert_allclose(np.sum(record.weights, axis=1), 1.0, rtol=1e-5)
    zeros = train(
        data, data, override(Config(), ["model.backbone=ridge", f"train.method={method}", "model.penalty=1e9"])
    )
    assert record.mean_validation_loss < 0.9 * zeros.history[0].mean_validation_loss


def test_what_needs_gradients_is_refused() -> None:
    ridge = ModelConfig(backbone="ridge")
    for method in ("vao", "pcgrad", "famo"):
        with pytest.raises(ValueError, match=rf"`train.method` must be one of .*'ridge'.* found '{method}'"):
            Config(model=ridge, train=TrainConfig(method=method))
    with pytest.raises(ValueError, match=r"`train.ensemble` must be 1 for `model.backbone` 'ridge'.* found 2"):
        Config(model=ridge, train=TrainConfig(method="uniform", ensemble=2))
    with pytest.raises(ValueError, match=r"`conditioning` must be one of \('concat',\) for `backbone` 'ridge'"):
        replace(ridge, conditioning="film")
