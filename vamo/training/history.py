"""The history of a training run: one record every few steps, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line of the history; lists are per target (K,) or per target and source (K, I)."""

    step: int  # steps done
    loss: list[float]  # sum_i w_ik L_ik of the step's batch
    validation_loss: list[float]  # after the step, over the fixed windows
    weights: list[list[float]]
    entropy: list[float]  # of the weights, nats
    alignment: list[list[float]] | None  # last known m_ik, before any scaling by rms; None where there are none
    alignment_error: list[list[float]] | None  # their standard errors; inf before the first, nan where unknown
    learning_rate: float
    grad_norm: float  # before clipping
    grad_norm_max: float  # over the steps since the last record
    step_time: float  # seconds a step, mean since the last record, validation losses left out
    warnings: list[str]  # signs of trouble that this record showed first (`vamo.training.monitor`)

    @property
    def mean_validation_loss(self) -> float:
        """Over the targets."""
        return sum(self.validation_loss) / len(self.validation_loss)

    @property
    def effective_sources(self) -> list[float]:
        """exp(H) of each target's weights: 1 where one source has it all, I where all have equal shares."""
        return [math.exp(entropy) for entropy in self.entropy]

    @property
    def numbers(self) -> dict[str, float]:
        """Means over the targets, as of `agents.learning.progress.Record`."""
        return {
            "validation loss": self.mean_validation_loss,
            "effective sources": sum(self.effective_sources) / len(self.effective_sources),
        }


def is_stalled(history: Sequence[Record], patience: int) -> bool:
    """Whether the last `patience` records brought no new lowest mean validation loss; never for a patience of 0."""
    if not patience or len(history) <= patience:
        return False
    losses = [record.mean_validation_loss for record in history]
    return min(losses[-patience:]) >= min(losses[:-patience])


def best_of(history: Sequence[Record]) -> Record:
    """The record with the lowest mean validation loss, the first of equal ones."""
    return min(history, key=lambda record: record.mean_validation_loss)
