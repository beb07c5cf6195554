"""The state of torch's optimizers as flat, named tensors, for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer


def tensors_of(label: str, optimizer: Optimizer) -> dict[str, Tensor]:
    """State of every parameter, as LABEL/INDEX/KEY."""
    return {
        f"{label}/{index}/{key}": torch.as_tensor(value)
        for index, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
    }


def load_tensors(label: str, optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restores what `tensors_of` gave of an optimizer with the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for path, tensor in below(label, tensors).items():
        index, key = path.split("/")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors PREFIX/NAME, as NAME."""
    return {name.removeprefix(f"{prefix}/"): t for name, t in tensors.items() if name.startswith(f"{prefix}/")}
