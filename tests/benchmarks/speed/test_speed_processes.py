"""What is measured in processes of their own, at tiny sizes; what the figures are is the machine's affair."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.parallel import Failure
from benchmarks.speed import processes, scaling, usage
from benchmarks.speed.reference.synthetic_log import write_log


def test_memory_grows_with_what_a_process_holds() -> None:
    code = "x = bytearray({} * 2**20); print(f'peak {{len(x) / 2**20:.1f}} MB')"
    assert processes.peak_megabytes(code.format(3)) == 3.0
    with pytest.raises(RuntimeError, match=r"found exit code 1: .*no such thing"):
        processes.peak_megabytes("raise SystemExit('no such thing')")


def test_import_memory_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([100.0, 110.0])
    monkeypatch.setattr(processes, "write_log", lambda path, n_periods: 1_000 * n_periods)
    monkeypatch.setattr(processes, "peak_megabytes", lambda code, *arguments: next(peaks))
    (row,) = processes.import_memory_rows(quick=False, n_periods=3)
    assert (row.name, row.value, row.bound_value) == ("import_memory_mb", 110.0, 100.0)
    assert "imports 3,000 rows" in row.reference


def test_memory_of_commands_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, ...]] = []

    def peak(code: str, *arguments: str) -> float:
        made.append(arguments)
        return 400.0

    monkeypatch.setattr(processes, "peak_megabytes", peak)
    rows = [*processes.family_memory_rows(quick=False), *processes.demo_memory_rows(quick=False)]
    assert [row.name for row in rows] == ["family_128_memory_mb", "demo_memory_mb"]
    assert made[0][:3] == ("family", "--tasks", "128") and made[1][:2] == ("demo", "--out")
    assert rows[1].reference == "peak of the process of `vamo demo`"


def test_an_import_prints_its_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.speed.reference.synthetic_log.N_IMPRESSIONS", 2)
    write_log(tmp_path / "log.csv", n_periods=1)
    found = processes.peak_megabytes(processes._IMPORT_LOG, str(tmp_path / "log.csv"), str(tmp_path / "out"))
    assert 20 < found < 2_000


def test_what_is_scaled_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "N_IMPRESSIONS", 480)
    monkeypatch.setattr(scaling, "N_DAYS", 1)
    monkeypatch.setattr(scaling, "N_JOBS", 1)
    scaling._collect(1, None)
    scaling._evaluate(1, None)
    monkeypatch.setattr(scaling, "run_jobs", lambda work, jobs, ended, **how: ended(0, Failure("a lost worker")))
    with pytest.raises(RuntimeError, match="must be played to its end, found a lost worker"):
        scaling._evaluate(2, None)


def test_speed_up_is_over_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[int, str | None]] = []

    def timed(work: object, n_workers: int, ray: str | None) -> scaling.Timed:
        done.append((n_workers, ray))
        return scaling.Timed(6.0, 5.5, 0.1) if n_workers == 1 else scaling.Timed(4.0, 7.0, 0.25)

    monkeypatch.setattr(scaling, "timed", timed)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    rows = list(scaling.speedup_rows("collect", lambda n_workers, ray: done.append((n_workers, ray)), False))
    assert done == [(2, None), (1, None), (2, None), (4, "local")]  # the first is not counted
    assert [row.name for row in rows] == ["collect_2_processes_speedup", "collect_ray_4_speedup"]
    assert [(row.value, row.bound_value) for row in rows] == [(1.5, 1.5), (1.5, 1.5)]  # of 2 cores 1.5 were free
    assert "6.0 s, 5.5 s of processor time; 4 of one thread" in rows[1].reference


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_work_of_processes_that_nobody_waits_for_is_own_work() -> None:
    code = "import time\nwhile time.process_time() < 0.4: pass"

    def used_below() -> float:
        return sum(usage.descendants(os.getpid()).values())

    before = used_below()  # of processes that other tests started
    with usage.watching(has_workers=True) as used:
        child = subprocess.Popen([sys.executable, "-c", f"{code}\ntime.sleep(60)"])
        try:
            deadline = time.monotonic() + 30
            while used_below() - before < 0.3 and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(0.4)  # until the workers have been looked at again
        finally:
            child.kill()
            child.wait()
    assert 0.3 < used.seconds < 5.0
