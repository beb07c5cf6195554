"""The periodicity module: TimesNet's TimesBlock (arXiv 2210.02186) in a causal form.

A TimesBlock takes the periods with the largest Fourier amplitudes of a series, folds the series into
(periods, phases) for each, convolves in two dimensions, and averages by amplitude. Applied to a whole window it
is not causal: the spectrum and the convolutions see later ticks. Here tick t gets what the block gives at the
last tick of the prefix that ends in t. The spectra of all prefixes are running sums, and a convolution at the
last tick of a prefix reads earlier ticks only, so that it needs gathering t - j p + c instead of one fold a
prefix. That holds for one convolution: the second of the original would need the first at every tick of every
prefix, and is pointwise here. The fold is helical: the neighbour of a period's last tick is the first of the
next, instead of padding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

N_REACHES = 3  # kernels of 1 x 1, 3 x 3 and 5 x 5 whose mean is the inception convolution
_EPSILON = 1e-12


class Periodicity(nn.Module):
    """What the periods of the history say at each tick, to be added to the state's embedding.

    Args:
        n_features: Channels of the series.
        d_model: Width of the result.
        n_periods: Periods that are used, those of the largest amplitudes.
        context: Rows of the longest window: the length on whose Fourier frequencies the periods lie.
    """

    def __init__(self, n_features: int, d_model: int, n_periods: int, context: int) -> None:
        super().__init__()
        self.n_periods = n_periods
        self.kernels = nn.ModuleList([nn.Linear(n_taps(r) * n_features, d_model) for r in range(N_REACHES)])
        self.out = nn.Linear(d_model, d_model)
        frequency = torch.arange(1, context // 2 + 1)
        angle = 2 * torch.pi * torch.arange(context)[:, None] * frequency / context
        self.register_buffer("waves", torch.cat([angle.cos(), angle.sin()], dim=1), persistent=False)
        self.register_buffer("periods", context // frequency, persistent=False)

    def forward(self, history: Tensor, n_last: int) -> Tensor:
        """What is added at the last `n_last` rows, (n, n_last, D); a row depends on no later one.

        Args:
            history: (n, W, F), from the window's first row on.
            n_last: At most W.
        """
        period, share = self.dominant_periods(history, n_last)
        mixed = torch.zeros((), device=history.device)
        for reach, kernel in enumerate(self.kernels):
            mixed = mixed + kernel(_gather(history, period, reach)) / N_REACHES  # (n, m, k, D)
        hidden = nn.functional.gelu(mixed)
        out: Tensor = self.out((hidden * share[..., None]).sum(dim=2))
        return out

    def dominant_periods(self, history: Tensor, n_last: int) -> tuple[Tensor, Tensor]:
        """Of the prefixes that end in the last m = `n_last` rows: periods and their shares, both (n, m, k).

        The periods are those with the largest amplitudes, the shares the softmax of these.
        """
        n_rows = history.shape[1]
        waves, first = self.get_buffer("waves")[:n_rows], n_rows - n_last  # (W, 2 Q)
        count = torch.arange(first + 1, n_rows + 1, device=history.device)[:, None]
        early, late = history[:, :first], history[:, first:]
        mean = (early.sum(dim=1, keepdim=True) + late.cumsum(dim=1)) / count
        # the spectrum of a prefix whose mean is taken out: sum of x e^(-i w s) less mean times sum of e^(-i w s)
        spectrum = (waves[:first].T @ early)[:, None] + (late[:, :, None] * waves[first:, :, None]).cumsum(dim=1)
        spectrum = spectrum - mean[:, :, None] * waves.cumsum(dim=0)[first:, :, None]  # (n, m, 2 Q, F)
        real, imaginary = spectrum.chunk(2, dim=2)
        amplitude = (real.square() + imaginary.square() + _EPSILON).sqrt().mean(dim=-1)  # (n, m, Q)
        top = amplitude.topk(self.n_periods, dim=-1)
        return self.get_buffer("periods")[top.indices], torch.softmax(top.values, dim=-1)


def n_taps(reach: int) -> int:
    """Taps of a kernel at the end of a prefix: this period and `reach` earlier ones, `reach` ticks about each."""
    return (reach + 1) * (2 * reach + 1)


def _gather(history: Tensor, period: Tensor, reach: int) -> Tensor:
    """The taps t - j p + c of a kernel, (n, m, k, taps x F), for the last m rows, whose periods are (n, m, k).

    Zero before the window and after t.
    """
    n, n_rows, n_features = history.shape
    first = n_rows - period.shape[1]
    earlier = torch.arange(reach + 1, device=history.device)[:, None]
    offset = torch.arange(-reach, reach + 1, device=history.device)
    shift = (offset - earlier * period[..., None, None]).flatten(-2)  # (n, m, k, taps)
    row = torch.arange(first, n_rows, device=history.device)[:, None, None] + shift
    is_past = (shift <= 0) & (row >= 0)
    index = row.clamp(0, n_rows - 1).view(n, -1, 1).expand(-1, -1, n_features)
    taps = history.gather(1, index).view(*row.shape, n_features) * is_past[..., None]
    return taps.flatten(-2)
