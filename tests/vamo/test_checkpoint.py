from __future__ import annotations

import copy
import io
import itertools
import json
import os
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from agents import save
from agents.learning.checkpoint import VERSION, CheckpointError, read, write
from auction_env.tasks import TASKS
from tests.vamo.model.test_model import VARIANTS, trained
from tests.vamo.synthetic import make_data
from tests.vamo.test_agent import campaigns_of, make_bidder, views_of
from vamo.config import Config, ModelConfig
from vamo.examples.sources import split
from vamo.training.train import VamoLearner, train

load = VamoLearner("vamo").load


@pytest.fixture
def path(tmp_path: Path, small_config: Config) -> Path:
    path = tmp_path / "agent.safetensors"
    save(path, make_bidder(small_config))
    return path


def test_round_trip(tmp_path: Path, small_config: Config) -> None:
    """A trained agent bids the same after a save and a load, and says the same of itself."""
    sources, validation = split({"TargetCPA": make_data(12), "MaxClicks": make_data(8, task=TASKS["MaxClicks"])}, 0.25)
    result = train(sources, validation, small_config)
    trained = result.bidder
    save(tmp_path / "agent.safetensors", trained)
    loaded = load(tmp_path / "agent.safetensors")
    assert loaded.config == trained.config
    assert loaded.data_hash == trained.data_hash != ""
    assert loaded.name == "vao"
    for bidder in (trained, loaded, copy.deepcopy(loaded)):
        assert bidder.learned_from is not None
        assert bidder.learned_from[:2] == (("TargetCPA", "MaxClicks"), ("TargetCPA", "MaxClicks"))
        assert bidder.learned_from.weights.tolist() == result.returned.weights
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


def header_end(content: bytes) -> int:
    """Where the tensors start: safetensors begins with the header's length in 8 bytes."""
    return 8 + int.from_bytes(content[:8], "little")


def test_truncated_at_any_place(path: Path) -> None:
    """In the length, in the header, and in the tensors to the last byte."""
    content = path.read_bytes()
    end = header_end(content)
    header = np.linspace(8, end, 40).astype(int).tolist()
    tensors = np.linspace(end, len(content) - 1, 40).astype(int).tolist()
    for offset in [*range(9), *header, *tensors]:
        path.write_bytes(content[:offset])
        with pytest.raises(CheckpointError, match="must be a safetensors file"):
            load(path)
    path.write_bytes(content + b"x")
    with pytest.raises(CheckpointError, match="must be a safetensors file"):
        load(path)
    path.write_bytes(content)
    load(path)


@pytest.mark.parametrize("part", ["length", "header", "tensors"])
def test_flipped_bits(path: Path, part: str) -> None:
    """A file in which one bit is another is refused, and named."""
    content = path.read_bytes()
    end = header_end(content)
    rng = np.random.default_rng(0)
    positions = {
        "length": np.arange(8),
        "header": rng.integers(8, end, 200),
        "tensors": rng.integers(end, len(content), 60),
    }[part]
    for position in [*positions.tolist(), -1]:
        for bit in (0, 6):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(CheckpointError) as caught:
                load(path)
            assert str(path) in str(caught.value)


def test_random_bytes(path: Path) -> None:
    rng = np.random.default_rng(0)
    for size in (1, 7, 8, 9, 100, 10_000):
        path.write_bytes(rng.bytes(size))
        with pytest.raises(CheckpointError, match="must be a safetensors file"):
            load(path)


class Malicious:
    """Creates a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_nothing_of_a_pickle_is_executed(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "executed"
    content = pickle.dumps(Malicious(target))
    as_zip = io.BytesIO()
    with zipfile.ZipFile(as_zip, "w") as archive:  # the form of torch.save
        archive.writestr("archive/data.pkl", content)
    for damaged in (content, as_zip.getvalue()):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="must be a safetensors file"):
            load(path)
    assert not target.exists()
    pickle.loads(content)  # the trap is one
    assert target.exists()


def test_foreign_files(path: Path) -> None:
    path.write_bytes(safetensors.torch.save({"weight": torch.zeros(3)}))
    with pytest.raises(CheckpointError, match="must be of kind 'vamo', found None"):
        load(path)
    write(path, "run", {"weight": torch.zeros(3)}, {})
    with pytest.raises(CheckpointError, match="must be of kind 'vamo', found 'run'"):
        load(path)
    for version in ("1", "2", "99", "", "two"):
        path.write_bytes(safetensors.torch.save({}, {"kind": "vamo", "version": version}))
        with pytest.raises(CheckpointError, match=f"must be of version {VERSION}, found '{version}'"):
            load(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, record: record.pop("settings"),
        lambda tensors, record: record["settings"]["model"].update(d_model=32),
        lambda tensors, record: record["settings"]["model"].update(d_modle=32),
        lambda tensors, record: record["own"].update(quantiles=[[1.0]]),
        lambda tensors, record: record["own"].update(quantiles=3),
        lambda tensors, record: tensors.pop("head.weight"),
        lambda tensors, record: tensors.update(extra=torch.zeros(1)),
    ],
)
def test_incomplete_agent(path: Path, change) -> None:  # type: ignore[no-untyped-def]
    tensors, record = read(path, "vamo")
    change(tensors, record)
    write(path, "vamo", tensors, record)
    with pytest.raises(CheckpointError, match="must hold a complete agent"):
        load(path)


def test_failed_write_keeps_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write(path, "vamo", {"weight": torch.zeros(3)}, {})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_record_is_json(path: Path) -> None:
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert set(metadata) == {"kind", "version", "record", "sha256"}
    assert set(json.loads(metadata["record"])) == {"name", "settings", "tasks", "data_hash", "own", "code"}
