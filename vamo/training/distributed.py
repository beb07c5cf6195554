"""Several processes that train one model: who does which part of a step, and sums over all of them.

Every process holds the whole model and all data and does its share of the groups of a batch; gradients, losses
and alignments are summed, so that all take the step that a single process would have taken.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic

import torch
import torch.distributed as dist
from torch import Tensor

from vamo.alignment.estimators import Alignment, BatchT, Estimator, Groups, Parameters, n_groups_of

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # set by torchrun
TIMEOUT = 300.0  # seconds


class ProcessError(ConnectionError):
    """Another process of the run has failed, hangs, or trains something else."""


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of the run; by default it is the only one."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))  # where this process trains
    timeout: float = TIMEOUT  # seconds that a process waits for the others

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and talks."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This process's part of n things that lie one after the other: sizes differ by 1 at most."""
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replaces every tensor by its sum over the processes, which must all call this; in one exchange.

        Raises:
            ProcessError: Another process has failed or does not call.
        """
        if self.size == 1:
            return
        joined = torch.cat([tensor.detach().flatten() for tensor in tensors])
        self._exchange(lambda: dist.all_reduce(joined))
        parts = torch.split(joined, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def wait(self) -> None:
        """Until all processes have come here; raises ProcessError where one does not."""
        self.sum([torch.zeros(1, device=self.device)])

    def check_equal(self, what: str, text: str) -> None:
        """Raises ProcessError where `text` is not the same in all processes."""
        if self.size == 1:
            return
        digest = torch.tensor(list(hashlib.sha256(text.encode()).digest()), device=self.device, dtype=torch.float32)
        low, high = digest.clone(), digest.clone()
        self._exchange(lambda: dist.all_reduce(low, dist.ReduceOp.MIN))
        self._exchange(lambda: dist.all_reduce(high, dist.ReduceOp.MAX))
        if not torch.equal(low, high):
            raise ProcessError(f"{what} must be the same in all {self.size} processes, found differing ones")

    def _exchange(self, work: Callable[[], object]) -> None:
        try:
            work()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)  # errors of a GPU's exchange show when one waits for it
        except RuntimeError as error:
            raise ProcessError(
                f"all {self.size} processes must take part in every step within {self.timeout:g} s: process "
                f"{self.rank} found another one failed, gone or hanging; its own message says why ({error})"
            ) from error


@contextmanager
def joined(device: torch.device | str = "cpu", *, timeout: float = TIMEOUT) -> Iterator[Processes]:
    """The processes that torchrun started, exchanging by gloo on CPUs and NCCL on GPUs; else this one alone.

    Args:
        device: `cpu`, or `cuda` for a GPU each.
        timeout: Seconds that a process waits for the others before it fails.

    Raises:
        ValueError: `cuda` without a GPU for every process of this machine.
        ProcessError: The others do not come together.
    """
    device = torch.device(device)
    n_gpus = torch.cuda.device_count()
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda" and local_rank >= n_gpus:
        raise ValueError(f"`device` 'cuda' must find a GPU for process {local_rank} of this machine, found {n_gpus}")
    if any(name not in os.environ for name in _VARIABLES):
        yield Processes(device=device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(seconds=timeout))
    except (RuntimeError, ValueError) as error:
        raise ProcessError(
            f"all {os.environ['WORLD_SIZE']} processes must come together at {os.environ['MASTER_ADDR']}:"
            f"{os.environ['MASTER_PORT']} within {timeout:g} s, process {os.environ['RANK']} found not all: {error}"
        ) from error
    yield Processes(dist.get_rank(), dist.get_world_size(), device, timeout)
    dist.destroy_process_group()  # not after an error: it would wait for processes that may be gone


class SharedOut(Generic[BatchT]):
    """An estimator of alignments whose targets are shared out to the processes: the numbers are those of one process.

    Args:
        estimator: What every process does its share with.
        groups: Cuts groups out of a batch.
        processes: They all call this with equal arguments.
    """

    def __init__(self, estimator: Estimator[BatchT], groups: Groups[BatchT], processes: Processes) -> None:
        self._estimator, self._groups, self._processes = estimator, groups, processes

    def __call__(
        self,
        training: BatchT,
        validation: BatchT,
        *,
        preconditioner: Parameters | None = None,
        norms: bool = False,
    ) -> Alignment:
        """See `vamo.alignment.estimators.Estimator`."""
        n_targets = n_groups_of(validation)
        n_sources = n_groups_of(training) // n_targets
        part = self._processes.share(n_targets)
        is_idle = part.start == part.stop
        if is_idle:  # with fewer targets than processes: does the first one, for the shapes, and adds nothing
            part = slice(0, 1)
        own = self._estimator(
            self._groups(training, part.start * n_sources, part.stop * n_sources),
            self._groups(validation, part.start, part.stop),
            preconditioner=preconditioner,
            norms=norms,
        )
        every = []
        for values in own:
            if values is not None:
                every.append(values.new_zeros(n_targets, *values.shape[1:]))
                if not is_idle:
                    every[-1][part] = values
        self._processes.sum(every)
        return Alignment(every[0], every[1] if norms else None)
