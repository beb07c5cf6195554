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

_MULTITASK = "multitask/"  # prefix of what torchjd's optimisers remember


def state_of(trainer: Trainer[BatchT]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON values from which `restore` continues to the same numbers."""
    tensors = {f"parameters/{name}": p.detach() for name, p in trainer.parameters.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in trainer.best.items()}
    for step, parameters in trainer.snapshots.items():
        tensors |= {f"snapshot/{step}/{name}": tensor for name, tensor in parameters.items()}
    for name, parameter in _learned(trainer).items():
        for key, value in trainer.optimizer.state[parameter].items():
            tensors[f"optimizer/{key}/{name}"] = value
    tensors |= {"weights": trainer.weights} | _running_state(trainer)
    if trainer.multitask is not None:
        tensors |= {f"{_MULTITASK}{name}": tensor for name, tensor in trainer.multitask.state().items()}
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
    if trainer.multitask is not None:
        own = {name: tensor for name, tensor in tensors.items() if name.startswith(_MULTITASK)}
        trainer.multitask.load({name.removeprefix(_MULTITASK): tensor for name, tensor in own.items()})
    for step in record["snapshots"]:
        trainer.snapshots[step] = {
            name: tensors[f"snapshot/{step}/{name}"].to(parameter.device)
            for name, parameter in trainer.parameters.items()
        }
    for name, tensor in _running_state(trainer).items():
        tensor.copy_(tensors[name])
    trainer.weights = tensors["weights"].to(trainer.weights.device)
    trainer.n_steps = record["n_steps"]
    trainer.best_loss = math.inf if record["best_loss"] is None else record["best_loss"]
    trainer.history = [Record(**line) for line in record["history"]]
    if trainer.monitor is not None:
        for line in trainer.history:
            trainer.monitor.observe(line)


def _learned(trainer: Trainer[BatchT]) -> dict[str, nn.Parameter]:
    """All parameters of the optimiser by name: the model's and those of the targets' weights."""
    own = [] if trainer.balancer is None else trainer.balancer.parameters
    return trainer.parameters | {f"balancer/{index}": parameter for index, parameter in enumerate(own)}


def _running_state(trainer: Trainer[BatchT]) -> dict[str, Tensor]:
    """The tensors of alignments, their scale, target weights and the average, updated in place, by name."""
    table, scaler = trainer.table, trainer.scaler
    state = {
        "alignment/sum": table.sum,
        "alignment/square_error": table.square_error,
        "alignment/n_updates": table.n_updates,
        "scale/mean_square": scaler.mean_square,
        "scale/n_updates": scaler.n_updates,
        "grad_norm_max": trainer.grad_norm_max,
    }
    if trainer.balancer is not None:
        state |= {f"balancer/{name}": tensor for name, tensor in trainer.balancer.state().items()}
    if trainer.average is not None:
        state |= {f"average/{name}": tensor for name, tensor in trainer.average.mean.items()}
    return state
