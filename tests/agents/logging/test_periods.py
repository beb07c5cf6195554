"""Periods that are written without a log: equal to what an import of the log gives; kill and resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.logging import periods
from agents.logging.impressions import log_impressions
from agents.logging.periods import play_period, write_periods
from auction_env import TASKS, ReplayParams, data, import_replay, load_replay, preset
from auction_env.data.dataset import VECTORS
from auction_env.data.schema import UNRECORDED

TASK = TASKS["TargetCPA"]
SEEDS = {3: 70, 4: 71}
OF_A_LOG = [name for name in (*VECTORS, "observation") if name not in {"seed", "policy", *UNRECORDED}]


def market() -> dict[str, Any]:
    return preset("sparse", n_impressions=960, budget_rule="in_order")._asdict()


def test_periods_are_what_the_import_of_their_log_gives(tmp_path: Path) -> None:
    arguments = market()
    write_periods(SEEDS, trajectories=tmp_path / "logs", market=tmp_path / "market", task=TASK, **arguments)
    direct, replay = data.load(tmp_path / "logs"), load_replay(tmp_path / "market")
    files = log_impressions(
        None, tmp_path / "csv", seeds=list(SEEDS.values()), first_period=3, task=TASK, progress=False, **arguments
    )
    rules = ReplayParams(**{name: getattr(arguments["params"], name) for name in ReplayParams.__slots__})
    import_replay(files, tmp_path / "imported", rules=rules)
    assert replay.difference(load_replay(tmp_path / "imported")) == ""
    data.import_auctionnet_impressions(files, tmp_path / "set")
    imported = data.load(tmp_path / "set")
    assert (direct.budget_left[direct.episode_starts[1:] - 1] < 0.1 * direct.budget[0]).any()
    for name in OF_A_LOG:
        found, expected = getattr(direct, name), getattr(imported, name)
        if np.issubdtype(found.dtype, np.floating):
            np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-9, err_msg=name)
        else:
            np.testing.assert_array_equal(found, expected, err_msg=name)


def test_finished_periods_are_kept_and_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = {"trajectories": tmp_path / "logs", "market": tmp_path / "market", "task": TASK, **market()}
    played: list[int] = []

    def killed_at(last: int) -> Any:
        def play(period: int, seed: int, **others: Any) -> Any:
            if period == last:
                raise KeyboardInterrupt
            played.append(period)
            return play_period(period, seed, **others)

        return play

    monkeypatch.setattr(periods, "play_period", killed_at(4))
    with pytest.raises(KeyboardInterrupt):
        write_periods(SEEDS, **arguments)
    assert not (tmp_path / "market").exists() and played == [3]
    monkeypatch.setattr(periods, "play_period", killed_at(-1))
    with pytest.raises(FileExistsError, match=r"unfinished work with other arguments \(`seeds` differs\)"):
        write_periods({3: 90}, **arguments)
    write_periods(SEEDS, **arguments)
    assert played == [3, 4] and load_replay(tmp_path / "market").periods.tolist() == [3, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "market"]


def test_a_market_that_settles_later_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    late = preset("sparse", n_impressions=480, budget_rule="in_order", conversion_delay=2.0)._asdict()
    with pytest.raises(ValueError, match="`conversion_delay` must be 0 to trace impressions, found 2"):
        write_periods(SEEDS, trajectories=tmp_path / "l", market=tmp_path / "m", task=TASK, **late)
    assert not list(tmp_path.iterdir())
