from __future__ import annotations

import itertools
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from auction_env.tasks import TASKS
from tests.vamo.synthetic import make_data
from tests.vamo.test_agent import campaigns_of, make_bidder, views_of
from tests.vamo.test_model import VARIANTS, trained
from vamo.checkpoint import CheckpointError, load, read, save, write
from vamo.config import Config, ModelConfig
from vamo.dataset import split
from vamo.training import train


@pytest.fixture
def path(tmp_path: Path, small_config: Config) -> Path:
    path = tmp_path / "agent.safetensors"
    save(path, make_bidder(small_config))
    return path


def test_round_trip(tmp_path: Path, small_config: Config) -> None:
    """A trained agent bids the same after a save and a load, and says the same of itself."""
    sources, validation = split({"TargetCPA": make_data(12)}, 0.25)
    trained = train(sources, validation, small_config).bidder
    save(tmp_path / "agent.safetensors", trained)
    loaded = load(tmp_path / "agent.safetensors")
    assert loaded.config == trained.config
    assert loaded.data_hash == trained.data_hash != ""
    assert loaded.name == "vao"
    data = make_data(5, seed=3)
    for bidder in (trained, loaded):
        bidder.reset(campaigns_of(data, TASKS["TargetCPA"]))
    for view in views_of(data):
        np.testing.assert_array_equal(trained.act(view), loaded.act(view))
    for name, buffer in trained.model.named_buffers():
        torch.testing.assert_close(loaded.model.get_buffer(name), buffer, rtol=0, atol=0)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_round_trip_of_every_variant(tmp_path: Path, small_config: Config, changes: ModelConfig) -> None:
    bidder = make_bidder(replace(small_config, model=replace(changes, n_ticks=48)))
    trained(bidder.model)
    save(tmp_path / "agent.safetensors", bidder)
    loaded = load(tmp_path / "agent.safetensors")
    assert loaded.config == bidder.config
    data = make_data(2)
    for one in (bidder, loaded):
        one.reset(campaigns_of(data, TASKS["TargetCPA"]))
    for view in itertools.islice(views_of(data), 8):  # beyond the window of 6 ticks
        np.testing.assert_array_equal(bidder.act(view), loaded.act(view))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="must be a file, found none"):
        load(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_truncated(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="must be a safetensors file"):
        load(path)


@pytest.mark.parametrize("position", [0, 3, 20, 400, -5000, -1])
def test_flipped_bit(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        load(path)


class Malicious:
    """Creates a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_nothing_of_a_pickle_is_executed(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "executed"
    path.write_bytes(pickle.dumps(Malicious(target)))
    with pytest.raises(CheckpointError, match="must be a safetensors file"):
        load(path)
    assert not target.exists()


def test_foreign_files(path: Path) -> None:
    path.write_bytes(safetensors.torch.save({"weight": torch.zeros(3)}))
    with pytest.raises(CheckpointError, match="must be of kind 'vamo-agent', found None"):
        load(path)
    write(path, "vamo-training", {"weight": torch.zeros(3)}, {})
    with pytest.raises(CheckpointError, match="must be of kind 'vamo-agent', found 'vamo-training'"):
        load(path)
    path.write_bytes(safetensors.torch.save({}, {"kind": "vamo-agent", "version": "99"}))
    with pytest.raises(CheckpointError, match="must be of version 2, found '99'"):
        load(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, record: record.pop("config"),
        lambda tensors, record: record["config"]["model"].update(d_model=32),
        lambda tensors, record: record["config"]["model"].update(d_modle=32),
        lambda tensors, record: record["returns"][0].update(quantiles=[1.0]),
        lambda tensors, record: record.update(returns=3),
        lambda tensors, record: tensors.pop("head.weight"),
        lambda tensors, record: tensors.update(extra=torch.zeros(1)),
    ],
)
def test_incomplete_agent(path: Path, change) -> None:  # type: ignore[no-untyped-def]
    tensors, record = read(path, "vamo-agent")
    change(tensors, record)
    write(path, "vamo-agent", tensors, record)
    with pytest.raises(CheckpointError, match="must hold a complete agent"):
        load(path)


def test_failed_write_keeps_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write(path, "vamo-agent", {"weight": torch.zeros(3)}, {})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_record_is_json(path: Path) -> None:
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert set(metadata) == {"kind", "version", "record", "sha256"}
    assert set(json.loads(metadata["record"])) == {"config", "returns", "data_hash", "name"}
