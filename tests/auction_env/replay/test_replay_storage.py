"""Replay markets on disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from auction_env import ReplayMarket, load_replay, save_replay
from auction_env.replay.storage import ReplayError
from tests.auction_env.replay.logs import three_periods

ID = "auction_env/Replay-v0"


@pytest.fixture(scope="module")
def market() -> ReplayMarket:
    return three_periods()


@pytest.mark.parametrize("mmap", [False, True])
def test_save_and_load(market: ReplayMarket, tmp_path: Path, mmap: bool) -> None:
    save_replay(market, tmp_path / "m")
    loaded = load_replay(tmp_path / "m", mmap=mmap)
    assert isinstance(loaded.log.value.base, np.memmap) == mmap
    for name in market.log._fields:
        np.testing.assert_array_equal(getattr(loaded.log, name), getattr(market.log, name))
        assert getattr(loaded.log, name).dtype == getattr(market.log, name).dtype
    for name in ("periods", "advertisers", "budget", "cpa_target", "category"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(market, name))
    assert (loaded.rules, loaded.assumption) == (market.rules, market.assumption)
    env = gym.make(ID, market=tmp_path / "m")
    again = gym.make(ID, market=market)
    np.testing.assert_array_equal(env.reset(seed=1)[0], again.reset(seed=1)[0])
    with pytest.raises(FileExistsError, match="must be empty"):
        save_replay(market, tmp_path / "m")
    save_replay(market, tmp_path / "m", force=True)
    (tmp_path / "m" / "other").touch()
    with pytest.raises(FileExistsError, match="'other'"):
        save_replay(market, tmp_path / "m", force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]  # no scratch is left


def test_damaged_files_are_found(market: ReplayMarket, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no replay\.json"):
        load_replay(tmp_path)
    save_replay(market, tmp_path / "good")

    def damaged(name: str) -> Path:
        return Path(shutil.copytree(tmp_path / "good", tmp_path / name))

    truncated, changed = damaged("truncated"), damaged("changed")
    value = (tmp_path / "good" / "value.npy").read_bytes()
    (truncated / "value.npy").write_bytes(value[:-10])
    (changed / "value.npy").write_bytes(value[:-1] + bytes([value[-1] ^ 1]))
    gone = damaged("gone")
    (gone / "value.npy").unlink()
    no_json = damaged("no_json")
    (no_json / "replay.json").write_text("{")
    manifest = json.loads((tmp_path / "good" / "replay.json").read_text())
    newer, wrong = damaged("newer"), damaged("wrong")
    (newer / "replay.json").write_text(json.dumps(manifest | {"format_version": 99}))
    (wrong / "replay.json").write_text(json.dumps(manifest | {"assumption": "none"}))
    for path, message in (
        (truncated, r"value\.npy: changed: it must have \d+ bytes"), (changed, "its SHA-256 must be"),
        (gone, "must exist"), (no_json, "must be JSON"), (newer, "found 99"), (wrong, "found 'none'"),
    ):  # fmt: skip
        with pytest.raises(ReplayError, match=message):
            load_replay(path)
        if path != changed:  # a mapped file is not read before it is needed
            with pytest.raises(ReplayError, match=message):
                load_replay(path, mmap=True)
