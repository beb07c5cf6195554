"""Checkpoints: one safetensors file with tensors, a JSON record and a checksum; never pickle.

Loading reads numbers and JSON, needs nothing beside the file and runs no code from it. Writing goes to a
temporary name that then replaces the file, so that a killed writer leaves the old one whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from auction_env.files import write_atomically

VERSION = 2
"""Of the layout: raised whenever files of an older one can no longer be read."""


class CheckpointError(ValueError):
    """The file is no checkpoint of the kind asked for, is damaged, or is of another version."""


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
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {str(path)!r} must be a file, found none")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{str(path)!r} must be a safetensors file, found none: {error}") from error
    if metadata.get("kind") != kind:
        raise CheckpointError(f"{str(path)!r} must be of kind {kind!r}, found {metadata.get('kind')!r}")
    if metadata.get("version") != str(VERSION):
        found = metadata.get("version")
        raise CheckpointError(f"{str(path)!r} must be of version {VERSION}, found {found!r}")
    text = metadata.get("record", "")
    if metadata.get("sha256") != _checksum(tensors, text):
        raise CheckpointError(f"{str(path)!r} must match its checksum, found other content: it is damaged")
    record: dict[str, Any] = json.loads(text)
    return tensors, record


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
