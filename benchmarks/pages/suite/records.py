"""Weights over training and single episodes, compact, for the script of a suite's page (`assets/suite.js`).

Both are lists of records whose `key` holds the choices of the controls that show them: indices into the lists that
`Records` names. What does not fit the page is left out, and `Records.left_out` says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.pages.plots import values
from benchmarks.suites.storage.store import RATIOS, SuiteRecord

Float = NDArray[np.float64]

MOST_FRAMES = 80  # of a run's training that the slider steps through
MOST_NUMBERS = 250_000  # of each kind on the page: about 1.5 MB
CLIPPED_SHARE = 0.02  # of the alignments lies beyond the ends of the colours
_LINES = ("multiplier", "least_winning_cost", "slot1", "slot2", "slot3", *RATIOS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What the script reads.

    Attributes:
        controls: Choices of every control, as people read them; the last control is the innermost.
        entries: The records, each with its `key` of one choice a control.
        left_out: A sentence on what is not on the page; empty where all is.
    """

    controls: dict[str, list[str]]
    entries: list[dict[str, Any]]
    left_out: str = ""

    def __post_init__(self) -> None:
        sizes = [len(choices) for choices in self.controls.values()]
        for entry in self.entries:
            if not all(0 <= choice < n for choice, n in zip(entry["key"], sizes, strict=True)):
                raise ValueError(f"`key` of a record must be choices of {sizes}, found {entry['key']}")


def weight_records(record: SuiteRecord, weights: pa.Table, runs: pa.Table) -> Records:
    """Weights and alignments of every run that has them; controls `wvariant`, `wmethod`, `wseed`.

    A frame is (targets, sources) row by row. With more numbers than `MOST_NUMBERS` in all, runs are thinned evenly, the
    last frame kept, or left out (`_allot`).
    """
    about = {run["run_id"]: run for run in runs.select(["run_id", "variant", "method", "train_seed"]).to_pylist()}
    found = [(about[name], part) for name, part in _groups(weights, ["run_id"]) if name in about]
    variants = [entry["name"] for entry in record.variants]
    methods = [name for name in record.labels if any(run["method"] == name for run, _ in found)]
    seeds = sorted({run["train_seed"] for run, _ in found})
    found.sort(key=lambda item: (item[0]["train_seed"], variants.index(item[0]["variant"])))
    cells = np.array([2 * len(set(part["target"])) * len(set(part["source"])) for _, part in found], np.int64)
    steps = np.array([len(set(part["step"])) for _, part in found], np.int64)
    n_first = sum(run["train_seed"] == seeds[0] for run, _ in found)
    n_frames = _allot(cells, steps, n_first)
    entries = []
    for (run, part), n in zip(found, n_frames, strict=True):
        if n:
            key = [variants.index(run["variant"]), methods.index(run["method"]), seeds.index(run["train_seed"])]
            entries.append(_frames(part, n) | {"key": key})
    n_thinned = int(((n_frames > 0) & (n_frames < steps)).sum())
    notes = []
    if n_thinned:
        notes.append(f"{n_thinned} of {len(found)} runs are here with some records of their training only.")
    if len(entries) < len(found):
        notes.append(f"{len(found) - len(entries)} of {len(found)} runs with weights do not fit this page.")
    labels = {variant["name"]: variant["label"] for variant in record.variants}
    controls = {
        "wvariant": [labels[name] for name in variants],
        "wmethod": [record.labels[name] for name in methods],
        "wseed": [_seed(seed) for seed in seeds],
    }
    return Records(controls=controls, entries=entries, left_out=" ".join(notes))


