from __future__ import annotations

import sys
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from vamo.config import MultitaskMethod
from vamo.training.backward.combined_gradients import (
    AGGREGATORS,
    CombinedGradients,
    is_multitask,
    make_aggregator,
    without_solver_warnings,
)

torchjd = pytest.importorskip("torchjd", reason="extra `mtl` is not installed")

from tests.vamo.alignment.test_alignment import Point, quadratic, slices  # noqa: E402

# theta = (2, 1): gradients of three targets with two sources each, theta - c
POINTS = torch.tensor([[1.0, 2.0], [0.0, -1.0], [3.0, 0.0], [5.0, 2.0], [1.0, -1.0], [1.0, 1.0]])
TARGET_OF = torch.tensor([0, 0, 1, 1, 2, 2])
WEIGHTS = torch.tensor([0.5, 0.5, 0.25, 0.75, 1.0, 0.0])
JACOBIAN = np.array([[1.5, 0.5], [-2.5, -0.5], [1.0, 2.0]])  # rows sum_i w_ik (theta - c_i)


def combine(method: MultitaskMethod, step: int = 0, points: Tensor = POINTS) -> tuple[Tensor, Tensor]:
    point = Point(2.0, 1.0)
    parameters = dict(point.named_parameters())
    backward = CombinedGradients(method, quadratic, parameters, slices, n_targets=3, seed=0)
    terms = backward(points[:, None], WEIGHTS, TARGET_OF, step)
    assert point.theta.grad is not None
    return terms, point.theta.grad


def test_every_method_has_an_aggregator() -> None:
    assert set(AGGREGATORS) == set(get_args(MultitaskMethod))
    assert is_multitask("pcgrad") and not is_multitask("vao")


@pytest.mark.parametrize("method", get_args(MultitaskMethod))
def test_methods_give_a_combination_of_the_gradients(method: MultitaskMethod) -> None:
    terms, gradient = combine(method)
    torch.testing.assert_close(terms, WEIGHTS * (torch.tensor([2.0, 1.0]) - POINTS).square().sum(dim=1) / 2)
    assert gradient.shape == (2,)
    assert gradient.isfinite().all()


def test_mean_is_the_sum_over_targets() -> None:
    _, gradient = combine("mean")
    np.testing.assert_allclose(gradient.numpy(), JACOBIAN.sum(axis=0), atol=1e-6)


def test_upgrad_conflicts_with_no_target() -> None:
    """The mean conflicts with target 1: <J_1, sum> < 0."""
    assert JACOBIAN[1] @ JACOBIAN.sum(axis=0) < 0
    for method in ("upgrad", "dualproj", "mgda"):
        _, gradient = combine(method)  # type: ignore[arg-type]  # the literals
        assert (JACOBIAN @ gradient.double().numpy() >= -1e-2).all(), method  # a small ridge in their solvers


TWO = torch.tensor([[1.0, 0.0], [-1.0, 2.0]], dtype=torch.float64)  # conflicting: <g_1, g_2> = -1
BY_HAND: dict[MultitaskMethod, tuple[float, float]] = {
    "mean": (0.0, 1.0),
    "pcgrad": (0.8, 2.4),  # (g_1 + g_2 / 5) + (g_2 + g_1): each without its part against the other
    "gradvac": (0.8, 2.4),  # its first step, when the cosine aimed at is 0
    "mgda": (0.5, 0.5),  # the point of the line from g_1 to g_2 that is nearest to 0
    "upgrad": (0.4, 1.2),  # mean of the rows projected on the cone of what harms nobody
    "dualproj": (0.0, 1.0),  # the mean harms nobody, so it stays
}


@pytest.mark.parametrize("method", BY_HAND)
def test_two_conflicting_gradients_by_hand(method: MultitaskMethod) -> None:
    found = make_aggregator(method, 2)(TWO)
    np.testing.assert_allclose(found.numpy(), BY_HAND[method], atol=1e-3)  # a small ridge in the solvers


def test_what_defines_the_others_holds() -> None:
    imtl = make_aggregator("imtl_g", 2)(TWO)  # equal projections on the unit gradients
    first, second = (TWO / TWO.norm(dim=1, keepdim=True)) @ imtl
    assert float(first) == pytest.approx(float(second))
    # FairGrad with alpha = 1 is the Nash bargaining solution: G w = 1 / w (arXiv 2402.15638, 2202.01017)
    fair = make_aggregator("fairgrad", 2)(TWO)
    weights = torch.linalg.solve(TWO.T, fair)
    np.testing.assert_allclose((TWO @ fair).numpy(), (1 / weights).numpy(), rtol=1e-2)
    cagrad, mean = make_aggregator("cagrad", 2)(TWO), TWO.mean(dim=0)  # within c |mean| of the mean, c = 0.5
    assert float((cagrad - mean).norm()) <= 0.5 * float(mean.norm()) + 1e-6
    assert float((TWO @ cagrad).min()) > float((TWO @ mean).min())  # better for the worst-off
    aligned = make_aggregator("aligned_mtl", 2)(TWO)  # a combination whose condition number is 1: no row is harmed
    assert float((TWO @ aligned).min()) > 0


def test_nash_mtl_is_that_of_the_official_code() -> None:
    """torchjd says that this code has flaws: what it gives is at most 1 long, and the start stays where G 1 has a 0."""
    with without_solver_warnings():
        assert float(make_aggregator("nash_mtl", 2)(TWO).norm()) == pytest.approx(1.0)
        agreeing = torch.tensor([[1.0, 0.2], [0.1, 2.0]], dtype=torch.float64)
        nash, fair = (make_aggregator(method, 2)(agreeing) for method in ("nash_mtl", "fairgrad"))
    assert float(nash.norm()) == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose((nash / nash.norm()).numpy(), (fair / fair.norm()).numpy(), atol=0.01)


def test_random_draws_depend_on_the_step_alone() -> None:
    before = torch.random.get_rng_state()
    a, b, c = combine("random", 5)[1], combine("random", 5)[1], combine("random", 6)[1]
    torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert not torch.equal(a, c)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_missing_torchjd_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchjd", None)
    with pytest.raises(ImportError, match=r"method 'pcgrad' needs torchjd, found none: .*vamo-bidding\[mtl\]"):
        make_aggregator("pcgrad", 3)
