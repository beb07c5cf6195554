"""Tables of a run: rows of test episodes, single episodes tick by tick, weights and losses of the training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from agents import Bidder, Episodes
from auction_env.control.advertisers import ControlledTick, episode_totals, stack_ticks
from auction_env.control.bidder import check_multipliers
from auction_env.control.simulation import Simulation
from auction_env.market.tracing import trace_tick
from benchmarks.suites.data.episodes import TaskEpisodes
from benchmarks.suites.methods.fitting import Curve
from benchmarks.suites.spec import Run
from benchmarks.suites.storage.rows import episode_columns
from benchmarks.suites.storage.store import EPISODES, LOSSES, RATIOS, ROWS, WEIGHTS

Float = NDArray[np.float64]

N_SLOTS_SHOWN = 3
MOST_WEIGHTS = 40_000  # rows of a run: with many tasks only some of the records are kept, the last among them


def rows_table(run: Run, test: str, played: Episodes, reference: Float) -> pa.Table:
    """Schema `ROWS` of the test episodes of one test."""
    n = len(played.seed)
    columns: dict[str, Any] = {
        **episode_columns(played),
        "suite": np.full(n, run.suite.full_id),
        "variant": np.full(n, run.variant.name),
        "method": np.full(n, run.arm.name),
        "task": np.full(n, test),
        "train_seed": np.full(n, run.train_seed),
        "reference": reference,
    }
    return pa.table({name: columns[name] for name in ROWS.names}, schema=ROWS)


def episodes_table(run: Run, test: str, bidder: Bidder, episodes: TaskEpisodes) -> pa.Table:
    """Schema `EPISODES`: plays the first test episodes once more and keeps every tick.

    One market at a time, since the impressions of a tick are traced to count the slots.
    """
    parts = [_episode(run, test, bidder, episodes.one(i)) for i in range(run.n_viewed)]
    return pa.concat_tables(parts)


def _episode(run: Run, test: str, bidder: Bidder, episode: TaskEpisodes) -> pa.Table:
    advertiser = int(episode.advertisers[0])
    simulation = Simulation(
        episode.params,
        episode.population,
        controlled_market=[0],
        controlled_advertiser=[advertiser],
        task=episode.task,
        competitors=episode.competing_bidders(bidder),
        competitor_task=episode.competitor_task,
    )
    simulation.reset(episode.seeds, episode.days)
    campaigns = simulation.campaigns()
    bidder.reset(campaigns)
    ticks: list[ControlledTick] = []
    slots = []
    for _ in range(episode.params.n_ticks):
        everyone = simulation.decide(check_multipliers(bidder, bidder.act(simulation.view()), 1))
        traced = trace_tick(
            simulation.market, everyone.multipliers[0], on_impressions=everyone.on_impressions, any_basis=True
        ).slot[:, advertiser]
        slots.append([np.count_nonzero(traced == slot) for slot in range(1, N_SLOTS_SHOWN)])
        slots[-1].append(np.count_nonzero(traced >= N_SLOTS_SHOWN))
        ticks.append(simulation.play(everyone)[0])
    so_far = [_so_far(episode, ticks[: t + 1], campaigns.targets) for t in range(len(ticks))]
    day = stack_ticks(ticks)
    n = len(ticks)
    columns: dict[str, Any] = {
        "run_id": np.full(n, run.id),
        "method": np.full(n, run.arm.name),
        "variant": np.full(n, run.variant.name),
        "task": np.full(n, test),
        "train_seed": np.full(n, run.train_seed),
        "seed": np.full(n, episode.seeds[0]),
        "advertiser": np.full(n, advertiser),
        "tick": np.arange(n),
        "base": np.full(n, campaigns.base[0]),
        "planned_spend_share": np.cumsum(np.atleast_2d(campaigns.traffic_shares)[0]),
    }
    names = ("multiplier", "least_winning_cost", "cost", "n_impressions", "wins", "exposures")
    columns |= {name: getattr(day, name)[:, 0] for name in names}
    columns |= {f"slot{k + 1}": np.asarray(slots, np.float64)[:, k] for k in range(N_SLOTS_SHOWN)}
    columns |= {name: np.array([part[name] for part in so_far]) for name in ("objective", *RATIOS)}
    return pa.table({name: columns[name] for name in EPISODES.names}, schema=EPISODES)


def _so_far(episode: TaskEpisodes, ticks: Sequence[ControlledTick], targets: Any) -> dict[str, float]:
    totals = episode_totals(stack_ticks(ticks))
    ratios = episode.task.ratios(totals, targets, expected=True)
    found = {f"{kind}_ratio": float(ratio[0]) for kind, ratio in ratios.items()}
    return {"objective": float(episode.task.reward(totals)[0]), **dict.fromkeys(RATIOS, float("nan")), **found}


def weights_table(run_id: str, curves: Sequence[Curve]) -> pa.Table:
    """Schema `WEIGHTS`; no rows for methods without alignments, whose weights are constant."""
    parts: list[pa.Table] = []
    for curve in curves:
        records = [record for record in curve.records if record.alignment is not None]
        n_cells = len(curve.targets) * len(curve.sources)
        most = max(1, MOST_WEIGHTS // (n_cells * len(curves)))
        if len(records) > most:
            records = [records[-1 - (len(records) * k) // most] for k in reversed(range(most))]
        for record in records:
            columns: dict[str, Any] = {
                "run_id": np.full(n_cells, run_id),
                "step": np.full(n_cells, record.step),
                "target": np.repeat(curve.targets, len(curve.sources)),
                "source": np.tile(curve.sources, len(curve.targets)),
            }
            for name, values in (
                ("weight", record.weights),
                ("alignment", record.alignment),
                ("alignment_error", record.alignment_error),
            ):
                columns[name] = np.asarray(values, np.float64).reshape(-1)
            parts.append(pa.table(columns, schema=WEIGHTS))
    return pa.concat_tables(parts) if parts else WEIGHTS.empty_table()


def losses_table(run_id: str, curves: Sequence[Curve]) -> pa.Table:
    """Schema `LOSSES`."""
    parts = []
    for curve in curves:
        n = len(curve.targets)
        for record in curve.records:
            columns: dict[str, Any] = {
                "run_id": np.full(n, run_id),
                "step": np.full(n, record.step),
                "target": np.asarray(curve.targets),
                "validation_loss": np.asarray(record.validation_loss),
                "effective_sources": np.asarray(record.effective_sources),
            }
            parts.append(pa.table(columns, schema=LOSSES))
    return pa.concat_tables(parts) if parts else LOSSES.empty_table()
