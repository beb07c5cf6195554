from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vamo.alignment.weighting import (
    NEGLIGIBLE,
    Among,
    Evidence,
    Identity,
    Proportional,
    Scaler,
    Shrunken,
    Softmax,
    TargetEntropy,
    Top1,
    Uniform,
    Weighting,
    entropy,
    make_weighting,
)
from vamo.config import TrainConfig, WeightingConfig

ALIGNMENTS = torch.tensor([[0.3, -0.1, 0.2], [0.0, 0.5, 0.4], [-1.0, -2.0, -3.0]])
ERRORS = torch.tensor([[0.1, 0.2, 0.05], [0.3, 0.3, 0.3], [0.1, 0.5, 2.0]])
SIZES = torch.tensor([2000.0, 30.0, 400.0])
EVIDENCE = Evidence(ALIGNMENTS, ERRORS, SIZES)

BY_ALIGNMENT = [Softmax(0.1), TargetEntropy(0.6), Top1(), Shrunken(Softmax(0.1)), Shrunken(TargetEntropy(0.6))]
SYMMETRIC = [*BY_ALIGNMENT, Uniform(), Proportional()]
ALL = [*SYMMETRIC, Identity()]


def evidence(alignment: Tensor, error: float | Tensor = 0.0) -> Evidence:
    error = torch.as_tensor(error).expand_as(alignment)
    return Evidence(alignment, error, torch.ones(alignment.shape[1]))


def name(weighting: Weighting) -> str:
    inner = f"-{name(weighting.weighting)}" if isinstance(weighting, Shrunken) else ""
    return type(weighting).__name__ + inner


# --- properties of all ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighting", ALL, ids=name)
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_weights_are_a_distribution_per_target(weighting: Weighting, scale: float) -> None:
    weights = weighting(Evidence(scale * ALIGNMENTS, scale * ERRORS, SIZES))
    assert weights.shape == ALIGNMENTS.shape
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))


@pytest.mark.parametrize("weighting", SYMMETRIC, ids=name)
def test_permuting_sources_permutes_weights(weighting: Weighting) -> None:
    order = torch.tensor([2, 0, 1])
    permuted = weighting(Evidence(ALIGNMENTS[:, order], ERRORS[:, order], SIZES[order]))
    torch.testing.assert_close(permuted, weighting(EVIDENCE)[:, order])


@pytest.mark.parametrize("weighting", SYMMETRIC, ids=name)
def test_permuting_targets_permutes_weights(weighting: Weighting) -> None:
    order = torch.tensor([2, 0, 1])
    permuted = weighting(Evidence(ALIGNMENTS[order], ERRORS[order], SIZES))
    torch.testing.assert_close(permuted, weighting(EVIDENCE)[order])


@pytest.mark.parametrize("weighting", BY_ALIGNMENT, ids=name)
def test_better_aligned_sources_weigh_no_less(weighting: Weighting) -> None:
    weights = weighting(evidence(ALIGNMENTS, 0.01))
    for row, m in zip(weights, ALIGNMENTS, strict=True):
        ordered = row[m.argsort()]
        assert (ordered.diff() >= 0).all()


@pytest.mark.parametrize("weighting", BY_ALIGNMENT, ids=name)
def test_adding_a_constant_changes_nothing(weighting: Weighting) -> None:
    torch.testing.assert_close(weighting(EVIDENCE._replace(alignment=ALIGNMENTS + 0.5)), weighting(EVIDENCE))


@pytest.mark.parametrize("weighting", [w for w in BY_ALIGNMENT if not isinstance(w, Top1)], ids=name)
def test_equal_alignments_are_uniform(weighting: Weighting) -> None:
    torch.testing.assert_close(weighting(evidence(torch.full((2, 4), 0.7), 0.1)), torch.full((2, 4), 0.25))


@pytest.mark.parametrize("weighting", ALL, ids=name)
def test_one_source_gets_everything(weighting: Weighting) -> None:
    torch.testing.assert_close(weighting(evidence(torch.tensor([[-3.0]]), 0.1)), torch.ones(1, 1))


@pytest.mark.parametrize(
    ("weighting", "row"),
    [
        (Softmax(0.2), [0.574097, 0.077696, 0.348207]),  # exp(1.5), exp(-0.5), exp(1) over their sum
        (TargetEntropy(0.5), [0.779829, 0.004557, 0.215614]),  # by a root finder
        (Top1(), [1.0, 0.0, 0.0]),
        (Shrunken(Softmax(0.2)), [0.478446, 0.165996, 0.355558]),  # by its formula in NumPy
        (Uniform(), [1 / 3, 1 / 3, 1 / 3]),
        (Proportional(), [0.823045, 0.012346, 0.164609]),
        (Identity(), [1.0, 0.0, 0.0]),
    ],
)
def test_golden_row(weighting: Weighting, row: list[float]) -> None:
    torch.testing.assert_close(weighting(EVIDENCE)[0], torch.tensor(row), atol=1e-5, rtol=0)


