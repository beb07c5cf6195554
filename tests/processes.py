"""New processes for tests that need not import torch again: a server imports it once, and every process forks from it.

A new interpreter takes 3 to 8 s for torch and its tracer, a fork takes some milliseconds. The server runs nothing but
one small compiled function, so that a process begins as a new interpreter would, but for what is imported and for
numba's types. What an environment variable decides at import (`NUMBA_NUM_THREADS`, say) needs an interpreter of its
own: use `subprocess`.
"""

from __future__ import annotations

import faulthandler
import functools
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parents[1]
IMPORTED = [
    "auction_env.data",
    "agents.sb3.training",
    "vamo.training.train",
    "benchmarks.cli",
    "benchmarks.statistics.bootstrap",  # scipy.stats
    "benchmarks.suites.running.preloaded",
]


@functools.cache
def server() -> ForkServerContext:
    """The server of this process; it ends with it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    variables = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    with mock.patch.dict(os.environ, variables):
        from multiprocessing.forkserver import ensure_running

        ensure_running()
    return context


def execute(script: str, arguments: list[str], folder: str, variables: dict[str, str], files: list[str]) -> None:
    """What the new process does: the script as `python script arguments` runs it, its output in two files."""
    for stream, file in zip((1, 2), files, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), stream)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(stream), "w", buffering=1) for stream in (1, 2))
    faulthandler.enable(sys.stderr)  # a crash says where it happened
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    # another test may have started the server for its workers, which never see Ctrl-C (`agents.parallel`)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.environ.update(variables)
    os.chdir(folder)
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


class Run:
    """A script in a process of its own."""

    def __init__(
        self, code: str, *arguments: str, folder: Path, work: Path, variables: Mapping[str, str] | None = None
    ) -> None:
        """Starts `code` in `folder`; its text and what it prints are kept in `work`, a new folder."""
        work.mkdir(parents=True)
        script = work / "script.py"
        script.write_text(code, encoding="utf-8")
        self.files = [work / "stdout", work / "stderr"]
        files = [str(path) for path in self.files]
        given = (str(script), list(arguments), str(folder), dict(variables or {}), files)
        self.process = server().Process(target=execute, args=given)
        self.process.start()

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._written(0)

    @property
    def stderr(self) -> str:
        """What it has written to stderr so far."""
        return self._written(1)

    def _written(self, stream: int) -> str:
        path = self.files[stream]
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def finish(self, timeout: float = 240.0) -> subprocess.CompletedProcess[str]:
        """Waits; a process that takes longer is killed and has the return code -9."""
        self.process.join(timeout)
        self.kill()
        assert self.process.exitcode is not None
        return subprocess.CompletedProcess(str(self.files[0]), self.process.exitcode, self.stdout, self.stderr)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def run(
    code: str, *arguments: str, folder: Path, work: Path, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a script to its end."""
    return Run(code, *arguments, folder=folder, work=work, variables=variables).finish()
