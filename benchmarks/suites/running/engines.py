"""Where runs are executed: in processes of this machine, or by Ray.

Both give back each job with its tables as it ends, or with the error where its process died again and again.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any, TypeAlias

from benchmarks.suites.running.run import Job, Tables, execute, failure

logger = logging.getLogger(__name__)

Work: TypeAlias = Callable[[Job], Tables]
"""What is done with a job; `execute`, but for tests."""

_PRELOADED = ("benchmarks.suites.running.run", "vamo", "agents.offline", "torch._dynamo")
"""What runs import, the last as soon as there is an optimiser."""

N_ATTEMPTS = 3
"""Of a run whose process dies, the first included."""


def run_locally(jobs: Sequence[Job], n_workers: int, work: Work = execute) -> Iterator[tuple[Job, Tables]]:
    """Executes jobs in `n_workers` processes at a time, a fresh one for every run, so that its memory is its own.

    A run whose process dies is done again; after `N_ATTEMPTS` deaths it has failed.
    """
    children = _Children()
    threads = ThreadPoolExecutor(n_workers)
    try:
        under_way = {threads.submit(children.do, work, job): job for job in jobs}
        for future in as_completed(under_way):
            yield under_way.pop(future), future.result()
    except BaseException:
        children.stop()
        raise
    finally:
        threads.shutdown(cancel_futures=True)


class _Children:
    """Does each job in a child process of its own."""

    def __init__(self) -> None:
        # not `fork`: the parent may have run kernels, which GNU OpenMP does not survive. The server, from which the
        # children are forked, has run none, but has imported what takes longest: 4 s of a run of 40
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([*_PRELOADED])
        self._alive: set[ForkServerProcess] = set()
        self._is_stopped = False
        self._lock = threading.Lock()

    def do(self, work: Work, job: Job) -> Tables:
        """The tables of a job; called by several threads at a time."""
        for _ in range(N_ATTEMPTS):
            receiver, sender = self._context.Pipe(duplex=False)
            process = self._context.Process(target=_child, args=(work, job, sender))
            with self._lock:
                if self._is_stopped:
                    return failure(job, "stopped before it began")
                process.start()
                self._alive.add(process)
            sender.close()
            try:
                tables: Tables = receiver.recv()
                return tables
            except EOFError:
                if not self._is_stopped:
                    logger.warning("the process of run %s died", job.id)
            finally:
                process.join()
                with self._lock:
                    self._alive.discard(process)
        return failure(job, f"the process died {N_ATTEMPTS} times, exit code {process.exitcode} (-9: out of memory?)")

    def stop(self) -> None:
        """Ends all children and lets no new one begin."""
        with self._lock:
            self._is_stopped = True
            for process in self._alive:
                process.kill()


def _child(work: Work, job: Job, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent ends the work
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.getLogger("vamo").setLevel(logging.ERROR)  # signs of trouble in a training are not those of the suite
    sender.send(work(job))


def _end_with_parent() -> None:
    """Ends this process with its parent: a worker of a killed parent would go on for nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def run_on_ray(
    jobs: Sequence[Job], address: str, n_workers: int | None = None, work: Work = execute
) -> Iterator[tuple[Job, Tables]]:
    """Executes jobs as Ray tasks of one core each; Ray does those of a lost worker again.

    Args:
        jobs: What to do.
        address: Of the cluster, as `ray.init` takes it: "auto", "ray://host:port", or "local" for one that is started
            on this machine and ends with the call.
        n_workers: Cores of a local one.
        work: What is done with a job.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: There is no cluster at the address.
    """
    import ray

    local: dict[str, Any] = {"num_cpus": n_workers, "include_dashboard": False} if address == "local" else {}
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    try:
        task = ray.remote(num_cpus=1, max_retries=N_ATTEMPTS - 1, max_calls=1)(work)
        under_way = {task.remote(job): job for job in jobs}
        while under_way:
            done, _ = ray.wait(list(under_way), num_returns=1)
            job = under_way.pop(done[0])
            try:
                yield job, ray.get(done[0])
            except ray.exceptions.RayError as error:
                text = str(error).splitlines()[0]
                yield job, failure(job, f"lost by Ray after {N_ATTEMPTS} attempts: {text}")
    finally:
        ray.shutdown()
