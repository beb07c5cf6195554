"""Trajectory data sets: in memory, written and loaded."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auction_env.data import (
    COLUMN_NAMES,
    COLUMNS,
    SCHEMA_VERSION,
    DataSetError,
    TrajectoryData,
    arrow_schema,
    load,
    write,
)
from auction_env.data.schema import OBSERVATION_COLUMNS
from auction_env.tasks import TASKS, Constraint, Task

OWN_TASK = Task(
    name="own", objective="expected_conversions", constraints=(Constraint(kind="cpa", limit=3.0),), beta=1.0
)
ALL_TASKS = (TASKS["TargetCPA"], TASKS["MaxConversions"], OWN_TASK)


def columns(n_periods: int = 3, n_advertisers: int = 4, n_ticks: int = 5, first: int = 0) -> dict[str, Any]:
    """Random columns of whole episodes, with codes into ALL_TASKS."""
    rng = np.random.default_rng(first)
    period, advertiser, tick = (
        index.ravel()
        for index in np.meshgrid(
            np.arange(first, first + n_periods), np.arange(n_advertisers), np.arange(n_ticks), indexing="ij"
        )
    )
    out: dict[str, Any] = {column.name: rng.normal(size=period.shape) for column in COLUMNS}
    out |= {"period": period, "advertiser": advertiser, "tick": tick, "done": tick == n_ticks - 1}
    out |= {"category": advertiser % 3, "seed": period - 1, "task": (period + advertiser) % len(ALL_TASKS)}
    out["policy"] = np.where(advertiser % 2 == 0, "even", "odd")
    out |= {name: 1.0 + advertiser for name in ("cpc_target", "cart_cost_target", "roas_target")}
    return out | {"budget": 10.0 + advertiser, "cpa_target": 2.0 + advertiser}


def data_set(**kwargs: int) -> TrajectoryData:
    return TrajectoryData.from_columns(columns(**kwargs), tasks=ALL_TASKS, metadata={"origin": "test"})


def policies(data: TrajectoryData) -> list[str]:
    return [data.labels["policy"][code] for code in data.policy]


def assert_equal(left: TrajectoryData, right: TrajectoryData) -> None:
    for name in COLUMN_NAMES:
        if name == "task":
            assert [left.tasks[code] for code in left.task] == [right.tasks[code] for code in right.task]
        elif name == "policy":
            assert [left.labels[name][code] for code in left.policy] == [
                right.labels[name][code] for code in right.policy
            ]
        else:
            assert left[name].dtype == right[name].dtype
            np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def edit_manifest(directory: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = directory / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


# --- in memory ---------------------------------------------------------------------------------------------


def test_columns_are_attributes_and_items() -> None:
    data = data_set()
    assert len(data) == 60
    assert data.n_episodes == 12
    np.testing.assert_array_equal(data.episode_starts, np.arange(0, 61, 5))
    for name in COLUMN_NAMES:
        assert data[name].shape == (60,)
        np.testing.assert_array_equal(getattr(data, name), data[name])
    assert data.observation.shape == (60, len(OBSERVATION_COLUMNS))
    np.testing.assert_array_equal(data["feature_time_left"], data.observation[:, 0])
    np.testing.assert_array_equal(data.requirements[:, 0], data["requirement_budget"])
    assert np.shares_memory(data.features, data.observation)
    assert data.period.dtype == np.int64
    assert data.advertiser.dtype == data.task.dtype == np.int32
    assert data.done.dtype == np.bool_


def test_unknown_names_are_errors() -> None:
    data = data_set()
    with pytest.raises(KeyError, match="'prize'"):
        data["prize"]
    with pytest.raises(AttributeError, match="'prize'"):
        print(data.prize)  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        data.action = data.reward  # type: ignore[misc]


def test_from_columns_sorts_rows_in_any_order() -> None:
    table = columns()
    order = np.random.default_rng(1).permutation(60)
    shuffled = {name: np.asarray(column)[order] for name, column in table.items()}
    assert_equal(
        TrajectoryData.from_columns(shuffled, tasks=ALL_TASKS), TrajectoryData.from_columns(table, tasks=ALL_TASKS)
    )


def test_from_columns_takes_matrices_scalars_and_task_texts() -> None:
    data = data_set()
    table: dict[str, Any] = {
        name: data[name] for name in COLUMN_NAMES if not name.startswith(("feature_", "requirement_"))
    }
    table |= {"features": data.features, "requirements": data.requirements}
    table["task"] = [data.tasks[code].to_json() for code in data.task]
    table["policy"] = policies(data)
    assert_equal(TrajectoryData.from_columns(table), data)
    constant = TrajectoryData.from_columns({**table, "seed": -1, "task": TASKS["TargetCPA"].to_json()})
    assert set(constant.seed) == {-1}
    assert constant.tasks == (TASKS["TargetCPA"],)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("reward", np.zeros(59), r"`reward` must have shape \(60,\), found \(59,\)"),
        ("reward", ["a"] * 60, "`reward` must hold numbers"),
        ("budget", np.nan, "`budget` must hold finite numbers, found nan"),
        ("feature_bid_all", np.inf, "`observation` must hold finite numbers, found inf"),
        ("tick", np.arange(60) + 0.5, "`tick` must hold numbers of type int32, found 0.5"),
        ("advertiser", 2**40, "`advertiser` must hold numbers of type int32, found 1099511627776"),
        ("done", 2, "`done` must hold numbers of type bool, found 2"),
        ("task", 3, "`task` must hold codes of its 3 texts, found 3"),
        ("budget", np.arange(60.0) + 1, r"`budget` must be the same in all ticks of \(period 0, advertiser 0\)"),
        ("task", np.arange(60) % 2, r"`task` must be the same in all ticks of \(period 0, advertiser 0\)"),
        ("tick", 4, r"must be unique, found two rows of \(period 0, advertiser 0, tick 4\)"),
        ("features", np.zeros((60, 3)), r"`features` must have shape \(n, 16\), found \(60, 3\)"),
        ("prize", 1, "found 'prize'"),
    ],
)
def test_bad_columns_are_named(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrajectoryData.from_columns({**columns(), name: value}, tasks=ALL_TASKS)


def test_all_missing_columns_are_named() -> None:
    table = columns()
    del table["reward"], table["bid"]
    with pytest.raises(ValueError, match=r"missing: reward, bid$"):
        TrajectoryData.from_columns(table, tasks=ALL_TASKS)


def test_constructor_refuses_wrong_dtype_and_order() -> None:
    data = data_set()
    fields = {name: value for name, value in vars(data).items() if name != "episode_starts"}
    with pytest.raises(ValueError, match="`reward` must be float64"):
        TrajectoryData(**{**fields, "reward": data.reward.astype(np.float32)})
    with pytest.raises(ValueError, match="must be sorted"):
        TrajectoryData(**{**fields, "tick": data.tick[::-1].copy()})


def test_select_keeps_the_order_of_the_data() -> None:
    data = data_set()
    chosen = data.select([7, 2, 2])
    assert chosen.n_episodes == 2
    np.testing.assert_array_equal(chosen.action[:5], data.action[10:15])
    np.testing.assert_array_equal(chosen.observation[5:], data.observation[35:40])
    assert chosen.tasks == data.tasks
    assert chosen.metadata == {"origin": "test"}
    assert_equal(data.select(np.arange(12)), data)
    run = data.select([4, 3])
    np.testing.assert_array_equal(run.episode_starts, [0, 5, 10])
    np.testing.assert_array_equal(run.action, data.action[15:25])
    assert np.shares_memory(run.observation, data.observation), "a run of episodes is a view"
    assert not np.shares_memory(chosen.observation, data.observation)
    empty = data.select([])
    assert len(empty) == empty.n_episodes == 0


@pytest.mark.parametrize("episodes", [[12], [-1], [0.5], [[0]], np.ones(12, bool)])
def test_select_refuses_what_is_no_episode(episodes: Any) -> None:
    with pytest.raises(IndexError, match="`episodes` must be"):
        data_set().select(episodes)


def test_concat_joins_sorts_and_recodes() -> None:
    data = data_set()
    odd, even = data.select(np.arange(1, 12, 2)), data.select(np.arange(0, 12, 2))
    swapped = TrajectoryData.from_columns(
        {name: odd[name] for name in COLUMN_NAMES} | {"task": 2 - odd.task, "policy": policies(odd)},
        tasks=ALL_TASKS[::-1],
    )
    joined = TrajectoryData.concat([swapped, even], metadata={"n": 2})
    assert_equal(joined, data)
    assert joined.tasks == ALL_TASKS[::-1]
    assert joined.metadata == {"n": 2}
    with pytest.raises(ValueError, match=r"two rows of \(period 0, advertiser 0, tick 0\)"):
        TrajectoryData.concat([data, even])
    with pytest.raises(ValueError, match="at least one"):
        TrajectoryData.concat([])


# --- on disk -----------------------------------------------------------------------------------------------


def test_round_trip(tmp_path: Path) -> None:
    data = data_set()
    write(tmp_path / "deep" / "set", data)
    assert_equal(load(tmp_path / "deep" / "set"), data)
    assert load(tmp_path / "deep" / "set").metadata == {"origin": "test"}
    assert os.listdir(tmp_path / "deep") == ["set"]
    assert sorted(os.listdir(tmp_path / "deep" / "set")) == ["manifest.json", "shard-00000.parquet"]


def test_shards_are_plain_parquet_and_the_manifest_plain_json(tmp_path: Path) -> None:
    write(tmp_path / "set", data_set(), metadata={"n_markets": 3}, parameters={"noise": 0.5}, rows_per_shard=25)
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert manifest["schema_version"] == SCHEMA_VERSION
    assert manifest["code_version"]
    assert manifest["metadata"] == {"n_markets": 3}
    assert manifest["parameters"] == {"noise": 0.5}
    assert (manifest["n_rows"], manifest["n_episodes"]) == (60, 12)
    assert [shard["n_rows"] for shard in manifest["shards"]] == [25, 25, 10]
    table = pq.read_table(tmp_path / "set" / "shard-00001.parquet")
    assert table.schema == arrow_schema()
    assert Task.from_json(table.column("task")[0].as_py()) in ALL_TASKS


@pytest.mark.parametrize("rows_per_shard", [1, 7, 40, 1000])
def test_parts_in_any_order_come_back_sorted(tmp_path: Path, rows_per_shard: int) -> None:
    data = data_set()
    parts = (data.select(episodes) for episodes in ([11, 3], [10], [0, 1, 2], [4, 5, 6, 7, 8, 9]))
    write(tmp_path / "set", parts, rows_per_shard=rows_per_shard)
    loaded = load(tmp_path / "set")
    assert_equal(loaded, data)
    assert loaded.metadata == {}


def test_parts_are_written_as_they_come(tmp_path: Path) -> None:
    """When a part is asked for, all earlier parts but the last shard's are on disk."""
    n_shards = []

    def parts() -> Iterator[TrajectoryData]:
        for first in range(5):
            n_shards.append(len(list(tmp_path.glob(".set*/new/*.parquet"))))
            yield data_set(n_periods=1, first=first)

    write(tmp_path / "set", parts(), rows_per_shard=20)
    assert n_shards == [0, 1, 2, 3, 4]


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def parts() -> Iterator[TrajectoryData]:
        yield data_set()
        raise RuntimeError("the market broke")

    with pytest.raises(RuntimeError, match="broke"):
        write(tmp_path / "set", parts(), rows_per_shard=10)
    assert os.listdir(tmp_path) == []


