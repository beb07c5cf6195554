"""What is measured in processes of their own, at tiny sizes; what the figures are is the machine's affair."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.parallel import Failure
from benchmarks.speed import processes, scaling
from benchmarks.speed.reference.synthetic_log import write_log


def test_memory_grows_with_what_a_process_holds() -> None:
    code = "x = bytearray({} * 2**20); print(f'peak {{len(x) / 2**20:.1f}} MB')"
    assert processes.peak_megabytes(code.format(3)) == 3.0
    with pytest.raises(RuntimeError, match=r"found exit code 1: .*no such thing"):
        processes.peak_megabytes("raise SystemExit('no such thing')")


def test_import_memory_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, ...]] = []

    def peak(code: str, *arguments: str) -> float:
        made.append(arguments)
        return {1: 100.0, 2: 110.0}.get(len(made), 400.0)

    monkeypatch.setattr(processes, "write_log", lambda path, n_periods: 1_000 * n_periods)
    monkeypatch.setattr(processes, "peak_megabytes", peak)
    rows = {row.name: row for row in processes.memory_rows(n_periods=3)}
    assert set(rows) == {"import_memory_mb", "family_128_memory_mb", "demo_memory_mb"}
    assert (rows["import_memory_mb"].value, rows["import_memory_mb"].bound_value) == (110.0, 100.0)
    assert "imports 3,000 rows" in rows["import_memory_mb"].reference
    assert made[2][:3] == ("family", "--tasks", "128") and made[3][0] == "demo"


def test_an_import_prints_its_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.speed.reference.synthetic_log.N_IMPRESSIONS", 2)
    write_log(tmp_path / "log.csv", n_periods=1)
    found = processes.peak_megabytes(processes._IMPORT_LOG, str(tmp_path / "log.csv"), str(tmp_path / "out"))
    assert 20 < found < 2_000


def test_what_is_scaled_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "N_IMPRESSIONS", 480)
    monkeypatch.setattr(scaling, "N_EPISODES", 48)
    scaling._collect(1, None)
    scaling._evaluate(1, None)
    monkeypatch.setattr(scaling, "run_jobs", lambda work, jobs, ended, **how: ended(0, Failure("a lost worker")))
    with pytest.raises(RuntimeError, match="must be played to its end, found a lost worker"):
        scaling._evaluate(2, None)


def test_speed_up_is_over_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[int, str | None]] = []

    def work(n_workers: int, ray: str | None) -> None:
        done.append((n_workers, ray))

    monkeypatch.setattr(scaling, "seconds_of", lambda timed: timed() or 2.0)
    row = scaling.scaling_row("collect_ray_4", work, 6.0, 4, "local", 2)
    assert done == [(4, "local")]
    assert (row.name, row.value, row.bound_value, row.reached) == ("collect_ray_4_speedup", 3.0, 2.0, 1.5)
    assert list(scaling.scaling_rows(quick=True)) == []
