from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vamo.config import TrainConfig, WeightingConfig
from vamo.weighting import (
    Identity,
    Proportional,
    Scaler,
    Softmax,
    Uniform,
    Weighting,
    entropy,
    make_weighting,
)

ALIGNMENTS = torch.tensor([[0.3, -0.1, 0.2], [0.0, 0.5, 0.4], [-1.0, -2.0, -3.0]])
SIZES = torch.tensor([2000.0, 30.0, 400.0])


@pytest.mark.parametrize("weighting", [Softmax(0.1), Uniform(), Proportional(), Identity()])
def test_weights_are_a_distribution_per_target(weighting: Weighting) -> None:
    weights = weighting(ALIGNMENTS, SIZES)
    assert weights.shape == ALIGNMENTS.shape
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))


@pytest.mark.parametrize("weighting", [Softmax(0.1), Uniform(), Proportional()])
def test_permuting_sources_permutes_weights(weighting: Weighting) -> None:
    order = torch.tensor([2, 0, 1])
    permuted = weighting(ALIGNMENTS[:, order], SIZES[order])
    torch.testing.assert_close(permuted, weighting(ALIGNMENTS, SIZES)[:, order])


@pytest.mark.parametrize(
    ("weighting", "row"),
    [
        (Softmax(0.2), [0.574097, 0.077696, 0.348207]),  # exp(1.5), exp(-0.5), exp(1) over their sum
        (Uniform(), [1 / 3, 1 / 3, 1 / 3]),
        (Proportional(), [0.823045, 0.012346, 0.164609]),
        (Identity(), [1.0, 0.0, 0.0]),
    ],
)
def test_golden_row(weighting: Weighting, row: list[float]) -> None:
    torch.testing.assert_close(weighting(ALIGNMENTS, SIZES)[0], torch.tensor(row), atol=1e-6, rtol=0)


def test_softmax_limits() -> None:
    one_hot = torch.nn.functional.one_hot(ALIGNMENTS.argmax(dim=1), 3).float()
    torch.testing.assert_close(Softmax(1e-4)(ALIGNMENTS, SIZES), one_hot)
    torch.testing.assert_close(Softmax(1e6)(ALIGNMENTS, SIZES), Uniform()(ALIGNMENTS, SIZES), atol=1e-5, rtol=0)


def test_softmax_maximises_its_objective() -> None:
    temperature = 0.3
    weights = Softmax(temperature)(ALIGNMENTS, SIZES)

    def objective(w: Tensor) -> Tensor:
        return (w * ALIGNMENTS).sum(dim=1) + temperature * entropy(w)

    others = torch.distributions.Dirichlet(torch.ones(3)).sample((200, 3))  # type: ignore[no-untyped-call]
    assert all((objective(weights) >= objective(other)).all() for other in others)


def test_identity_needs_one_source_per_target() -> None:
    with pytest.raises(ValueError, match="one source per target, found 3 for 2"):
        Identity()(ALIGNMENTS[:2], SIZES)


def test_scaler_none_is_the_raw_inner_product() -> None:
    assert Scaler("none", 0.9, 3)(ALIGNMENTS) is ALIGNMENTS


def test_scaler_rms() -> None:
    scaler = Scaler("rms", 0.5, 3)
    first = scaler(ALIGNMENTS)
    torch.testing.assert_close(first.square().mean(dim=1), torch.ones(3))  # bias-corrected from the start
    second = scaler(3 * ALIGNMENTS)
    mean_square = (0.5 * 0.5 * 1 + 0.5 * 9) / 0.75  # of the two refreshes, in units of the first
    torch.testing.assert_close(second, 3 * first / math.sqrt(mean_square))


def test_scaler_rms_forgets_the_unit() -> None:
    a, b = Scaler("rms", 0.9, 3), Scaler("rms", 0.9, 3)
    for factor in (1.0, 2.0, 0.1):
        torch.testing.assert_close(a(factor * ALIGNMENTS), b(1e-4 * factor * ALIGNMENTS))


def test_scaler_rms_survives_zeros() -> None:
    assert Scaler("rms", 0.9, 3)(torch.zeros(3, 3)).isfinite().all()


def test_entropy() -> None:
    weights = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    torch.testing.assert_close(entropy(weights), torch.tensor([0.0, math.log(2)]))


def test_method_names() -> None:
    kinds = {"single": Identity, "uniform": Uniform, "pooled": Proportional, "vao": Softmax}
    for method, kind in kinds.items():
        train = TrainConfig(method=method)  # type: ignore[arg-type]  # the keys are the literals
        assert type(make_weighting(train, WeightingConfig())) is kind
