"""The runs of `vamo bench speed` that are kept: one file for each kind of machine, the newest run last.

A run says what share of the machine other work took meanwhile. Figures of a machine that does other work are no lower
limit of anything, and the pages prefer those of a quiet one.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from auction_env.files import write_atomically
from benchmarks.speed.measure import Row

QUIET = 0.1
"""Share of the machine that other work may take in a run that counts as undisturbed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRun:
    """What one call of `vamo bench speed` measured.

    Attributes:
        machine: Processor, cores, accelerator.
        date: Of the run, ISO 8601.
        commit: Of the code, with "+" where files differed from it.
        command: That made it.
        others: Share of the machine that other work took meanwhile, in [0, 1].
        rows: The figures.
    """

    machine: str
    date: str
    commit: str
    command: str
    others: float
    rows: tuple[Row, ...]

    @property
    def is_quiet(self) -> bool:
        """Whether other work took at most `QUIET` of the machine."""
        return self.others <= QUIET


def save(run: SpeedRun, folder: Path) -> Path:
    """Appends a run to the file of its kind of machine, which is made where there is none; returns the file.

    Raises:
        ValueError: The file there holds something else.
    """
    path = folder / f"{re.sub('[^a-z0-9]+', '-', run.machine.lower()).strip('-')}.json"
    runs = [*(load(path) if path.exists() else ()), run]
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps([asdict(entry) for entry in runs], indent=1) + "\n").encode())
    return path


def load(path: Path) -> list[SpeedRun]:
    """The runs of a file, in the order in which they were saved.

    Raises:
        ValueError: It holds something else.
    """
    names = {field.name for field in fields(SpeedRun)}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [SpeedRun(**entry | {"rows": tuple(Row(**row) for row in entry["rows"])}) for entry in found]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} must hold a list of runs with {sorted(names)}, found {error!r}") from error


def load_all(folder: Path) -> dict[str, list[SpeedRun]]:
    """The runs of a folder by machine; raises as `load` does."""
    found = [load(path) for path in sorted(folder.glob("*.json"))]
    return {runs[0].machine: runs for runs in found if runs}


def newest_rows(runs: Sequence[SpeedRun]) -> list[tuple[Row, SpeedRun]]:
    """Every figure once, with its run: the newest of a quiet run, or else of any; in the order of the newest runs."""
    chosen: dict[str, tuple[Row, SpeedRun]] = {}
    for run in sorted(runs, key=lambda run: run.is_quiet):  # sorted is stable: quiet ones last, the newest very last
        chosen |= {row.name: (row, run) for row in run.rows}
    order = {row.name: None for run in reversed(runs) for row in run.rows}
    return [chosen[name] for name in order]


def now() -> str:
    """The time as runs have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