def test_write_refuses_an_episode_in_two_parts_no_rows_and_bad_metadata(tmp_path: Path) -> None:
    data = data_set()
    with pytest.raises(ValueError, match=r"found \(period 0, advertiser 3\) twice"):
        write(tmp_path / "set", [data.select([3, 4]), data.select([3, 5])])
    with pytest.raises(ValueError, match="at least one row"):
        write(tmp_path / "set", [])
    with pytest.raises(ValueError, match="`metadata` must hold JSON values"):
        write(tmp_path / "set", data, metadata={"x": np.nan})
    with pytest.raises(ValueError, match="`rows_per_shard` must be positive, found 0"):
        write(tmp_path / "set", data, rows_per_shard=0)
    assert os.listdir(tmp_path) == []


def test_replacing_is_asked_for_and_never_deletes_other_files(tmp_path: Path) -> None:
    target = tmp_path / "set"
    target.mkdir()
    write(target, data_set())  # an empty directory is free
    with pytest.raises(FileExistsError, match=r"must be empty, found 'manifest\.json'"):
        write(target, data_set())
    newer = data_set(first=5)
    write(target, newer, force=True)
    assert_equal(load(target), newer)
    (target / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"'notes\.txt'"):
        write(target, data_set(), force=True)
    assert (target / "notes.txt").read_text() == "mine"
    with pytest.raises(FileExistsError, match="found a file"):
        write(target / "notes.txt", data_set())
    assert_equal(load(target), newer)


