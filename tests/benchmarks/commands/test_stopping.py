"""Ctrl-C and SIGTERM: soon over, no process left behind, and a line that says how to go on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from auction_env import TASKS, data
from auction_env.data.formats.criteo.importing import COLUMNS as CRITEO
from auction_env.replay.bat.landscape import CAMPAIGN_COLUMNS, STATS_COLUMNS
from benchmarks.speed.reference.synthetic_log import write_log
from benchmarks.speed.reference.synthetic_table import write_table
from tests import processes
from tests.auction_env.data.formats.ipinyou import made_up
from tests.vamo.synthetic import make_data

ROOT = Path(__file__).parents[3]
MOST_SECONDS = 10.0
"""From the signal to the end of the command, on a busy machine: under 2 s on an idle one. A block takes longer."""


def _collect(out: Path) -> list[str]:
    return ["collect", "--out", str(out / "set"), "--episodes", "1000", "--workers", "2"]  # of full size


def _bench(out: Path) -> list[str]:
    return ["bench", "run", "demo/v2/testing", "--out", str(out), "--workers", "2"]


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
        (_bench, "SIGINT", 130, "stopped; finished runs are kept. To go on: vamo bench run demo/v2/testing"),
    ],
)
def test_a_stopped_command_ends_soon(
    command: Callable[[Path], list[str]], name: str, code: int, kept: str, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.cli", *command(tmp_path)], cwd=ROOT, env={**os.environ, "PYTHONPATH": "."},
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while len(_group(process.pid)) < 5:  # the command, two helpers of multiprocessing, two workers
            assert process.poll() is None and time.monotonic() < deadline, "must still be running"
            time.sleep(0.01)
        sent = time.monotonic()
        send: Callable[[int, int], None] = os.killpg if name == "SIGINT" else os.kill  # a terminal signals the group
        send(process.pid, signal.Signals[name])
        shown = process.communicate(timeout=60)[0]  # to the end of all that could write there
        assert time.monotonic() - sent < MOST_SECONDS
    finally:
        if process.poll() is None:  # a failed test leaves nothing running
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == code
    assert kept in shown and "Traceback" not in shown
    deadline = time.monotonic() + 2
    while _group(process.pid):  # the kernel takes a moment for what was killed
        assert time.monotonic() < deadline, "must leave no process"
        time.sleep(0.01)


def _wait_until_at_work(pid: int, seconds: float) -> None:
    """Until the process has used a third of that time of a core, at most that long; without /proc as long as that."""
    stat, deadline = Path(f"/proc/{pid}/stat"), time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            used = sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")
            if used > 0.3 * seconds:
                return
        time.sleep(0.01)


def _wait_for(path: Path) -> None:
    """Until there is such a file, at most a minute."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.002)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split data set and a log to import."""
    folder = tmp_path_factory.mktemp("inputs")
    data.write(folder / "set", make_data(20, task=TASKS["TargetCPA"]))
    data.write_splits(folder / "set", validation=5, test=1)
    write_log(folder / "log.csv", n_periods=2)
    write_table(folder / "table.parquet", n_episodes=8_000)
    for name, header, line, n in (  # a line again and again: it takes some seconds to read
        ("bids.csv", "campaign,time,bid,price,conversions", "a,2026-01-05 00:10:00,0.9,0.7,1", 1_000_000),
        ("bid.20130606.txt", "", made_up.lines(made_up.bids(3), made_up.BIDS)[0], 150_000),
        ("criteo.tsv", "\t".join(CRITEO), "0\t7\t0\t-1\t0\t0\t-1\t-1\t0.1\t0.2", 600_000),
        ("stats.csv", ",".join(STATS_COLUMNS), "7,3600,5,1,1,1,1", 1_000_000),
    ):
        text = f"{line}\n" * 10_000
        with (folder / name).open("w") as file:
            file.write(f"{header}\n" if header else "")
            for _ in range(n // 10_000):
                file.write(text)
    (folder / "campaigns.csv").write_text(",".join(CAMPAIGN_COLUMNS) + "\n7,0,7200,10,1\n")
    return folder


BY_STATE = "by state"
"""In place of the text of what is kept: a training keeps a state if it has written one by then."""
TRAIN = ["train", "--out", "agent", "--data", "{inputs}/set"]
TASK = ["--task", "MaxConversions", "--constant", "budget=1e9", "cpa_target=1"]
STARTS_AGAIN = "nothing is kept. To start again: vamo import"
LONG: dict[str, tuple[list[str], str]] = {
    "collect": (
        ["collect", "--out", "set", "--episodes", "100000", "--workers", "1"],
        "finished blocks are kept. To go",
    ),
    "family": (["family", "--out", "family", "--workers", "1"], "finished data sets and blocks are kept. To go on:"),
    "vamo": ([*TRAIN, "--set", "train.steps=100000"], BY_STATE),
    "generative": ([*TRAIN, "--agent", "dt", "--set", "train.steps=100000"], BY_STATE),
    "offline": ([*TRAIN, "--agent", "iql", "--set", "steps=10000000"], BY_STATE),
    "online": (["train", "--out", "agent", "--agent", "ppo", "--task", "TargetCPA"], BY_STATE),
    "evaluate": (
        ["evaluate", "--agent", "pid", "--task", "TargetCPA", "--episodes", "100000", "--workers", "1"],
        "finished episodes are kept. To go on: vamo evaluate",
    ),
    "demo": (["demo", "--out", "demo"], "finished runs are kept. To go on: vamo demo"),
    "bench run": (
        ["bench", "run", "demo/v2", "--size", "cpu", "--out", "b", "--workers", "1"],
        "finished runs are kept",
    ),
    "bench speed": (["bench", "speed"], "nothing is kept. To start again: vamo bench speed"),
    "import": (["import", "auctionnet-impressions", "{inputs}/log.csv", "--out", "set"], "last checkpoint are kept"),
    "import bids": (
        ["import", "bids", "{inputs}/bids.csv", *TASK, "--out", "set"],
        "the sums of the files that are read are kept",
    ),
    "import ipinyou": (
        ["import", "ipinyou", "{inputs}/bid.20130606.txt", *TASK, "--out", "set"],
        "the files that are read and the bids that are joined are kept",
    ),
    "import table": (["import", "table", "{inputs}/table.parquet", *TASK[:2], "--out", "set"], STARTS_AGAIN),
    "import criteo": (["import", "criteo", "{inputs}/criteo.tsv", "--out", "set"], STARTS_AGAIN),
    "import bat": (["import", "bat", "{inputs}/campaigns.csv", "{inputs}/stats.csv", "--out", "set"], STARTS_AGAIN),
    "export": (["export", "auctionnet-impressions", "--out", "csv"], "nothing is kept. To start again: vamo export"),
}
"""Every command that takes more than some seconds."""


CASES = [
    pytest.param(name, n, marks=() if (position + n) % 2 else pytest.mark.exhaustive)
    for position, name in enumerate(LONG)
    for n in (1, 2)
]


@pytest.mark.parametrize(("name", "n_signals"), CASES)
def test_every_long_command_is_stopped_without_a_traceback(
    name: str, n_signals: int, inputs: Path, tmp_path: Path
) -> None:
    arguments, kept = LONG[name]
    code = "import sys\nfrom benchmarks.cli import main\nmain()"
    words = [word.replace("{inputs}", str(inputs)) for word in arguments]
    command = processes.Run(code, *words, folder=tmp_path, work=tmp_path / "work")
    pid = command.process.pid
    assert pid is not None
    if name in ("import", "import bids", "import ipinyou"):  # they take some seconds, from here on
        _wait_for(tmp_path / ".set.unfinished" / "plan.json")
    else:
        _wait_until_at_work(pid, 0.3 if name.startswith("import") else 2.0)
    assert command.process.is_alive(), command.finish()
    sent = time.monotonic()
    for number in range(n_signals):
        time.sleep(0.05 * number)
        with contextlib.suppress(ProcessLookupError):  # the first signal has ended it already
            os.kill(pid, signal.SIGINT)
    done = command.finish(timeout=60)
    assert time.monotonic() - sent < MOST_SECONDS
    shown = done.stdout + done.stderr
    if kept == BY_STATE:
        is_kept = any(path.name.endswith(".run") for path in tmp_path.iterdir())
        kept = "are kept. To go on: vamo train" if is_kept else "nothing is kept. To start again: vamo train"
    assert done.returncode == 130 and "stopped; " in shown and kept in shown and "Traceback" not in shown, shown
    assert shown.count("stopped; ") == 1


def test_an_interrupt_while_python_imports_the_packages_is_a_quiet_stop() -> None:
    code = """
import os, signal, sys

class Impatient:
    def find_spec(self, name, path=None, target=None):
        if name == "gymnasium":
            os.kill(os.getpid(), signal.SIGINT)
        if name == "gymnasium.spaces":
            print("goes on")  # an exception would leave half an import, or C++ that is not ready for one

sys.meta_path.insert(0, Impatient())
sys.argv = ["vamo", "agents"]
from benchmarks.cli import main
main()
"""
    environment = {**os.environ, "PYTHONPATH": "."}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")
    assert done.stdout == "goes on\n\nstopped; nothing is kept. To start again: vamo agents\n"


def test_an_interrupt_that_a_library_makes_an_error_of_is_a_stop(tmp_path: Path) -> None:
    code = """
import os, signal
from unittest import mock
from benchmarks import cli
from benchmarks.speed import figures

def translating(**arguments):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        raise RuntimeError("not permitted") from None

with mock.patch.object(figures, "run", translating):
    cli.main()
"""
    done = processes.Run(code, "bench", "speed", folder=tmp_path, work=tmp_path / "work").finish(60)
    shown = done.stdout + done.stderr
    assert done.returncode == 130 and "stopped; nothing is kept" in shown and "not permitted" not in shown, shown


def test_an_interrupt_while_numba_loads_a_function_is_a_stop_and_no_crash(tmp_path: Path) -> None:
    """There LLVM calls Python and drops what it raises, then runs machine code that is not there."""
    code = """
import os, signal
from numba.core.registry import cpu_target
from benchmarks import cli

engine = cpu_target.target_context.codegen()._engine._ee
real, calls = engine._object_cache_getbuffer, []

def interrupted(module):
    calls.append(module)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGINT)
    return real(module)

engine._object_cache_getbuffer = interrupted
cli.main()
"""
    command = ["collect", "--out", str(tmp_path / "set"), "--episodes", "9", "--impressions", "480", "--workers", "1"]
    done = processes.Run(code, *command, folder=tmp_path, work=tmp_path / "work").finish(60)
    shown = done.stdout + done.stderr
    assert done.returncode == 130 and shown.count("stopped; finished blocks are kept") == 1, shown
    assert "Exception ignored" not in shown


def test_an_interrupt_while_an_object_is_disposed_of_is_a_stop_without_a_traceback(tmp_path: Path) -> None:
    """Python prints what a `__del__` or the callback of a weak reference raises, and goes on."""
    code = """
import os, signal
from benchmarks import cli
from benchmarks.commands import warm_up

class Disposed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(100))

def prepare(works):
    Disposed()
    while True:
        pass

warm_up.compile_ahead = prepare
cli.main()
"""
    done = processes.Run(code, "warm-up", folder=tmp_path, work=tmp_path / "work").finish(60)
    shown = done.stdout + done.stderr
    assert done.returncode == 130 and "stopped; the kernels that are compiled are kept" in shown, shown
    assert "Exception ignored" not in shown and "Traceback" not in shown


def test_an_interrupt_while_a_worker_is_sent_its_work_shows_no_traceback_of_the_worker(tmp_path: Path) -> None:
    code = """
import os, signal
from multiprocessing import forkserver
from benchmarks import cli

real = forkserver.connect_to_new_process

def interrupted(fds):
    connected = real(fds)
    os.kill(os.getpid(), signal.SIGINT)
    return connected

forkserver.connect_to_new_process = interrupted
cli.main()
"""
    command = ["collect", "--out", str(tmp_path / "set"), "--episodes", "9", "--impressions", "480", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": "."}
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 130 and "stopped; finished blocks are kept" in done.stdout, done
    assert "Traceback" not in done.stderr, done.stderr


def test_the_process_that_workers_are_forked_from_ends_with_the_command(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(30)\n")
    code = """
from multiprocessing import forkserver
from benchmarks.commands.stopping import Stop

forkserver.set_forkserver_preload(["slow"])
forkserver.ensure_running()
Stop([], is_process=True).finish(KeyboardInterrupt())
"""
    start, environment = time.monotonic(), {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert time.monotonic() - start < 20.0  # the output is open as long as the process that imports is there
    assert done.returncode == 130 and "stopped; nothing is kept" in done.stdout and not done.stderr


def test_a_command_that_cannot_stop_is_ended_after_the_grace_time(tmp_path: Path) -> None:
    """Work that swallows the interrupt, as a library's callback may, does not keep the command alive."""
    code = """
import time
from unittest import mock
from benchmarks import cli
from benchmarks.speed import figures

def endless(**arguments):
    print("begun", flush=True)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            print("swallowed", flush=True)

with mock.patch.object(figures, "run", endless):
    cli.main()
"""
    command = processes.Run(code, "bench", "speed", folder=tmp_path, work=tmp_path / "work")
    deadline = time.monotonic() + 60
    while "begun" not in command.stdout:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    sent = time.monotonic()
    assert command.process.pid is not None
    os.kill(command.process.pid, signal.SIGINT)
    done = command.finish(timeout=60)
    assert done.returncode == 130 and time.monotonic() - sent < MOST_SECONDS
    assert "swallowed" in done.stdout and "nothing is kept. To start again: vamo bench speed" in done.stdout
