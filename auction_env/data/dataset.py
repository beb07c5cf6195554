"""Logged trajectories in memory: columns as numpy arrays, rows sorted by (period, advertiser, tick)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.data.missing import MISSING, missing_columns
from auction_env.data.schema import (
    COLUMN_NAMES,
    COLUMNS,
    EPISODE_CONSTANTS,
    FEATURE_COLUMNS,
    MAY_BE_MISSING,
    OBSERVATION_COLUMNS,
    REQUIREMENT_COLUMNS,
    SORT_KEY,
    UNRECORDED,
)
from auction_env.names import check_name
from auction_env.notebook import data_frame, html_table
from auction_env.tasks import OUTCOMES, Targets, Task, Totals, unevenness

Array = NDArray[Any]
Bool = NDArray[np.bool_]
Float = NDArray[np.float64]
Int = NDArray[np.int64]

_MATRICES = {
    "observation": OBSERVATION_COLUMNS,
    "features": FEATURE_COLUMNS,
    "requirements": REQUIREMENT_COLUMNS,
}
DTYPES = {column.name: np.dtype("int32" if column.dtype == "str" else column.dtype) for column in COLUMNS}
"""dtype of each column in memory: a text column is held as codes."""

VECTORS = tuple(name for name in COLUMN_NAMES if name not in OBSERVATION_COLUMNS)
"""The columns that are arrays of their own."""

TEXT_COLUMNS = tuple(column.name for column in COLUMNS if column.dtype == "str")
_LABELLED = tuple(name for name in TEXT_COLUMNS if name != "task")


@dataclass(frozen=True, eq=False, repr=False)
class TrajectoryData:
    """A set of trajectories; the columns are those of `auction_env.data.schema`, each of shape (n,).

    Rows are sorted by (period, advertiser, tick) and unique; an episode is the rows of one
    (period, advertiser). `data["action"]` is `data.action`; the columns of the observation are reached
    by name too (`data["feature_time_left"]`, `data.feature_time_left`).

    Attributes:
        task: Codes into `tasks`.
        tasks: The tasks that the codes stand for.
        labels: What the codes of the other text columns stand for, by column.
        observation: Features, then requirements: (n, features + requirements).
        metadata: What the writer noted about the data: JSON values.

    Raises:
        ValueError: An array has the wrong dtype or shape, holds a number that is not finite (NaN is allowed in the
            columns of `missing`), the rows are not sorted or not unique, or a column that belongs to the episode
            changes within it.
    """

    period: Int
    advertiser: NDArray[np.int32]
    tick: NDArray[np.int32]
    category: NDArray[np.int32]
    seed: Int
    policy: NDArray[np.int32]
    task: NDArray[np.int32]
    budget: Float
    cpa_target: Float
    cpc_target: Float
    cart_cost_target: Float
    roas_target: Float
    observation: Float
    action: Float
    reward: Float
    reward_expected: Float
    done: Bool
    n_impressions: Float
    bid: Float
    offered_conversions: Float
    offered_clicks: Float
    offered_add_to_carts: Float
    offered_gmv: Float
    wins: Float
    exposures: Float
    cost: Float
    conversions: Float
    expected_conversions: Float
    clicks: Float
    expected_clicks: Float
    add_to_carts: Float
    expected_add_to_carts: Float
    gmv: Float
    expected_gmv: Float
    least_winning_cost: Float
    budget_left: Float
    tasks: tuple[Task, ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.period)
        for name in self.missing:
            check_name(MISSING, name, MAY_BE_MISSING, rule="of `metadata` must name columns that a log may lack,")
        shapes = {name: (n,) for name in VECTORS} | {"observation": (n, len(OBSERVATION_COLUMNS))}
        for name, shape in shapes.items():
            _check_array(name, getattr(self, name), shape, DTYPES.get(name, np.dtype(np.float64)), self.missing)
        _check_order(self)
        for name in TEXT_COLUMNS:
            _check_codes(name, getattr(self, name), len(self.tasks if name == "task" else self.labels.get(name, ())))
        _check_constants(self)

    def __len__(self) -> int:
        return len(self.period)

    def __repr__(self) -> str:
        names = [task.name for task in self.tasks]
        return f"TrajectoryData(n_rows={len(self)}, n_episodes={self.n_episodes}, tasks={names})"

    def _repr_html_(self) -> str:
        rows = []
        for code, task in enumerate(self.tasks):
            first = self.episode_starts[:-1]
            own = first[self.task[first] == code]
            rows.append((task.name, len(own), len(np.unique(self.advertiser[own])), self.budget[own].mean()))
        return html_table(
            f"TrajectoryData: {self.n_episodes:,} trajectories, {len(self):,} ticks",
            ("task", "trajectories", "advertisers", "mean budget"),
            rows,
        )

    def to_pandas(self) -> Any:
        """A data frame with a row a tick, the columns of the schema; texts, the task's name too, as such.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        columns = {name: self[name] for name in COLUMN_NAMES}
        for name in TEXT_COLUMNS:
            texts = [task.name for task in self.tasks] if name == "task" else list(self.texts(name))
            columns[name] = np.asarray(texts, dtype=object)[self[name]]
        return data_frame(columns)

    def __getitem__(self, name: str) -> Array:
        """The array of a column, or `observation`, `features` or `requirements`; KeyError if unknown."""
        if name in OBSERVATION_COLUMNS:
            column: Array = self.observation[:, OBSERVATION_COLUMNS.index(name)]
            return column
        if name not in VECTORS and name not in _MATRICES:
            raise KeyError(f"the column must be one of {[*COLUMN_NAMES, *_MATRICES]}, found {name!r}")
        array: Array = getattr(self, name)
        return array

    if not TYPE_CHECKING:  # a type checker must go on reporting misspelt attributes

        def __getattr__(self, name: str) -> Array:
            if name in OBSERVATION_COLUMNS:
                return self[name]
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def texts(self, name: str) -> tuple[str, ...]:
        """What the codes of a text column stand for, as in the files: the tasks' JSON, or the labels."""
        return tuple(task.to_json() for task in self.tasks) if name == "task" else self.labels[name]

    @property
    def features(self) -> Float:
        """The state features, a view of shape (n, 16)."""
        return self.observation[:, : len(FEATURE_COLUMNS)]

    @property
    def requirements(self) -> Float:
        """The requirement vectors, a view of shape (n, len(REQUIREMENT_NAMES))."""
        return self.observation[:, len(FEATURE_COLUMNS) :]

    @property
    def missing(self) -> tuple[str, ...]:
        """The columns that the log lacks in some rows or in all, where they are NaN (`auction_env.data.missing`)."""
        return missing_columns(self.metadata)

    @property
    def targets(self) -> Targets:
        """What the advertisers have and would pay, (n,) each: the same in all rows of an episode."""
        return Targets(self.budget, self.cpa_target, self.cpc_target, self.cart_cost_target, self.roas_target)

    @property
    def base(self) -> Float:
        """(n,) what a unit of the row's own objective is worth, currency: what `action` is relative to."""
        out = np.empty(len(self))
        for code, task in enumerate(self.tasks):
            rows = self.task == code
            if rows.any():
                out[rows] = task.unit_worth(self.targets.at(rows))
        return out

    @cached_property
    def episode_starts(self) -> Int:
        """Row at which each episode starts, then the number of rows: shape (n_episodes + 1,)."""
        if not len(self):
            return np.zeros(1, np.int64)
        is_new = (self.period[1:] != self.period[:-1]) | (self.advertiser[1:] != self.advertiser[:-1])
        return np.concatenate([[0], np.flatnonzero(is_new) + 1, [len(self)]]).astype(np.int64)

    @property
    def n_episodes(self) -> int:
        """Number of distinct (period, advertiser)."""
        return len(self.episode_starts) - 1

    def totals(self) -> Totals:
        """What each episode came to, (n_episodes,) each."""
        starts, length = self.episode_starts[:-1], np.diff(self.episode_starts)
        sums = {name: np.add.reduceat(self[name], starts) for name in OUTCOMES} if len(self) else {}
        uneven = np.zeros(len(starts))
        for n_ticks in np.unique(length):  # episodes of one length lie side by side
            of_length = np.flatnonzero(length == n_ticks)
            rows = starts[of_length, None] + np.arange(n_ticks)
            uneven[of_length] = unevenness(self.cost[rows], self.n_impressions[rows], axis=1)
        return Totals(**{name: sums.get(name, uneven) for name in OUTCOMES}, unevenness=uneven)

    def select(self, episodes: ArrayLike) -> TrajectoryData:
        """The given episodes, in the order of this data set; `tasks` and `metadata` stay as they are.

        Views where they are one run of episodes, copies elsewhere.

        Args:
            episodes: Indices into the episodes, shape (k,), in any order; repeats count once.

        Raises:
            IndexError: An index is not an integer from 0 to n_episodes - 1.
        """
        wanted = np.asarray(episodes)
        if wanted.size == 0:
            wanted = wanted.astype(np.int64)
        if wanted.dtype.kind not in "iu" or wanted.ndim != 1:
            raise IndexError(f"`episodes` must be a vector of integers, found {wanted.dtype} {wanted.shape}")
        outside = wanted[(wanted < 0) | (wanted >= self.n_episodes)]
        if outside.size:
            raise IndexError(f"`episodes` must be from 0 to {self.n_episodes - 1}, found {outside[0]}")
        chosen = np.unique(wanted)
        if len(chosen) and chosen[-1] - chosen[0] + 1 == len(chosen):
            starts = self.episode_starts[chosen[0] : chosen[-1] + 2]
            rows = slice(int(starts[0]), int(starts[-1]))
            fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
            fields |= {name: fields[name][rows] for name in (*VECTORS, "observation")}
            return TrajectoryData.from_verified(fields, starts - starts[0])
        episode_mask = np.zeros(self.n_episodes, bool)
        episode_mask[chosen] = True
        row_mask = np.repeat(episode_mask, np.diff(self.episode_starts))
        arrays = {name: getattr(self, name)[row_mask] for name in (*VECTORS, "observation")}
        return dataclasses.replace(self, **arrays)

    def with_task(self, task: Task) -> TrajectoryData:
        """The same trajectories as examples of another task: its requirements replace the logged ones."""
        requirements = task.requirements(self.targets)
        return dataclasses.replace(
            self,
            task=np.zeros(len(self), np.int32),
            tasks=(task,),
            observation=np.concatenate((self.features, requirements), axis=1),
        )

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, ArrayLike],
        *,
        tasks: Sequence[Task] | None = None,
        metadata: Mapping[str, Any] | None = None,
        labels: Mapping[str, Sequence[str]] | None = None,
    ) -> TrajectoryData:
        """Builds a data set from columns in any row order.

        Args:
            columns: Every column of the schema, of shape (n,) or a scalar that holds for all rows; those of
                `schema.UNRECORDED` may be left out and are 0 then, and so may `policy`. In place of their
                columns, `features`, `requirements` or `observation` may be given whole.
            tasks: If given, column `task` holds codes into it; otherwise it holds the tasks' JSON.
            metadata: What to note about the data: JSON values.
            labels: For each other text column that holds codes, what they stand for; the others hold the texts.

        Raises:
            ValueError: A column is missing, unknown or does not fit its type, or the rows break a rule of
                the class; the message names the column or the row's key.
        """
        given: dict[str, ArrayLike] = {**dict.fromkeys(UNRECORDED, 0.0), "policy": "", **_split_matrices(columns)}
        missing = [name for name in COLUMN_NAMES if name not in given]
        if missing:
            raise ValueError(f"`columns` must hold every column of the schema, missing: {', '.join(missing)}")
        if tasks is None:
            given["task"], texts = _encode(given["task"])
            tasks = [Task.from_json(text) for text in texts]
        labels = dict(labels or {})
        for name in _LABELLED:
            if name not in labels:
                given[name], labels[name] = _encode(given[name])
        n = max((np.size(value) for value in given.values() if np.ndim(value)), default=1)
        vectors = {name: _fit(name, given[name], n) for name in VECTORS}
        observation = np.empty((n, len(OBSERVATION_COLUMNS)))
        for index, name in enumerate(OBSERVATION_COLUMNS):
            observation[:, index] = _fit(name, given[name], n)
        return cls.from_arrays(
            {**vectors, "observation": observation},
            tuple(tasks),
            dict(metadata or {}),
            {name: tuple(values) for name, values in labels.items()},
        )

    @classmethod
    def from_arrays(
        cls,
        arrays: dict[str, Array],
        tasks: tuple[Task, ...],
        metadata: dict[str, Any],
        labels: dict[str, tuple[str, ...]] | None = None,
    ) -> TrajectoryData:
        """Builds a data set from the class's own arrays, by name, sorting the rows if they need it."""
        tick, advertiser, period = arrays["tick"], arrays["advertiser"], arrays["period"]
        if not is_sorted(period, advertiser, tick).all():
            order = np.lexsort((tick, advertiser, period))
            arrays = {name: array[order] for name, array in arrays.items()}
        return cls(**arrays, tasks=tasks, metadata=metadata, labels=labels or {})

    @classmethod
    def from_verified(cls, arrays: Mapping[str, Any], episode_starts: Int) -> TrajectoryData:
        """A data set of fields that are known to be sound; checks nothing, so that it opens a mapped file at once."""
        data = object.__new__(cls)
        data.__dict__.update(arrays, episode_starts=episode_starts)
        return data

    @classmethod
    def concat(cls, parts: Sequence[TrajectoryData], *, metadata: Mapping[str, Any] | None = None) -> TrajectoryData:
        """Joins data sets; `tasks`, `labels` and `missing` are unions in order of appearance.

        `metadata` is the one given beside that.

        Raises:
            ValueError: `parts` is empty, or two rows share (period, advertiser, tick).
        """
        if not parts:
            raise ValueError("`parts` must hold at least one data set, found none")
        tasks: dict[Task, int] = {}
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in (*VECTORS, "observation")}
        arrays["task"] = np.concatenate([_recode(part.task, part.tasks, tasks) for part in parts])
        labels: dict[str, tuple[str, ...]] = {}
        for name in _LABELLED:
            codes: dict[str, int] = {}
            arrays[name] = np.concatenate([_recode(getattr(part, name), part.labels[name], codes) for part in parts])
            labels[name] = tuple(codes)
        missing = dict.fromkeys(name for part in parts for name in part.missing)
        noted = dict(metadata or {}) | ({MISSING: list(missing)} if missing else {})
        return cls.from_arrays(arrays, tuple(tasks), noted, labels)


