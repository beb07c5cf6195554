"""Jobs in processes and on Ray: the same results whoever does them, lost workers replaced, none left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.parallel import Failure, run_jobs, worker_count
from tests.agents.jobs import Counter, endless, fragile, priority, square, threads

ROOT = Path(__file__).parents[2]


def results(work: Callable[[Any], Any], jobs: Sequence[Any], **options: Any) -> dict[Any, Any]:
    found: dict[Any, Any] = {}

    def ended(job: Any, result: Any) -> None:
        assert job not in found
        found[job] = result

    run_jobs(work, jobs, ended, **options)
    return found


@pytest.mark.parametrize(
    "options", [{"n_workers": 1}, {"n_workers": 2}, {"n_workers": 9}, {"n_workers": 1, "has_fresh_workers": True}]
)
def test_results_do_not_depend_on_the_workers(options: dict[str, Any]) -> None:
    assert results(square, range(7), **options) == {job: job**2 for job in range(7)}
    assert results(square, [], **options) == {}


def test_a_worker_keeps_what_it_has_prepared_unless_it_must_be_fresh() -> None:
    kept = results(Counter(), range(6), n_workers=2)
    assert len({pid for pid, _ in kept.values()}) == 2 and sum(n == 1 for _, n in kept.values()) == 2
    fresh = results(Counter(), range(3), n_workers=2, has_fresh_workers=True)
    assert len({pid for pid, _ in fresh.values()}) == 3 and {n for _, n in fresh.values()} == {1}
    assert os.getpid() not in {pid for pid, _ in (*kept.values(), *fresh.values())}


def test_every_worker_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert set(results(threads, range(2), n_workers=2).values()) == {(1, "1")}
    assert results(threads, [0], n_workers=1) == {0: (1, "2")}  # this process
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_an_interrupt_does_not_reach_what_workers_import() -> None:
    """Ctrl-C reaches the whole group: the process that workers are forked from would die with a traceback."""
    code = """
from agents.parallel import run_jobs
from tests.agents.jobs import square

if __name__ == "__main__":
    run_jobs(square, [3, 3], lambda job, result: print(result), n_workers=2, preload=["tests.agents.interrupting"])
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "9\n9\n", "")


def test_workers_find_their_imports_and_compiled_functions_loaded() -> None:
    code = """
from agents.parallel import run_jobs
from tests.agents.jobs import is_loaded

if __name__ == "__main__":
    run_jobs(is_loaded, range(2), lambda job, found: print(found), n_workers=2)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}  # a process of its own: the server of this one may run already
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_an_error_is_the_result_of_its_job() -> None:
    found = results(square, [12, 13, 14], n_workers=2)
    error = found.pop(13)
    assert isinstance(error, Failure) and error.error.startswith("ValueError: no luck with 13 (jobs.py:")
    assert found == {12: 144, 14: 196}
    with pytest.raises(ValueError, match="no luck with 13"):
        results(square, [12, 13], n_workers=1)


def test_a_lost_worker_costs_its_job_one_attempt_of_three(tmp_path: Path) -> None:
    marks = [tmp_path / name for name in ("doomed", "unlucky", "sound")]
    found = {mark.name: result for mark, result in results(fragile, marks, n_workers=2).items()}
    doomed = found.pop("doomed")
    assert isinstance(doomed, Failure) and doomed.error.startswith("its process died 3 times, exit code 3")
    assert found == {"unlucky": "lives", "sound": "lives"}


def test_no_worker_outlives_an_interrupt(tmp_path: Path) -> None:
    endless_job, short_job = tmp_path / "endless", tmp_path / "short"

    def interrupt(job: object, result: object) -> None:
        deadline = time.monotonic() + 60
        while not (endless_job.exists() and endless_job.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(endless, [endless_job, short_job], interrupt, n_workers=2)
    with pytest.raises(ProcessLookupError):
        os.kill(int(endless_job.read_text()), 0)


def test_the_number_of_workers_must_be_positive() -> None:
    assert worker_count(None) == len(os.sched_getaffinity(0))
    with pytest.raises(ValueError, match="`n_workers` must be at least 1, found 0"):
        run_jobs(square, [1], lambda job, result: None, n_workers=0)


@pytest.mark.exhaustive
def test_on_ray_results_are_the_same_and_a_lost_worker_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs the extra `ray`")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    marks = [tmp_path / name for name in ("doomed", "unlucky", "sound")]
    found = {mark.name: result for mark, result in results(fragile, marks, n_workers=2, ray="local").items()}
    doomed = found.pop("doomed")
    assert isinstance(doomed, Failure) and doomed.error.startswith("lost by Ray after 3 attempts")
    assert found == {"unlucky": "lives", "sound": "lives"}
    assert results(priority, [0], n_workers=1, ray="local") == {0: os.nice(0)}  # Ray's own would be 15
    squares = results(square, [2, 13], n_workers=1, ray="local")
    assert squares[2] == 4 and squares[13].error.startswith("ValueError: no luck with 13")
