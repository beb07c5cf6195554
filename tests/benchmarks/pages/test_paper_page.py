"""The page of the paper's tables: methods are found by their settings, and what is not published is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("matplotlib", reason="pictures need the extra `report`")

from benchmarks.pages.paper.figures import Weights, lambdas, weights_of
from benchmarks.pages.paper.page import paper_page
from benchmarks.pages.paper.sources import sources
from benchmarks.pages.paper.tables import FILM_OFF
from benchmarks.statistics.bootstrap import Bootstrap
from benchmarks.suites.catalogue import SUITES
from benchmarks.suites.storage.store import RUNS, Store
from tests.benchmarks.suites.made_up import STEPS, TASKS, write_results

FAST = Bootstrap(n_resamples=100)
SETTINGS = {
    "single": ["train.method=single"],
    "uniform": ["train.method=uniform"],
    "vao": ["train.method=vao"],
    "no-film": ["train.method=vao", "model.conditioning=token"],
    "single-logged": ["train.method=single", "data.action_label=logged"],
    "logged": ["train.method=vao", "data.action_label=logged"],
    **{f"lambda={x:g}": ["train.method=vao", f"weighting.temperature={x}"] for x in (0.1, 10.0)},
    "raw=1": ["train.method=vao", "weighting.scaling=none", "weighting.temperature=1.0"],
}
TRANSFORMER = ["model.backbone=transformer", "model.conditioning=film"]
SETTINGS |= {
    "on-mlp": ["model.backbone=mlp", "train.method=uniform"],
    "named": [*TRANSFORMER, "train.method=uniform"],
    "token": [*TRANSFORMER, "train.method=uniform", "model.conditioning=token"],
    "oracle": ["train.method=uniform"],
}
LOGS = {"oracle": "sound"}
SHARES = {"pid": 0.8, "single": 0.8, "uniform": 0.85, "vao": 0.9}


def published(results: Path, suite: str, methods: dict[str, float], **fields: Any) -> None:
    """A made-up suite under another name, whose runs say what their methods are."""
    out = write_results(results / suite.replace("/", "-"), methods=methods, n_viewed=0, **fields)
    record = json.loads((out / "suite.json").read_text())
    _, version, size = suite.split("/")
    (out / "suite.json").write_text(json.dumps(record | {"id": suite, "version": int(version[1:]), "size": size}))
    for path in (out / "runs").glob("*.parquet"):
        run = pq.read_table(path).to_pylist()[0]
        if run["method"] in SETTINGS:
            arm = {"method": "vamo", "settings": SETTINGS[run["method"]], "logs": LOGS.get(run["method"], "training")}
            run["config"] = json.dumps({"arm": arm})
        Store(out).write_run(run["run_id"], {"runs": pa.Table.from_pylist([run], schema=RUNS)})


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    published(out, "data-scarce/v1/testing", {**SHARES, "vao": 0.5})  # superseded by the next
    published(out, "data-scarce/v2/testing", SHARES)
    published(out, "ablation/v1/testing", {**SHARES, "no-film": 0.7, "single-logged": 0.5, "logged": 0.6})
    published(out, "temperature/v1/testing", {"pid": 0.8, "lambda=0.1": 0.7, "lambda=10": 0.9, "raw=1": 0.8})
    counts = {"n=5": 5.0, "n=40": 40.0}
    published(out, "validation-size/v2/testing", SHARES, variants=counts)
    return out


def test_every_table_has_the_rows_of_its_methods(results: Path) -> None:
    page = paper_page(results, FAST)
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.markdown.splitlines() if line[:1] == "|"
    ]
    table_1 = {row[0]: row for row in rows if len(row) == 4 + len(TASKS)}
    assert (table_1["VAO"][1], table_1["PID"][1], table_1["LOGGED"][1]) == ("hindsight", "-", "logged")
    assert float(table_1["VAO"][2].split()[0]) == pytest.approx(0.9, abs=0.06)  # of version 2, not of version 1
    for name, single, method in (("VAO", 0.8, 0.9), ("LOGGED", 0.5, 0.6)):  # each against its own labels
        assert float(table_1[name][3].split()[0]) == pytest.approx(100 * (single - method) / single, abs=4)
    assert table_1["SINGLE"][3] == table_1["SINGLE-LOGGED"][3] == "-"
    film = {row[0]: row for row in rows if len(row) == 3}
    assert film["VAO"][1].startswith("0.7") or film["VAO"][1].startswith("0.6")
    assert film["uniform"][1] == "no rows" and "`train.method=uniform model.conditioning=token`" in page.markdown
    sizes = [row[1] for row in rows if len(row) == 4 and row[0] == "VAO"]
    assert sizes == ["5", "40"]
    assert "`data-scarce/v2/testing`](suites/data-scarce-v2.md), 2 training seeds, commit 0123abc" in page.markdown
    assert page.markdown.count("What differs") == 6 and "vamo bench run" not in page.markdown
    assert set(page.pictures) == {"images/paper-figure-4.png", "images/paper-figure-5.png"}
    assert all(png.startswith(b"\x89PNG") for png in page.pictures.values())


def test_weights_and_lambdas_are_found(results: Path) -> None:
    found = sources(results, FAST)
    weights = weights_of(found["data-scarce"], "vao")
    assert weights is not None and weights.steps == list(STEPS) and weights.targets == TASKS
    entropy = weights.entropy()
    assert entropy[-1] == pytest.approx([0.0] * 3)  # all weight on the own task
    w = np.array([0.25 + 0.25, 0.25, 0.25])  # the first record: a quarter more for the own task
    assert entropy[0, 0] == pytest.approx(-(w * np.log(w)).sum() / np.log(3))
    assert lambdas(found["temperature"], is_raw=False) == {0.1: "lambda=0.1", 10.0: "lambda=10"}
    assert lambdas(found["temperature"], is_raw=True) == {1.0: "raw=1"}
    equal = [{"step": 0, "target": "T", "source": s, "weight": 0.5} for s in "TU"]
    assert Weights(equal).entropy()[0, 0] == pytest.approx(1.0)


def test_what_is_not_published_is_named_with_the_command(tmp_path: Path) -> None:
    page = paper_page(tmp_path)
    assert page.pictures == {}
    for name in ("data-scarce", "temperature", "ablation", "validation-size"):
        (suite,) = (known for known in SUITES if known.startswith(f"{name}/"))
        assert f"vamo bench run {suite} --size cpu" in page.markdown


def test_methods_of_the_paper_may_name_its_backbone(tmp_path: Path) -> None:
    published(tmp_path, "ablation/v9/testing", {"pid": 0.8, "on-mlp": 0.7, "named": 0.9, "token": 0.85, "oracle": 0.95})
    (source,) = sources(tmp_path, FAST).values()
    assert (source.method("train.method=uniform"), source.method("train.method=uniform", FILM_OFF)) == (
        "named",
        "token",
    )
    assert source.origin.startswith("Rows: `ablation/v9/testing`, 2")  # no page of it, no link


def test_of_a_suite_the_size_with_most_methods_counts(tmp_path: Path) -> None:
    published(tmp_path, "ablation/v9/full", {"pid": 0.8, "oracle": 0.9})
    published(tmp_path, "ablation/v9/testing", {"pid": 0.8, "named": 0.9, "oracle": 0.9})
    (source,) = sources(tmp_path, FAST).values()
    assert source.record.size == "testing"
    published(tmp_path, "ablation/v9/full", {"pid": 0.8, "named": 0.7, "oracle": 0.9})
    (source,) = sources(tmp_path, FAST).values()
    assert source.record.size == "full"
