"""The mean over families that were drawn alike: the family is a random effect.

A suite with several families asks what happens on a family that it did not draw. With F families the mean of a
statistic has the variance

    s^2 / F + shared,

s the standard deviation of the families' own values. That covers what differs between families and all noise that is
independent between them. What they share is in none of their differences: families meet the same market seeds and
training seeds. It is found by moments (two-way random effects): from joint resamples, the variance V of the mean over
families and the mean U of the families' own variances over F,

    shared = max(0, (V - U) F / (F - 1)).

Student's t with Satterthwaite's degrees of freedom gives intervals and p values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from benchmarks.statistics.bootstrap import Estimate, Resampled, p_different


class FamilyMean(NamedTuple):
    """Mean over families, its standard error, the degrees of freedom, and the number of families."""

    value: float
    error: float
    freedom: float
    n_families: int

    def interval(self, level: float) -> tuple[float, float]:
        """Student's t interval."""
        half = float(scipy.stats.t.ppf(0.5 + level / 2, self.freedom)) * self.error
        return self.value - half, self.value + half

    def p_different(self) -> float:
        """Two-sided p value of 0."""
        return p_different(self.value, self.error, self.freedom)

    def estimate(self, level: float, n_episodes: int, n_train_seeds: int) -> Estimate:
        """With its interval."""
        low, high = self.interval(level)
        return Estimate(value=self.value, low=low, high=high, n_episodes=n_episodes, n_train_seeds=n_train_seeds)


def over_families(found: Sequence[Resampled]) -> FamilyMean:
    """The mean over families of one statistic, computed of each with the same resamples.

    Raises:
        ValueError: There are fewer than 2 families.
    """
    n = len(found)
    if n < 2:
        raise ValueError(f"a random effect needs at least 2 families, found {n}")
    values = np.array([family.value for family in found])
    samples = np.stack([family.sample for family in found])  # (F, B)
    between = float(values.var(ddof=1)) / n
    excess = float(samples.mean(axis=0).var()) - float(samples.var(axis=1).mean()) / n
    shared = max(0.0, excess * n / (n - 1))
    total = between + shared
    # what is shared rests on market and training seeds, of which a family's own variance has these degrees of freedom
    spread = between**2 / (n - 1) + shared**2 / min(family.freedom for family in found)
    freedom = total**2 / spread if spread > 0 else np.inf
    return FamilyMean(float(values.mean()), float(np.sqrt(total)), freedom, n)


def ratio_over_families(numerators: Sequence[Resampled], denominators: Sequence[Resampled]) -> FamilyMean | None:
    """Mean numerator over mean denominator, linearised (delta method); None where the latter is not above 0.

    That is: where its 95 % interval over families includes 0.
    """
    below = over_families(denominators)
    if below.interval(0.95)[0] <= 0:
        return None
    ratio = over_families(numerators).value / below.value
    residuals = [
        Resampled(
            ratio + (up.value - ratio * down.value) / below.value,
            ratio + (up.sample - ratio * down.sample) / below.value,
            min(up.freedom, down.freedom),
        )
        for up, down in zip(numerators, denominators, strict=True)
    ]
    return over_families(residuals)
