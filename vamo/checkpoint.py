"""The trained agent as a checkpoint: one safetensors file, see `agents.learning.checkpoint` for the layout."""

from __future__ import annotations

from pathlib import Path

import torch

from agents.learning.checkpoint import VERSION, CheckpointError, read, write
from vamo.agent import ReturnTable, VamoBidder
from vamo.config import Config
from vamo.model.transformer import Vamo

__all__ = ["VERSION", "CheckpointError", "load", "read", "save", "write"]

_AGENT = "vamo-agent"


def save(path: str | Path, bidder: VamoBidder) -> None:
    """Writes a trained agent: weights, normalisation, config, return tables and data hash."""
    record = {
        "config": bidder.config.to_dict(),
        "returns": [table.to_dict() for table in bidder.returns],
        "data_hash": bidder.data_hash,
        "name": bidder.name,
    }
    write(path, _AGENT, bidder.model.state_dict(), record)


def load(path: str | Path, *, device: torch.device | str = "cpu") -> VamoBidder:
    """The agent that `save` wrote; ask another return of it with `VamoBidder.asking`.

    Raises:
        FileNotFoundError: No such file.
        CheckpointError: The file is foreign, damaged, of another version, or does not fit its own config.
    """
    tensors, record = read(path, _AGENT)
    try:
        config = Config.from_dict(record["config"])
        model = Vamo(config.model)
        model.load_state_dict(tensors)
        returns = tuple(ReturnTable.from_dict(table) for table in record["returns"])
        name, data_hash = record["name"], record["data_hash"]
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{str(path)!r} must hold a complete agent, found {error}") from error
    return VamoBidder(model.to(device), config, returns, name=name, data_hash=data_hash)
