"""Every learner through the contract: resumed at every kill, other settings refused, files by kind, no pickle."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("torchrl")
pytest.importorskip("sb3_contrib")
from agents import registry
from agents.learning.checkpoint import CheckpointError, read_agent
from agents.learning.learner import MarketExperience
from agents.learning.run_state import state_path
from auction_env import MarketParams
from tests.vamo.synthetic import make_data
from vamo.examples.sources import split

OFFLINE = ["steps=6", "batch_size=8", "hidden=[8]"]
GENERATIVE = ["backbone.d_model=16", "backbone.n_blocks=1", "backbone.n_heads=2", "train.steps=6", "train.batch_size=8",
              "train.evaluation_windows=8", "train.log_every=3", "train.warmup_steps=1"]  # fmt: skip
VAMO = ["model.width=16", "train.steps=6", "train.batch_size=8",
        "train.evaluation_windows=8", "train.log_every=3", "train.warmup_steps=1"]  # fmt: skip
SB3 = ["run.steps=48", "run.n_envs=4", "run.scaling_episodes=4", "run.validation_episodes=4", "run.validate_every=24",
       "policy.net_arch=[8]"]  # fmt: skip
ON_POLICY = [*SB3, "algorithm.n_steps=6", "algorithm.n_epochs=1"]
OFF_POLICY = [*SB3, "algorithm.learning_starts=12", "algorithm.batch_size=8", "algorithm.buffer_size=40",
              "algorithm.gradient_steps=1"]  # fmt: skip
TINY = {
    **dict.fromkeys(("bc", "td3_bc", "iql", "bcq"), OFFLINE),
    "cql": [*OFFLINE, "n_actions=2", "cloning_steps=2"],
    "mopo": [*OFFLINE, "model_steps=2", "n_members=2", "n_rollouts=8", "rollout_length=2", "rollout_every=2"],
    **dict.fromkeys(("dt", "cdt", "diffbid", "gave", "gas", "qga"), GENERATIVE),
    "vamo": VAMO,
    "oil": [
        "hidden=[8]",
        "iterations=3",
        "episodes=2",
        "epochs=1",
        "scaling_episodes=2",
        "validation_episodes=2",
        "validate_every=1",
    ],
    **dict.fromkeys(("ppo", "recurrent_ppo"), ON_POLICY),
    **dict.fromkeys(("sac", "td3", "tqc"), OFF_POLICY),
}
ENTRIES = {entry.name: entry for entry in registry.BUILT_IN} | {
    entry.name: entry
    for entry in vars(importlib.import_module("vamo.entries")).values()
    if isinstance(entry, registry.AgentEntry)
}
PARAMS = MarketParams(n_impressions=300, n_ticks=6)


class KilledError(Exception):
    """Stands for the end of the process."""


class Training:
    """One tiny training, that can be called again and again with the same arguments."""

    def __init__(self, name: str) -> None:
        self.learner = ENTRIES[name].make_learner()
        self.settings = self.learner.settings(assignments=TINY[name])
        self.arguments: dict[str, Any] = {"task": "TargetCPA", "seed": 3}
        self.experience: Any = MarketExperience(params=PARAMS)
        if self.learner.experience == "logs":
            self.experience, validation = split({"TargetCPA": make_data(14)}, 0.25)
            self.arguments |= {"save_every": 2}
            if self.learner.needs_validation:
                self.arguments |= {"validation": validation}

    def __call__(self, out: Path | None, **others: Any) -> Any:
        return self.learner.train(
            self.experience, **({"settings": self.settings, **self.arguments, "out": out} | others)
        )


def tensors(bidder: Any) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {name: t.clone() for name, t in bidder.to_file().tensors.items()}
    return found


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_every_agent_that_learns_is_tried() -> None:
    assert {entry.name for entry in ENTRIES.values() if entry.learner} == set(TINY)


@pytest.mark.parametrize("name", TINY)
def test_the_contract(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, told = Training(name), []
    whole = train(None, progress=lambda step, n, record: told.append((step, n, record)))
    assert told[-1][0] == told[-1][1] and told[-1][2] is not None
    steps = [record.step for record in whole.history]
    assert steps == sorted(set(steps)) and all(np.isfinite(list(r.numbers.values())).all() for r in whole.history)
    expected, out = tensors(whole.bidder), tmp_path / "deep" / "agent.safetensors"

    real, writes, kill_at = os.replace, 0, 0

    def replace(source: Any, target: Any) -> None:  # killed before each write of a file in turn
        nonlocal writes
        writes += 1
        if writes == kill_at:
            raise KilledError
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    for n in (1, 2, 3):
        writes, kill_at = 0, n
        with pytest.raises(KilledError):
            train(out)
    kill_at = 0
    real_unlink, is_killed = Path.unlink, False

    def unlink(path: Path, missing_ok: bool = False) -> None:  # killed between writing OUT and removing OUT.run
        nonlocal is_killed
        if path == state_path(out) and not is_killed:
            is_killed = True
            raise KilledError
        real_unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(KilledError):
        train(out)
    assert out.exists() and state_path(out).exists()
    with pytest.raises(ValueError, match=r"must be of a run with the same .*seed, found 3 and 4"):
        train(out, seed=4)
    resumed = train(out)
    assert not state_path(out).exists()
    assert_equal(tensors(resumed.bidder), expected)
    assert [record.step for record in resumed.history] == steps

    before = out.read_bytes()
    with pytest.raises(FileExistsError, match="must not exist, found a finished agent"):
        train(out)
    assert out.read_bytes() == before
    file = read_agent(out)
    assert file.kind == name and file.data_hash and file.settings and file.tasks
    loaded = train.learner.load(out, name="mine")
    assert loaded.name == "mine"
    assert_equal(tensors(loaded), expected)
    other = ENTRIES["iql" if name != "iql" else "bc"].make_learner()
    with pytest.raises(CheckpointError, match=f"must be of kind '{other.name}', found '{name}'"):
        other.load(out)


def test_any_built_in_file_is_loaded_by_its_kind(tmp_path: Path) -> None:
    out = tmp_path / "agent"
    whole = Training("bc")(out)
    assert_equal(tensors(registry.load(out)), tensors(whole.bidder))
    assert_equal(tensors(registry.make("bc", path=out)), tensors(whole.bidder))
    out.write_bytes(b"\x80\x04")  # a pickle's first bytes
    with pytest.raises(CheckpointError, match="must be a safetensors file"):
        registry.load(out)
