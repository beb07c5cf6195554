"""Speed figures in Markdown: the latest of each, and how they changed from run to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.speed.figures import cells
from benchmarks.speed.kept.history import SpeedRun, load_all, newest_rows
from benchmarks.speed.measure import number

FOLDER = "speed"
"""Of the runs, in the folder of published results."""

_MOST_RUNS = 8  # of a history, the newest


def figures(folder: Path) -> str:
    """A table for each kind of machine, those with an undisturbed run first: every figure once, and what it is."""
    found = sorted(load_all(folder).items(), key=lambda entry: not any(run.is_quiet for run in entry[1]))
    return "\n\n".join(_figures(machine, runs) for machine, runs in found)


def history(folder: Path) -> str:
    """A table for each kind of machine: a column a run."""
    return "\n\n".join(_history(machine, runs) for machine, runs in load_all(folder).items())


KINDS: Mapping[str, Callable[[Path], str]] = {"figures": figures, "history": history}
"""What a pair of markers can ask for."""


def _figures(machine: str, runs: Sequence[SpeedRun]) -> str:
    chosen = newest_rows(runs)
    lines = [
        "| figure | value | reference | ratio | bound | reached | measured | what, and against what | bound by |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | --- | --- |",
    ]
    for row, run in chosen:
        name, value, unit, reference, ratio, bound, reached = cells(row)
        words = (_words(row.reference), _words(row.bound))
        shown = (f"`{name}`", f"{value} {unit}", reference, ratio, bound, reached, _when(run), *words)
        lines.append("| " + " | ".join(shown) + " |")
    return f"**{machine}**\n\n" + "\n".join(lines)


def _history(machine: str, runs: Sequence[SpeedRun]) -> str:
    shown = list(runs)[-_MOST_RUNS:]
    names = {row.name: row.unit for run in shown for row in run.rows}
    found = [{row.name: row for row in run.rows} for run in shown]
    head = [f"{_when(run)}, `{run.commit}`" for run in shown]
    lines = [
        "| figure | unit | " + " | ".join(head) + " |",
        "| --- | --- | " + " | ".join(["---:"] * len(shown)) + " |",
    ]
    for name, unit in names.items():
        values = (number(of_run[name].value) if name in of_run else "" for of_run in found)
        lines.append(f"| `{name}` | {unit} | " + " | ".join(values) + " |")
    return f"**{machine}**\n\n" + "\n".join(lines)


def _when(run: SpeedRun) -> str:
    """The day, and what disturbed the run."""
    day = run.date.partition("T")[0]
    return day if run.is_quiet else f"{day}, other work {run.others:.0%}"


def _words(text: str) -> str:
    return text.replace("|", "\\|")
