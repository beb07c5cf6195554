"""Writes trajectories in AuctionNet's trajectory schema, on which forks of its repository train.

A row's state is the observation's 16 features; its action is sum of bids / sum of predicted conversions, whatever the
task's objective is, as the schema has it. What the schema has no columns for (tasks, clicks, add-to-carts, GMV,
exposures, seeds, policies) is left out.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from auction_env.data.dataset import TrajectoryData
from auction_env.data.formats.sources import tuple_texts_of
from auction_env.data.formats.trajectory_csv import TRAJECTORY_COLUMNS
from auction_env.files import already_there, naming_errors
from auction_env.kernels.logs.cells import N_TICKS

_EPISODES_AT_ONCE = 512  # bounds the memory of the texts


def export_auctionnet_trajectories(path: str | os.PathLike[str], data: TrajectoryData, *, force: bool = False) -> None:
    """Writes a CSV file in AuctionNet's trajectory schema, which appears whole or not at all.

    Imported again it gives the same columns up to the rounding of products, of the task "TargetCPA", without what the
    schema does not hold (`import_auctionnet_trajectories`).

    Args:
        path: The file; ends in `.csv` or `.csv.gz`.
        data: Trajectories of any tasks.
        force: Whether a file that is there already is replaced.

    Raises:
        FileExistsError: The file is there and `force` is False.
        ValueError: The path has another ending, there are no rows, or a tick is beyond the schema's 48.
    """
    target = Path(path)
    if not target.name.endswith((".csv", ".csv.gz")):
        raise ValueError(f"`path` must end in .csv or .csv.gz, found {target.name!r}")
    if target.exists() and not force:
        raise already_there(target, "a file", "must not exist")
    if not len(data):
        raise ValueError("`data` must hold trajectories, found none")
    if data.tick.max() >= N_TICKS:
        raise ValueError(f"`tick` must be below {N_TICKS} in AuctionNet's schema, found {data.tick.max()}")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with naming_errors(target):
            compression = "gzip" if target.name.endswith(".gz") else None
            with pa.output_stream(str(temporary), compression=compression) as sink:
                sink.write((",".join(TRAJECTORY_COLUMNS) + "\n").encode())
                for first in range(0, data.n_episodes, _EPISODES_AT_ONCE):
                    part = data.select(np.arange(first, min(first + _EPISODES_AT_ONCE, data.n_episodes)))
                    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
                    pyarrow.csv.write_csv(_table(part), sink, write_options=options)
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _table(data: TrajectoryData) -> pa.Table:
    starts, length = data.episode_starts, np.diff(data.episode_starts)
    states = tuple_texts_of(data.features)
    is_over = np.asarray(data.done).copy()
    is_over[starts[1:] - 1] = True
    following = np.minimum(np.arange(len(data)) + 1, len(data) - 1)
    next_states = states.take(pa.array(np.where(is_over, 0, following), mask=is_over))
    action = np.divide(data.bid, data.offered_conversions, out=np.zeros(len(data)), where=data.offered_conversions > 0)

    def of_episode(values: NDArray[np.float64]) -> pa.Array:
        """The episodes' sums, in each of their rows; empty where a part is unknown."""
        sums = np.repeat(np.add.reduceat(values, starts[:-1]), length)
        return pa.array(sums, mask=np.isnan(sums))

    columns = {
        "deliveryPeriodIndex": data.period,
        "advertiserNumber": data.advertiser,
        "advertiserCategoryIndex": data.category,
        "budget": data.budget,
        "CPAConstraint": data.cpa_target,
        "realAllCost": of_episode(data.cost),
        "realAllConversion": of_episode(data.conversions),
        "timeStepIndex": data.tick,
        "state": states,
        "action": action,
        "reward": data.conversions,
        "reward_continuous": data.expected_conversions,
        "done": np.asarray(data.done).astype(np.int8),
        "next_state": next_states,
    }
    return pa.table({name: columns[name] for name in TRAJECTORY_COLUMNS})
