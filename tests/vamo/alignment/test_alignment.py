from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from auction_env.tasks import TASKS
from tests.vamo.synthetic import make_data
from vamo.alignment import ghost as ghost_module
from vamo.alignment.estimators import Estimator, Explicit, ForwardMode, Parameters, gradient
from vamo.alignment.ghost import Ghost
from vamo.config import Config
from vamo.examples.batch import Batch
from vamo.examples.episodes import Episodes
from vamo.examples.normalisation import normalisation
from vamo.examples.sampler import WindowSampler
from vamo.model.losses import losses as model_losses
from vamo.model.making import make_policy
from vamo.model.policy import Policy

SOURCES = torch.tensor([[1.0, 2.0], [0.0, -1.0], [3.0, 0.0]])  # c_i of the quadratic toy
KINDS = [Explicit, ForwardMode, Ghost]
Kind = Callable[..., Estimator[object]]


class Point(nn.Module):
    """The parameter of the toy, which belongs to no layer."""

    def __init__(self, *theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta))


def quadratic(parameters: Parameters, batch: Tensor) -> Tensor:
    """Losses |theta - c|^2 / 2 of points c (G, b, 2); the gradient of a group is theta - mean c."""
    return (parameters["theta"] - batch).square().sum(dim=-1) / 2


def slices(batch: Tensor, start: int, stop: int) -> Tensor:
    return batch[start:stop]


@pytest.mark.parametrize("kind", KINDS)
def test_quadratic_by_hand(kind: Kind) -> None:
    """theta = (2, 1); g_k = theta - v_k = (2, -1), (-2, 0); g_i = theta - c_i = (1, -1), (2, 2), (-1, 1)."""
    validation = torch.tensor([[[0.0, 1.0], [0.0, 3.0]], [[4.0, 1.0], [4.0, 1.0]]])
    points = torch.stack([SOURCES, SOURCES], dim=1)  # two equal samples a group
    estimator = kind(quadratic, Point(2.0, 1.0), slices)
    alignment = estimator(torch.cat([points, points]), validation)
    torch.testing.assert_close(alignment.mean, torch.tensor([[3.0, 2.0, -3.0], [-2.0, -4.0, 2.0]]))
    torch.testing.assert_close(alignment.standard_error, torch.zeros(2, 3))
    preconditioner = {"theta": torch.tensor([1.0, 0.5])}
    other = estimator(torch.cat([points, points]), validation, preconditioner=preconditioner)
    torch.testing.assert_close(other.mean, torch.tensor([[2.5, 3.0, -2.5], [-2.0, -4.0, 2.0]]))


@pytest.mark.parametrize("kind", KINDS)
def test_standard_error_by_hand(kind: Kind) -> None:
    points = torch.tensor([[[1.0, 0.0], [3.0, 5.0], [5.0, 9.0]]])  # alignments with (1, 0): -1, -3, -5
    estimator = kind(quadratic, Point(0.0, 0.0), slices)
    direction = torch.tensor([[[-1.0, 0.0]]])
    alignment = estimator(points, direction)
    torch.testing.assert_close(alignment.per_sample, torch.tensor([[[-1.0, -3.0, -5.0]]]))
    torch.testing.assert_close(alignment.standard_error, torch.tensor([[2.0 / 3**0.5]]))
    assert estimator(points[:, :1], direction).standard_error.isnan().all()


def test_cosine_by_hand() -> None:
    """g_k = (2, -1); cosines with (1, -1), (2, 2), (-1, 1)."""
    estimator = Explicit(quadratic, Point(2.0, 1.0), slices)
    alignment = estimator(SOURCES[:, None], torch.tensor([[[0.0, 2.0]]]), norms=True).normalised()
    torch.testing.assert_close(alignment.mean, torch.tensor([[3.0, 1.0, -3.0]]) / 10**0.5)


def test_groups_must_fit_the_targets() -> None:
    with pytest.raises(ValueError, match="equally many groups for each of 2 targets, found 3"):
        Explicit(quadratic, Point(0.0, 0.0), slices)(SOURCES[:, None], SOURCES[:2, None])


