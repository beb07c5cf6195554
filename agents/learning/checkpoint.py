"""Files of agents and of runs: safetensors with tensors, a JSON record and a checksum; never pickle.

Loading reads numbers and JSON, needs nothing beside the file and runs no code from it. Writing goes to a
temporary name that then replaces the file, so that a killed writer leaves the old one whole.

The kind of an agent's file is the agent's name in the registry. Its record holds what every agent has: label,
settings, tasks, hash of the data, version of the code; and what only this kind has (`own`). Normalisation statistics
are among the tensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from auction_env.files import write_atomically
from auction_env.version import __version__

VERSION = 3
"""Of the layout: raised whenever files of an older one can no longer be read."""


class CheckpointError(ValueError):
    """The file is no checkpoint of the kind asked for, is damaged, or is of another version."""


@dataclass(frozen=True, kw_only=True)
class AgentFile:
    """What the file of a trained agent holds.

    Attributes:
        kind: The agent's name in the registry.
        name: Label in tables.
        settings: Of the training, JSON values.
        tasks: That it was trained for, JSON values of `Task.to_json`.
        data_hash: Of what it was trained on.
        tensors: Weights and normalisation, by name.
        own: What only this kind of agent has, JSON values.
        code: Version of the code that wrote it.
    """

    kind: str
    name: str
    settings: dict[str, Any]
    tasks: list[Any]
    data_hash: str
    tensors: Mapping[str, Tensor]
    own: dict[str, Any] = field(default_factory=dict)
    code: str = __version__

    def renamed(self, name: str) -> AgentFile:
        """The same agent with another label."""
        return replace(self, name=name)


class Storable(Protocol):
    """A bidder that can be written to a file."""

    def to_file(self) -> AgentFile:
        """What its file holds."""
        ...


_IN_RECORD = tuple(f.name for f in fields(AgentFile) if f.name not in ("kind", "tensors"))


def save(path: str | Path, bidder: Storable) -> None:
    """Writes a trained agent atomically."""
    write_agent(path, bidder.to_file())


def write_agent(path: str | Path, file: AgentFile) -> None:
    """Writes what the file of an agent holds, atomically."""
    write(path, file.kind, file.tensors, {name: getattr(file, name) for name in _IN_RECORD})


def read_agent(path: str | Path, kind: str | None = None) -> AgentFile:
    """What the file of an agent holds; raises as `read`, and CheckpointError for an incomplete record."""
    found, tensors, record = _read(path, kind)
    missing = [name for name in _IN_RECORD if name not in record]
    if missing:
        raise CheckpointError(f"{str(path)!r} must hold a complete agent, `{missing[0]}` is missing")
    return AgentFile(kind=found, tensors=tensors, **{name: record[name] for name in _IN_RECORD})


def write(path: str | Path, kind: str, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Writes a checkpoint atomically.

    Args:
        path: The file, replaced if it exists.
        kind: What the file holds; `read` asks for the same.
        tensors: By name.
        record: JSON values.
    """
    path = Path(path)
    stored = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    text = json.dumps(record)
    metadata = {"kind": kind, "version": str(VERSION), "record": text, "sha256": _checksum(stored, text)}
    write_atomically(path, safetensors.torch.save(stored, metadata))


def read(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and record of a checkpoint.

    Raises:
        FileNotFoundError: No such file.
        CheckpointError: Anything else than an intact checkpoint of this kind and version.
    """
    return _read(path, kind)[1:]


def _read(path: str | Path, kind: str | None) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    """Kind, tensors and record; None takes any kind."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {str(path)!r} must be a file, found none")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{str(path)!r} must be a safetensors file, found none: {error}") from error
    found = metadata.get("kind")
    if found is None or kind not in (None, found):
        wanted = "an agent" if kind is None else f"of kind {kind!r}"
        raise CheckpointError(f"{str(path)!r} must be {wanted}, found {found!r}")
    if metadata.get("version") != str(VERSION):
        version = metadata.get("version")
        raise CheckpointError(f"{str(path)!r} must be of version {VERSION}, found {version!r}")
    text = metadata.get("record", "")
    if metadata.get("sha256") != _checksum(tensors, text):
        raise CheckpointError(f"{str(path)!r} must match its checksum, found other content: it is damaged")
    record: dict[str, Any] = json.loads(text)
    return found, tensors, record


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
