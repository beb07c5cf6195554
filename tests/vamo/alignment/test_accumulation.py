from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from vamo.alignment.accumulation import DynamicGradientAlignment, Integral, make_accumulator
from vamo.alignment.weighting import Accumulated, Evidence, Softmax, make_weighting
from vamo.config import TrainConfig, WeightingConfig

ALL_PAIRS = [(k, i) for k in range(2) for i in range(3)]
ALIGNMENTS = torch.tensor([[1.0, -1.0, 0.3], [0.2, 0.5, 2.0]])


def weights_of(logits: Tensor, floor: float = 0.0) -> Tensor:
    nothing = torch.zeros_like(logits)
    return Accumulated(floor)(Evidence(nothing, nothing, torch.ones(logits.shape[1]), logits))


# --- one update ----------------------------------------------------------------------------------------------


def test_integral_by_hand() -> None:
    integral = Integral(2, 3, eta=0.5, decay=0.8)
    integral.update(ALL_PAIRS, ALIGNMENTS)
    first = 0.5 * (ALIGNMENTS - ALIGNMENTS.mean(dim=1, keepdim=True))
    torch.testing.assert_close(integral.logits, first)
    integral.update(ALL_PAIRS, ALIGNMENTS)
    torch.testing.assert_close(integral.logits, 1.8 * first)


def test_only_the_pairs_of_a_refresh_move() -> None:
    integral = Integral(2, 3, eta=1.0, decay=1.0)
    integral.update([(1, 0), (1, 2)], torch.tensor([[0.0, 4.0]]))
    torch.testing.assert_close(integral.logits, torch.tensor([[0.0, 0.0, 0.0], [-2.0, 0.0, 2.0]]))


def test_without_memory_integral_weights_are_the_softmax() -> None:
    integral = Integral(2, 3, eta=4.0, decay=0.0)
    for factor in (-3.0, 1.0):
        integral.update(ALL_PAIRS, factor * ALIGNMENTS)
    softmax = Softmax(1 / 4.0)(Evidence(ALIGNMENTS, torch.zeros_like(ALIGNMENTS), torch.ones(3)))
    torch.testing.assert_close(weights_of(integral.logits), softmax)


def test_dga_by_hand() -> None:
    dga = DynamicGradientAlignment(2, 3, eta=0.7, decay=0.9)
    dga.update(ALL_PAIRS, ALIGNMENTS)
    expected = 0.9 / 3 + 0.1 * torch.softmax(0.7 * ALIGNMENTS, dim=1)
    torch.testing.assert_close(weights_of(dga.logits), expected)


def test_dga_keeps_the_share_of_pairs_that_are_left_out() -> None:
    dga = DynamicGradientAlignment(2, 3, eta=3.0, decay=0.0)
    dga.update([(0, 0), (0, 2)], torch.tensor([[1.0, 0.0]]))
    row = weights_of(dga.logits)[0]
    assert float(row[1]) == pytest.approx(1 / 3)
    assert float(row[0] / row[2]) == pytest.approx(math.exp(3.0), rel=1e-5)


def test_floor_keeps_every_source() -> None:
    row = weights_of(torch.tensor([[0.0, -1e4, -1e4]]), floor=0.3)
    torch.testing.assert_close(row, torch.tensor([[0.8, 0.1, 0.1]]))


def test_kinds() -> None:
    for kind, expected in (("integral", Integral), ("dga", DynamicGradientAlignment)):
        config = WeightingConfig(kind=kind, decay=0.5, floor=0.1)  # type: ignore[arg-type]  # literals
        assert type(make_accumulator(2, 3, config, "cpu")) is expected
        weighting = make_weighting(TrainConfig(), config)
        assert isinstance(weighting, Accumulated) and weighting.floor == 0.1
    assert make_accumulator(2, 3, WeightingConfig(kind="top1"), "cpu") is None


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("eta", 0.0, "`eta` must be positive"),
        ("decay", 1.5, r"`decay` must be in \[0, 1\]"),
        ("floor", 1.0, r"`floor` must be in \[0, 1\)"),
    ],
)
def test_bad_settings(field: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WeightingConfig(kind="integral", **{field: value})  # type: ignore[arg-type]  # one field at a time


def test_dga_that_never_moves_is_refused() -> None:
    with pytest.raises(ValueError, match="`decay` must be below 1 for `dga`"):
        WeightingConfig(kind="dga")


# --- a quadratic toy with a known answer -----------------------------------------------------------------------
#
# Source i pulls theta toward c_i, the target's validation loss is |theta - c|^2 / 2. Training on a mixture w ends at
# theta = sum_i w_i c_i, so the best mixture is the projection of c onto the convex hull of the c_i.

CENTRES = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [-6.0, -6.0]])
TARGET = torch.tensor([1.0, 2.0])
BEST = torch.tensor([0.25, 0.25, 0.5, 0.0])  # of the first three alone; the last is harmful


