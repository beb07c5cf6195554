"""The results of a suite on disk: one directory, a file a run and table, every file written whole or not at all.

    suite.json              what was run: `SuiteRecord`
    runs/RUN.parquet        one row: settings, machine, times, memory, or the error of a run that failed
    rows/RUN.parquet        one row an evaluated episode
    weights/RUN.parquet     weights and alignments of the sources over the training
    losses/RUN.parquet      validation losses over the training
    episodes/RUN.parquet    a few episodes tick by tick

A run exists once its file in `runs/` does, which is written last; what a killed run left behind is not read. A
published result is the same with one file a table, `rows.parquet` and so on. Readers check names and types of all
columns.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from auction_env.files import write_atomically
from auction_env.tasks import CONSTRAINT_KINDS

SUITE_FILE = "suite.json"
RATIOS = tuple(f"{kind}_ratio" for kind in ("budget", *CONSTRAINT_KINDS))
"""Columns of realised over limit; NaN where the task has no such limit."""


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


_TEXT, _WHOLE, _NUMBER = pa.string(), pa.int64(), pa.float64()

ROWS = _schema(
    suite=_TEXT,  # id with its size
    variant=_TEXT,
    method=_TEXT,
    task=_TEXT,
    train_seed=_WHOLE,  # -1 for what is not trained
    seed=_WHOLE,  # of the market
    advertiser=_WHOLE,
    score_sampled=_NUMBER,  # of sampled outcomes
    score_expected=_NUMBER,  # of expected outcomes
    objective=_NUMBER,  # sampled
    cost=_NUMBER,  # currency
    **dict.fromkeys(RATIOS, _NUMBER),  # of predicted outcomes
    reference=_NUMBER,  # expected score of the best constant multiplier in hindsight
)
"""One row an evaluated episode: what statistics are made from."""

RUNS = _schema(
    run_id=_TEXT,
    suite=_TEXT,
    variant=_TEXT,
    method=_TEXT,
    train_seed=_WHOLE,
    commit=_TEXT,  # of the code, with "+" where files differed from it
    config_hash=_TEXT,  # of `config`
    config=_TEXT,  # JSON: all that the rows depend on
    machine=_TEXT,  # processor, cores, accelerator
    started=_TEXT,  # ISO 8601, UTC
    train_seconds=_NUMBER,
    tune_seconds=_NUMBER,
    play_seconds=_NUMBER,
    step_milliseconds=_NUMBER,  # of training; NaN for what is not trained in steps
    decision_milliseconds=_NUMBER,  # of one tick for all campaigns of a batch, by the bidder
    peak_memory_mb=_NUMBER,  # of the run's process, which has 0.4 GB when it begins: torch, compiled kernels
    n_steps=_WHOLE,  # of training
    chosen=_TEXT,  # JSON: by task, what was tuned and how stable the choice is
    validation_loss=_NUMBER,  # at the end, mean over targets; NaN where there is none
    failed=_TEXT,  # the error; empty for a run that succeeded
)
"""One row a run."""

WEIGHTS = _schema(
    run_id=_TEXT,
    step=_WHOLE,
    target=_TEXT,
    source=_TEXT,
    weight=_NUMBER,
    alignment=_NUMBER,  # NaN for methods without alignments
    alignment_error=_NUMBER,  # standard error; NaN or infinite where unknown
)
"""One row a record of the history, target and source."""

LOSSES = _schema(run_id=_TEXT, step=_WHOLE, target=_TEXT, validation_loss=_NUMBER, effective_sources=_NUMBER)
"""One row a record of the history and target."""

EPISODES = _schema(
    run_id=_TEXT,
    method=_TEXT,
    variant=_TEXT,
    task=_TEXT,
    train_seed=_WHOLE,
    seed=_WHOLE,
    advertiser=_WHOLE,
    tick=_WHOLE,
    multiplier=_NUMBER,  # of the predicted amount: the bid
    base=_NUMBER,  # what the advertiser would pay for a unit: a multiplier of `base` bids its target
    least_winning_cost=_NUMBER,  # currency per impression: the level of prices
    cost=_NUMBER,  # currency, of this tick
    planned_spend_share=_NUMBER,  # of the budget until the end of this tick, in proportion to the traffic expected
    n_impressions=_NUMBER,
    wins=_NUMBER,
    exposures=_NUMBER,
    slot1=_NUMBER,  # impressions won in the first slot, second, third and below
    slot2=_NUMBER,
    slot3=_NUMBER,
    objective=_NUMBER,  # sampled amount of the objective up to and including this tick
    **dict.fromkeys(RATIOS, _NUMBER),  # as if the episode ended with this tick
)
"""One row a tick of a few named test episodes of each task."""

TABLES: dict[str, pa.Schema] = {
    "rows": ROWS,
    "runs": RUNS,
    "weights": WEIGHTS,
    "losses": LOSSES,
    "episodes": EPISODES,
}
"""Schemas by table, which is also the name of its folder; `runs` marks a run as finished."""

METHOD_KEYS = {"name", "label", "kind", "is_trained", "x"}
VARIANT_KEYS = {"name", "label", "x", "group"}
CONTRAST_KEYS = {"name", "first", "second", "variants", "kind", "margin"}
"""Of the records in `suite.json`."""

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]*")


class StoreError(ValueError):
    """A directory that does not hold results of a suite; names the file, the rule and the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRecord:
    """What `suite.json` says.

    Attributes:
        id: Of the suite, with "/testing" or "/cpu" where it is not the full size.
        version: Of the suite.
        size: "full", "cpu" or "testing".
        title, question: For people.
        tasks: By variant, a record a task: `name`, `n_train` and `n_validation` trajectories, `n_test` episodes.
        variants: Records with `name`, `label`, `x` (a number where variants lie on an axis, otherwise None) and `group`
            (variants of one group are families drawn alike; empty where a variant stands for itself).
        axis: What `x` of the variants, or of the methods, is: "validation trajectories"; empty where there is none.
        methods: Records with `name`, `label`, `kind`, `is_trained` and `x`.
        baseline: The method against which gains of sharing are counted (delta_m); empty where there is none.
        ours: Methods that are compared with the best of all others.
        contrasts: The registered comparisons, records as `benchmarks.suites.spec.Contrast`.
        train_seeds: Of the methods that are trained.
        commit: Of the first call.
        command: Of the calls that give all rows, joined by &&.
        versions: Of Python and packages, by name.
    """

    id: str
    version: int
    size: str
    title: str
    question: str
    tasks: dict[str, list[dict[str, Any]]]
    variants: list[dict[str, Any]]
    methods: list[dict[str, Any]]
    axis: str = ""
    baseline: str = ""
    ours: list[str] = field(default_factory=list)
    contrasts: list[dict[str, Any]] = field(default_factory=list)
    train_seeds: list[int] = field(default_factory=list)
    commit: str = ""
    command: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the methods by name, in the suite's order."""
        return {method["name"]: method["label"] for method in self.methods}