def _allot(cells: NDArray[np.int64], steps: NDArray[np.int64], n_first: int) -> NDArray[np.int64]:
    """Frames of each run, (runs,), that fit `MOST_NUMBERS`; `cells` are the numbers of a frame.

    Half is for the first training seed, whose runs come first, so that the training can be watched however many seeds
    there are; the others share the rest. Within each the smallest come first and take an equal share of what is left,
    or a frame: 4 tasks lose nothing to 128.
    """
    frames = np.zeros(len(cells), np.int64)
    left = MOST_NUMBERS
    for first, last in ((0, n_first), (n_first, len(cells))):
        reserved = MOST_NUMBERS // 2 if last < len(cells) else 0
        ascending = first + np.argsort(cells[first:last], kind="stable")
        for place, run in enumerate(ascending):
            free = left - reserved
            share = free // (len(ascending) - place)
            frames[run] = min(steps[run], MOST_FRAMES, max(share // cells[run], int(cells[run] <= free)))
            left -= int(frames[run] * cells[run])
    return frames


def _frames(part: dict[str, NDArray[Any]], n: int) -> dict[str, Any]:
    """n frames of a run, which has at least as many."""
    targets, sources = list(dict.fromkeys(part["target"])), list(dict.fromkeys(part["source"]))
    steps = np.unique(part["step"])
    kept = steps[np.unique(np.linspace(len(steps) - 1, 0, n).round().astype(int))]
    place = {name: {key: i for i, key in enumerate(keys)} for name, keys in (("target", targets), ("source", sources))}
    chosen = np.isin(part["step"], kept)
    at = (
        np.searchsorted(kept, part["step"][chosen]),
        np.array([place["target"][name] for name in part["target"][chosen]]),
        np.array([place["source"][name] for name in part["source"][chosen]]),
    )
    grids = {}
    for name in ("weight", "alignment"):
        grid = np.full((len(kept), len(targets), len(sources)), np.nan)
        grid[at] = part[name][chosen]
        grids[name] = grid
    size = np.abs(grids["alignment"][np.isfinite(grids["alignment"])])
    return {
        "targets": targets,
        "sources": sources,
        "steps": kept.tolist(),
        "weight": [_short(frame, 3) for frame in grids["weight"].reshape(len(kept), -1)],
        "alignment": [_short(frame, 3) for frame in grids["alignment"].reshape(len(kept), -1)] if len(size) else None,
        "most_weight": float(np.nanmax(grids["weight"])),
        "most_alignment": float(np.quantile(size, 1 - CLIPPED_SHARE)) if len(size) else 0.0,
    }


def episode_records(record: SuiteRecord, order: Sequence[str], episodes: pa.Table) -> Records:
    """Kept test episodes tick by tick; controls `evariant`, `etask`, `episode`, `agent`, `eseed`.

    A record's `colour` is the method's place in `order`, the methods of the page; episodes of others are left out.
    Ratios are clipped at 1000 where they are infinite. With more numbers than `MOST_NUMBERS` the later episodes of
    each task are left out.
    """
    keys = ["variant", "task", "seed", "advertiser", "method", "train_seed"]
    found = list(_groups(episodes, keys))
    units = sorted({(key[2], key[3]) for key, _ in found})
    variants = [entry["name"] for entry in record.variants]
    tasks = list(dict.fromkeys(task["name"] for name in variants for task in record.tasks.get(name, ())))
    tasks += [name for name in dict.fromkeys(key[1] for key, _ in found) if name not in tasks]
    found = [item for item in found if item[0][4] in order and item[0][4] in record.labels]
    methods = [name for name in order if any(key[4] == name for key, _ in found)]
    seeds = sorted({key[5] for key, _ in found})
    of_task: dict[Any, list[Any]] = {}
    for key in sorted({item[0][:4] for item in found}):
        of_task.setdefault(key[:2], []).append(key[2:])
    # first the first episode of every task, so that no task is left out for another's second
    found.sort(key=lambda item: (of_task[item[0][:2]].index(item[0][2:4]), item[0][5]))
    sizes = np.cumsum([len(_LINES) * len(part["tick"]) for _, part in found])
    n_kept = int(np.searchsorted(sizes, MOST_NUMBERS, side="right"))
    entries = []
    for key, part in found[:n_kept]:
        by_tick = np.argsort(part["tick"], kind="stable")
        place = (
            variants.index(key[0]),
            tasks.index(key[1]),
            units.index((key[2], key[3])),
            methods.index(key[4]),
            seeds.index(key[5]),
        )
        entry = {"key": list(place), "colour": order.index(key[4])}
        entries.append(entry | _episode({name: column[by_tick] for name, column in part.items()}))
    labels = {variant["name"]: variant["label"] for variant in record.variants}
    controls = {
        "evariant": [labels[name] for name in variants],
        "etask": tasks,
        "episode": [f"market seed {seed}, advertiser {advertiser}" for seed, advertiser in units],
        "agent": [record.labels[name] for name in methods],
        "eseed": [_seed(seed) for seed in seeds],
    }
    lacking = len(found) - n_kept
    left_out = f"{lacking} of {len(found)} kept episodes do not fit this page." if lacking else ""
    return Records(controls=controls, entries=entries, left_out=left_out)


def _episode(part: dict[str, NDArray[Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {"base": float(part["base"][0]), "objective": float(part["objective"][-1])}
    ratio, cost = part["budget_ratio"], np.cumsum(part["cost"])
    spent = np.flatnonzero(np.isfinite(ratio) & (ratio > 0))
    out["budget"] = float(f"{cost[spent[-1]] / ratio[spent[-1]]:.4g}") if len(spent) else None
    out["plan"] = _short(part["planned_spend_share"], 4)
    out["impressions"] = _short(part["n_impressions"], 4)
    for name in _LINES:
        column = part[name]
        if not np.isnan(column).all():
            out[name] = _short(np.where(np.isinf(column), 1000.0, column), 4)
    return out


def _groups(table: pa.Table, keys: Sequence[str]) -> Iterator[tuple[Any, dict[str, NDArray[Any]]]]:
    """Rows of each value of the keys, in the order of their first row: the key (a tuple of several) and columns."""
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    place: dict[Any, list[int]] = {}
    for row, key in enumerate(zip(*(columns[name].tolist() for name in keys), strict=True)):
        place.setdefault(key if len(keys) > 1 else key[0], []).append(row)
    for key, rows in place.items():
        yield key, {name: column[rows] for name, column in columns.items()}


def _short(array: Iterable[float], digits: int) -> list[float | int | None]:
    """Numbers of a few significant digits; whole ones without a point, None where not finite."""
    out: list[float | int | None] = []
    for x in values(np.asarray(array)):
        rounded = None if x is None else float(f"{x:.{digits}g}")
        out.append(int(rounded) if rounded is not None and rounded == int(rounded) else rounded)
    return out


def _seed(seed: int) -> str:
    return "not trained" if seed < 0 else f"training seed {seed}"
