"""The store: what is written is read, half a run is not, and another's columns are an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.suites.storage.store import TABLES, Store, StoreError, SuiteRecord, encoded


def table(name: str, n: int = 2, **values: Any) -> pa.Table:
    columns = {}
    for column in TABLES[name]:
        usual = {pa.string(): "a", pa.int64(): 1, pa.float64(): 0.5}[column.type]
        columns[column.name] = values.get(column.name, [usual] * n)
    return pa.table(columns, schema=TABLES[name])


def record(**values: Any) -> SuiteRecord:
    usual: dict[str, Any] = {
        "id": "a/v1", "version": 1, "size": "full", "title": "", "question": "", "tasks": {}, "variants": [],
        "methods": [{"name": "a", "label": "A", "kind": "rule", "is_trained": False, "x": None}],
    }  # fmt: skip
    return SuiteRecord(**usual | values)


def test_all_tables_come_back_in_the_order_of_the_runs_names(tmp_path: Path) -> None:
    store = Store(tmp_path / "new")
    for run in ("b", "a"):
        counts = {name: 1 if name == "runs" else 2 for name in TABLES}
        store.write_run(run, {name: table(name, n, run_id=[run] * n) for name, n in counts.items()})
    assert store.run_ids() == ("a", "b")
    assert store.losses()["run_id"].to_pylist() == ["a", "a", "b", "b"]
    for name, schema in TABLES.items():
        found = getattr(store, name)()
        assert found.schema == schema
        assert found.num_rows == (2 if name == "runs" else 4)
    store.write_suite(record(train_seeds=[1, 2]))
    assert store.suite() == record(train_seeds=[1, 2])
    assert store.suite().labels == {"a": "A"}


def test_what_a_killed_run_left_behind_is_not_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_run("whole", {"runs": table("runs", 1), "rows": table("rows")})
    (tmp_path / "rows" / "killed.parquet").write_bytes(encoded(table("rows")))
    (tmp_path / "runs" / ".killed.parquet.1.tmp").write_bytes(b"half")
    assert store.rows().num_rows == 2 and store.runs().num_rows == 1


def test_nothing_there_is_empty_tables_and_no_suite(tmp_path: Path) -> None:
    store = Store(tmp_path / "nowhere")
    assert store.rows().schema == TABLES["rows"] and store.rows().num_rows == 0
    with pytest.raises(FileNotFoundError, match="holds no results"):
        store.suite()


def test_one_file_a_table_is_read_alike(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(encoded(table("rows", 5)))
    assert Store(tmp_path).rows().num_rows == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["score_sampled"]), "columns of 'rows' must be"),
        (lambda t: t.append_column("more", pa.array([1, 2])), "columns of 'rows' must be"),
        (
            lambda t: t.set_column(5, "seed", pa.array([1.0, 2.0])),
            "column 'seed' of 'rows' must be int64, found double",
        ),
        (lambda t: t.set_column(7, "score_sampled", pa.array([1.0, None])), "must have no empty cells, found 1"),
    ],
)
def test_another_schema_is_refused_when_written_and_when_read(tmp_path: Path, change: Any, message: str) -> None:
    store, bad = Store(tmp_path), change(table("rows"))
    with pytest.raises(StoreError, match=message):
        store.write_run("run", {"runs": table("runs", 1), "rows": bad})
    assert not (tmp_path / "runs").exists()  # so that the run counts as missing
    store.write_run("run", {"runs": table("runs", 1), "rows": table("rows")})
    pq.write_table(bad, tmp_path / "rows" / "run.parquet")
    with pytest.raises(StoreError, match=message):
        store.rows()


def test_what_is_no_result_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(StoreError, match=r"`run_id` must match .* found '\.\./up'"):
        store.write_run("../up", {"runs": table("runs", 1)})
    with pytest.raises(StoreError, match="must hold `runs`"):
        store.write_run("run", {"rows": table("rows")})
    with pytest.raises(StoreError, match="found 'others'"):
        store.write_run("run", {"runs": table("runs", 1), "others": table("rows")})
    (tmp_path / "suite.json").write_text('{"id": "a"}')
    with pytest.raises(StoreError, match="must have the keys"):
        store.suite()
    store.write_suite(record(variants=[{"name": "v"}]))
    with pytest.raises(StoreError, match="`variants` must have the keys"):
        store.suite()
    (tmp_path / "suite.json").write_text("{")
    with pytest.raises(StoreError, match="must be a suite's record"):
        store.suite()
    (tmp_path / "rows.parquet").write_text("no table")
    with pytest.raises(StoreError, match="must be a Parquet file"):
        store.rows()
