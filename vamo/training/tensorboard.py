"""Scalars of a run's history for TensorBoard."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from agents.learning.scalars import scalar_writer
from vamo.training.history import Record

MANY = 16  # with more targets or sources than that there are summaries and the largest weights only


class ScalarWriter:
    """Writes every record to an event file.

    Args:
        log_dir: Directory of the event files; a resumed run adds another one.
        targets, sources: Names, which become parts of the tags.
        trajectories_per_step: Episodes' worth of ticks in a training step.
        first_step: The step that the run goes on from; what an interrupted run wrote after it is hidden.

    Raises:
        ImportError: tensorboard is not installed; it comes with the extra `train`.
    """

    def __init__(
        self,
        log_dir: str | Path,
        targets: Sequence[str],
        sources: Sequence[str],
        *,
        trajectories_per_step: float,
        first_step: int = 0,
    ) -> None:
        self._targets, self._sources = targets, sources
        self._trajectories_per_step = trajectories_per_step
        self._opened = scalar_writer(log_dir, first_step)
        self._writer = self._opened.__enter__()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, traceback)

    def write(self, record: Record) -> None:
        """Writes one record, and to the disk at once: it is what one looks at while a run goes on."""
        for tag, value in scalars(record, self._targets, self._sources):
            self._writer.add_scalar(tag, value, record.step)
        self._writer.add_scalar("speed/steps_per_s", 1 / record.step_time, record.step)
        self._writer.add_scalar("speed/trajectories_per_s", self._trajectories_per_step / record.step_time, record.step)
        for text in record.warnings:
            self._writer.add_text("warnings", text, record.step)
        self._writer.flush()


def scalars(record: Record, targets: Sequence[str], sources: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Tags and values of a record.

    Values of a target have its name in the tag, those of a pair both names, target first. With more than `MANY`
    targets or sources there are minimum, mean and maximum over the targets, and of the pairs those with the
    `MANY` largest weights of the record.
    """
    is_many = max(len(targets), len(sources)) > MANY
    by_target = {
        "loss/training": record.loss,
        "loss/validation": record.validation_loss,
        "weights/entropy": record.entropy,
        "weights/effective_sources": record.effective_sources,
    }
    for tag, values in by_target.items():
        if is_many:
            yield f"{tag}/min", min(values)
            yield f"{tag}/max", max(values)
        else:
            yield from ((f"{tag}/{name}", value) for name, value in zip(targets, values, strict=True))
        yield f"{tag}/mean", statistics.fmean(values)
    pairs = [(k, i) for k in range(len(targets)) for i in range(len(sources))]
    if is_many:
        pairs = sorted(pairs, key=lambda pair: -record.weights[pair[0]][pair[1]])[:MANY]
    for k, i in pairs:
        yield f"weight/{targets[k]}/{sources[i]}", record.weights[k][i]
        if record.alignment is not None:
            yield f"alignment/{targets[k]}/{sources[i]}", record.alignment[k][i]
    yield "optimiser/learning_rate", record.learning_rate
    yield "optimiser/grad_norm", record.grad_norm
    yield "optimiser/grad_norm_max", record.grad_norm_max
