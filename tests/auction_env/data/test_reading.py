"""Reading parts of data sets: statistics, filters, memory-mapped columns, splits."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from auction_env.data import DataSetError, TrajectoryData, load, load_columns, read_manifest, write, write_splits
from auction_env.data.manifest import Manifest, write_shard
from auction_env.data.schema import COLUMN_NAMES, COLUMNS, EPISODE_CONSTANTS
from auction_env.data.splits import SPLITS, deal, read_splits
from auction_env.data.storage import to_table
from auction_env.tasks import TASKS, Task

A, B = TASKS["TargetCPA"], TASKS["MaxConversions"]
N_PERIODS, N_ADVERTISERS, N_TICKS = 10, 4, 3


def make(n_periods: int = N_PERIODS, first: int = 0) -> TrajectoryData:
    """Whole episodes of random numbers; even advertisers have task A, odd ones B."""
    rng = np.random.default_rng(first)
    index = np.indices((n_periods, N_ADVERTISERS, N_TICKS)).reshape(3, -1)
    period, advertiser, tick = index[0] + first, index[1], index[2]
    columns: dict[str, Any] = {}
    for column in COLUMNS:
        if column.dtype == "float64" and column.name not in EPISODE_CONSTANTS:
            columns[column.name] = rng.normal(size=period.size)
        else:
            columns[column.name] = "x" if column.dtype == "str" else 1
    columns |= {"period": period, "advertiser": advertiser, "tick": tick, "done": tick == N_TICKS - 1}
    columns |= {"seed": period, "task": advertiser % 2, "budget": 10.0 + advertiser}
    return TrajectoryData.from_columns(columns, tasks=(A, B))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Four shards: periods 0-2, 3-5, 6-8 and 9."""
    write(tmp_path / "set", make(), rows_per_shard=3 * N_ADVERTISERS * N_TICKS)
    return tmp_path / "set"


def assert_same(left: TrajectoryData, right: TrajectoryData) -> None:
    for name in COLUMN_NAMES:
        if name == "task":
            assert [left.tasks[code] for code in left.task] == [right.tasks[code] for code in right.task]
        else:
            np.testing.assert_array_equal(left[name], right[name], err_msg=name)
    np.testing.assert_array_equal(left.episode_starts, right.episode_starts)


# --- statistics --------------------------------------------------------------------------------------------


def test_statistics_of_shards_and_of_the_whole(directory: Path) -> None:
    data, manifest = make(), read_manifest(directory)
    recorded = json.loads((directory / "manifest.json").read_text())["columns"]
    assert recorded == manifest.columns
    for name in ("action", "feature_time_left", "period"):
        assert recorded[name]["min"] == data[name].min()
        assert recorded[name]["max"] == data[name].max()
        assert recorded[name]["mean"] == pytest.approx(data[name].mean(), abs=1e-12)
    assert recorded["advertiser"]["values"] == [0, 1, 2, 3]
    assert recorded["advertiser"]["n_distinct"] == 4
    assert recorded["task"] == {"n_distinct": 2, "values": sorted([A.to_json(), B.to_json()])}
    assert manifest.shards[1].columns["period"]["values"] == [3, 4, 5]
    assert "values" not in recorded["action"]


# --- selections --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    ("wanted", "keep"),
    [
        ({}, lambda p, a: p >= 0),
        ({"tasks": "TargetCPA"}, lambda p, a: a % 2 == 0),
        ({"tasks": ["TargetCPA", B]}, lambda p, a: p >= 0),
        ({"advertisers": [1, 3]}, lambda p, a: a % 2 == 1),
        ({"periods": range(4, 8)}, lambda p, a: (p >= 4) & (p < 8)),
        ({"periods": 9, "advertisers": 2}, lambda p, a: (p == 9) & (a == 2)),
        ({"tasks": B, "periods": [0, 7]}, lambda p, a: (a % 2 == 1) & ((p == 0) | (p == 7))),
    ],
)
def test_selections(directory: Path, mmap: bool, wanted: dict[str, Any], keep: Any) -> None:
    data = make()
    first = data.episode_starts[:-1]
    expected = data.select(np.flatnonzero(keep(data.period[first], data.advertiser[first])))
    assert_same(load(directory, **wanted, mmap=mmap), expected)
    columns = load_columns(directory, ["action", "task"], **wanted)
    np.testing.assert_array_equal(columns["action"], expected.action)
    assert columns["task"].tolist() == [expected.tasks[code].to_json() for code in expected.task]


