"""How late conversions come after the click: counts of delays, and the exponential that fits them.

Source of the model: O. Chapelle, "Modeling delayed feedback in display advertising" (KDD 2014): delays are exponential,
and a delay longer than the time for which a click was followed is not seen.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

DAY, HOUR = 86_400, 3600
WINDOW = 30 * DAY  # seconds for which Criteo follows an impression
WITHIN = (60, 600, HOUR, 6 * HOUR, DAY, 7 * DAY, WINDOW)
"""Seconds within which conversions are counted."""

_SLOWEST, _FASTEST = 1e-9, 10.0  # rates a second between which the fit is searched
_HALVINGS = 100


class DelayFit(NamedTuple):
    """An exponential fitted to delays below a horizon.

    Attributes:
        mean: Mean delay, seconds; infinite where delays are not shorter than evenly spread ones.
        standard_error: Of the mean, seconds.
        n: Conversions.
        horizon: Seconds; later conversions are left out, and the fit allows for that.
    """

    mean: float
    standard_error: float
    n: int
    horizon: int

    def conversion_delay(self, n_ticks: int = 48) -> float:
        """The mean delay in whole ticks of a day, as `MarketParams.conversion_delay` has it.

        A geometric delay of whole ticks is an exponential one, rounded down.

        Raises:
            ValueError: No exponential fits.
        """
        if not np.isfinite(self.mean):
            raise ValueError("delays must be shorter than evenly spread ones to have a mean, found them even or longer")
        stay = np.exp(-DAY / n_ticks / self.mean)
        return float(stay / (1.0 - stay))


class ConversionDelays(NamedTuple):
    """How late the conversions of a log come after their last click.

    Attributes:
        n: Conversions with a last click.
        within: Share of them within each of `WITHIN` seconds, of those that were seen.
        in_day: Fit to delays below a day: that of a market whose episode is a day.
        in_window: Fit to all delays up to 30 days.
    """

    n: int
    within: tuple[float, ...]
    in_day: DelayFit
    in_window: DelayFit

    def to_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads."""
        return {"n": self.n, "within": list(self.within), "in_day": self.in_day._asdict(),
                "in_window": self.in_window._asdict()}  # fmt: skip

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ConversionDelays:
        """Reads what `to_json` gave."""
        fits = {name: DelayFit(**values[name]) for name in ("in_day", "in_window")}
        return cls(int(values["n"]), tuple(map(float, values["within"])), **fits)


class DelayCounts:
    """Adds up delays in bounded memory: by the hour of the click, which says for how long it was followed."""

    def __init__(self) -> None:
        self._n, self._sum = np.zeros((2, 0)), np.zeros((2, 0))  # (below a day, below the window; hours)
        self._within = np.zeros(len(WITHIN))
        self._last = 0

    def add(self, clicked: NDArray[np.int64], converted: NDArray[np.int64]) -> None:
        """Takes conversions: seconds of the last clicks and of the conversions, (n,) each."""
        if not len(clicked):
            return
        delay, hour = (converted - clicked).astype(np.float64), clicked // HOUR
        n_hours = max(self._n.shape[1], int(hour.max()) + 1)
        grow = ((0, 0), (0, n_hours - self._n.shape[1]))
        self._n, self._sum = np.pad(self._n, grow), np.pad(self._sum, grow)
        for row, horizon in enumerate((DAY, WINDOW)):
            kept = delay < horizon
            self._n[row] += np.bincount(hour[kept], minlength=n_hours)
            self._sum[row] += np.bincount(hour[kept], delay[kept], minlength=n_hours)
        self._within += [(delay <= seconds).sum() for seconds in WITHIN]
        self._last = max(self._last, int(converted.max()))

    def delays(self) -> ConversionDelays | None:
        """What was added up; None if nothing was."""
        if not self._within[-1]:
            return None
        followed = self._last - HOUR * (np.arange(self._n.shape[1]) + 0.5)
        fits = [
            fit_exponential(self._n[row], self._sum[row], np.clip(followed, 1.0, horizon), horizon)
            for row, horizon in enumerate((DAY, WINDOW))
        ]
        shares = self._within / self._within[-1]
        return ConversionDelays(int(self._n[1].sum()), tuple(shares.tolist()), *fits)


def fit_exponential(n: Float, total: Float, followed: Float, horizon: int) -> DelayFit:
    """Maximum likelihood of an exponential delay of which only values below a bound are seen.

    The rate solves sum n (1 / rate - b / (exp(rate b) - 1)) = sum total, the left side of which falls in the rate.

    Args:
        n: (k,) delays of each group.
        total: (k,) their sum, seconds.
        followed: (k,) the bound b of the group's delays, seconds.
        horizon: For the record.
    """
    n_all, sum_all = float(n.sum()), float(total.sum())
    if sum_all >= float((n * followed).sum()) / 2.0:  # its value at a rate of 0
        return DelayFit(np.inf, np.inf, int(n_all), horizon)

    def expected(rate: float) -> float:
        return float((n * (1.0 / rate - followed / np.expm1(np.minimum(rate * followed, 700.0)))).sum())

    low, high = np.log(_SLOWEST), np.log(_FASTEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if expected(np.exp(middle)) > sum_all else (low, middle)
    rate = float(np.exp((low + high) / 2.0))
    grown = np.minimum(rate * followed, 700.0)
    information = float((n * (1.0 / rate**2 - followed**2 * np.exp(-grown) / np.expm1(-grown) ** 2)).sum())
    return DelayFit(1.0 / rate, 1.0 / rate**2 / np.sqrt(information), int(n_all), horizon)
