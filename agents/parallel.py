"""Does jobs in processes of this machine or on a Ray cluster: what `--workers` and `--ray` mean in every command.

A job is done by a picklable function, in a worker with one thread. What it returns must not depend on which worker
does it, nor on when. A job whose worker is lost is done again.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

import numba
import pyarrow as pa

from auction_env import kernels

logger = logging.getLogger(__name__)

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")

N_ATTEMPTS = 3
"""Of a job whose worker is lost, the first included."""

_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Failure:
    """Stands for the result of a job that raised an error or lost its worker too often.

    Attributes:
        error: What went wrong, in one line.
    """

    error: str


def worker_count(n_workers: int | None) -> int:
    """The number of workers; None: one for every core that this process may use.

    Raises:
        ValueError: Less than one.
    """
    if n_workers is not None and n_workers < 1:
        raise ValueError(f"`n_workers` must be at least 1, found {n_workers}")
    return len(os.sched_getaffinity(0)) if n_workers is None else n_workers


def run_jobs(
    work: Callable[[JobT], ResultT],
    jobs: Sequence[JobT],
    ended: Callable[[JobT, ResultT | Failure], None],
    *,
    n_workers: int | None = None,
    ray: str | None = None,
    has_fresh_workers: bool = False,
    preload: Sequence[str] = (),
) -> None:
    """Does all jobs; returns when the last one has ended.

    One worker that need not be fresh is this process: its errors are raised as they are. When this function is left by
    an exception (Ctrl-C, an error of `ended`), all workers are killed first, which takes less than a second.

    Args:
        work: Does a job. Sent once to every worker, so that it may keep what it has prepared.
        jobs: What is done, picklable, begun in this order.
        ended: Told of every job with its result, in this process, as the jobs end.
        n_workers: Jobs at a time; None: one a core, of the cluster where `ray` is given.
        ray: Address of a Ray cluster as `ray.init` takes it ("auto", "ray://HOST:PORT"), or "local" for one that is
            started on this machine and ends with the call. Files that a job reads or writes must be on a file system
            that all machines share.
        has_fresh_workers: Whether every job gets a process of its own, so that its memory is its own.
        preload: Modules that workers need beside `agents.logging.preloaded`, imported once for all of them.

    Raises:
        ValueError: `n_workers` is less than 1.
        ModuleNotFoundError: An address of Ray is given and Ray is not installed.
        ConnectionError: There is no cluster at the address.
    """
    n_local = min(worker_count(n_workers), max(len(jobs), 1))
    if ray is not None:
        _run_on_ray(work, jobs, ended, ray, n_workers, has_fresh_workers)
    elif n_local == 1 and not has_fresh_workers:
        with one_thread():
            for job in jobs:
                ended(job, work(job))
    else:
        with contextlib.closing(_Processes(work, has_fresh_workers, preload)) as processes:
            processes.run(jobs, ended, n_local)


def one_line(error: Exception) -> str:
    """An error and where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"


@contextlib.contextmanager
def one_thread(*, has_torch: bool = False) -> Iterator[None]:
    """One thread for all kernels, as long as the block lasts; for torch too where it is used.

    Workers share a machine, and sums in one order give the same numbers everywhere.
    """
    limits: list[tuple[Callable[[int], object], int]] = [
        (numba.set_num_threads, numba.get_num_threads()),
        (pa.set_cpu_count, pa.cpu_count()),
    ]
    if has_torch:
        import torch

        limits.append((torch.set_num_threads, torch.get_num_threads()))
    for limit, _ in limits:
        limit(1)
    try:
        yield
    finally:
        for limit, usual in limits:
            limit(usual)


class _Worker(Generic[JobT, ResultT]):
    """A process that does one job after the other."""

    def __init__(self, work: Callable[[JobT], ResultT], preload: Sequence[str], *, says_compiling: bool) -> None:
        # not `fork`: the parent may have run kernels, which GNU OpenMP does not survive. The server, from which the
        # children are forked, has run none, but has imported what takes longest
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, "agents.logging.preloaded", *preload])
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, says_compiling))
        resource_tracker.ensure_running()  # before: when it starts, it lets interrupts through again
        with _one_thread_environment(), _deaf_to_interrupts():
            forkserver.ensure_running()  # the server, which hands both down to its children
        self.process.start()
        other.close()
        self._send(work)  # not as an argument: the start would wait for a large one to be read

    def begin(self, job: JobT) -> None:
        """Sends the job."""
        self._send(job)

    def _send(self, what: object) -> None:
        """A worker that has died is noticed where the result is awaited."""
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(what)

    def result(self) -> ResultT | Failure | None:
        """The result of the job; None if the worker has died."""
        try:
            found: ResultT | Failure = self.connection.recv()
            return found
        except (EOFError, OSError):
            return None

    def end(self) -> None:
        """Kills the process."""
        self.process.kill()
        self.process.join()
        self.connection.close()


