"""Trajectories of a table, one row a campaign and tick: what a log of your own is turned into."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auction_env.data.dataset import Array, TrajectoryData
from auction_env.data.formats.table.columns import SAMPLED, TARGETS
from auction_env.data.formats.table.reading import read_rows
from auction_env.data.missing import MISSING
from auction_env.data.schema import FEATURE_COLUMNS, MAY_BE_MISSING, OBSERVATION_COLUMNS
from auction_env.data.storage import check_target, write
from auction_env.kernels.features import write_episodes
from auction_env.kernels.logs.campaigns import follow_campaigns, repeat_episodes
from auction_env.tasks import BASES, QUANTITIES, Targets, Task, get_task

logger = logging.getLogger(__name__)

Float = NDArray[np.float64]
Progress = Callable[[int, int], None]
"""Called with the rows written so far and in all."""

ROWS_PER_PART = 131_072
_FEATURES = len(FEATURE_COLUMNS)


class TableSummary(NamedTuple):
    """What an import read and wrote."""

    n_rows: int
    n_trajectories: int
    missing: tuple[str, ...]  # columns that the log lacks
    ignored: tuple[str, ...]  # columns of the table that are not used
    derived_targets: dict[str, float]  # targets that are the log's own cost per unit


def from_table(
    frame: Any,
    *,
    task: str | Task,
    ticks: int = 48,
    mapping: Mapping[str, str] | None = None,
    constants: Mapping[str, float] | None = None,
) -> TrajectoryData:
    """Makes trajectories of a table with a row a campaign and tick, in any order.

    What a log does not have is missing: NaN, and named in `TrajectoryData.missing`. Nothing is guessed; what can be
    estimated `agents.labels.completion.complete` estimates. Without `wins`, impressions won are those shown.

    Args:
        frame: A table of pandas, polars or pyarrow, a mapping of names to columns, the path of a CSV or Parquet file,
            or a list of these. Its columns: `auction_env.data.formats.table.columns.TABLE_COLUMNS`.
        task: What the campaigns were for.
        ticks: Ticks of a period.
        mapping: By column, what the table calls it, where that is another name.
        constants: By column, a number that holds for all rows.

    Raises:
        TableError: The table breaks rules; lists up to 20 problems, with row and column.
        TypeError: `frame` is no table.
        ValueError: An unknown task, column or path.
    """
    log = TableLog(frame, task=task, ticks=ticks, mapping=mapping, constants=constants)
    return log.trajectories(0, log.n_episodes)


def import_table(
    frame: Any,
    out: str | os.PathLike[str],
    *,
    task: str | Task,
    ticks: int = 48,
    mapping: Mapping[str, str] | None = None,
    constants: Mapping[str, float] | None = None,
    force: bool = False,
    metadata: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> TableSummary:
    """Writes a table as a trajectory data set, whole or not at all; arguments and errors as of `from_table`.

    The table is held in memory, the trajectories are not.

    Args:
        frame: The table.
        out: Directory of the data set.
        task: What the campaigns were for.
        ticks: Ticks of a period.
        mapping: By column, what the table calls it.
        constants: By column, a number that holds for all rows.
        force: Whether a data set at `out` is replaced.
        metadata: JSON values that the data set notes, in place of or beside `TableLog.metadata`.
        progress: Told after every part how far the writing is.

    Raises:
        FileExistsError: `out` holds files (see `auction_env.data.write`).
    """
    check_target(out, force=force)
    log = TableLog(frame, task=task, ticks=ticks, mapping=mapping, constants=constants)
    noted = log.metadata | dict(metadata or {})
    write(out, log.parts(progress), metadata=noted, parameters={"task": log.task.to_json()}, force=force)
    return TableSummary(log.n_rows, log.n_episodes, log.missing, log.rows.ignored, log.derived_targets)


class TableLog:
    """A table that was read and checked; arguments and errors are those of `from_table`."""

    def __init__(
        self,
        frame: Any,
        *,
        task: str | Task,
        ticks: int,
        mapping: Mapping[str, str] | None,
        constants: Mapping[str, float] | None,
    ) -> None:
        self.task, self.ticks = get_task(task), ticks
        self.rows = read_rows(frame, ticks=ticks, mapping=mapping, constants=constants)
        self.derived_targets: dict[str, float] = {}
        self._targets = Targets(self.rows.numbers["budget"], *(self._target(basis) for basis in BASES))
        self._check_task()
        self.missing = self._missing()

    @property
    def n_rows(self) -> int:
        return len(self.rows.tick)

    @property
    def n_episodes(self) -> int:
        return len(self.rows.starts) - 1

    @property
    def metadata(self) -> dict[str, Any]:
        """What a data set notes of the table."""
        rows = self.rows
        return {
            "source": "table",
            "files": list(rows.sources),
            "n_ticks": self.ticks,
            "campaigns": list(rows.campaigns),
            "ignored_columns": list(rows.ignored),
            "derived_targets": self.derived_targets,
            MISSING: list(self.missing),
        }

    def parts(self, progress: Progress | None = None) -> Iterator[TrajectoryData]:
        """The trajectories in parts of about `ROWS_PER_PART` rows."""
        starts, first = self.rows.starts, 0
        while first < self.n_episodes:
            last = int(np.searchsorted(starts, starts[first] + ROWS_PER_PART, side="right")) - 1
            last = max(last, first + 1)
            yield self.trajectories(first, last)
            first = last
            if progress is not None:
                progress(int(starts[last]), self.n_rows)

    def trajectories(self, first: int, last: int) -> TrajectoryData:
        """Those of the episodes from `first` to before `last`."""
        rows = slice(int(self.rows.starts[first]), int(self.rows.starts[last]))
        starts = self.rows.starts[first : last + 1] - self.rows.starts[first]
        given = {name: values[rows] for name, values in self.rows.numbers.items()}
        n = rows.stop - rows.start
        columns = self._columns(given, n)
        targets = Targets(*(part.copy() for part in self._targets.at(rows)))
        # copies: numba would compile once more for every mix of arrays that are read-only, as Arrow's are, and others
        tick, left, done = self.rows.tick[rows].copy(), np.empty(n), np.empty(n, bool)
        bid = given["multiplier"] if "multiplier" in given else given["bid"]
        follow_campaigns(starts, tick, self.ticks, targets.budget, given["cost"].copy(), bid.copy(), left, done)
        policies, codes = self._policies(rows)
        columns |= {
            "period": self.rows.period[rows],
            "advertiser": self.rows.campaign[rows],
            "tick": tick,
            "category": given["category"].astype(np.int32) if "category" in given else _same(0, n, np.int32),
            "seed": _same(-1, n, np.int64),
            "policy": codes,
            "task": _same(0, n, np.int32),
            "budget": targets.budget,
            **dict(zip(TARGETS.values(), targets[1:], strict=True)),
            "budget_left": left,
            "done": done,
        }
        columns["observation"] = self._observation(columns, starts, given.get("bid"))
        return TrajectoryData.from_arrays(columns, (self.task,), self.metadata, {"policy": policies})

    def _target(self, basis: str) -> Float:
        """(n,) what a unit is worth; the log's own cost per unit where the table does not say it, 0: not recorded."""
        rows, name, sampled = self.rows.numbers, TARGETS[basis], SAMPLED[basis]
        if name in rows:
            if sampled not in rows and basis != "conversions":
                raise ValueError(
                    f"`{sampled}` must be in the table beside `{name}`, found none: add it, or leave `{name}` out"
                )
            return rows[name]
        if sampled not in rows:
            if basis == "conversions":
                raise ValueError(
                    f"`{name}` must be given for a table without `conversions`, found none: what a conversion would be"
                    f" worth, as a column or a constant (--constant {name}=NUMBER)"
                )
            return _same(0.0, self.n_rows)
        cost, amount = float(rows["cost"].sum()), float(rows[sampled].sum())
        if not cost > 0 or not amount > 0:
            raise ValueError(
                f"`{name}` must be given for a table whose costs ({cost:.15g}) and {sampled} ({amount:.15g}) are not"
                f" both positive, found none: add it as a column or a constant (--constant {name}=NUMBER)"
            )
        self.derived_targets[name] = amount / cost if basis == "gmv" else cost / amount
        return _same(self.derived_targets[name], self.n_rows)

    def _check_task(self) -> None:
        """ValueError where the table lacks what the task counts or a limit that it sets."""
        for basis in self.task.needs:
            if SAMPLED[basis] not in self.rows.numbers:
                raise ValueError(
                    f"`{SAMPLED[basis]}` must be in the table for task {self.task.name!r}, which counts it, found none"
                )
        for constraint in self.task.constraints:
            name = f"{constraint.kind}_target"
            if constraint.limit is None and name in self.derived_targets:
                raise ValueError(
                    f"`{name}` must be in the table for task {self.task.name!r}, which limits it, found none: add it as"
                    f" a column or a constant (--constant {name}=NUMBER)"
                )

    def _missing(self) -> tuple[str, ...]:
        """The columns of the data set that the table does not tell."""
        columns = self._columns(dict.fromkeys(self.rows.numbers, np.ones(1)), 1)
        absent = {name for name, values in columns.items() if np.isnan(values[0])}
        means = _means(columns, np.ones(1) if "bid" in self.rows.numbers else None)
        pairs = zip(_MEANS, means, strict=True)
        absent |= {
            f"feature_{name}_{part}" for name, values in pairs if np.isnan(values[0]) for part in ("all", "last_3")
        }
        if np.isnan(columns["n_impressions"][0]):
            absent |= {f"feature_volume_{part}" for part in ("now", "last_3", "all")}
        if np.isnan(means[_MEANS.index("value")][0]):
            absent.add("feature_value_now")
        own = QUANTITIES[self.task.basis].offered
        if not self.rows.numbers.get("multiplier", np.ones(1)).all() and own not in self.rows.numbers:
            absent.add(own)  # who bids 0 does not tell what on
            if own == "offered_conversions":
                absent |= {f"feature_value_{part}" for part in ("now", "last_3", "all")}
        return tuple(name for name in MAY_BE_MISSING if name in absent)

    def _columns(self, given: Mapping[str, Float], n: int) -> dict[str, Array]:
        """The measured columns of the schema, (n,) each, from the table's."""

        def of(*names: str) -> Float:
            """The first of these that the table has; NaN without."""
            return next((given[name] for name in names if name in given), _same(np.nan, n))

        out: dict[str, Array] = {
            "n_impressions": of("volume"),
            "wins": of("wins", "impressions"),
            "exposures": of("impressions", "wins"),
            "cost": of("cost"),
            "least_winning_cost": of("least_winning_cost"),
        }
        for basis in BASES:
            quantity, is_recorded = QUANTITIES[basis], SAMPLED[basis] in given or basis == "conversions"
            for name, theirs in ((quantity.sampled, SAMPLED[basis]), (quantity.expected, quantity.expected),
                                 (quantity.offered, quantity.offered)):  # fmt: skip
                out[name] = of(theirs) if is_recorded else _same(0.0, n)
        own = QUANTITIES[self.task.basis]
        if own.offered not in given and "bid" in given and "multiplier" in given:
            by_bids = np.full(n, np.nan)
            out[own.offered] = np.divide(
                given["bid"] * out["n_impressions"], given["multiplier"], out=by_bids, where=given["multiplier"] > 0
            )
        offered = out[own.offered]
        out["bid"] = given["bid"] * out["n_impressions"] if "bid" in given else given["multiplier"] * offered
        out["action"] = given["multiplier"] if "multiplier" in given else _over(out["bid"], offered)
        for name, amount in (("reward", own.sampled), ("reward_expected", own.expected)):
            out[name] = self.task.net(out[amount], out["cost"])
        return out

    def _observation(self, columns: Mapping[str, Array], starts: NDArray[np.int64], mean_bid: Float | None) -> Float:
        """(n, 31) features and requirements; `mean_bid` where the table has it."""
        first, n = starts[:-1], len(columns["tick"])
        budget = columns["budget"]
        observation = np.empty((n, len(OBSERVATION_COLUMNS)))
        targets = Targets(budget, *(columns[name] for name in TARGETS.values())).at(first)
        repeat_episodes(starts, self.task.requirements(targets), observation[:, _FEATURES:])
        means = _means(columns, mean_bid)
        write_episodes(
            starts, columns["tick"], self.ticks, columns["budget_left"] / budget, means[_MEANS.index("value")],
            columns["n_impressions"].copy(), means, observation,
        )  # fmt: skip
        return observation

    def _policies(self, rows: slice) -> tuple[tuple[str, ...], NDArray[np.int32]]:
        """Names of the policies, and the code of each row's."""
        n = rows.stop - rows.start
        if self.rows.policy is None:
            return ("",), _same(0, n, np.int32)
        names, codes = np.unique(self.rows.policy[rows].astype(str), return_inverse=True)
        return tuple(names.tolist()), codes.astype(np.int32)


_MEANS = ("bid", "least_winning_cost", "value", "conversions", "win_rate")


def _means(columns: Mapping[str, Array], mean_bid: Float | None) -> Float:
    """(5, n) the ticks' means over their impressions, in the order of the features' kernel."""
    volume = columns["n_impressions"]
    out = np.empty((len(_MEANS), len(volume)))
    per_impression = 1.0 / np.maximum(volume, 1.0)
    out[0] = columns["bid"] * per_impression if mean_bid is None else mean_bid
    out[1] = columns["least_winning_cost"]
    out[2] = columns["offered_conversions"] * per_impression
    out[3] = columns["conversions"] * per_impression
    out[4] = columns["wins"] * per_impression
    return out


def _over(bid: Float, offered: Float) -> Float:
    """Bids over predicted amounts: 0 without a bid or without an amount, whatever the other is."""
    out = np.divide(bid, offered, out=np.where(offered == 0, 0.0, np.nan), where=offered > 0)
    return np.where(bid == 0, 0.0, out)


def _same(value: float, n: int, dtype: type = np.float64) -> Array:
    """(n,) one value, which takes the memory of one."""
    return np.broadcast_to(dtype(value), (n,))
