"""Where and with what a run was made: processor, memory, commit, versions."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import resource
import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import auction_env

_FOLDERS = ("--out", "--reuse")
_N_VALUES: dict[str, float] = {
    "": math.inf,
    "--agents": math.inf,
    "--variants": math.inf,
    "--one-commit": 0,
    "--synthetic": 0,
}
"""Of options that do not take one value."""
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


class _Wanted(NamedTuple):
    """What a command of `vamo bench run` makes."""

    of: tuple[str, ...]  # suite and all options but these
    n_seeds: float
    methods: frozenset[str] | None  # None: all
    variants: frozenset[str] | None

    @classmethod
    def read(cls, command: str) -> _Wanted:
        options: dict[str, list[str]] = {"": []}
        for word in shlex.split(command):
            if word.startswith("--"):
                last, is_given, value = word.partition("=")
                options.pop(last, None)  # given again: the last one counts, and is the one that values follow
                options[last] = [value] if is_given else []
            else:
                last = next(reversed(options))
                takes_it = len(options[last]) < _N_VALUES.get(last, 1)
                options[last if takes_it else ""].append(word)
        seeds, methods, variants = (options.pop(name, None) for name in ("--seeds", "--agents", "--variants"))
        options.pop("--workers", None)
        of = tuple(sorted(shlex.join([name, *values]) for name, values in options.items()))
        return cls(
            of,
            float(seeds[0]) if seeds else math.inf,
            None if methods is None else frozenset(methods),
            None if variants is None else frozenset(variants),
        )

    def holds(self, other: _Wanted) -> bool:
        """Whether it makes all that another makes."""
        parts = ((self.methods, other.methods), (self.variants, other.variants))
        return (
            self.of == other.of
            and self.n_seeds >= other.n_seeds
            and all(mine is None or (theirs is not None and mine >= theirs) for mine, theirs in parts)
        )


def joined_commands(earlier: str, latest: str) -> str:
    """Commands that together give all rows, joined by &&: none that gives nothing that another does not."""
    kept: dict[str, _Wanted] = {}
    for command in (*earlier.split(" && "), latest):
        new = _Wanted.read(command)
        if not any(wanted.holds(new) for wanted in kept.values()):
            kept = {old: wanted for old, wanted in kept.items() if not new.holds(wanted)} | {command: new}
    return " && ".join(kept)
