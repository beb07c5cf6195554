"""How a loss function is computed: mixed precision and compilation around a function that knows of neither."""

from __future__ import annotations

import torch
from torch import Tensor

from vamo.alignment.estimators import BatchT, GroupLosses, Parameters
from vamo.config import Precision


def in_precision(losses: GroupLosses[BatchT], precision: Precision, device: torch.device) -> GroupLosses[BatchT]:
    """The loss function with its matrix products in `precision`; the losses themselves are in single precision.

    Raises:
        ValueError: The device does not compute in that precision.
    """
    if precision == "float32":
        return losses
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ValueError(f"`precision` must be 'float32' on {torch.cuda.get_device_name(device)}, found {precision!r}")

    def mixed(parameters: Parameters, batch: BatchT) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return losses(parameters, batch).float()

    return mixed


def compiled(losses: GroupLosses[BatchT]) -> GroupLosses[BatchT]:
    """The loss function compiled at its first call, once for each shape of batch."""
    return torch.compile(losses, dynamic=False)
