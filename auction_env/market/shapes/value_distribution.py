"""Own distributions of predicted values: log-normal, mixtures, or what a file of predictions holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.kernels.values import HIGHEST_Z, N_POINTS
from auction_env.market.population import Population
from auction_env.names import check_name

Float = NDArray[np.float64]

PER = ("all", "category", "advertiser")
_Z = np.linspace(-float(HIGHEST_Z), float(HIGHEST_Z), N_POINTS)
_PROBABILITY = np.array([0.5 * math.erfc(-z / math.sqrt(2.0)) for z in _Z])


class Shapes(NamedTuple):
    """A distribution for the advertisers of a population.

    Attributes:
        level: (n_advertisers,) an advertiser's mean over the mean of the distribution's rows.
        sd: (n_advertisers,) standard deviation over mean.
        quantiles: (n_advertisers, N_POINTS) float32 over the advertiser's mean, as the kernels take them.
    """

    level: Float
    sd: Float
    quantiles: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ValueDistribution:
    """How an advertiser's predicted values are distributed within a tick, in place of the normal distribution.

    The value of an impression is the advertiser's mean in the tick times a draw of this shape, cut to [0, 1]. The
    means follow the traffic's levels as ever. Rows with different means make advertisers different; the mean over the
    rows counts as `TrafficParams.value_mean`, so that the level of the market, to which budgets and target CPAs belong,
    stays what it is. `value_mean=distribution.mean` takes the level of the distribution. The correlation of two
    advertisers' values, and that with the amounts of a funnel, are those of the normals behind the quantiles (a
    Gaussian copula).

    Attributes:
        quantiles: A row for all advertisers, one a category or one an advertiser: the value, conversions per
            impression, at `N_POINTS` standard normal quantiles in even steps from -HIGHEST_Z to HIGHEST_Z; linear
            between them.
        per: What a row is for: "all", "category" or "advertiser".
    """

    quantiles: tuple[tuple[float, ...], ...]
    per: str = "all"

    def __post_init__(self) -> None:
        check_name("per", self.per, PER)
        if not self.quantiles or (self.per == "all" and len(self.quantiles) != 1):
            raise ValueError(f"`quantiles` must have one row for all, or one a group, found {len(self.quantiles)}")
        for index, row in enumerate(self.quantiles):
            where = f"`quantiles` of {self.per} {index}" if self.per != "all" else "`quantiles`"
            if len(row) != N_POINTS:
                raise ValueError(f"{where} must be {N_POINTS} numbers, found {len(row)}")
            points = np.asarray(row, np.float64)
            if not (np.isfinite(points).all() and points.min() >= 0 and points.max() <= 1):
                raise ValueError(f"{where} must be probabilities, in [0, 1], found {points.min()} to {points.max()}")
            if np.any(np.diff(points) < 0):
                raise ValueError(
                    f"{where} must not fall, found {points[:-1][np.diff(points) < 0][0]} before a lower one"
                )
            if points[-1] <= 0:
                raise ValueError(f"{where} must have a positive value, found only zeros")

    def __repr__(self) -> str:
        rows = "one row for all" if self.per == "all" else f"{len(self.quantiles)} rows, one per {self.per}"
        return f"ValueDistribution({rows}, mean {self.mean:.3g})"

    @classmethod
    def of_samples(cls, samples: ArrayLike | Sequence[ArrayLike], *, per: str = "all") -> ValueDistribution:
        """The empirical distribution of predicted values.

        Args:
            samples: (n,) predicted values, conversions per impression; or with `per` a sequence of them, one a group.
            per: What a group is.

        Raises:
            ValueError: No sample, or one that is no probability; the group and the value are named.
        """
        groups = [samples] if per == "all" else list(samples)  # type: ignore[arg-type]  # what mypy cannot tell apart
        rows = []
        for index, group in enumerate(groups):
            where = f"the values of {per} {index}" if per != "all" else "the values"
            own = np.asarray(group, np.float64)
            if own.ndim != 1 or not len(own):
                raise ValueError(f"{where} must be a vector of at least one number, found shape {own.shape}")
            bad = ~((own >= 0) & (own <= 1))
            if bad.any():
                raise ValueError(f"{where} must be probabilities, in [0, 1], found {own[bad][0]} at position "
                                 f"{int(np.flatnonzero(bad)[0])}")  # fmt: skip
            rows.append(_row(np.quantile(own, _PROBABILITY)))
        return cls(quantiles=tuple(rows), per=per)

    @classmethod
    def mixture(cls, *parts: tuple[float, float, float]) -> ValueDistribution:
        """A mixture of log-normal distributions, for all advertisers.

        Args:
            parts: (weight, mean, standard deviation over mean) each; weights count relative to each other and means in
                conversions per impression.

        Raises:
            ValueError: No part, or a number that is not positive.
        """
        if not parts or any(len(part) != 3 for part in parts):
            raise ValueError(f"`parts` must be (weight, mean, sd over mean), at least one of them, found {parts}")
        for part in parts:
            if not all(math.isfinite(x) and x > 0 for x in part):
                raise ValueError(f"`parts` must hold positive finite numbers, found {part}")
        total = math.fsum(weight for weight, _, _ in parts)
        logs = [math.sqrt(math.log1p(sd * sd)) for _, _, sd in parts]
        centres = [math.log(mean) - s * s / 2 for (_, mean, _), s in zip(parts, logs, strict=True)]

        def below(log_value: float, side: float) -> float:
            """Probability of values below it (`side` 1) or above it (-1)."""
            parted = zip(parts, centres, logs, strict=True)
            return math.fsum(
                weight / total * 0.5 * math.erfc(-side * (log_value - m) / (s * math.sqrt(2.0)))
                for (weight, _, _), m, s in parted
            )

        lowest = min(m - 2 * _Z[-1] * s for m, s in zip(centres, logs, strict=True))
        highest = max(m + 2 * _Z[-1] * s for m, s in zip(centres, logs, strict=True))
        points = [math.exp(min(_quantile(below, float(z), lowest, highest), 0.0)) for z in _Z]  # cut at 1
        return cls(quantiles=(_row(points),))

    @classmethod
    def lognormal(cls, sd: float, mean: float = 5e-4) -> ValueDistribution:
        """A log-normal distribution, for all advertisers: `sd` is its standard deviation over its mean."""
        return cls.mixture((1.0, mean, sd))

    def taking_part(self, share: float | Sequence[float]) -> ValueDistribution:
        """The same values in a share of the auctions only: in the others a value is 0, so that nobody bids.

        Who takes part is drawn for each impression and advertiser with the value. Between quantiles a distribution is
        linear, so that a share is met to 0.025. Values keep their size relative to each other, but the mean over all
        impressions still counts as `TrafficParams.value_mean` (see the class).

        Args:
            share: In (0, 1], for all rows or one a row; with one row for all, one an advertiser.

        Raises:
            ValueError: A share outside (0, 1], or another number of them than rows.
        """
        shares = [float(one) for one in np.atleast_1d(np.asarray(share, np.float64))]
        rows, per = list(self.quantiles), self.per
        if np.ndim(share) and per == "all":
            rows, per = rows * len(shares), "advertiser"
        if np.ndim(share) == 0:
            shares *= len(rows)
        if len(shares) != len(rows):
            raise ValueError(f"`share` must be one number, or one a row ({len(rows)}), found {len(shares)}")
        for one in shares:
            if not 0 < one <= 1:
                raise ValueError(f"`share` must lie in (0, 1], found {one}")
        return ValueDistribution(
            quantiles=tuple(_with_zeros(row, one) for row, one in zip(rows, shares, strict=True)), per=per
        )

    @property
    def mean(self) -> float:
        """Mean over the rows, conversions per impression."""
        return float(np.mean([_moments(row)[0] for row in self.quantiles]))

    def check_population(self, population: Population) -> None:
        """Raises ValueError if there is not a row for every advertiser or category of a population."""
        n = {"all": 1, "category": population.n_categories, "advertiser": population.n_advertisers}[self.per]
        if len(self.quantiles) != n:
            raise ValueError(
                f"`values` must have a row per {self.per} of the population ({n}), found {len(self.quantiles)}"
            )

    def for_population(self, population: Population) -> Shapes:
        """The distribution of each advertiser; ValueError as of `check_population`."""
        self.check_population(population)
        return _shapes(self, population.category)


@lru_cache(maxsize=16)
def _shapes(values: ValueDistribution, category: tuple[int, ...]) -> Shapes:
    rows = {"all": [0] * len(category), "category": list(category), "advertiser": list(range(len(category)))}[
        values.per
    ]
    moments = np.array([_moments(row) for row in values.quantiles])
    mean, sd = moments[rows].T
    quantiles = np.asarray(values.quantiles)[rows] / mean[:, None]
    return Shapes(mean / moments[:, 0].mean(), sd / mean, quantiles.astype(np.float32))


def load_values(
    path: str | Path, *, per: str = "all", column: str = "value", group: str | None = None
) -> ValueDistribution:
    """The distribution of predicted values in a file, for `TrafficParams.values`.

    Args:
        path: `.npy`: an array (n,), or with `per` (n, n_groups). `.csv` (also `.csv.gz`) or `.parquet`: a table with a
            row a prediction.
        per: "all", or what has a distribution of its own: "category" or "advertiser".
        column: Of a table: the predicted values, conversions per impression.
        group: Of a table: which category or advertiser, 0 .. n - 1; the column named as `per` by default.

    Raises:
        ValueError: Another kind of file, a missing column, a group without a value, values that are no probabilities.
        OSError: The file cannot be read.
    """
    path = Path(path)
    check_name("per", per, PER)
    name = path.name.lower()
    if name.endswith(".npy"):
        groups = _array(path, per)
    elif name.endswith((".parquet", ".csv", ".csv.gz")):
        kind = "parquet" if name.endswith(".parquet") else "csv"
        groups = _table(path, kind, column, None if per == "all" else group or per)
    else:
        raise ValueError(f"{path} must be a .npy, .csv, .csv.gz or .parquet file, found {path.suffix or 'no ending'!r}")
    try:
        return ValueDistribution.of_samples(groups[0] if per == "all" else groups, per=per)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _array(path: Path, per: str) -> list[Float]:
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} must be a NumPy file of numbers: {error}") from error
    wanted, shape = (1, "(n,)") if per == "all" else (2, f"(n, n_groups) with a column per {per}")
    if not isinstance(found, np.ndarray) or found.ndim != wanted or found.dtype.kind not in "fiu":
        about = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
        raise ValueError(f"{path} must hold numbers of shape {shape}, found {about}")
    return [found] if per == "all" else list(found.T)


def _table(path: Path, kind: str, column: str, group: str | None) -> list[Float]:
    import pyarrow as pa
    import pyarrow.dataset as tables

    wanted = list(dict.fromkeys([column] if group is None else [column, group]))
    try:
        source = tables.dataset(path, format=kind)
        missing = [name for name in wanted if name not in source.schema.names]
        if missing:
            found = source.schema.names
            raise ValueError(f"{path} must have the columns {wanted}, found {found}: name yours with `column`, `group`")
        table = source.to_table(columns=wanted)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} must be a {kind} table with a header: {error}") from error
    columns = {}
    for name in wanted:
        if not (pa.types.is_floating(table[name].type) or pa.types.is_integer(table[name].type)):
            raise ValueError(f"{path}: `{name}` must hold numbers, found {table[name].type}")
        if table[name].null_count:
            raise ValueError(f"{path}: `{name}` must hold numbers only, found {table[name].null_count} empty fields")
        columns[name] = np.asarray(table[name].to_numpy())
    return [columns[column]] if group is None else _split(path, group, columns[group], columns[column])


def _split(path: Path, group: str, member: NDArray[np.generic], values: Float) -> list[Float]:
    """The values of group 0, 1, ..."""
    present, who = np.unique(member, return_inverse=True)
    if present.tolist() != list(range(len(present))) or not len(present):
        raise ValueError(
            f"{path}: `{group}` must hold the indices 0, 1, ... without a gap, found {present[:8].tolist()} and so on"
        )
    order = np.argsort(who, kind="stable")
    return np.split(values[order], np.cumsum(np.bincount(who))[:-1])


def _with_zeros(row: tuple[float, ...], share: float) -> tuple[float, ...]:
    """The quantiles of a value that is 0 but for a share of the impressions."""
    above = _PROBABILITY[::-1] / share  # of those that take part: (N_POINTS,), exact in the upper tail
    z = np.array([-NormalDist().inv_cdf(one) if one < 1 else np.nan for one in above.tolist()])
    return _row(np.where(above < 1, np.interp(z, _Z, np.asarray(row)), 0.0))


def _row(points: ArrayLike) -> tuple[float, ...]:
    """Six digits: the parameters stand in the record of every data set."""
    return tuple(float(f"{x:.6g}") for x in np.asarray(points, np.float64).tolist())


def _moments(row: tuple[float, ...]) -> tuple[float, float]:
    """Mean and standard deviation of a row: exact integrals of what is linear in z, constant beyond both ends."""
    points, tail = np.asarray(row, np.float64), _PROBABILITY[0]
    density = np.exp(-_Z * _Z / 2) / math.sqrt(2 * math.pi)
    mass = np.diff(_PROBABILITY)
    first, second = -np.diff(density), mass - np.diff(_Z * density)  # integrals of z and z^2
    slope = np.diff(points) / np.diff(_Z)
    start = points[:-1] - slope * _Z[:-1]
    mean = float((start * mass + slope * first).sum() + tail * (points[0] + points[-1]))
    square = float((start**2 * mass + 2 * start * slope * first + slope**2 * second).sum())
    square += float(tail * (points[0] ** 2 + points[-1] ** 2))
    return mean, math.sqrt(max(square - mean * mean, 0.0))


def _quantile(below: Callable[[float, float], float], z: float, lowest: float, highest: float) -> float:
    """Where a distribution function has the value of the normal's at z: by halving, in the tail that is the smaller."""
    side = 1.0 if z < 0 else -1.0
    target = 0.5 * math.erfc(abs(z) / math.sqrt(2.0))
    for _ in range(80):
        middle = 0.5 * (lowest + highest)
        is_beyond = below(middle, side) > target
        if is_beyond == (side > 0):
            highest = middle
        else:
            lowest = middle
    return 0.5 * (lowest + highest)