# --- the softmax ---------------------------------------------------------------------------------------------


def test_softmax_limits() -> None:
    torch.testing.assert_close(Softmax(1e-4)(EVIDENCE), Top1()(EVIDENCE))
    torch.testing.assert_close(Softmax(1e6)(EVIDENCE), Uniform()(EVIDENCE), atol=1e-5, rtol=0)


@pytest.mark.parametrize("weighting", [Softmax(0.02), TargetEntropy(0.05)], ids=name)
def test_a_weight_that_moves_no_sum_is_zero(weighting: Weighting) -> None:
    """Down to 1e-45 they would be denormal numbers, and so would their gradients."""
    weights = weighting(evidence(torch.linspace(-3.0, 0.0, 40)[None]))
    assert (weights == 0).any()
    assert weights[weights > 0].min() >= NEGLIGIBLE
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(1))


def test_softmax_maximises_its_objective() -> None:
    temperature = 0.3
    weights = Softmax(temperature)(EVIDENCE)

    def objective(w: Tensor) -> Tensor:
        return (w * ALIGNMENTS).sum(dim=1) + temperature * entropy(w)

    others = torch.distributions.Dirichlet(torch.ones(3)).sample((200, 3))  # type: ignore[no-untyped-call]
    assert all((objective(weights) >= objective(other)).all() for other in others)


# --- the entropy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.05, 0.5, 0.7, 0.99])
@pytest.mark.parametrize("n_sources", [2, 6, 64])
def test_target_entropy_is_hit(share: float, n_sources: int) -> None:
    m = torch.randn(5, n_sources, generator=torch.Generator().manual_seed(0)) * torch.logspace(-9, 9, 5)[:, None]
    weights = TargetEntropy(share)(evidence(m))
    torch.testing.assert_close(entropy(weights), torch.full((5,), share * math.log(n_sources)), atol=1e-3, rtol=1e-3)


def test_target_entropy_is_a_softmax() -> None:
    """log w_i - log w_j is proportional to m_i - m_j."""
    log = TargetEntropy(0.8)(EVIDENCE).log()
    ratio = (log[:, 0] - log[:, 1]) / (ALIGNMENTS[:, 0] - ALIGNMENTS[:, 1])
    torch.testing.assert_close((log[:, 0] - log[:, 2]) / (ALIGNMENTS[:, 0] - ALIGNMENTS[:, 2]), ratio)


def test_target_entropy_limits() -> None:
    torch.testing.assert_close(TargetEntropy(1e-6)(EVIDENCE), Top1()(EVIDENCE), atol=1e-4, rtol=0)
    torch.testing.assert_close(TargetEntropy(1 - 1e-6)(EVIDENCE), Uniform()(EVIDENCE), atol=1e-2, rtol=0)


def test_target_entropy_shares_among_equals() -> None:
    weights = TargetEntropy(0.1)(evidence(torch.tensor([[1.0, 1.0, 0.0]])))
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.5, 0.0]]))


@pytest.mark.parametrize(("kind", "value"), [(Softmax, 0.0), (TargetEntropy, 0.0), (TargetEntropy, 1.0)])
def test_bad_arguments(kind: Callable[[float], Weighting], value: float) -> None:
    with pytest.raises(ValueError, match=rf"must be .*, found {value}"):
        kind(value)


# --- shrinkage -----------------------------------------------------------------------------------------------


def test_shrinkage_without_error_changes_nothing() -> None:
    exact = evidence(ALIGNMENTS)
    torch.testing.assert_close(Shrunken(Softmax(0.2))(exact), Softmax(0.2)(exact))


@pytest.mark.parametrize("error", [100.0, math.inf, math.nan])
def test_shrinkage_of_noise_is_uniform(error: float) -> None:
    torch.testing.assert_close(Shrunken(Softmax(0.2))(evidence(ALIGNMENTS, error)), Uniform()(EVIDENCE))


def test_shrinkage_is_monotone_in_the_error() -> None:
    errors = [0.0, 0.05, 0.1, 0.15, 0.2]
    kept = [float(Shrunken(Softmax(0.2))(evidence(ALIGNMENTS, error))[0].max()) for error in errors]
    assert kept == sorted(kept, reverse=True) and kept[0] > kept[-1]


