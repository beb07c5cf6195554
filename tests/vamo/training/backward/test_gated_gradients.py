"""A-GEM's gate on the quadratic toy, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.vamo.training.test_trainer import ALIGNMENTS, GRADIENTS, quadratic_trainer
from vamo.training.distributed import Processes

VALIDATION_GRADIENTS = np.array([[2.0, -1.0], [-2.0, 0.0]])


def test_only_conflicting_gradients_are_projected() -> None:
    """Target 0 conflicts with source 2, target 1 with sources 0 and 1; each pair has a third of its target."""
    point, trainer = quadratic_trainer("train.method=agem")
    trainer.step()
    expected = np.zeros(2)
    for k, direction in enumerate(VALIDATION_GRADIENTS):
        for i, gradient in enumerate(GRADIENTS):
            product = gradient @ direction
            assert product == ALIGNMENTS[k, i]
            gated = gradient - min(product, 0.0) / (direction @ direction) * direction
            assert gated @ direction >= -1e-12
            expected += gated / 3
    assert point.theta.grad is not None
    np.testing.assert_allclose(point.theta.grad.numpy(), expected, rtol=1e-5)


def test_a_gated_step_raises_no_validation_loss_alone() -> None:
    """One target whose sources all conflict: what is left of them is at right angles to its gradient."""
    point, trainer = quadratic_trainer("train.method=agem")
    trainer.batches.targets = torch.tensor([[5.0, 1.0], [5.0, 1.0]])  # type: ignore[attr-defined]
    with torch.no_grad():
        point.theta.copy_(torch.tensor([4.0, 1.0]))  # every source pulls to the left
    trainer.step()
    assert point.theta.grad is not None
    np.testing.assert_allclose(point.theta.grad[0], 0.0, atol=1e-6)
    assert abs(float(point.theta.grad[1])) > 0.1


def test_a_sample_of_the_pairs_is_gated_too() -> None:
    point, trainer = quadratic_trainer("train.method=agem", "weighting.pairs_per_step=1")
    for _ in range(4):
        drawn = trainer.sources.draw(trainer.n_steps)
        theta = point.theta.detach().clone().numpy()
        trainer.step()
        (k, i), factor = drawn.pairs[0], float(drawn.weights[0])
        direction = theta - trainer.batches.targets[k].numpy()  # type: ignore[attr-defined]
        gradient = theta - trainer.batches.sources[i].numpy()  # type: ignore[attr-defined]
        gated = gradient - min(gradient @ direction, 0.0) / (direction @ direction) * direction
        assert point.theta.grad is not None
        np.testing.assert_allclose(point.theta.grad.numpy(), factor * gated, rtol=1e-4, atol=1e-6)


def test_several_processes_are_refused() -> None:
    with pytest.raises(ValueError, match="method 'agem' must train in one process, found 2"):
        quadratic_trainer("train.method=agem", processes=Processes(rank=0, size=2))
