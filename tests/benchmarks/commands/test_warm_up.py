"""Kernels that are compiled ahead: all that the work needs, once, behind a bar that counts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from auction_env import kernels
from auction_env.kernels import rng
from auction_env.kernels.running.ahead import is_compiled, kernels_of, note_compiled
from tests.processes import ROOT, run

_PLAYED = """
import sys
from numba.core.dispatcher import Dispatcher
from auction_env.kernels.running.ahead import kernels_of
from benchmarks.commands.warm_up import works

def used():
    modules = [module for name, module in sys.modules.items() if name.startswith(("auction_env.", "agents."))]
    found = {value for module in modules for value in vars(module).values() if isinstance(value, Dispatcher)}
    return {kernel for kernel in found if kernel.overloads}

for name, work in works().items():
    before = used()
    work.play()
    assert set(work.kernels) <= used(), (name, set(work.kernels) - used())
    assert used() - before <= kernels_of(work.kernels), (name, used() - before - kernels_of(work.kernels))
"""


def test_works_name_the_kernels_that_they_use(tmp_path: Path) -> None:
    done = run(_PLAYED, folder=ROOT, work=tmp_path / "work")
    assert done.returncode == 0, done.stderr


_WARM_UP = """
import numpy as np
from auction_env.kernels import rng
from benchmarks.cli import main
from benchmarks.commands import warm_up

tiny = warm_up.Work((rng.make_key,), lambda: rng.make_key(np.uint64(7), 1, 2, np.uint64(3)))
warm_up.works = lambda: {"tiny": tiny}
main(["warm-up"])
"""


def test_the_command_counts_what_it_compiles_and_compiles_it_once(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}

    def warm_up() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", _WARM_UP]
        return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)

    first = warm_up()
    (note,) = tmp_path.rglob("compiled-tiny.txt")
    note.unlink()
    second = warm_up()
    assert "compiling kernels" in first.stdout and "2/2" in first.stdout  # `make_key` and `mix64`
    assert "2 kernels are compiled" in first.stdout
    assert kernels.COMPILING not in first.stderr  # the bar says it
    assert second.stdout == "all kernels are compiled already\n" and note.is_file()


def test_inlined_kernels_are_not_counted() -> None:
    assert kernels_of([rng.make_key]) == {rng.make_key, rng.mix64}


def test_what_is_noted_holds_for_these_sources_and_this_numba_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_key = {rng.make_key}
    monkeypatch.setattr("auction_env.kernels.running.ahead._note", lambda name, _: tmp_path / "new" / name)
    assert not is_compiled("tiny", of_key)
    note_compiled("tiny", of_key)
    assert is_compiled("tiny", of_key) and not is_compiled("other", of_key)
    monkeypatch.setattr("auction_env.kernels.running.ahead.sources", lambda folder: "changed")
    assert not is_compiled("tiny", of_key)
    monkeypatch.undo()
    monkeypatch.setattr("auction_env.kernels.running.ahead._note", lambda name, _: tmp_path / "new" / name)
    monkeypatch.setattr(numba, "__version__", "0")
    assert not is_compiled("tiny", of_key)