def is_sorted(period: Array, advertiser: Array, tick: Array) -> Bool:
    """For each pair of neighbouring rows, whether the second's key is at least the first's; (n - 1,)."""
    ordered = tick[1:] >= tick[:-1]
    for column in (advertiser, period):
        ordered = (column[1:] > column[:-1]) | ((column[1:] == column[:-1]) & ordered)
    return ordered


def _check_array(
    name: str, array: Array, shape: tuple[int, ...], dtype: np.dtype[Any], missing: tuple[str, ...]
) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"`{name}` must be {dtype} of shape {shape}, found {array.dtype} {array.shape}")
    if dtype.kind != "f":
        return
    is_bad = ~np.isfinite(array)
    if not is_bad.any():
        return
    lacking = np.isin(_MATRICES.get(name, (name,)), missing)
    is_bad &= ~(np.isnan(array) & (lacking if array.ndim == 2 else lacking[0]))
    if is_bad.any():
        hint = "; NaN only in columns that `metadata` names under 'missing'" if np.isnan(array[is_bad]).any() else ""
        raise ValueError(f"`{name}` must hold finite numbers, found {array[is_bad].flat[0]}{hint}")


def _check_codes(name: str, codes: Array, n_known: int) -> None:
    if len(codes) and not 0 <= codes.min() <= codes.max() < n_known:
        raise ValueError(f"`{name}` must hold codes of its {n_known} texts, found {codes.min()} to {codes.max()}")


