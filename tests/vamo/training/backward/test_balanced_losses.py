"""The loss-based optimisers on cases that are computed by hand or known in closed form."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.vamo.training.test_trainer import quadratic_trainer
from vamo.config import BalancingConfig, Config, LossMethod, override
from vamo.training.backward.balancers import DynamicAverage, Famo, GradNorm, Uncertainty, is_loss_based, make_balancer
from vamo.training.distributed import Processes

NOTHING = torch.zeros(1)


def test_uncertainty_by_hand() -> None:
    balancer = Uncertainty(2)
    with torch.no_grad():
        balancer.log_variance.copy_(torch.tensor([0.0, math.log(4.0)]))
    losses = torch.tensor([3.0, 8.0], requires_grad=True)
    total = balancer.scalar(losses, NOTHING)
    assert total.item() == pytest.approx(3 / 2 + 8 / 8 + math.log(4.0) / 2)
    total.backward()
    np.testing.assert_allclose(losses.grad, [1 / 2, 1 / 8], rtol=1e-6)


def test_uncertainty_settles_where_the_variance_is_the_loss() -> None:
    balancer = Uncertainty(2)
    descent = torch.optim.Adam(balancer.parameters, lr=0.05)
    losses = torch.tensor([0.25, 4.0])
    for _ in range(400):
        descent.zero_grad()
        balancer.scalar(losses, NOTHING).backward()
        descent.step()
    np.testing.assert_allclose(balancer.log_variance.detach().exp(), losses, rtol=1e-3)


def test_dwa_by_hand() -> None:
    balancer = DynamicAverage(2, temperature=2.0, period=2)
    for losses in ([4.0, 1.0], [2.0, 3.0], [1.5, 1.0], [0.5, 2.0]):
        torch.testing.assert_close(balancer.weights(), torch.ones(2))
        balancer.scalar(torch.tensor(losses), NOTHING)
    rates = np.exp(np.array([1.0 / 3.0, 1.5 / 2.0]) / 2)  # means 3, 2 and then 1, 1.5
    np.testing.assert_allclose(balancer.weights(), 2 * rates / rates.sum(), rtol=1e-6)


def test_gradnorm_equalises_the_norms_of_scaled_copies() -> None:
    """Loss 2 is four times loss 1, so that equal rates ask for weights 1.6 and 0.4."""
    theta = nn.Parameter(torch.tensor([1.0, -2.0]))
    balancer = GradNorm(2, alpha=1.5, rate=0.02)
    for _ in range(300):
        loss = theta.square().sum()
        balancer.scalar(torch.stack((loss, 4 * loss)), theta)
    np.testing.assert_allclose(balancer.weights, [1.6, 0.4], atol=0.05)
    assert balancer.weights.sum().item() == pytest.approx(2.0)


def test_gradnorm_takes_the_step_of_the_old_weights_and_favours_the_slow() -> None:
    theta = nn.Parameter(torch.tensor([1.0, 1.0]))
    balancer = GradNorm(2, alpha=1.0, rate=0.1)
    first = balancer.scalar(theta, theta)
    assert first.item() == 2.0
    torch.testing.assert_close(balancer.weights, torch.ones(2))  # equal norms and rates: nothing to do
    balancer.scalar(theta - torch.tensor([0.0, 0.5]), theta)  # equal norms, but target 0 has not fallen
    assert balancer.weights[0] > balancer.weights[1]


def test_famo_moves_toward_the_slower_target() -> None:
    """Two quadratics: descent on x and y, of which y is 25 times flatter."""
    balancer = Famo(2, rate=0.025, decay=0.0)
    theta = nn.Parameter(torch.tensor([1.0, 1.0]))

    def losses() -> Tensor:
        return theta.square() * torch.tensor([1.0, 0.04]) + torch.tensor([0.0, 1.0])

    for _ in range(20):
        theta.grad = None
        balancer.scalar(losses(), NOTHING).backward()
        with torch.no_grad():
            theta -= 0.01 * theta.grad
            balancer.after_step(losses)
    assert balancer.logits[1] > 0.1 > -0.1 > balancer.logits[0]


def test_famo_by_hand() -> None:
    balancer = Famo(2, rate=0.5, decay=0.1)
    losses = torch.tensor([1.0, 3.0], requires_grad=True)
    balancer.scalar(losses, NOTHING).backward()
    # z / L = (1/2, 1/6), scaled to sum 2
    np.testing.assert_allclose(losses.grad, [1.5, 0.5], rtol=1e-6)
    balancer.after_step(lambda: torch.tensor([0.5, 3.0]))
    np.testing.assert_allclose(balancer.logits, [-0.5, 0.5], rtol=1e-5)  # Adam's first step


@pytest.mark.parametrize("method", get_args(LossMethod))
def test_state_continues_to_the_same_numbers(method: LossMethod) -> None:
    theta = nn.Parameter(torch.tensor([1.0, -2.0]))
    first, second = (make_balancer(method, BalancingConfig(dwa_period=2), 2) for _ in range(2))

    def play(balancer: object, step: int) -> float:
        losses = torch.stack((theta.square().sum() + 0.1 * step, theta.abs().sum()))
        total = balancer.scalar(losses, theta)  # type: ignore[attr-defined]
        balancer.after_step(lambda: 0.9 * losses.detach())  # type: ignore[attr-defined]
        return float(total.detach())

    for step in range(5):
        play(first, step)
    with torch.no_grad():
        for name, tensor in second.state().items():
            tensor.copy_(first.state()[name])
    assert [play(first, step) for step in (5, 6)] == [play(second, step) for step in (5, 6)]


@pytest.mark.parametrize("method", get_args(LossMethod))
def test_first_step_in_the_loop_is_that_of_uniform_sharing_up_to_the_weights(method: str) -> None:
    point, trainer = quadratic_trainer(f"train.method={method}")
    uniform, reference = quadratic_trainer("train.method=uniform")
    losses, _ = trainer.step()
    expected, _ = reference.step()
    torch.testing.assert_close(losses, expected)
    assert point.theta.grad is not None and uniform.theta.grad is not None
    scale = {"uncertainty": 0.5}.get(method, 1.0)  # both targets have the same losses and the same sources
    torch.testing.assert_close(point.theta.grad, scale * uniform.theta.grad)
    assert is_loss_based(method) and not is_loss_based("vao")


def test_log_variances_are_learned_by_the_optimiser() -> None:
    _, trainer = quadratic_trainer("train.method=uncertainty", "balancing.uncertainty_rate=10", "train.warmup_steps=0")
    trainer.step()
    moved = trainer.backward.state()["log_variance"].detach()
    np.testing.assert_allclose(moved, 2 * [10 * trainer.config.train.learning_rate], rtol=1e-4)


def test_what_they_cannot_do_is_said() -> None:
    with pytest.raises(ValueError, match=r"`pairs_per_step` must be at least the number of targets, 2, .*, found 1"):
        quadratic_trainer("train.method=famo", "weighting.pairs_per_step=1")
    with pytest.raises(ValueError, match="`compile` must be false for method 'gradnorm'"):
        override(Config(), ["train.method=gradnorm", "train.compile=true"])
    with pytest.raises(ValueError, match="`famo_rate` must be positive, found 0"):
        BalancingConfig(famo_rate=0.0)
    two = Processes()
    object.__setattr__(two, "size", 2)  # as if another one had joined; frozen for everybody else
    with pytest.raises(ValueError, match="method 'dwa' must train in one process, found 2"):
        quadratic_trainer("train.method=dwa", processes=two)