def test_shards_that_cannot_hold_the_selection_are_not_read(directory: Path) -> None:
    for name in ("shard-00000.parquet", "shard-00002.parquet", "shard-00003.parquet"):
        (directory / name).write_bytes(b"")
    assert load(directory, periods=[3, 5]).n_episodes == 2 * N_ADVERTISERS
    with pytest.raises(DataSetError, match=r"shard-00000\.parquet: truncated"):
        load(directory, periods=[2])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"tasks": "Dance"}, r"`tasks` must name some of \['MaxConversions', 'TargetCPA'\], found 'Dance'"),
        ({"tasks": Task(name="TargetCPA")}, "`tasks` must name some of .* found '{"),
        ({"tasks": []}, "`tasks` must name at least one task, found none"),
        ({"advertisers": [0, 4]}, r"`advertisers` must name some of \[0, 1, 2, 3\], found 4"),
        ({"periods": []}, "`periods` must name some of .* found none"),
        ({"periods": -1}, "`periods` must name some of .* found -1"),
        ({"split": "train"}, "`split` needs a data set that is split"),
        ({"tasks": A, "advertisers": 1}, "must meet at least one episode of .*found none"),
    ],
)
def test_selections_of_what_does_not_exist(directory: Path, wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(directory, **wanted)
    with pytest.raises(ValueError, match=message.replace(" of .*found none", " ")):
        load_columns(directory, ["action"], **wanted)


def test_columns_must_be_of_the_schema(directory: Path) -> None:
    with pytest.raises(ValueError, match=r"`columns` must be of the schema .* found 'prize'"):
        load_columns(directory, ["action", "prize"])


# --- memory-mapped -----------------------------------------------------------------------------------------


def test_mapped_columns_are_files_and_open_without_the_shards(directory: Path) -> None:
    data = load(directory, mmap=True)
    assert_same(data, make())
    (cache,) = directory.glob(".columns-*")
    for name in ("action", "observation", "task"):
        assert isinstance(getattr(data, name), np.memmap)
        assert not getattr(data, name).flags.writeable
        assert np.array_equal(np.load(cache / f"{name}.npy", allow_pickle=False), getattr(data, name))
    for shard in directory.glob("shard-*"):
        shard.write_bytes(b"")  # opened again, no shard is read
    again = load(directory, mmap=True)
    assert_same(again, make())
    assert isinstance(load(directory, mmap=True, periods=[2, 3]).action.base, np.ndarray)  # a view of the file
    assert again.select([0]).n_episodes == 1


def test_rows_in_any_order_are_mapped_sorted(tmp_path: Path) -> None:
    data = make()
    parts = [data.select([7]), data.select([30, 31]), data.select([i for i in range(40) if i not in (7, 30, 31)])]
    write(tmp_path / "set", parts, rows_per_shard=5)
    assert_same(load(tmp_path / "set", mmap=True), data)
    assert len(list(tmp_path.glob("set/.columns-*/*.unsorted.npy"))) == 0


def test_other_rows_are_never_served_from_old_mapped_columns(directory: Path) -> None:
    load(directory, mmap=True)
    write(directory, make(2, first=50), force=True)
    assert_same(load(directory, mmap=True), make(2, first=50))
    write(directory.parent / "other", make(1, first=9))
    old = next(directory.glob(".columns-*"))
    for entry in (directory.parent / "other").iterdir():
        shutil.copy(entry, directory / entry.name)
    assert_same(load(directory, mmap=True), make(1, first=9))
    assert not old.exists()  # and they do not pile up


def test_mapped_columns_are_checked(directory: Path, tmp_path: Path) -> None:
    load(directory, mmap=True)
    (cache,) = directory.glob(".columns-*")
    path = cache / "action.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataSetError, match=r"must hold the mapped columns \(delete it"):
        load(directory, mmap=True)
    shutil.rmtree(cache)
    (directory / "shard-00001.parquet").write_bytes(b"")
    with pytest.raises(DataSetError, match=r"shard-00001\.parquet: truncated"):
        load(directory, mmap=True)
    assert not list(directory.glob(".columns-*"))
    shards = [write_shard(tmp_path, index, to_table(make(1))) for index in (0, 1)]
    (tmp_path / "manifest.json").write_text(Manifest(shards=tuple(shards), n_episodes=4).to_json())
    with pytest.raises(DataSetError, match=r"two rows of \(period 0, advertiser 0, tick 0\)"):
        load(tmp_path, mmap=True)


# --- splits ------------------------------------------------------------------------------------------------


def keys(data: TrajectoryData) -> set[tuple[int, int]]:
    first = data.episode_starts[:-1]
    return set(zip(data.period[first].tolist(), data.advertiser[first].tolist(), strict=True))


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("contiguous", [False, True])
def test_each_episode_is_in_exactly_one_part(directory: Path, contiguous: bool, mmap: bool) -> None:
    counts = write_splits(directory, seed=3, validation=0.2, test=1, contiguous=contiguous)
    parts = {name: load(directory, split=name, mmap=mmap) for name in SPLITS}
    episodes = [keys(part) for part in parts.values()]
    assert sum(map(len, episodes)) == len(set.union(*episodes)) == N_PERIODS * N_ADVERTISERS
    assert {name: part.n_episodes for name, part in parts.items()} == counts
    if contiguous:
        assert {period for period, _ in episodes[2]} == {9}
        assert {period for period, _ in episodes[1]} == {7, 8}
    else:  # by task: 20 % and 1 of 20 episodes each
        assert counts == {"train": 30, "validation": 8, "test": 2}
        assert {parts["test"].tasks[code] for code in parts["test"].task} == {A, B}
    part = load(directory, split="train", tasks="TargetCPA", periods=[0, 1])
    assert keys(part) == {(p, a) for p, a in episodes[0] if p < 2 and a % 2 == 0}


def test_a_split_is_drawn_once_by_its_seed(directory: Path) -> None:
    write_splits(directory, seed=1)
    first = read_splits(directory, read_manifest(directory))
    record = json.loads((directory / "manifest.json").read_text())["splits"]
    assert (record["seed"], record["contiguous"], record["validation"], record["test"]) == (1, False, 0.1, 0.1)
    assert record["n_episodes"] == {"train": 32, "validation": 4, "test": 4}
    with pytest.raises(FileExistsError, match=r"is split already \(seed 1\)"):
        write_splits(directory, seed=2)
    write_splits(directory, seed=2, force=True)
    other = read_splits(directory, read_manifest(directory))
    assert not np.array_equal(first.code, other.code)
    write_splits(directory, seed=1, force=True)
    np.testing.assert_array_equal(read_splits(directory, read_manifest(directory)).code, first.code)
    assert len(list(directory.glob("splits-*.parquet"))) == 1
    write(directory, make(), force=True)  # a data set that is split can be replaced
    assert sorted(os.listdir(directory)) == ["manifest.json", "shard-00000.parquet"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"validation": 15, "test": 5}, r"more episodes of task .* \(15 for validation and 5 for test\), found 20"),
        ({"validation": 9, "test": 0.1, "contiguous": True}, "more periods than are held out .* found 10"),
        ({"validation": 1.0}, r"`validation` must be a number >= 0 or a share in \[0, 1\), found 1\.0"),
        ({"test": -1}, "`test` must be a number >= 0"),
        ({"seed": -1}, "`seed` must not be negative, found -1"),
    ],
)
def test_splits_that_cannot_be(directory: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_splits(directory, **arguments)
    assert read_manifest(directory).splits is None


def test_changed_splits_are_named(directory: Path) -> None:
    write_splits(directory, test=0)
    with pytest.raises(ValueError, match=r"`split` must be one of \['train', 'validation'\], found 'test'"):
        load(directory, split="test")
    (path,) = directory.glob("splits-*")
    raw = path.read_bytes()
    path.write_bytes(raw[:-1] + b"X")
    with pytest.raises(DataSetError, match=rf"{path.name}: changed: SHA-256"):
        load(directory, split="train")
    path.unlink()
    with pytest.raises(DataSetError, match=rf"{path.name}: must exist"):
        load(directory, split="train")


def test_dealing_gives_every_part_its_size() -> None:
    codes = deal(10, [3, 2], [5])
    assert np.bincount(codes).tolist() == [5, 3, 2]
    np.testing.assert_array_equal(codes, deal(10, [3, 2], [5]))
    assert pa.array(codes).type == pa.int8()
