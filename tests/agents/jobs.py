"""Work for the tests of `agents.parallel`: importable by worker processes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numba

from agents.labels.kernels import sums_so_far


def square(job: int) -> int:
    if job == 13:
        raise ValueError(f"no luck with {job}")
    return job * job


class Counter:
    """Counts the jobs that this copy of it has done."""

    def __init__(self) -> None:
        self._n_done = 0

    def __call__(self, job: int) -> tuple[int, int]:
        self._n_done += 1
        return os.getpid(), self._n_done


def threads(job: int) -> tuple[int, str]:
    return numba.get_num_threads(), os.environ["OMP_NUM_THREADS"]


def priority(job: int) -> int:
    return os.nice(0)


def fragile(mark: Path) -> str:
    """Kills its process: always for "doomed", at the first attempt for "unlucky"."""
    is_first = not mark.exists()
    mark.touch()
    if mark.name == "doomed" or (mark.name == "unlucky" and is_first):
        os._exit(3)
    return "lives"


def endless(mark: Path) -> None:
    """Leaves the number of its process; ends soon only for "short"."""
    mark.write_text(str(os.getpid()))
    if mark.name != "short":
        time.sleep(600)


def is_loaded(job: int) -> bool:
    """Whether the process from which this one is forked has imported the rollouts and run a compiled function."""
    return "agents.rollouts" in sys.modules and bool(sums_so_far.overloads)
