"""What a run of `vamo bench speed` has measured so far: a stopped one goes on from there.

Rows of other code or of another machine say nothing about this one: then a run begins anew.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from auction_env.files import write_atomically
from benchmarks.speed.measure import Row
from benchmarks.suites.running import provenance

_PACKAGES = ("auction_env", "agents", "vamo", "benchmarks")


@dataclass(frozen=True, slots=True)
class Measured:
    """What one measurement gave.

    Attributes:
        rows: Its figures.
        others: Share of the machine that other work took meanwhile, in [0, 1].
        seconds: That it took.
    """

    rows: tuple[Row, ...]
    others: float
    seconds: float


def file_of(out: Path, *, quick: bool, only: str | None) -> Path:
    """Where a run with these options keeps its measurements in the folder `out`."""
    return out / f"unfinished{'-quick' if quick else ''}{f'-{only}' if only else ''}.json"


class Unfinished:
    """The measurements of a run so far, by name, in a file that is written after each and removed at the end.

    Args:
        path: Of the file. What it holds of the same code and machine counts; anything else is overwritten.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = {"machine": provenance.machine(), "code": _code()}
        self.measured = self._read()

    def _read(self) -> dict[str, Measured]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            if {name: found[name] for name in self._state} != self._state:
                return {}
            return {name: _measured(**entry) for name, entry in found["measured"].items()}
        except (FileNotFoundError, ValueError, TypeError, KeyError):  # none, or no file of ours
            return {}

    def add(self, name: str, measured: Measured) -> None:
        """Keeps what a measurement gave."""
        self.measured[name] = measured
        content = self._state | {"measured": {name: asdict(entry) for name, entry in self.measured.items()}}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, (json.dumps(content, indent=1) + "\n").encode())

    def remove(self) -> None:
        """Removes the file: the run is finished."""
        self._path.unlink(missing_ok=True)


def _measured(rows: list[dict[str, Any]], others: float, seconds: float) -> Measured:
    return Measured(tuple(Row(**row) for row in rows), others, seconds)


def _code() -> str:
    """A hash of the packages' sources: a commit says nothing of files that differ from it."""
    digest, root = hashlib.sha256(), Path(__file__).parents[3]
    for path in sorted(path for package in _PACKAGES for path in (root / package).rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()