def _check_order(data: TrajectoryData) -> None:
    keys = [getattr(data, name) for name in SORT_KEY]
    is_same = np.logical_and.reduce([key[1:] == key[:-1] for key in keys])
    if is_same.any():
        row = int(np.argmax(is_same))
        key = ", ".join(f"{name} {array[row]}" for name, array in zip(SORT_KEY, keys, strict=True))
        raise ValueError(f"(period, advertiser, tick) must be unique, found two rows of ({key})")
    if not is_sorted(*keys).all():
        raise ValueError("rows must be sorted by (period, advertiser, tick): use `from_columns`")


def _check_constants(data: TrajectoryData) -> None:
    starts = np.repeat(data.episode_starts[:-1], np.diff(data.episode_starts))
    for name in EPISODE_CONSTANTS:
        array = getattr(data, name)
        first = array[starts]
        is_changed = array != first
        if is_changed.any():
            row = int(np.argmax(is_changed))
            raise ValueError(
                f"`{name}` must be the same in all ticks of (period {data.period[row]}, advertiser "
                f"{data.advertiser[row]}), found {array[row]} after {array[starts[row]]}"
            )


def _split_matrices(columns: Mapping[str, ArrayLike]) -> dict[str, ArrayLike]:
    given: dict[str, ArrayLike] = {}
    for name, value in columns.items():
        if name not in COLUMN_NAMES and name not in _MATRICES:
            raise ValueError(f"`columns` must be of the schema {list(COLUMN_NAMES)}, found {name!r}")
        parts = _MATRICES.get(name, (name,))
        if name in _MATRICES:
            matrix = np.asarray(value)
            if matrix.ndim != 2 or matrix.shape[1] != len(parts):
                raise ValueError(f"`{name}` must have shape (n, {len(parts)}), found {matrix.shape}")
            given.update(zip(parts, matrix.T, strict=True))
        else:
            given[name] = value
    return given


