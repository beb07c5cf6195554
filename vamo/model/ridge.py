"""Weighted ridge regression: the linear backbone, fitted in closed form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vamo.config import ModelConfig
from vamo.examples.batch import Batch
from vamo.examples.normalisation import Normalisation
from vamo.model.mlp import Fixed, Memoryless, TickInput
from vamo.model.policy import Prediction


class Ridge(Memoryless):
    """A linear function of the inputs of a tick, with a constant for each category and each time of day.

    Args:
        config: Categories, ticks and penalty.
        normalisation: Statistics of the training data; the identity by default.
    """

    def __init__(self, config: ModelConfig, normalisation: Normalisation | None = None) -> None:
        super().__init__(config, normalisation)
        with torch.random.fork_rng(devices=[]):  # the constructor draws values that are not used
            self.input = TickInput(config, 1)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def predict(self, requirements: Tensor, state: Tensor, fixed: Fixed, tick: Tensor) -> Prediction:
        """See `Memoryless.predict`."""
        h = self.input(*self.inputs(requirements, state, fixed, tick))
        return Prediction(self.in_action_units(h[..., 0]), None)  # (n, W, 1) -> (n, W)


class WeightedTicks(NamedTuple):
    """All ticks of a target and a source, one window a tick, and the weight of their mean squared error."""

    target: int
    weight: float
    ticks: Batch


@torch.no_grad()
def fit_ridge(model: Ridge, parts: Iterable[WeightedTicks], n_targets: int) -> Tensor:
    """Writes the coefficients that minimise sum_k sum_i w_ik L_ik / K + penalty |coefficients|^2.

    L_ik is the mean squared error over all ticks, in standard deviations of the training data. The constant is not
    penalised. Sums are in double precision.

    Args:
        model: Its parameters are written.
        parts: The pairs of target and source with a weight.
        n_targets: K.

    Returns:
        (K,) losses sum_i w_ik L_ik of the targets.
    """
    device = model.action_mean.device
    n_numbers, n_categories = model.input.numbers.in_features, model.input.category.num_embeddings
    n = 1 + n_numbers + n_categories + model.input.time.num_embeddings
    products = torch.zeros(n_targets, n + 1, n + 1, dtype=torch.float64, device=device)  # of columns and of the action
    for target, weight, ticks in parts:
        rows = torch.cat([_columns(model, ticks), _actions(model, ticks)], dim=1)
        mask = ticks.mask.double()
        products[target] += (rows * mask).T @ rows * (weight / mask.sum().clamp_min(1.0))
    total = products.sum(dim=0) / n_targets
    penalties = torch.full((n,), model.config.penalty, dtype=torch.float64, device=device)
    penalties[0] = 0.0
    found = torch.linalg.solve(total[:n, :n] + penalties.diag(), total[:n, n])
    constant, numbers, category, time = found.float().split(
        [1, n_numbers, n_categories, n - 1 - n_numbers - n_categories]
    )
    model.input.numbers.bias.copy_(constant)
    model.input.numbers.weight.copy_(numbers[None])
    model.input.category.weight.copy_(category[:, None])
    model.input.time.weight.copy_(time[:, None])
    residual = torch.cat([found, -found.new_ones(1)])
    return torch.einsum("i,kij,j->k", residual, products, residual).float()


def _columns(model: Ridge, ticks: Batch) -> Tensor:
    """(n, columns) of the regression: 1, numbers, and a 1 for the category and for the time of day."""
    fixed = model.fixed(ticks.advertiser, ticks.category)
    numbers, category, time = model.inputs(ticks.requirements, ticks.state, fixed, ticks.tick)
    one_hot = nn.functional.one_hot
    parts = [
        torch.ones_like(ticks.mask),
        numbers[:, 0],
        one_hot(category, model.input.category.num_embeddings),
        one_hot(time[:, 0], model.input.time.num_embeddings),
    ]
    return torch.cat([part.double() for part in parts], dim=1)


def _actions(model: Ridge, ticks: Batch) -> Tensor:
    """(n, 1) actions in standard deviations of the training data."""
    return ((ticks.action - model.action_mean) / model.action_std).double()