def test_shrinkage_by_hand() -> None:
    """m = (1, -1, 0), errors^2 = (0.5, 0.5, 0.5): variance 1, tau^2 = 0.5, half of each distance is kept."""
    m = torch.tensor([[1.0, -1.0, 0.0]])
    weights = Shrunken(Softmax(1.0))(evidence(m, 0.5**0.5))
    torch.testing.assert_close(weights, torch.softmax(m / 2, dim=1))


def test_sources_of_unknown_error_get_the_mean() -> None:
    m, errors = torch.tensor([[1.0, -1.0, 50.0]]), torch.tensor([[0.0, 0.0, math.inf]])
    torch.testing.assert_close(
        Shrunken(Softmax(1.0))(evidence(m, errors)), torch.softmax(m * torch.tensor([1, 1, 0]), 1)
    )


# --- other ---------------------------------------------------------------------------------------------------


def test_identity_needs_one_source_per_target() -> None:
    with pytest.raises(ValueError, match="one source per target, found 3 for 2"):
        Identity()(evidence(ALIGNMENTS[:2]))


@pytest.mark.parametrize("scaling", ["none", "cosine"])
def test_scaler_leaves_other_scalings_alone(scaling: str) -> None:
    scaler = Scaler(scaling, 0.9, 3)  # type: ignore[arg-type]  # literals
    scaler.update(ALIGNMENTS, torch.arange(3))
    torch.testing.assert_close(scaler.scale(), torch.ones(3))


def test_scaler_rms() -> None:
    scaler = Scaler("rms", 0.5, 3)
    torch.testing.assert_close(scaler.scale(), torch.ones(3))  # before the first refresh
    scaler.update(ALIGNMENTS, torch.arange(3))
    first = scaler.scale()
    torch.testing.assert_close(first, ALIGNMENTS.square().mean(dim=1).sqrt())  # bias-corrected from the start
    scaler.update(3 * ALIGNMENTS[1:], torch.tensor([1, 2]))
    mean_square = (0.5 * 0.5 * 1 + 0.5 * 9) / 0.75  # of the two refreshes, in units of the first
    torch.testing.assert_close(scaler.scale(), first * torch.tensor([1.0, mean_square**0.5, mean_square**0.5]))


def test_scaler_rms_survives_zeros() -> None:
    scaler = Scaler("rms", 0.9, 3)
    scaler.update(torch.zeros(3, 3), torch.arange(3))
    assert (0 / scaler.scale() == 0).all()


def test_entropy() -> None:
    weights = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    torch.testing.assert_close(entropy(weights), torch.tensor([0.0, math.log(2)]))


def test_method_names() -> None:
    kinds = {"single": Identity, "uniform": Uniform, "pooled": Proportional, "vao": Softmax, "pcgrad": Uniform}
    for method, kind in kinds.items():
        train = TrainConfig(method=method)  # type: ignore[arg-type]  # the keys are the literals
        assert type(make_weighting(train, WeightingConfig(kind="softmax", shrinkage=False))) is kind


def test_kinds_of_vao() -> None:
    kinds = {"softmax": Softmax, "entropy": TargetEntropy, "top1": Top1}
    for kind, expected in kinds.items():
        weighting = make_weighting(TrainConfig(), WeightingConfig(kind=kind, shrinkage=False))  # type: ignore[arg-type]  # literals
        assert type(weighting) is expected
    shrunken = make_weighting(TrainConfig(), WeightingConfig(kind="softmax", shrinkage=True, temperature=0.3))
    assert isinstance(shrunken, Shrunken) and isinstance(shrunken.weighting, Softmax)
    assert shrunken.weighting.temperature == 0.3


def test_weights_among_candidates_are_those_of_the_candidates_alone() -> None:
    mask = torch.tensor([[True, False, True], [True, True, True], [False, True, False]])
    weights = Among(Softmax(0.1), mask)(EVIDENCE)
    for k in range(3):
        alone = Softmax(0.1)(evidence(ALIGNMENTS[k : k + 1, mask[k]]))
        torch.testing.assert_close(weights[k, mask[k]], alone[0])
        assert (weights[k, ~mask[k]] == 0).all()
    assert weights[1].tolist() == Softmax(0.1)(EVIDENCE)[1].tolist()  # nothing is left out: the same bits
    far = Among(Top1(), torch.tensor([[False, True, True]]))(evidence(ALIGNMENTS[:1]))
    torch.testing.assert_close(far, torch.tensor([[0.0, 0.5, 0.5]]))  # all of the weight was on others
    with pytest.raises(ValueError, match="must hold a source of every target, found \\[1, 0\\]"):
        Among(Uniform(), torch.tensor([[True, False], [False, False]]))
