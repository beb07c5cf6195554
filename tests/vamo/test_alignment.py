from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from auction_env.tasks import TASKS
from tests.vamo.synthetic import make_data
from vamo.alignment import Alignment, Parameters, explicit, forward_mode, gradient
from vamo.config import Config
from vamo.dataset import Episodes, WindowSampler, normalisation
from vamo.model import Vamo
from vamo.model import losses as model_losses

SOURCES = torch.tensor([[1.0, 2.0], [0.0, -1.0], [3.0, 0.0]])  # c_i of the quadratic toy


def quadratic(parameters: Parameters, batch: Tensor) -> Tensor:
    """Losses |theta - c|^2 / 2 of points c (G, b, 2); the gradient of a group is theta - mean c."""
    return (parameters["theta"] - batch).square().sum(dim=-1) / 2


@pytest.mark.parametrize("estimator", [explicit, forward_mode])
def test_quadratic_by_hand(estimator: partial[Alignment]) -> None:
    theta, validation = torch.tensor([2.0, 1.0]), torch.tensor([[[0.0, 1.0], [0.0, 3.0]]])
    parameters = {"theta": theta}
    direction = gradient(quadratic, parameters, validation)
    torch.testing.assert_close(direction["theta"], torch.tensor([2.0, -1.0]))
    points = torch.stack([SOURCES, SOURCES], dim=1)  # two equal samples a group
    alignment = estimator(quadratic, parameters, points, direction)
    # g_i = theta - c_i = (1, -1), (2, 2), (-1, 1)
    torch.testing.assert_close(alignment.mean, torch.tensor([3.0, 2.0, -3.0]))


def test_standard_error_by_hand() -> None:
    parameters, direction = {"theta": torch.zeros(2)}, {"theta": torch.tensor([1.0, 0.0])}
    points = torch.tensor([[[1.0, 0.0], [3.0, 5.0], [5.0, 9.0]]])  # alignments -1, -3, -5
    alignment = forward_mode(quadratic, parameters, points, direction)
    torch.testing.assert_close(alignment.mean, torch.tensor([-3.0]))
    torch.testing.assert_close(alignment.standard_error, torch.tensor([2.0 / 3**0.5]))
    assert forward_mode(quadratic, parameters, points[:, :1], direction).standard_error.isnan().all()


@pytest.mark.parametrize("is_initial", [True, False])
def test_forward_mode_equals_explicit(small_config: Config, is_initial: bool) -> None:
    tasks = tuple(TASKS.values())
    sources = [Episodes(t.name, make_data(8, task=t, seed=i), small_config) for i, t in enumerate(tasks)]
    pairs = [(k, i) for k in range(2) for i in range(2)]
    model = Vamo(small_config.model, normalisation(sources, tasks, pairs))
    if not is_initial:
        with torch.no_grad():
            g = torch.Generator().manual_seed(0)
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=g)
    parameters, losses = dict(model.named_parameters()), partial(model_losses, model)
    sampler = WindowSampler(sources, sources, pairs, small_config)
    batch = sampler.train(0)
    for k in range(2):
        direction = gradient(losses, parameters, sampler.validation(0, k))
        groups = sampler.groups(batch, 2 * k, 2 * k + 2)
        reference = explicit(losses, parameters, groups, direction)
        fast = forward_mode(losses, parameters, groups, direction)
        torch.testing.assert_close(fast.mean, reference.mean, rtol=1e-4, atol=1e-6)
        assert (fast.standard_error > 0).all()
    assert all(parameter.grad is None for parameter in model.parameters())  # nothing is left behind


def test_alignment_predicts_the_drop(small_config: Config) -> None:
    """First order: a small step on a source lowers the validation loss by step x alignment."""
    source = Episodes("source", make_data(8), small_config)
    model = Vamo(small_config.model, normalisation([source], [source.task], [(0, 0)])).double()
    sampler = WindowSampler([source], [source], [(0, 0)], small_config)

    def double(batch):  # type: ignore[no-untyped-def]  # Batch to Batch
        return batch._make([x.double() if torch.is_tensor(x) and x.is_floating_point() else x for x in batch])

    parameters, losses = dict(model.named_parameters()), partial(model_losses, model)
    batch, validation = double(sampler.train(0)), double(sampler.validation(0, 0))
    direction = gradient(losses, parameters, validation)
    alignment = forward_mode(losses, parameters, batch, direction).mean
    before = losses(parameters, validation).mean()
    step, update = 1e-5, gradient(losses, parameters, batch)
    moved = {name: parameter - step * update[name] for name, parameter in parameters.items()}
    drop = (before - losses(moved, validation).mean()) / step
    torch.testing.assert_close(drop.detach(), alignment[0], rtol=1e-2, atol=0)