def test_failed_replacement_keeps_the_old_set(tmp_path: Path) -> None:
    write(tmp_path / "set", data_set())
    with pytest.raises(ValueError, match="twice"):
        write(tmp_path / "set", [data_set(), data_set()], force=True)
    assert_equal(load(tmp_path / "set"), data_set())
    assert os.listdir(tmp_path) == ["set"]


def test_directory_without_manifest_is_no_data_set(tmp_path: Path) -> None:
    write(tmp_path / "set", data_set())
    (tmp_path / "set" / "manifest.json").unlink()
    for path in (tmp_path / "set", tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match=r"no manifest\.json"):
            load(path)


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 0, "1", None, True])
def test_other_schema_versions_are_refused(tmp_path: Path, version: object) -> None:
    write(tmp_path / "set", data_set())
    edit_manifest(tmp_path / "set", lambda manifest: manifest.update(schema_version=version))
    with pytest.raises(DataSetError, match=rf"manifest.json: `schema_version` must be .* found {version!r}"):
        load(tmp_path / "set")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip_a_byte(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[500] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncate, r"shard-00001\.parquet: truncated: must have \d+ bytes, found \d+"),
        (_flip_a_byte, r"shard-00001\.parquet: changed: SHA-256 must be \w+, found \w+"),
        (Path.unlink, r"shard-00001\.parquet: must exist"),
    ],
)
def test_damaged_shards_are_named(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    write(tmp_path / "set", data_set(), rows_per_shard=30)
    damage(tmp_path / "set" / "shard-00001.parquet")
    with pytest.raises(DataSetError, match=message):
        load(tmp_path / "set")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m["shards"][0].update(n_rows=29), "`n_rows` must be the sum over the shards, found 60"),
        (lambda m: (m["shards"][0].update(n_rows=29), m.update(n_rows=59)), "must have 29 rows, found 30"),
        (lambda m: m["shards"][0].update(n_rows=0), "`n_rows` of shard-00000.parquet must be positive, found 0"),
        (lambda m: m["shards"][0].update(file="../x"), r"`file` must look like .*, found '\.\./x'"),
        (lambda m: m["shards"][0].update(color=1), "must hold `shards`"),
        (lambda m: m["shards"][1].update(file="shard-00000.parquet"), "`shards` must name a file once"),
        (
            lambda m: m["shards"][1]["columns"].pop("reward"),
            r"`columns` of shard-00001.parquet .* missing: \['reward'\]",
        ),
        (lambda m: m.update(shards=[], n_rows=0), "`n_rows` must be the sum over the shards, found 0"),
        (lambda m: m.pop("splits"), "`parameters` and `splits`: KeyError"),
        (lambda m: m.update(parameters=3), "`parameters` must be an object, found 3"),
        (lambda m: m.pop("metadata"), "must hold `shards`, `n_rows`, `metadata`.*KeyError"),
        (lambda m: m.update(metadata=[1]), "`metadata` must be an object"),
    ],
)
def test_wrong_manifests_are_explained(tmp_path: Path, edit: Callable[[dict[str, Any]], object], message: str) -> None:
    write(tmp_path / "set", data_set(), rows_per_shard=30)
    edit_manifest(tmp_path / "set", edit)
    with pytest.raises(DataSetError, match=message):
        load(tmp_path / "set")


