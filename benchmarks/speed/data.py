"""Speed of the trajectories' way: import of logs, collection from the simulator, relabelling for another task."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from agents import Collection, FixedBidder, NoisyBidder, collect, collect_data_set
from auction_env import TASKS, Funnel, MarketParams, Task
from auction_env.data import (
    TrajectoryData,
    from_table,
    import_auctionnet_impressions,
    import_auctionnet_trajectories,
    import_ipinyou,
)
from auction_env.data.formats.criteo.importing import import_criteo
from auction_env.data.formats.table.bids import sum_bids
from auction_env.data.formats.trajectory_export import export_auctionnet_trajectories
from auction_env.data.schema import OBSERVATION_COLUMNS
from benchmarks.speed.measure import Measurement, Row, median_seconds, seconds_of
from benchmarks.speed.reference.pandas_import import import_pandas
from benchmarks.speed.reference.pandas_logs import bids_pandas, criteo_pandas, ipinyou_pandas
from benchmarks.speed.reference.pandas_table import table_pandas
from benchmarks.speed.reference.pandas_trajectories import import_pandas_trajectories
from benchmarks.speed.reference.synthetic_log import write_log
from benchmarks.speed.reference.synthetic_logs import write_bids, write_criteo, write_ipinyou
from benchmarks.speed.reference.synthetic_table import write_table

CLICKS = Task(name="clicks", objective="clicks")
N_IMPRESSIONS = 4_800  # an episode, of the collection
_IMPRESSION_SECONDS = 4 * 48 * 1e-9  # four amounts for 48 advertisers, at about a nanosecond a draw


def import_rows(quick: bool) -> Iterator[Row]:
    """Rows per second of the AuctionNet importer against a straightforward pandas version."""
    with tempfile.TemporaryDirectory() as folder:
        log, big = Path(folder, "log.csv"), Path(folder, "big.csv")
        n_rows = write_log(log, n_periods=1)
        n_big = write_log(big, n_periods=4 if quick else 6)
        out = Path(folder, "out")
        seconds = median_seconds(lambda: import_auctionnet_impressions([big], out, force=True), 3)
        pandas_seconds = seconds_of(lambda: import_pandas([log]))
        copy_seconds = median_seconds(lambda: big.read_bytes(), 3)
        rate, pandas_rate = n_big / seconds, n_rows / pandas_seconds
        yield Row(
            name="import_rows_per_s",
            value=rate,
            unit="rows/s",
            reference=f"{n_big:,} rows of uncompressed CSV; AuctionNet (not in this run): 65,000 rows/s",
            bound=f"{n_big / copy_seconds:,.0f}: reading the file from the page cache",
            reference_value=65_000.0,
            bound_value=n_big / copy_seconds,
            more_is_better=True,
        )
        yield Row(
            name="import_vs_pandas",
            value=rate / pandas_rate,
            unit="x",
            reference=f"the same features in pandas: {pandas_rate:,.0f} rows/s",
            bound=f"{n_big / copy_seconds / pandas_rate:,.0f}x: reading the file",
            bound_value=n_big / copy_seconds / pandas_rate,
            more_is_better=True,
        )


def table_rows(quick: bool) -> Iterator[Row]:
    """Rows per second of `from_table` on an advertiser's own log, against group-bys in pandas."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "table.parquet")
        n = write_table(path, n_episodes=2_000 if quick else 20_000)
        seconds = median_seconds(lambda: from_table(path, task="TargetCPA"), 3)
        pandas_seconds = seconds_of(lambda: table_pandas(path, 48))
        observation = np.zeros((n, len(OBSERVATION_COLUMNS)))
        copy_seconds = median_seconds(observation.copy, 3)
    yield Row(
        name="table_rows_per_s",
        value=n / seconds,
        unit="rows/s",
        reference=f"{n:,} rows of Parquet, one row a campaign and tick",
        bound=f"{n / copy_seconds:,.0f}: writing the observations",
        bound_value=n / copy_seconds,
        more_is_better=True,
    )
    yield Row(
        name="table_vs_pandas",
        value=pandas_seconds / seconds,
        unit="x",
        reference=f"11 of the 16 features in pandas: {n / pandas_seconds:,.0f} rows/s",
        bound=f"{pandas_seconds / copy_seconds:,.0f}x: writing the observations",
        bound_value=pandas_seconds / copy_seconds,
        more_is_better=True,
    )


