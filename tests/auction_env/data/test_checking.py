"""`data.check`: each kind of damage is found and named; a sound data set has none."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agents import NoisyBidder, PidBidder, collect
from auction_env.data import TrajectoryData, check, load, write, write_splits
from auction_env.data.manifest import write_shard
from auction_env.market.params import MarketParams
from auction_env.tasks import TASKS


@pytest.fixture(scope="module")
def log() -> TrajectoryData:
    days = collect(
        NoisyBidder(PidBidder()), seeds=[1, 2], task=TASKS["TargetCPA"], params=MarketParams(n_impressions=960)
    )
    return TrajectoryData.concat(list(days))


@pytest.fixture
def directory(log: TrajectoryData, tmp_path: Path) -> Path:
    write(tmp_path / "set", log, rows_per_shard=48 * 48)
    write_splits(tmp_path / "set", seed=1)
    load(tmp_path / "set", mmap=True)
    assert check(tmp_path / "set") == []
    return tmp_path / "set"


def edit_manifest(directory: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads((directory / "manifest.json").read_text())
    edit(record)
    (directory / "manifest.json").write_text(json.dumps(record))


def replace_column(directory: Path, index: int, column: str, edit: Callable[[Any], object]) -> None:
    """Edits a column of a shard and states checksum and statistics anew, as a careless script would."""
    path = directory / f"shard-{index:05d}.parquet"
    table = pq.read_table(path)
    values = table.column(column).to_numpy().copy()
    edit(values)
    table = table.set_column(
        table.column_names.index(column), table.schema.field(column), pa.array(values, table.schema.field(column).type)
    )
    shard = write_shard(directory, index, table)
    entry = {"n_rows": shard.n_rows, "n_bytes": shard.n_bytes, "sha256": shard.sha256, "columns": shard.columns}
    edit_manifest(directory, lambda record: record["shards"][index].update(entry))


def found(directory: Path) -> list[str]:
    return [str(problem) for problem in check(directory)]


def set_row(row: int, value: Any) -> Callable[[Any], None]:
    def edit(values: Any) -> None:
        values[row] = value

    return edit


@pytest.mark.parametrize(
    ("column", "edit", "message"),
    [
        ("reward", set_row(50, np.nan), r"shard-00001.parquet: `reward` must be finite, found nan at \(period 1, adv"
         r"ertiser 1, tick 2\) and 1 times in all"),
        ("budget_left", set_row(50, 1e9), r"\(period 1, advertiser 1, tick 2\): `budget_left` must be at most the bu"),
        ("budget_left", set_row(50, 0.0), r"\(period 1, advertiser 1, tick 3\): `budget_left` must not rise, found"),
        ("cost", set_row(50, 1e9), r"\(period 1, advertiser 1, tick 0\): the costs of an episode must be at most its"),
        ("cost", set_row(50, -1.0), r"\(period 1, advertiser 1, tick 2\): `cost` must not be negative, found -1.0"),
        ("cost", set_row(slice(48, 96), 0.0), r"\(period 1, advertiser 1, tick \d+\): `budget_left` must be that of th"
         r"e tick before less its cost, found .*; \d+ rows in all"),
        ("budget", set_row(50, 7.0), r"\(period 1, advertiser 1, tick 2\): `budget` must be the same in all ticks"),
        ("tick", set_row(50, 1), r"\(period 1, advertiser 1, tick 1\): \(period, advertiser, tick\) must be unique"),
        ("period", set_row(slice(0, 48), 0), r"\(period 0, advertiser 0, tick 0\): \(period, advertiser, tick\) must"
         " be unique, found two rows; 48 rows in all"),
        ("advertiser", set_row(slice(0, 48), 99), r"splits-\w+.parquet: must hold the episodes of the data set, found"),
        ("task", set_row(slice(0, 48), '{"a": 1}'), "shard-00001.parquet: `task` must be the JSON of a task"),
    ],
)  # fmt: skip
def test_broken_rows_are_found(directory: Path, column: str, edit: Callable[[Any], object], message: str) -> None:
    replace_column(directory, 1, column, edit)
    problems = found(directory)
    assert any(re.match(message, text) for text in problems), problems


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "shard-00001.parquet").write_bytes(b"x"), "shard-00001.parquet: truncated: must have"),
        (lambda d: (d / "shard-00001.parquet").unlink(), "shard-00001.parquet: must exist, as manifest.json names it"),
        (lambda d: (d / "notes.txt").write_text("x"), "notes.txt: must be of the data set"),
        (lambda d: (d / "manifest.json").write_text("{"), "manifest.json: must be JSON"),
        (
            lambda d: edit_manifest(d, lambda m: m.update(schema_version=99)),
            "manifest.json: `schema_version` must be",
        ),
        (lambda d: edit_manifest(d, lambda m: m.update(n_episodes=95)), "`n_episodes` must be 96, found 95"),
        (
            lambda d: edit_manifest(d, lambda m: m["shards"][0]["columns"]["cost"].update(max=1.0)),
            "shard-00000.parquet: the statistics of `cost` must be",
        ),
        (lambda d: next(d.glob("splits-*")).write_bytes(b"x"), "changed: SHA-256"),
    ],
)  # fmt: skip
def test_damaged_files_are_found(directory: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(directory)
    problems = found(directory)
    assert len(problems) == 1, problems
    assert message in problems[0]


def test_a_split_with_an_episode_in_two_parts_is_found(directory: Path) -> None:
    (path,) = directory.glob("splits-*")
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    edit_manifest(directory, lambda record: record["splits"].update(sha256=digest))
    assert found(directory) == [f"{path.name}: an episode must be in one part, found (period, advertiser) (0, 0) twice"]


def test_changed_mapped_columns_are_found(directory: Path) -> None:
    (path,) = directory.glob(".columns-*/reward.npy")
    raw = bytearray(path.read_bytes())
    raw[-8:] = np.float64(5.0).tobytes()
    path.write_bytes(raw)
    assert found(directory) == [f"{path.parent.name}: `reward` must be what the shards hold, found other values"]


def test_imported_budgets_need_not_add_up(log: TrajectoryData, tmp_path: Path) -> None:
    """Rows of a log may lack costs: only that the budget does not rise is asked of them."""
    columns = {name: getattr(log, name) for name in vars(log) if isinstance(getattr(log, name), np.ndarray)}
    columns.pop("episode_starts", None)
    imported = TrajectoryData.from_arrays(
        {**columns, "seed": log.seed * 0 - 1, "cost": log.cost * 0.5}, log.tasks, {}, log.labels
    )
    write(tmp_path / "set", imported)
    assert check(tmp_path / "set") == []


def test_what_is_no_data_set_cannot_be_checked(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no manifest\.json"):
        check(tmp_path)