def test_manifest_must_be_json(tmp_path: Path) -> None:
    write(tmp_path / "set", data_set())
    (tmp_path / "set" / "manifest.json").write_text('{"schema_version": 1,')
    with pytest.raises(DataSetError, match=r"manifest\.json: must be JSON"):
        load(tmp_path / "set")


def _replace_shard(directory: Path, table: pa.Table | None) -> None:
    """Puts another table (or garbage) in the place of the first shard, with the right checksum."""
    path = directory / "shard-00000.parquet"
    if table is None:
        path.write_bytes(b"PAR1 no PAR1")
    else:
        pq.write_table(table, path)
    raw = path.read_bytes()
    entry = {"n_bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    edit_manifest(directory, lambda manifest: manifest["shards"][0].update(entry))


def test_foreign_tables_are_explained(tmp_path: Path) -> None:
    write(tmp_path / "set", data_set())
    table = pq.read_table(tmp_path / "set" / "shard-00000.parquet")
    index = table.column_names.index("reward")
    with_nulls = table.set_column(index, "reward", pa.array([None] + [0.0] * 59))
    cases = {
        "must be a Parquet file": None,
        "columns must be": table.drop_columns("reward"),
        "`reward` must be double, found float": table.set_column(
            index, "reward", table.column("reward").cast(pa.float32())
        ),
        "`reward` must not hold nulls, found 1": with_nulls,
        "a task's JSON must have": table.set_column(table.column_names.index("task"), "task", pa.array(["{}"] * 60)),
    }
    for message, wrong in cases.items():
        _replace_shard(tmp_path / "set", wrong)
        with pytest.raises(DataSetError, match=message):
            load(tmp_path / "set")


def test_duplicate_rows_name_the_key(tmp_path: Path) -> None:
    write(tmp_path / "set", data_set(), rows_per_shard=30)
    copy = (tmp_path / "set" / "shard-00000.parquet").read_bytes()
    (tmp_path / "set" / "shard-00002.parquet").write_bytes(copy)

    def add_shard(manifest: dict[str, Any]) -> None:
        manifest["shards"].append({**manifest["shards"][0], "file": "shard-00002.parquet"})
        manifest["n_rows"] = 90

    edit_manifest(tmp_path / "set", add_shard)
    with pytest.raises(DataSetError, match=r"two rows of \(period 0, advertiser 0, tick 0\)"):
        load(tmp_path / "set")