def logs_rows(quick: bool) -> Iterator[Row]:
    """Rows per second of the importers of logs of bids and impressions, each against the same sums in pandas."""
    n = 50_000 if quick else 300_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bids, criteo = folder / "bids.csv", folder / "criteo.tsv"
        write_bids(bids, n)
        write_ipinyou(folder, n)
        write_criteo(criteo, n)
        logs = sorted(folder.glob("*.txt"))
        out = folder / "out"
        yield _log_row("bids", n, [bids], lambda: sum_bids(bids, time_unit="s"), lambda: bids_pandas(bids))
        given: dict[str, Any] = {"task": CLICKS, "budget_factor": 1.0, "constants": {"cpa_target": 1.0}}
        yield _log_row(
            "ipinyou", n, logs, lambda: import_ipinyou(logs, out, force=True, **given), lambda: ipinyou_pandas(folder)
        )
        result = folder / "criteo"
        yield _log_row(
            "criteo", n, [criteo], lambda: import_criteo(criteo, result, force=True), lambda: criteo_pandas(criteo)
        )


def _log_row(name: str, n: int, files: list[Path], work: Callable[[], Any], pandas_work: Callable[[], Any]) -> Row:
    seconds, pandas_seconds = median_seconds(work, 3), seconds_of(pandas_work)
    copy_seconds = median_seconds(lambda: [file.read_bytes() for file in files], 3)
    return Row(
        name=f"{name}_import_rows_per_s",
        value=n / seconds,
        unit="rows/s",
        reference=f"{n:,} bids or impressions, uncompressed; the same sums in pandas: {n / pandas_seconds:,.0f} rows/s",
        bound=f"{n / copy_seconds:,.0f}: reading the files from the page cache",
        reference_value=n / pandas_seconds,
        bound_value=n / copy_seconds,
        more_is_better=True,
    )


