"""Loss-based multi-task optimisers: from the K losses of a step to the scalar that is differentiated.

A balancer remembers what it needs in tensors that it updates in place, so that a checkpoint can hold them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeGuard, get_args

import torch
from torch import Tensor, nn

from vamo.config import BalancingConfig, LossMethod

_LEAST = 1e-8  # below it a loss has no usable logarithm or ratio
_LEAST_WEIGHT = 1e-3  # of GradNorm, before its weights are scaled to sum K


class Balancer(Protocol):
    """Weights targets by their losses."""

    parameters: list[nn.Parameter]  # learned by the trainer's optimiser

    def scalar(self, losses: Tensor, shared: Tensor) -> Tensor:
        """What is differentiated, from the losses (K,) and the last layer that all targets share."""
        ...

    def after_step(self, losses: Callable[[], Tensor]) -> None:
        """Called when the parameters have moved; `losses` computes those (K,) of the same batch anew."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that is remembered, by name; copying into these tensors restores it."""
        ...


class Uncertainty:
    """Homoscedastic uncertainty: sum_k exp(-s_k) L_k / 2 + s_k / 2, with s_k = log sigma_k^2 learned.

    At rest sigma_k^2 = L_k, hence the weight 1 / (2 sigma_k^2) falls as the loss grows.

    Source: A. Kendall, Y. Gal, R. Cipolla (CVPR 2018, arXiv 1705.07115), equation 7; the logarithm as the parameter
    is theirs too.
    """

    def __init__(self, n_targets: int, device: torch.device | str = "cpu") -> None:
        self.log_variance = nn.Parameter(torch.zeros(n_targets, device=device))
        self.parameters = [self.log_variance]

    def scalar(self, losses: Tensor, shared: Tensor) -> Tensor:
        total: Tensor = ((-self.log_variance).exp() * losses + self.log_variance).sum() / 2
        return total

    def after_step(self, losses: Callable[[], Tensor]) -> None:
        """The trainer's optimiser has moved the log-variances."""

    def state(self) -> dict[str, Tensor]:
        return {"log_variance": self.log_variance}


class DynamicAverage:
    """DWA: weights K softmax(r_k / T) of the rates r_k = mean loss of the last period over that of the one before.

    Source: S. Liu, E. Johns, A. Davison (CVPR 2019, arXiv 1803.10704), equation 7, with T = 2 and epochs as periods;
    windows are drawn at random here, so that a period is a number of steps. The first two have weights 1.

    Args:
        n_targets: K.
        temperature: T.
        period: Steps.
    """

    def __init__(self, n_targets: int, temperature: float, period: int, device: torch.device | str = "cpu") -> None:
        self.parameters: list[nn.Parameter] = []
        self._temperature, self._period = temperature, period
        self._means = torch.zeros(2, n_targets, device=device)  # of the period before the last one, and of that
        self._sum = torch.zeros(n_targets, device=device)  # of this period's losses
        self._n_steps = torch.zeros((), device=device)

    def weights(self) -> Tensor:
        """(K,), of sum K."""
        n = len(self._sum)
        if self._n_steps < 2 * self._period:
            return torch.ones_like(self._sum)
        rate = self._means[1] / self._means[0].clamp_min(_LEAST)
        return n * torch.softmax(rate / self._temperature, dim=0)

    def scalar(self, losses: Tensor, shared: Tensor) -> Tensor:
        total = (self.weights() * losses).sum()
        self._sum += losses.detach()
        self._n_steps += 1
        if self._n_steps % self._period == 0:
            self._means.copy_(torch.stack((self._means[1], self._sum / self._period)))
            self._sum.zero_()
        return total

    def after_step(self, losses: Callable[[], Tensor]) -> None:
        """Nothing more is known after the step."""

    def state(self) -> dict[str, Tensor]:
        return {"means": self._means, "sum": self._sum, "n_steps": self._n_steps}


