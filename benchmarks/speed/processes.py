"""What takes a process of its own to measure: starting, the first call, and peak memory."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.speed.measure import Measurement, Row
from benchmarks.speed.reference.synthetic_log import write_log

_HELP = "from benchmarks.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
_FIRST = """
from agents import PidBidder, rollout
from auction_env import TASKS, MarketParams
rollout(PidBidder(), seeds=[0], advertisers=[0], task=TASKS["TargetCPA"], params=MarketParams(n_impressions=480))
"""
_IMPORT_LOG = """
import sys
from auction_env.data import import_auctionnet_impressions
from benchmarks.suites.running.provenance import peak_memory_mb
import_auctionnet_impressions([sys.argv[1]], sys.argv[2])
print(f"peak {peak_memory_mb():.1f} MB")
"""
_MAIN = """
import sys
from benchmarks.cli import main
from benchmarks.suites.running.provenance import peak_memory_mb
main(sys.argv[1:])
print(f"peak {peak_memory_mb():.1f} MB")
"""


def start_rows(quick: bool) -> Iterator[Row]:
    """Start-up."""
    libraries, python = (_least_seconds(code, quick) for code in ("import numba, gymnasium, pyarrow", "pass"))
    for name, what, code in (
        ("import_auction_env_s", "import auction_env", "import auction_env"),
        ("import_agents_s", "import agents", "import agents"),
        ("help_s", "vamo --help", _HELP),
    ):
        yield Row(
            name=name,
            value=_least_seconds(code, quick),
            unit="s",
            reference=f"{what}, processor time of the process; numba, gymnasium and pyarrow alone: {libraries:.2f} s",
            bound=f"{python:.2f} s: Python alone",
            reference_value=libraries,
            bound_value=python,
        )


def first_call_rows(quick: bool) -> Iterator[Row]:
    """Processor seconds of the first rollout on a machine, which compiles, against the second."""
    with tempfile.TemporaryDirectory() as cache:
        first, second = (_cpu_seconds(_FIRST, {"NUMBA_CACHE_DIR": cache}) for _ in range(2))
    yield Row(
        name="first_call_cpu_s",
        value=first,
        unit="s",
        reference=f"a rollout in a new process, without and with compiled kernels on the disk: {second:.2f} s",
        bound="the second call: nothing is compiled",
        reference_value=second,
        bound_value=second,
    )


def import_memory_rows(quick: bool, n_periods: int = 4) -> Iterator[Row]:
    """Peak memory of an import as the log grows."""
    with tempfile.TemporaryDirectory() as folder:
        log, peaks = Path(folder, "log.csv"), []
        for n in (1, n_periods):
            n_rows = write_log(log, n_periods=n)
            peaks.append(peak_megabytes(_IMPORT_LOG, str(log), str(Path(folder, f"out{n}"))))
    yield Row(
        name="import_memory_mb",
        value=peaks[1],
        unit="MB",
        reference=f"peak of a process that imports {n_rows:,} rows; of a log {n_periods} times as short: "
        f"{peaks[0]:.0f} MB",
        bound=f"{peaks[0]:.0f} MB: no growth with the log",
        reference_value=peaks[0],
        bound_value=peaks[0],
    )


def family_memory_rows(quick: bool) -> Iterator[Row]:
    """Peak memory of a family of 128 small tasks."""
    sizes = ["--most", "20", "--fewest", "7", "--validation", "7", "--test", "7", "--impressions", "480"]
    yield _command_memory_row("family_128_memory_mb", "family", "--tasks", "128", *sizes, "--workers", "1")


def demo_memory_rows(quick: bool) -> Iterator[Row]:
    """Peak memory of `vamo demo`."""
    yield _command_memory_row("demo_memory_mb", "demo")


def _command_memory_row(name: str, *arguments: str) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        return Row(
            name=name,
            value=peak_megabytes(_MAIN, *arguments, "--out", f"{folder}/out"),
            unit="MB",
            reference=f"peak of the process of `vamo {' '.join(arguments)}`",
            bound="what its packages take: 300 to 400 MB with torch",
        )


def peak_megabytes(code: str, *arguments: str) -> float:
    """Of a new process that runs code, which prints it.

    Raises:
        RuntimeError: The process fails; the message has what it said.
    """
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    found = re.search(r"^peak ([\d.]+) MB$", done.stdout, re.MULTILINE)
    if done.returncode or found is None:
        raise RuntimeError(f"a measured process must end well, found exit code {done.returncode}: {done.stderr[-500:]}")
    return float(found[1])


def _least_seconds(code: str, quick: bool) -> float:
    """Processor seconds of a new process, the least of several."""
    return min(_cpu_seconds(code) for _ in range(2 if quick else 7))


def _cpu_seconds(code: str, environment: Mapping[str, str] | None = None) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True, env=os.environ | dict(environment or {})
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


MEASUREMENTS = (
    Measurement(what="start-up", rows=start_rows),
    Measurement(what="first call", rows=first_call_rows, is_quick=False),
    Measurement(what="memory of an import", rows=import_memory_rows, is_quick=False),
    Measurement(what="memory of a family", rows=family_memory_rows, is_quick=False),
    Measurement(what="memory of the demo", rows=demo_memory_rows, is_quick=False),
)