def trajectory_import_rows(quick: bool) -> Iterator[Row]:
    """Rows per second of the importer of AuctionNet's trajectories against a straightforward pandas version."""
    log = small_log(10 if quick else 40)
    n_copies = max(1, 300_000 // len(log))
    copies = [replace(log, period=log.period + 1_000 * copy) for copy in range(n_copies)]
    with tempfile.TemporaryDirectory() as folder:
        small, big, out = Path(folder, "small.csv"), Path(folder, "big.csv"), Path(folder, "out")
        export_auctionnet_trajectories(small, log)
        export_auctionnet_trajectories(big, TrajectoryData.concat(copies))
        import_auctionnet_trajectories(small, out)  # compiles
        seconds = median_seconds(lambda: import_auctionnet_trajectories(big, out, force=True), 3)
        pandas_rate = len(log) / seconds_of(lambda: import_pandas_trajectories([small]))
        copy_seconds = median_seconds(lambda: big.read_bytes(), 3)
    n_rows = n_copies * len(log)
    yield Row(
        name="trajectory_import_rows_per_s",
        value=n_rows / seconds,
        unit="rows/s",
        reference=f"{n_rows:,} rows of uncompressed CSV with both states",
        bound=f"{n_rows / copy_seconds:,.0f}: reading the file from the page cache",
        bound_value=n_rows / copy_seconds,
        more_is_better=True,
    )
    yield Row(
        name="trajectory_import_vs_pandas",
        value=n_rows / seconds / pandas_rate,
        unit="x",
        reference=f"the same columns in pandas, states by `eval`: {pandas_rate:,.0f} rows/s",
        bound=f"{n_rows / copy_seconds / pandas_rate:,.0f}x: reading the file",
        bound_value=n_rows / copy_seconds / pandas_rate,
        more_is_better=True,
    )


def collection_rows(quick: bool) -> Iterator[Row]:
    """Trajectories a second that the simulator logs, with the mixture of policies and all advertisers logged."""
    collection = Collection(
        task=TASKS["MaxConversions"],
        n_episodes=56 if quick else 280,
        control="all",
        params=MarketParams(n_impressions=N_IMPRESSIONS, funnel=Funnel()),
    )
    with tempfile.TemporaryDirectory() as folder:
        summary = collect_data_set(collection, Path(folder, "log"), n_workers=1)
    bound = 48 / (N_IMPRESSIONS * _IMPRESSION_SECONDS)
    yield Row(
        name="collected_trajectories_per_s",
        value=summary.rate,
        unit="traj/s",
        reference=f"one process, start-up included, {N_IMPRESSIONS:,} impressions an episode, policy mixed",
        bound=f"{bound:,.0f}: drawing the impressions once",
        bound_value=bound,
        more_is_better=True,
    )


def relabelling_rows(log: TrajectoryData) -> Iterator[Row]:
    """Ticks a second that become examples for a task with two further constraints."""
    from agents.labels.relabel import relabel

    target = TASKS["MultiConstraint"]
    seconds = median_seconds(lambda: relabel(log, target), 5)
    columns = relabel(log, target)
    n_bytes = sum(part.nbytes for part in columns if hasattr(part, "nbytes"))
    copied = columns.requirements.copy
    copy_seconds = median_seconds(copied, 5) * n_bytes / columns.requirements.nbytes
    yield Row(
        name="relabelled_ticks_per_s",
        value=len(log) / seconds,
        unit="ticks/s",
        reference=f"{len(log):,} ticks of MaxConversions for MultiConstraint, one core",
        bound=f"{len(log) / copy_seconds:,.0f}: writing the result",
        bound_value=len(log) / copy_seconds,
        more_is_better=True,
    )


def hindsight_rows(log: TrajectoryData) -> Iterator[Row]:
    """Ticks a second whose hindsight-optimal action is found, for a task with two further constraints."""
    from agents.labels.hindsight import LOG_GRID, best_log_multipliers
    from agents.labels.response import Response

    target, response = TASKS["MultiConstraint"], Response.fit([log])
    best_log_multipliers(log, target, response)  # compiles
    seconds = median_seconds(lambda: best_log_multipliers(log, target, response), 5)
    n_ticks = int(log.tick.max()) + 1
    brings = np.ones((n_ticks, 3 * len(LOG_GRID)))  # cost, conversions, order value
    sums = np.empty_like(brings)
    sum_seconds = log.n_episodes * median_seconds(lambda: np.cumsum(brings, axis=0, out=sums), 25)
    yield Row(
        name="hindsight_labels_per_s",
        value=len(log) / seconds,
        unit="ticks/s",
        reference=f"{len(log):,} ticks of MaxConversions for MultiConstraint, {len(LOG_GRID)} multipliers",
        bound=f"{len(log) / sum_seconds:,.0f}: adding up every outcome of every multiplier",
        bound_value=len(log) / sum_seconds,
        more_is_better=True,
    )


def family_rows(log: TrajectoryData, n_tasks: int) -> Iterator[Row]:
    """What comes before a training for many tasks, labels and statistics, where only four requirements differ."""
    from vamo import Config
    from vamo.examples.episodes import Episodes
    from vamo.examples.normalisation import normalisation

    asked = [TASKS[name] for name in ("MaxConversions", "TargetCPA", "TargetROAS", "MultiConstraint")]
    few = [replace(asked[k % 4], name=f"task-{k}") for k in range(n_tasks)]
    many = [replace(task, beta=2.0 + 1e-6 * k) for k, task in enumerate(few)]  # no two ask for the same
    n_each = 7  # trajectories of a source: scarce
    logs = [log.select(np.arange(n_each * i, n_each * (i + 1))) for i in range(n_tasks)]
    pairs = [(k, i) for k in range(n_tasks) for i in range(n_tasks)]

    def prepare(tasks: list[Task]) -> None:
        normalisation([Episodes("log", part, Config()) for part in logs], tasks, pairs)

    prepare(few)  # compiles
    seconds, own_seconds = median_seconds(partial(prepare, few), 3), seconds_of(partial(prepare, many))
    yield Row(
        name="prepared_pairs_vs_own_labels",
        value=own_seconds / seconds,
        unit="x",
        reference=f"labels of its own for each of {n_tasks**2:,} pairs of {n_each} trajectories: {own_seconds:.2g} s",
        bound=f"{n_tasks // 4}x: 4 different requirements",
        bound_value=n_tasks / 4,
        more_is_better=True,
    )


@cache
def small_log(n_days: int) -> TrajectoryData:
    """Days of all advertisers in a small market; the bids vary, or no response could be learned from them."""
    params = MarketParams(n_impressions=480, funnel=Funnel())
    policy = NoisyBidder(FixedBidder())
    days = collect(policy, seeds=range(n_days), task=TASKS["MaxConversions"], params=params)
    return TrajectoryData.concat(list(days))


def label_rows(quick: bool) -> Iterator[Row]:
    """What is made of a log before a training."""
    log = small_log(10 if quick else 40)
    yield from relabelling_rows(log)
    yield from hindsight_rows(log)
    yield from family_rows(log, 16 if quick else 64)


MEASUREMENTS = (
    Measurement(what="AuctionNet's impressions", rows=import_rows),
    Measurement(what="tables", rows=table_rows),
    Measurement(what="logs of bids", rows=logs_rows),
    Measurement(what="collection", rows=collection_rows),
    Measurement(what="AuctionNet's trajectories", rows=trajectory_import_rows),
    Measurement(what="labels", rows=label_rows),
)
