from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vamo.model.periodicity import N_REACHES, Periodicity

CONTEXT, N_FEATURES, D_MODEL, N_PERIODS = 12, 3, 8, 2


@pytest.fixture
def module() -> Periodicity:
    torch.manual_seed(0)
    return Periodicity(N_FEATURES, D_MODEL, N_PERIODS, CONTEXT).double()


def spectrum(prefix: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Amplitudes at the frequencies 1 .. length / 2 of a prefix (t, F), its mean taken out, zeros after it."""
    padded = np.zeros((length, prefix.shape[1]))
    padded[: len(prefix)] = prefix - prefix.mean(axis=0)
    amplitude: NDArray[np.float64] = np.abs(np.fft.rfft(padded, axis=0)).mean(axis=1)[1:]
    return amplitude


def last_row(module: Periodicity, prefix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The block's output at the last tick of a prefix, one tap after the other."""
    amplitude = spectrum(prefix, CONTEXT)
    top = np.argsort(-amplitude)[:N_PERIODS]
    shares = np.exp(amplitude[top]) / np.exp(amplitude[top]).sum()
    t, hidden = len(prefix) - 1, np.zeros(D_MODEL)
    for frequency, share in zip(top + 1, shares, strict=True):
        period, mixed = CONTEXT // frequency, np.zeros(D_MODEL)
        for reach, kernel in enumerate(module.kernels):
            taps = []
            for j, c in itertools.product(range(reach + 1), range(-reach, reach + 1)):
                row = t - j * period + c
                taps.append(prefix[row] if 0 <= row <= t else np.zeros(N_FEATURES))
            mixed += kernel(torch.tensor(np.concatenate(taps))).detach().numpy() / N_REACHES
        hidden += share * torch.nn.functional.gelu(torch.tensor(mixed)).numpy()
    out: NDArray[np.float64] = module.out(torch.tensor(hidden)).detach().numpy()
    return out


def test_every_row_is_the_block_at_the_end_of_its_prefix(module: Periodicity) -> None:
    history = np.random.default_rng(1).normal(size=(2, CONTEXT, N_FEATURES))
    out = module(torch.tensor(history), CONTEXT).detach().numpy()
    for i, t in itertools.product(range(2), range(1, CONTEXT)):  # one tick alone has no spectrum
        np.testing.assert_allclose(out[i, t], last_row(module, history[i, : t + 1]), rtol=1e-6, atol=1e-9)


def test_last_rows_alone_are_those_of_all(module: Periodicity) -> None:
    history = torch.tensor(np.random.default_rng(1).normal(size=(2, CONTEXT, N_FEATURES)))
    for n_last in (1, 5):
        torch.testing.assert_close(module(history, n_last), module(history, CONTEXT)[:, -n_last:])


def test_a_period_is_found_once_it_was_seen() -> None:
    """Three days with the shape of a day: the day is the period, whatever the level."""
    day, n_days = 48, 3
    module = Periodicity(1, 4, 1, day * n_days)
    phase = 2 * torch.pi * torch.arange(day * n_days) / day
    period, share = module.dominant_periods(100 + torch.cos(phase)[None, :, None], day * n_days)
    assert (period[0, day - 1 :: day] == day).all()  # at the end of each day
    assert (share == 1).all()


def test_a_repeated_tick_reaches_the_same_phase_of_earlier_periods() -> None:
    """What is read at t is t - p and t - 2 p and their neighbours, and nothing between them."""
    module = Periodicity(1, 4, 1, 48)
    history = torch.cos(2 * torch.pi * torch.arange(48) / 12)[None, :, None].requires_grad_()
    assert module.dominant_periods(history.detach(), 1)[0][0, -1] == 12
    period = torch.full((1, 1, 1), 12), torch.ones(1, 1, 1)
    module.dominant_periods = lambda history, n_last: period  # type: ignore[method-assign]  # no gradient by the spectrum
    module(history, 1)[0, -1].sum().backward()
    assert history.grad is not None
    read = set(np.flatnonzero(history.grad[0, :, 0].numpy()))
    assert read == {45, 46, 47, *range(47 - 14, 47 - 9), *range(47 - 26, 47 - 21)}


def test_a_single_tick_is_finite() -> None:
    module = Periodicity(1, 4, 2, 6)
    history = torch.ones(1, 1, 1, requires_grad=True)
    out = module(history, 1)
    out.sum().backward()
    assert out.isfinite().all()
    assert history.grad is not None and history.grad.isfinite().all()