class _Processes(Generic[JobT, ResultT]):
    """Workers on this machine."""

    def __init__(self, work: Callable[[JobT], ResultT], has_fresh_workers: bool, preload: Sequence[str]) -> None:
        self._work, self._has_fresh_workers, self._preload = work, has_fresh_workers, preload
        self._idle: list[_Worker[JobT, ResultT]] = []
        self._busy: dict[Connection, tuple[_Worker[JobT, ResultT], int]] = {}
        self._says_compiling = kernels.logger.isEnabledFor(logging.INFO)

    def run(self, jobs: Sequence[JobT], ended: Callable[[JobT, ResultT | Failure], None], n_workers: int) -> None:
        """See `run_jobs`."""
        waiting, n_lost = deque(range(len(jobs))), [0] * len(jobs)
        while waiting or self._busy:
            while waiting and len(self._busy) < n_workers:
                self._begin(jobs, waiting.popleft())
            for connection in wait(list(self._busy)):
                assert isinstance(connection, Connection)
                worker, index = self._busy[connection]
                result = worker.result()
                del self._busy[connection]
                if result is None or self._has_fresh_workers:
                    worker.end()
                else:
                    self._idle.append(worker)
                if result is None:
                    n_lost[index] += 1
                    logger.warning("a worker died, exit code %s; its job is %s", worker.process.exitcode, jobs[index])
                    if n_lost[index] < N_ATTEMPTS:
                        waiting.appendleft(index)
                        continue
                    result = Failure(_death(worker.process.exitcode))
                ended(jobs[index], result)

    def _begin(self, jobs: Sequence[JobT], index: int) -> None:
        if self._idle:
            worker = self._idle.pop()
        else:
            worker = _Worker(self._work, self._preload, says_compiling=self._says_compiling)
            self._says_compiling = False  # they compile the same kernels: one says it
        self._busy[worker.connection] = (worker, index)
        worker.begin(jobs[index])

    def close(self) -> None:
        """Ends all workers, side by side: on a busy machine each takes a while."""
        workers = (*self._idle, *(worker for worker, _ in self._busy.values()))
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.end()


def _death(exit_code: int | None) -> str:
    return (
        f"its process died {N_ATTEMPTS} times, exit code {exit_code} (-9: out of memory?"
        " 1 at once: a script without `if __name__ == '__main__'`?)"
    )


@contextlib.contextmanager
def _one_thread_environment() -> Iterator[None]:
    """What is started within the block uses one thread, the libraries that read their limit when imported included."""
    before = {name: os.environ.get(name) for name in _THREAD_LIMITS}
    os.environ.update(dict.fromkeys(_THREAD_LIMITS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What is started within the block never sees Ctrl-C, not even while it imports; this process sees it afterwards.

    Ctrl-C reaches the whole group. The parent ends the work, and its children would only print tracebacks.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, says_compiling: bool) -> None:
    """Does the jobs that come, in a worker process: first comes the function that does them."""
    if says_compiling:
        kernels.logger.setLevel(logging.INFO)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server may be another's: see `_deaf_to_interrupts`
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # numba makes a semaphore in a process whose start method is a kind of fork; a killed worker could not remove it
    multiprocessing.set_start_method("spawn", force=True)
    with one_thread(), contextlib.suppress(EOFError, ConnectionError):  # the parent has ended, maybe while it sent
        work = connection.recv()
        while True:
            connection.send(_attempt(work, connection.recv()))


def _attempt(work: Callable[[Any], Any], job: Any) -> Any:
    try:
        return work(job)
    except Exception as error:  # the caller learns which job it was
        return Failure(one_line(error))


def _end_with_parent() -> None:
    """Ends this process with its parent: a worker of a killed parent would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run_on_ray(
    work: Callable[[JobT], ResultT],
    jobs: Sequence[JobT],
    ended: Callable[[JobT, ResultT | Failure], None],
    address: str,
    n_workers: int | None,
    has_fresh_workers: bool,
) -> None:
    """Does the jobs as Ray tasks of one core each; Ray does those of a lost worker again."""
    import ray

    own: dict[str, Any] = {}
    if address == "local":  # Ray's own niceness of workers is 15, with which they starve on a busy machine
        own = {"num_cpus": n_workers, "include_dashboard": False, "_system_config": {"worker_niceness": 0}}
    on_termination = signal.getsignal(signal.SIGTERM)
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_termination)  # ray.init has put its own handler there
    try:
        task = ray.remote(num_cpus=1, max_retries=N_ATTEMPTS - 1, max_calls=int(has_fresh_workers))(_attempt_on_ray)
        key, shared = uuid.uuid4().hex, ray.put(work)
        waiting, busy = deque(jobs), dict[Any, JobT]()
        while waiting or busy:
            while waiting and len(busy) < (n_workers or len(jobs)):
                job = waiting.popleft()
                busy[task.remote(key, shared, job)] = job
            done, _ = ray.wait(list(busy), num_returns=1)
            job = busy.pop(done[0])
            try:
                result = ray.get(done[0])
            except ray.exceptions.RayError as error:
                result = Failure(f"lost by Ray after {N_ATTEMPTS} attempts: {str(error).splitlines()[0]}")
            ended(job, result)
    finally:
        ray.shutdown()


_kept: dict[str, Callable[[Any], Any]] = {}
"""What a process of Ray does jobs with, by the call of `run_jobs`."""


def _attempt_on_ray(key: str, work: Callable[[Any], Any], job: Any) -> Any:
    if key not in _kept:
        _kept.clear()
        _kept[key] = work
    with one_thread():
        return _attempt(_kept[key], job)
