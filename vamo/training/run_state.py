"""The state of a training run, from which it goes on to the same numbers.

What a step draws depends on its number alone, so that there is no state of a random generator.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor, nn

from vamo.alignment.estimators import BatchT
from vamo.training.history import Record
from vamo.training.loop import Trainer

_BACKWARD, _SOURCES = "backward/", "sources/"  # prefixes of what the strategy and the weights remember


def state_of(trainer: Trainer[BatchT]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON values from which `restore` continues to the same numbers."""
    tensors = {f"parameters/{name}": p.detach() for name, p in trainer.parameters.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in trainer.best.items()}
    for step, parameters in trainer.snapshots.items():
        tensors |= {f"snapshot/{step}/{name}": tensor for name, tensor in parameters.items()}
    for name, parameter in _learned(trainer).items():
        for key, value in trainer.optimizer.state[parameter].items():
            tensors[f"optimizer/{key}/{name}"] = value
    tensors |= _running_state(trainer)
    tensors |= {f"{_BACKWARD}{name}": tensor for name, tensor in trainer.backward.state().items()}
    tensors |= {f"{_SOURCES}{name}": tensor for name, tensor in trainer.sources.state().items()}
    record = {
        "n_steps": trainer.n_steps,
        "snapshots": sorted(trainer.snapshots),
        "best_loss": trainer.best_loss if math.isfinite(trainer.best_loss) else None,
        "history": [dataclasses.asdict(line) for line in trainer.history],
    }
    return tensors, record


@torch.no_grad()
def restore(trainer: Trainer[BatchT], tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    """Continues from the `state_of` a trainer with equal arguments.

    Raises:
        ValueError: This version of torchjd hides the state of the method.
    """
    for name, parameter in trainer.parameters.items():
        parameter.copy_(tensors[f"parameters/{name}"])
        trainer.best[name].copy_(tensors[f"best/{name}"])
    for name, parameter in _learned(trainer).items():
        prefixes = {key: f"optimizer/{key}/{name}" for key in ("step", "exp_avg", "exp_avg_sq")}
        trainer.optimizer.state[parameter] = {key: tensors[path].to(parameter.device) for key, path in prefixes.items()}
    trainer.backward.load_state(_within(_BACKWARD, tensors))
    trainer.sources.load_state(_within(_SOURCES, tensors))
    for step in record["snapshots"]:
        trainer.snapshots[step] = {
            name: tensors[f"snapshot/{step}/{name}"].to(parameter.device)
            for name, parameter in trainer.parameters.items()
        }
    for name, tensor in _running_state(trainer).items():
        tensor.copy_(tensors[name])
    trainer.n_steps = record["n_steps"]
    trainer.best_loss = math.inf if record["best_loss"] is None else record["best_loss"]
    trainer.history = [Record(**line) for line in record["history"]]
    if trainer.monitor is not None:
        for line in trainer.history:
            trainer.monitor.observe(line)


def _within(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _learned(trainer: Trainer[BatchT]) -> dict[str, nn.Parameter]:
    """All parameters of the optimiser by name: the model's and those of the backward strategy."""
    own = trainer.backward.own_parameters
    return trainer.parameters | {f"{_BACKWARD}{index}": parameter for index, parameter in enumerate(own)}


def _running_state(trainer: Trainer[BatchT]) -> dict[str, Tensor]:
    """The tensors that the trainer itself updates in place, by name."""
    state = {"grad_norm_max": trainer.grad_norm_max}
    if trainer.average is not None:
        state |= {f"average/{name}": tensor for name, tensor in trainer.average.mean.items()}
    return state