def path(weigh: Callable[[Tensor], Tensor], *, n_steps: int, rate: float = 0.2, noise: float = 0.0) -> list[Tensor]:
    """Parameters after each step of training on the mixture that `weigh` makes of the alignments (1, I)."""
    rng = np.random.default_rng(0)
    theta, after = torch.tensor([-2.0, -2.0]), []
    for _ in range(n_steps):
        sources = theta - CENTRES  # gradients (I, 2)
        target = theta - TARGET + noise * torch.tensor(rng.normal(size=2), dtype=torch.float32)
        weights = weigh((sources @ target)[None])[0]
        theta = theta - rate * weights @ sources
        after.append(theta)
    return after


def integral(eta: float, decay: float = 1.0) -> Callable[[Tensor], Tensor]:
    state = Integral(1, 4, eta, decay)

    def weigh(alignments: Tensor) -> Tensor:
        state.update([(0, i) for i in range(4)], alignments)
        return weights_of(state.logits)

    return weigh


def softmax(temperature: float) -> Callable[[Tensor], Tensor]:
    return lambda m: Softmax(temperature)(Evidence(m, torch.zeros_like(m), torch.ones(4)))


def distance(theta: Tensor) -> float:
    return float((theta - TARGET).norm())


def test_integral_weights_reach_the_best_mixture_where_no_softmax_does() -> None:
    """The softmax's weights go back toward uniform as the validation gradient vanishes, whatever its temperature."""
    torch.testing.assert_close(BEST @ CENTRES, TARGET)  # the target lies within the hull
    assert distance(path(integral(0.02), n_steps=3000)[-1]) < 0.01
    for temperature in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0):
        last = path(softmax(temperature), n_steps=3000)[-3:]
        assert np.mean([distance(theta) for theta in last]) > 0.1


def test_integral_weights_average_noise_out() -> None:
    noisy = [distance(path(weigh, n_steps=3000, noise=2.0)[-1]) for weigh in (integral(0.002), softmax(3.0))]
    assert noisy[0] < noisy[1] / 2


@pytest.mark.parametrize("seed", range(3))
def test_regret_is_within_its_bound(seed: int) -> None:
    """sum_t <w - w_t, m_t> <= log(I) / eta + eta / 8 sum_t (max m_t - min m_t)^2 for every fixed w."""
    rng = np.random.default_rng(seed)
    n_steps, n_sources = 400, 5
    gains = torch.tensor(rng.uniform(-1, 1, (n_steps, n_sources)) + rng.normal(0, 0.3, n_sources)).float()
    eta = math.sqrt(8 * math.log(n_sources) / float((gains.amax(1) - gains.amin(1)).square().sum()))
    state, earned = Integral(1, n_sources, eta, 1.0), 0.0
    for gain in gains:
        earned += float(weights_of(state.logits)[0] @ gain)  # the weights are chosen before the gains are seen
        state.update([(0, i) for i in range(n_sources)], gain[None])
    bound = math.log(n_sources) / eta + eta / 8 * float((gains.amax(1) - gains.amin(1)).square().sum())
    assert float(gains.sum(dim=0).max()) - earned <= bound


def refreshes_until_the_better(decay: float) -> int:
    """Refreshes after the better of two sources changed until its weight exceeds a half, 200 refreshes before."""
    state, pairs = Integral(1, 2, eta=0.3, decay=decay), [(0, 0), (0, 1)]
    for _ in range(200):
        state.update(pairs, torch.tensor([[1.0, -1.0]]))
    for n in range(1, 1000):
        state.update(pairs, torch.tensor([[-1.0, 1.0]]))
        if weights_of(state.logits)[0, 1] > 0.5:
            return n
    return 1000


def test_a_decay_below_one_follows_a_market_that_drifts() -> None:
    """A sum has to unlearn all it learned; a discounted one forgets within 1 / (1 - decay) refreshes."""
    n = [refreshes_until_the_better(decay) for decay in (0.5, 0.9, 0.98, 1.0)]
    assert n == sorted(n) and n[1] <= 10 and n[3] > 190
