"""Where and with what a run was made: processor, memory, commit, versions."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import auction_env

_FOLDERS = ("--out", "--reuse")
_SEEDS = re.compile(r" --seeds[ =](\d+)")
_PACKAGES = ("numpy", "numba", "torch", "pyarrow", "scipy", "gymnasium")


def machine() -> str:
    """Processor, cores that this process may use, and the accelerator if there is one."""
    cores = len(os.sched_getaffinity(0))
    return f"{processor()}, {cores} cores, {_accelerator()}"


@lru_cache
def processor() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@lru_cache
def _accelerator() -> str:
    for card in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):  # no import of torch for rules
        for line in card.read_text().splitlines():
            if line.startswith("Model:"):
                return line.split(":", 1)[1].strip()
    return "no GPU"


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, MB."""
    # not getrusage first: its figure of a new process begins with the memory of the parent that started it
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@lru_cache
def commit() -> str:
    """Commit of the code, with "+" where files differ from it; the package's version outside a repository."""
    root = Path(__file__).parents[3]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            raise OSError("the code is not the repository's")
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return f"version {auction_env.__version__}"


def versions() -> dict[str, str]:
    """Of Python, this package and what the numbers depend on."""
    found = {"python": platform.python_version(), "vamo-bidding": auction_env.__version__}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def command_line(argv: Sequence[str] | None = None) -> str:
    """A command, by default this process's, as it is published: quoted, without folders, which are the machine's.

    Without `--reuse` it makes the same rows.
    """
    program, *arguments = sys.argv if argv is None else argv
    kept, skip = ["vamo" if Path(program).name in ("vamo", "cli.py") else Path(program).name], False
    for argument in arguments:
        if not skip and argument.partition("=")[0] not in _FOLDERS:
            kept.append(argument)
        skip = argument in _FOLDERS
    return shlex.join(kept)


def joined_commands(earlier: str, latest: str) -> str:
    """Commands that together give all rows, joined by &&: of those that differ in `--seeds` alone the one with most."""
    most: dict[str, tuple[float, str]] = {}
    for command in (*earlier.split(" && "), latest):
        found = _SEEDS.search(command)
        n_seeds = int(found[1]) if found else math.inf
        of_others = _SEEDS.sub("", command)
        if n_seeds >= most.get(of_others, (0, ""))[0]:
            most[of_others] = (n_seeds, command)
    return " && ".join(command for _, command in most.values())
