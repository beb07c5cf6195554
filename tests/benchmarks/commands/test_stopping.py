"""Ctrl-C and SIGTERM: soon over, no process left behind, and a line that says how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MOST_SECONDS = 10.0
"""From the signal to the end of the command, on a busy machine: under 2 s on an idle one. A block takes longer."""


def _collect(out: Path) -> list[str]:
    return ["collect", "--out", str(out / "set"), "--episodes", "1000", "--workers", "2"]  # of full size


def _bench(out: Path) -> list[str]:
    return ["bench", "run", "data-scarce/v2/testing", "--out", str(out), "--workers", "2", "--agents", "pid", "dual"]


def _group(pgid: int) -> list[int]:
    """The processes of a group that are no zombies."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == pgid and fields[0] != "Z":
            found.append(int(folder.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("command", "name", "code", "kept"),
    [
        (_collect, "SIGINT", 130, "stopped; finished blocks are kept. To go on: vamo collect --out"),
        (_collect, "SIGTERM", 143, "stopped; finished blocks are kept. To go on: vamo collect --out"),
        (_bench, "SIGINT", 130, "stopped; finished runs are kept. To go on: vamo bench run data-scarce/v2/testing"),
    ],
)
def test_a_stopped_command_ends_soon(
    command: Callable[[Path], list[str]], name: str, code: int, kept: str, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.cli", *command(tmp_path)], cwd=ROOT, env={**os.environ, "PYTHONPATH": "."},
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(_group(process.pid)) < 5:  # the command, two helpers of multiprocessing, two workers
        assert process.poll() is None and time.monotonic() < deadline, "must still be running"
        time.sleep(0.01)
    sent = time.monotonic()
    send: Callable[[int, int], None] = os.killpg if name == "SIGINT" else os.kill  # a terminal signals the group
    send(process.pid, signal.Signals[name])
    shown = process.communicate(timeout=60)[0]  # to the end of all that could write there
    assert time.monotonic() - sent < MOST_SECONDS
    assert process.returncode == code
    assert kept in shown and "Traceback" not in shown
    assert _group(process.pid) == []
