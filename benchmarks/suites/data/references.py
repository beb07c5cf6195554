"""Reference scores of test episodes: the best constant multiplier in hindsight."""

from __future__ import annotations

import io
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agents import HindsightBidder
from auction_env.files import write_atomically
from benchmarks.suites.data.episodes import TaskEpisodes
from benchmarks.suites.data.locking import locked
from benchmarks.suites.data.variant import VariantData
from benchmarks.suites.numbers import DATA_PACKAGES, versions
from benchmarks.suites.spec import digest

Float = NDArray[np.float64]


def references(data: VariantData, cache: Path) -> dict[str, Float]:
    """Expected score of the best constant multiplier in hindsight in every test episode, by test.

    The competitors are the scripts, also in tests where rules or copies bid in their place: the reference is the same
    number for every method. There it is a unit, not an upper bound. Episodes may name others whose reference is
    theirs (`TaskEpisodes.unit`).
    """
    return {name: _reference(episodes, cache / "references") for name, episodes in data.tests.items()}


def _reference(episodes: TaskEpisodes, folder: Path) -> Float:
    if episodes.unit is not None:
        return _reference(episodes.unit, folder)
    if episodes.competitors in ("rules", "self"):
        episodes = replace(episodes, competitors="scripts")
    description = {
        "task": episodes.task.to_json(),
        "params": asdict(episodes.params),
        "population": episodes.population.to_json(),
        "seeds": episodes.seeds.tolist(),
        "advertisers": episodes.advertisers.tolist(),
        "days": None if episodes.days is None else episodes.days.tolist(),
        "numbers": versions(DATA_PACKAGES),
        **({"key": episodes.key} if episodes.key else {}),
    }
    path = folder / f"{digest(description)[:16]}.parquet"
    with locked(folder):
        if not path.exists():
            best = HindsightBidder()
            sink = io.BytesIO()
            pq.write_table(pa.table({"score": episodes.play(best).score(expected=True)}), sink)
            write_atomically(path, sink.getbuffer())
    scores: Float = pq.read_table(path)["score"].to_numpy()
    if scores.shape != episodes.seeds.shape:
        raise ValueError(f"{path} must hold {len(episodes.seeds)} scores, found {len(scores)}: delete it")
    return scores