def test_forward_mode_knows_no_norms() -> None:
    with pytest.raises(ValueError, match=r"`norms` must be False for forward mode, .* \(parameters theta\)"):
        ForwardMode(quadratic, Point(0.0, 0.0), slices)(SOURCES[:, None], SOURCES[:1, None], norms=True)


class Case(NamedTuple):
    """The real model and batches for it."""

    model: Policy
    losses: Callable[[Parameters, Batch], Tensor]
    sampler: WindowSampler
    training: Batch
    validation: Batch

    def estimator(self, kind: Kind) -> Estimator[object]:
        return kind(self.losses, self.model, self.sampler.groups)


def make_case(config: Config, *, is_initial: bool = False) -> Case:
    tasks = tuple(TASKS.values())
    sources = [Episodes(t.name, make_data(8, task=t, seed=i), config) for i, t in enumerate(tasks)]
    pairs = [(k, i) for k in range(2) for i in range(2)]
    model = make_policy(config.model, normalisation(sources, tasks, pairs))
    if not is_initial:
        with torch.no_grad():
            g = torch.Generator().manual_seed(0)
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=g)
    sampler = WindowSampler(sources, sources, pairs, config)
    return Case(
        model,
        partial(model_losses, model),
        sampler,
        sampler.alignment(0, pairs, 3),
        sampler.validation(0, [0, 1], 5),
    )


@pytest.mark.parametrize("kind", [ForwardMode, Ghost])
@pytest.mark.parametrize("is_initial", [True, False])
@pytest.mark.parametrize("is_preconditioned", [True, False])
def test_estimators_agree(small_config: Config, kind: Kind, is_initial: bool, is_preconditioned: bool) -> None:
    case = make_case(small_config, is_initial=is_initial)
    scale = None
    if is_preconditioned:
        g = torch.Generator().manual_seed(1)
        scale = {name: torch.rand(p.shape, generator=g) for name, p in case.model.named_parameters()}
    reference = case.estimator(Explicit)(case.training, case.validation, preconditioner=scale)
    fast = case.estimator(kind)(case.training, case.validation, preconditioner=scale)
    assert fast.per_sample.shape == (2, 2, 3)
    tolerance = 1e-5 * reference.per_sample.abs().max().item()
    torch.testing.assert_close(fast.per_sample, reference.per_sample, rtol=1e-4, atol=tolerance)
    torch.testing.assert_close(fast.standard_error, reference.standard_error, rtol=1e-4, atol=tolerance)
    assert all(p.grad is None and p.requires_grad for p in case.model.parameters())  # nothing is left behind
    assert not any(module._forward_hooks for module in case.model.modules())


def test_ghost_covers_the_whole_model(small_config: Config) -> None:
    case = make_case(small_config)
    ghost = Ghost(case.losses, case.model, case.sampler.groups)
    ghost(case.training, case.validation)
    assert ghost.uncovered == []