class GradNorm:
    """Weights w_k that pull the gradients' norms w_k |g_k| toward mean_j(w_j |g_j|) x (relative rate_k) ^ alpha.

    The rate of a target is its loss over its first loss; relative is over the targets' mean. g_k is the gradient of
    the last shared layer. The derivative of sum_k |w_k |g_k| - wanted_k| to w_k, with what is wanted held constant,
    is sign(w_k |g_k| - wanted_k) |g_k|; Adam follows it.

    Source: Z. Chen et al. (ICML 2018, arXiv 1711.02257), algorithm 1. A floor of 0.001 under the weights is ours.

    Args:
        n_targets: K.
        alpha: Strength of the pull toward slow targets; 0 makes the norms equal.
        rate: Learning rate of the weights.
    """

    def __init__(self, n_targets: int, alpha: float, rate: float, device: torch.device | str = "cpu") -> None:
        self.parameters: list[nn.Parameter] = []
        self._alpha = alpha
        self.weights = torch.ones(n_targets, device=device)
        self._first = torch.zeros(n_targets, device=device)  # losses of the first step
        self._descent = _Adam(self.weights, rate)

    def scalar(self, losses: Tensor, shared: Tensor) -> Tensor:
        total = (self.weights.clone() * losses).sum()
        norms = torch.stack(
            [torch.autograd.grad(loss, shared, retain_graph=True)[0].norm() for loss in losses.unbind()]
        )
        self._update(losses.detach(), norms)
        return total

    def _update(self, losses: Tensor, norms: Tensor) -> None:
        if not self._descent.n_steps:
            self._first.copy_(losses.clamp_min(_LEAST))
        rate = losses / self._first
        relative = rate / rate.mean().clamp_min(_LEAST)
        now = self.weights * norms
        self._descent.step(torch.sign(now - now.mean() * relative**self._alpha) * norms)
        self.weights.clamp_min_(_LEAST_WEIGHT).mul_(len(losses) / self.weights.sum())

    def after_step(self, losses: Callable[[], Tensor]) -> None:
        """The weights have moved with the step's own losses."""

    def state(self) -> dict[str, Tensor]:
        return {"weights": self.weights, "first": self._first} | self._descent.state()


class Famo:
    """Descends all log losses at an equal rate: weights z_k / L_k, scaled to sum K, with z = softmax(xi).

    After the step, xi follows the gradient (dz / dxi)' (log L(theta_t) - log L(theta_t+1)) plus `decay` x xi, with
    both losses those of the same batch: one more forward pass. A target that fell less gains weight.

    Source: B. Liu et al. (NeurIPS 2023, arXiv 2306.03792), algorithm 1; Adam for xi is that of the authors' code.
    Their weights sum to 1; here to K, as those of the other methods.

    Args:
        n_targets: K.
        rate: Learning rate of xi.
        decay: gamma.
    """

    def __init__(self, n_targets: int, rate: float, decay: float, device: torch.device | str = "cpu") -> None:
        self.parameters: list[nn.Parameter] = []
        self.logits = torch.zeros(n_targets, device=device)
        self._decay = decay
        self._descent = _Adam(self.logits, rate)
        self._before = torch.zeros(n_targets, device=device)  # log losses of the step in progress

    def scalar(self, losses: Tensor, shared: Tensor) -> Tensor:
        now = losses.detach().clamp_min(_LEAST)
        self._before = now.log()
        weights = torch.softmax(self.logits, dim=0) / now
        return len(losses) * (weights / weights.sum() * losses).sum()

    def after_step(self, losses: Callable[[], Tensor]) -> None:
        fall = self._before - losses().clamp_min(_LEAST).log()
        share = torch.softmax(self.logits, dim=0)
        slope = share * (fall - (share * fall).sum())  # the softmax's Jacobian times the fall
        self._descent.step(slope + self._decay * self.logits)

    def state(self) -> dict[str, Tensor]:
        return {"logits": self.logits} | self._descent.state()


class _Adam:
    """Adam on one small tensor, whose state is three tensors to checkpoint."""

    def __init__(self, value: Tensor, rate: float) -> None:
        self._value, self._rate = value, rate
        self.n_steps = torch.zeros((), device=value.device)
        self._mean, self._square = torch.zeros_like(value), torch.zeros_like(value)

    def step(self, gradient: Tensor) -> None:
        self.n_steps += 1
        self._mean.lerp_(gradient, 0.1)
        self._square.lerp_(gradient.square(), 0.001)
        mean = self._mean / (1 - 0.9**self.n_steps)
        square = self._square / (1 - 0.999**self.n_steps)
        self._value -= self._rate * mean / (square.sqrt() + 1e-8)

    def state(self) -> dict[str, Tensor]:
        return {"adam/n_steps": self.n_steps, "adam/mean": self._mean, "adam/square": self._square}


def is_loss_based(method: str) -> TypeGuard[LossMethod]:
    """Whether a training method is one of this module."""
    return method in get_args(LossMethod)


def make_balancer(
    method: LossMethod, config: BalancingConfig, n_targets: int, device: torch.device | str = "cpu"
) -> Balancer:
    """The balancer of a training method."""
    if method == "uncertainty":
        return Uncertainty(n_targets, device)
    if method == "dwa":
        return DynamicAverage(n_targets, config.dwa_temperature, config.dwa_period, device)
    if method == "gradnorm":
        return GradNorm(n_targets, config.gradnorm_alpha, config.gradnorm_rate, device)
    return Famo(n_targets, config.famo_rate, config.famo_decay, device)
