"""The files of a training: `OUT`, the finished agent, and `OUT.run`, the state of the run until it is done.

A run may be killed at any moment. Called again with the same arguments it goes on from `OUT.run`, also where the kill
fell between writing `OUT` and removing `OUT.run`. A finished `OUT` is left alone unless the caller forces a new run.
What a step draws follows from the seed and its number, so that a state holds no random generator.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from agents.learning.checkpoint import AgentFile, CheckpointError, read, write, write_agent
from auction_env.files import already_there

logger = logging.getLogger(__name__)

KIND = "run"
State = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors by name, and JSON values."""


def state_path(out: Path) -> Path:
    """`OUT.run`."""
    return out.with_name(f"{out.name}.run")


def check_out(out: Path, *, force: bool) -> None:
    """FileExistsError where `out` is finished and must be left alone; an unfinished run beside it is resumed."""
    if out.exists() and not (force or state_path(out).exists()):
        raise already_there(out, "a finished agent", "must not exist")


class RunFiles:
    """`OUT` and `OUT.run` of one training.

    Args:
        out: The agent's file; None keeps nothing.
        identity: JSON values that two calls share if one can continue the other.
        force: Whether a finished `out` is replaced.
        is_writer: False for a process that only reads, beside one that writes.

    Raises:
        FileExistsError: As `check_out`.
    """

    def __init__(
        self, out: Path | str | None, identity: Mapping[str, Any], *, force: bool = False, is_writer: bool = True
    ) -> None:
        self._out = None if out is None else Path(out)
        self._identity, self._is_writer = dict(identity), is_writer
        if self._out is not None:
            check_out(self._out, force=force)

    def resume(self, restore: Callable[[dict[str, Tensor], dict[str, Any]], object]) -> bool:
        """Gives the state to `restore` where there is one; returns whether there was.

        Raises:
            ValueError: The state is of other settings, data or another seed; names the first difference.
            CheckpointError: It is no whole state.
        """
        if self._out is None or not state_path(self._out).exists():
            return False
        path = state_path(self._out)
        tensors, record = read(path, KIND)
        found = record.get("identity", {})
        for key, own, stored in _differences(self._identity, found):
            raise ValueError(
                f"{path} must be of a run with the same {key}, found {stored!r} and {own!r}: go on with {stored!r}, or"
                " delete the file to start anew"
            )
        try:
            restore(tensors, record["state"])
        except (AttributeError, IndexError, KeyError, TypeError, RuntimeError) as error:
            raise CheckpointError(f"{str(path)!r} must hold a whole run, found {error!r}") from error
        logger.info("goes on from %s", path)
        return True

    def save(self, state: Callable[[], State]) -> None:
        """Writes the state of the run; `state` is called only where there is a file to write."""
        if self._out is not None and self._is_writer:
            tensors, record = state()
            self._out.parent.mkdir(parents=True, exist_ok=True)
            write(state_path(self._out), KIND, tensors, {"identity": self._identity, "state": record})

    def finish(self, file: Callable[[], AgentFile]) -> None:
        """Writes the trained agent, then removes the state of the run."""
        if self._out is not None and self._is_writer:
            self._out.parent.mkdir(parents=True, exist_ok=True)
            write_agent(self._out, file())
            state_path(self._out).unlink(missing_ok=True)


def optimizer_tensors(label: str, optimizer: Optimizer) -> dict[str, Tensor]:
    """State of every parameter of an optimizer, as LABEL/INDEX/KEY."""
    return {
        f"{label}/{index}/{key}": torch.as_tensor(value)
        for index, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
    }


def load_optimizer(label: str, optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restores what `optimizer_tensors` gave of an optimizer with the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for path, tensor in below(label, tensors).items():
        index, key = path.split("/")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors PREFIX/NAME, as NAME."""
    return {name.removeprefix(f"{prefix}/"): t for name, t in tensors.items() if name.startswith(f"{prefix}/")}


def _differences(own: Any, stored: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, own value, stored value) of what differs, depth first."""
    if isinstance(own, dict) and isinstance(stored, dict):
        for name in {**own, **stored}:
            yield from _differences(own.get(name), stored.get(name), f"{key}.{name}" if key else name)
    elif own != stored:
        yield key, own, stored
