"""The trainings of an ensemble's members: one after the other, one run that can be resumed at any step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Generic

import numpy as np
from torch import Tensor

from agents.learning.run_state import below
from vamo.alignment.estimators import BatchT
from vamo.config import Config
from vamo.training.history import Record
from vamo.training.loop import Trainer
from vamo.training.run_state import restore, state_of


def member_configs(config: Config) -> list[Config]:
    """The settings of each member: those of the run, with the run's seed for the first and derived ones after it."""
    seeds = [config.train.seed]
    if config.train.ensemble > 1:
        derived = np.random.SeedSequence(config.train.seed).generate_state(config.train.ensemble - 1)
        seeds += [int(seed) for seed in derived]
    return [
        dataclasses.replace(config, train=dataclasses.replace(config.train, seed=seed, ensemble=1)) for seed in seeds
    ]


class Members(Generic[BatchT]):
    """The members' trainers as one run.

    Args:
        trainers: One a member.
    """

    def __init__(self, trainers: Sequence[Trainer[BatchT]]) -> None:
        self.trainers = tuple(trainers)

    @property
    def n_steps(self) -> int:
        """Steps done by all members together."""
        return sum(trainer.n_steps for trainer in self.trainers)

    @property
    def history(self) -> list[Record]:
        """The records of all members, one member after the other; their steps are counted through."""
        done, records = 0, []
        for trainer in self.trainers:
            records += [dataclasses.replace(record, step=done + record.step) for record in trainer.history]
            done += trainer.n_steps
        return records

    @property
    def total_steps(self) -> int:
        """Steps of all members together where none stops early."""
        return sum(trainer.total_steps for trainer in self.trainers)

    @property
    def snapshots(self) -> dict[int, list[dict[str, Tensor]]]:
        """By the number of a member's steps, the parameters of all members at the stages that all of them reached."""
        reached = set.intersection(*(set(trainer.snapshots) for trainer in self.trainers))
        return {step: [trainer.snapshots[step] for trainer in self.trainers] for step in sorted(reached)}

    def run(self, callback: Callable[[Record], None], save: Callable[[], None], save_every: int) -> None:
        """Trains the members that are not trained yet; arguments as of `Trainer.run`."""
        done = 0
        for trainer in self.trainers:

            def counted(record: Record, done: int = done) -> None:
                callback(dataclasses.replace(record, step=done + record.step))

            trainer.run(counted, save, save_every)
            done += trainer.n_steps
        for trainer in self.trainers:
            trainer.finish()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON values from which `restore` continues to the same numbers."""
        tensors: dict[str, Tensor] = {}
        records = []
        for index, trainer in enumerate(self.trainers):
            if trainer.n_steps:
                own, record = state_of(trainer)
                tensors |= {f"member {index}/{name}": tensor for name, tensor in own.items()}
                records.append(record)
        return tensors, {"members": records}

    def restore(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Continues from the `state` of members with equal arguments."""
        for index, own in enumerate(record["members"]):
            restore(self.trainers[index], below(f"member {index}", tensors), own)