def _encode(value: ArrayLike) -> tuple[Array, list[str]]:
    """Codes in order of first appearance, and the texts that they stand for."""
    texts = np.asarray(value, dtype=object)
    codes: dict[str, int] = {}
    flat = [codes.setdefault(text, len(codes)) for text in texts.reshape(-1).tolist()]
    return np.array(flat, np.int32).reshape(texts.shape), list(codes)


def _recode(given: Array, meanings: Sequence[Any], codes: dict[Any, int]) -> Array:
    """`given` in the codes of `codes`, which takes up what it does not know yet."""
    new = np.array([codes.setdefault(meaning, len(codes)) for meaning in meanings], np.int32)
    return new[given]


def _fit(name: str, value: ArrayLike, n: int) -> Array:
    """`value` as the column's dtype and shape (n,); an error where a number would change."""
    array, dtype = np.asarray(value), DTYPES[name]
    if array.shape not in ((), (n,)):
        raise ValueError(f"`{name}` must have shape ({n},), found {array.shape}")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"`{name}` must hold numbers of type {dtype}, found {array.dtype}")
    with np.errstate(invalid="ignore"):
        fitted = array.astype(dtype)
    is_lost = (fitted != array) & ~((array != array) & (dtype.kind == "f"))
    if is_lost.any():
        raise ValueError(f"`{name}` must hold numbers of type {dtype}, found {array[is_lost].flat[0]}")
    return np.ascontiguousarray(np.broadcast_to(fitted, (n,)))