def test_targets_may_take_a_pass_each(small_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    case, n_calls = make_case(small_config), 0

    def counted(parameters: Parameters, batch: Batch) -> Tensor:
        nonlocal n_calls
        n_calls += 1
        return case.losses(parameters, batch)

    ghost = Ghost(counted, case.model, case.sampler.groups)
    ghost(case.training, case.validation)  # checks which layers are covered
    found, counts = [], []
    for size in (10**9, 1):
        monkeypatch.setitem(ghost_module._PASS_BYTES, "cpu", size)
        n_calls = 0
        found.append(ghost(case.training, case.validation).per_sample)
        counts.append(n_calls)
    assert counts == [2, 4]  # validation and training windows: of both targets at once, of one after the other
    torch.testing.assert_close(*found)


def test_ghost_norms_equal_explicit(small_config: Config) -> None:
    case = make_case(small_config)
    reference = case.estimator(Explicit)(case.training, case.validation, norms=True)
    fast = case.estimator(Ghost)(case.training, case.validation, norms=True)
    assert reference.norm is not None and fast.norm is not None
    torch.testing.assert_close(fast.norm, reference.norm, rtol=1e-4, atol=0)
    assert (fast.normalised().mean.abs() <= 1).all()


def test_explicit_is_the_gradient_of_the_mean(small_config: Config) -> None:
    """m_ik by its definition: inner product of two gradients of group losses."""
    case = make_case(small_config)
    parameters = dict(case.model.named_parameters())
    m = case.estimator(Explicit)(case.training, case.validation).mean
    for k in range(2):
        g_k = gradient(case.losses, parameters, case.sampler.groups(case.validation, k, k + 1))
        for i in range(2):
            g_ik = gradient(case.losses, parameters, case.sampler.groups(case.training, 2 * k + i, 2 * k + i + 1))
            by_hand = sum(float((g_k[name] * g_ik[name]).sum()) for name in parameters)
            assert m[k, i].item() == pytest.approx(by_hand, rel=1e-4)


# --- layers that ghost products must not get wrong ---------------------------------------------------------


class Odd(nn.Module):
    """What a model may do with parameters beyond calling a layer once, with samples on the first axis."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 1)
        self.norm = nn.LayerNorm(4, bias=False)
        self.prompt = nn.Parameter(torch.randn(4))
        self.tied = nn.Linear(4, 4, bias=False)
        self.unused = nn.Linear(4, 4)
        if kind == "tied":
            self.other = nn.Linear(4, 4, bias=False)
            self.other.weight = self.tied.weight

    def forward(self, x: Tensor) -> Tensor:  # (n, T, 3) -> (n, T)
        h = self.norm(torch.tanh(self.first(x)))
        if self.kind == "prompt":
            h = h + self.prompt
        if self.kind == "twice":
            h = torch.tanh(self.tied(torch.tanh(self.tied(h))))
        if self.kind == "tied":
            h = torch.tanh(self.other(torch.tanh(self.tied(h))))
        if self.kind == "functional":
            h = torch.tanh(self.tied(h)) @ self.tied.weight
        if self.kind == "transposed":
            h = self.tied(h.transpose(0, 1)).transpose(0, 1)
        out: Tensor = self.last(h)[..., 0]
        return out


@pytest.mark.parametrize(
    ("kind", "uncovered"),
    [
        ("plain", {"prompt"}),
        ("prompt", {"prompt"}),
        ("twice", {"prompt"}),
        ("tied", {"prompt", "tied.weight"}),
        ("functional", {"prompt", "tied.weight"}),
        ("transposed", {"prompt", "tied.weight"}),
    ],
)
def test_what_is_not_covered_comes_from_forward_mode(kind: str, uncovered: set[str]) -> None:
    torch.manual_seed(0)
    model = Odd(kind)

    def losses(parameters: Parameters, batch: Tensor) -> Tensor:  # (G, b, T, 3) -> (G, b)
        out: Tensor = functional_call(model, dict(parameters), (batch.flatten(0, 1),))
        return out.square().mean(dim=1).view(batch.shape[:2])

    training, validation = torch.randn(4, 2, 8, 3), torch.randn(2, 4, 8, 3)  # n = T = 8 hides a swapped axis
    ghost = Ghost(losses, model, slices)
    fast = ghost(training, validation).per_sample
    reference = Explicit(losses, model, slices)(training, validation).per_sample
    torch.testing.assert_close(fast, reference, rtol=1e-4, atol=1e-6)
    assert set(ghost.uncovered) == uncovered


def test_alignment_predicts_the_drop(small_config: Config) -> None:
    """First order: a small step on a source lowers the validation loss by step x alignment."""
    source = Episodes("source", make_data(8), small_config)
    model = make_policy(small_config.model, normalisation([source], [source.task], [(0, 0)])).double()
    sampler = WindowSampler([source], [source], [(0, 0)], small_config)

    def double(batch: Batch) -> Batch:
        return batch._make([x.double() if torch.is_tensor(x) and x.is_floating_point() else x for x in batch])

    parameters, losses = dict(model.named_parameters()), partial(model_losses, model)
    batch, validation = double(sampler.train(0, [(0, 0)])), double(sampler.validation(0, [0], 8))
    alignment = Ghost(losses, model, sampler.groups)(batch, validation).mean
    assert alignment.dtype == torch.float64
    before = losses(parameters, validation).mean()
    step, update = 1e-5, gradient(losses, parameters, batch)
    moved = {name: parameter - step * update[name] for name, parameter in parameters.items()}
    drop = (before - losses(moved, validation).mean()) / step
    torch.testing.assert_close(drop.detach(), alignment[0, 0], rtol=1e-2, atol=0)