class Store:
    """Writes and reads the results of one suite.

    Args:
        out: The directory. It is made by the first write; reading what is not there gives no rows.
    """

    def __init__(self, out: str | Path) -> None:
        self.path = Path(out)

    def write_suite(self, record: SuiteRecord) -> None:
        """Writes `suite.json`."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path / SUITE_FILE, (json.dumps(asdict(record), indent=1) + "\n").encode())

    def suite(self) -> SuiteRecord:
        """What was run; raises FileNotFoundError where nothing was, StoreError where the file is another's."""
        path = self.path / SUITE_FILE
        if not path.is_file():
            raise FileNotFoundError(f"{path} must exist: {self.path} holds no results of a suite")
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            known = {part.name for part in fields(SuiteRecord)}
            if set(found) != known:
                raise StoreError(f"{path} must have the keys {sorted(known)}, found {sorted(found)}")
            parts = {"methods": METHOD_KEYS, "variants": VARIANT_KEYS, "contrasts": CONTRAST_KEYS}
            for part, keys in parts.items():
                for entry in found[part]:
                    if set(entry) != keys:
                        raise StoreError(f"{path}: `{part}` must have the keys {sorted(keys)}, found {sorted(entry)}")
            return SuiteRecord(**found)
        except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
            raise StoreError(f"{path} must be a suite's record, found {error}") from error

    def write_run(self, run_id: str, tables: Mapping[str, pa.Table]) -> None:
        """Writes the tables of a run; `runs`, which must be among them, last.

        Raises:
            StoreError: An unknown table, one of another schema, or a name that is no file name.
        """
        if not _RUN_ID.fullmatch(run_id):
            raise StoreError(f"`run_id` must match {_RUN_ID.pattern!r}, found {run_id!r}")
        if "runs" not in tables:
            raise StoreError(f"`tables` of run {run_id!r} must hold `runs`, found {sorted(tables)}")
        for name in sorted(tables, key=lambda name: name == "runs"):
            if name not in TABLES:
                raise StoreError(f"`tables` of run {run_id!r} must be of {sorted(TABLES)}, found {name!r}")
            folder = self.path / name
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / f"{run_id}.parquet", encoded(checked(tables[name], name, run_id)))

    @property
    def is_published(self) -> bool:
        """Whether there is a file a table, which is only read, rather than a file a run."""
        return (self.path / "runs.parquet").is_file()

    def run_ids(self) -> tuple[str, ...]:
        """All runs that have ended, failed ones too, sorted."""
        return tuple(sorted(self.runs()["run_id"].to_pylist()))

    def rows(self) -> pa.Table:
        """Schema `ROWS`."""
        return self._read("rows")

    def runs(self) -> pa.Table:
        """Schema `RUNS`."""
        return self._read("runs")

    def weights(self) -> pa.Table:
        """Schema `WEIGHTS`."""
        return self._read("weights")

    def losses(self) -> pa.Table:
        """Schema `LOSSES`."""
        return self._read("losses")

    def episodes(self) -> pa.Table:
        """Schema `EPISODES`."""
        return self._read("episodes")

    def _read(self, table: str) -> pa.Table:
        """A table of all runs that have ended; the runs in the order of their names."""
        published = self.path / f"{table}.parquet"
        if published.is_file():
            return _load(published, table)
        ended = sorted((self.path / "runs").glob("[!.]*.parquet"))
        parts = [self.path / table / run.name for run in ended]
        tables = [_load(part, table) for part in parts if part.is_file()]
        return pa.concat_tables(tables) if tables else TABLES[table].empty_table()


def checked(table: pa.Table, name: str, where: object) -> pa.Table:
    """The table with the columns of a schema in its order; StoreError for another name, type or an empty cell."""
    schema = TABLES[name]
    if set(table.column_names) != set(schema.names):
        raise StoreError(f"{where}: columns of {name!r} must be {schema.names}, found {table.column_names}")
    table = table.select(schema.names)
    for column in schema:
        found = table.schema.field(column.name).type
        if found != column.type:
            raise StoreError(f"{where}: column {column.name!r} of {name!r} must be {column.type}, found {found}")
        if table[column.name].null_count:
            n = table[column.name].null_count
            raise StoreError(f"{where}: column {column.name!r} of {name!r} must have no empty cells, found {n}")
    return table.cast(schema)


def encoded(table: pa.Table) -> memoryview:
    """The bytes of a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", compression_level=9)
    return sink.getbuffer()


def _load(path: Path, table: str) -> pa.Table:
    try:
        found = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} must be a Parquet file, found {error}") from error
    return checked(found, table, path)
