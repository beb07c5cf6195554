"""SDMGrad between MGDA and the mean."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from vamo.config import BalancingConfig
from vamo.training.backward.direction_oriented import DirectionOriented

torchjd = pytest.importorskip("torchjd", reason="extra `mtl` is not installed")

from tests.vamo.alignment.test_alignment import Point, quadratic, slices  # noqa: E402
from tests.vamo.training.backward.test_combined_gradients import JACOBIAN, POINTS, TARGET_OF, WEIGHTS  # noqa: E402


def make(**options: float) -> tuple[Point, DirectionOriented[Tensor]]:
    point = Point(2.0, 1.0)
    config = BalancingConfig(**options)  # type: ignore[arg-type]  # numbers
    return point, DirectionOriented(config, quadratic, dict(point.named_parameters()), slices, n_targets=3)


def step(point: Point, backward: DirectionOriented[Tensor], noise: float = 0.0) -> tuple[Tensor, np.ndarray]:
    """Two windows a pair, which lie on both sides of the pair's point."""
    shift = noise * torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    terms = backward(POINTS[:, None] + shift, WEIGHTS, TARGET_OF, 0)
    assert point.theta.grad is not None
    return terms, point.theta.grad.double().numpy()


def test_a_large_lambda_is_the_mean() -> None:
    terms, found = step(*make(sdmgrad_lambda=1e6))
    np.testing.assert_allclose(found, JACOBIAN.sum(axis=0), atol=1e-4)
    torch.testing.assert_close(terms, WEIGHTS * (torch.tensor([2.0, 1.0]) - POINTS).square().sum(dim=1) / 2)


def test_without_a_direction_it_is_the_least_combination() -> None:
    """MGDA: the nearest point to 0 of the rows lies between two of them, at right angles to (4, 1)."""
    _, found = step(*make(sdmgrad_lambda=0.0, sdmgrad_rate=0.05, sdmgrad_steps=2000))
    np.testing.assert_allclose(found, 3 * np.array([-1.0, 4.0]) / 34, atol=1e-3)


def test_the_step_is_that_of_both_halves() -> None:
    """The halves differ, their mean does not: with the weights of the mean the gradient is the noiseless one."""
    _, found = step(*make(sdmgrad_lambda=1e6), noise=0.7)
    np.testing.assert_allclose(found, JACOBIAN.sum(axis=0), atol=1e-3)


def test_products_come_from_both_halves() -> None:
    """So that the noise of a window, which its own half alone has, is in no product with itself."""
    point, backward = make()
    seen = []

    def weighting(products: Tensor) -> Tensor:
        seen.append(products)
        return torch.full((3,), 1 / 3)

    backward._weighting = weighting  # type: ignore[assignment]
    step(point, backward, noise=0.5)
    shift = WEIGHTS.view(3, 2).sum(dim=1)[:, None] * torch.tensor([0.5, -0.5])
    rows = torch.tensor(JACOBIAN, dtype=torch.float32)
    torch.testing.assert_close(seen[0], (rows - shift) @ (rows + shift).T)


def test_state_continues_to_the_same_numbers() -> None:
    options = {"sdmgrad_rate": 0.1, "sdmgrad_steps": 1}
    point, first = make(**options)
    assert first.state() == {}
    step(point, first)
    other, second = make(**options)
    second.load_state(first.state())
    np.testing.assert_array_equal(step(point, first)[1], step(other, second)[1])
    third_point, third = make(**options)
    assert not np.array_equal(step(point, first)[1], step(third_point, third)[1])


def test_one_window_a_pair_is_too_few() -> None:
    _, backward = make()
    with pytest.raises(ValueError, match="at least 2 windows for method 'sdmgrad', found 1"):
        backward(POINTS[:, None], WEIGHTS, TARGET_OF, 0)


def test_missing_torchjd_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", None)
    with pytest.raises(ImportError, match=r"method 'sdmgrad' needs torchjd, found none: .*vamo-bidding\[mtl\]"):
        make()
