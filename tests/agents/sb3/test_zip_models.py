"""Zips of Stable-Baselines3 as bidders: the same actions as the model's own, and no code of the files is run."""

from __future__ import annotations

import base64
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("sb3_contrib")
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

import agents
from agents.learning.checkpoint import CheckpointError
from agents.learning.observation import observe
from agents.rollouts import rollout
from agents.sb3.vector_env import NativeVecEnv
from agents.sb3.zip_models import export_normalisation, load_zip
from auction_env import TASKS, MarketParams

PARAMS = MarketParams(n_impressions=300, n_ticks=6)
TASK = TASKS["TargetCPA"]
SMALL: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "ppo": (PPO, "MlpPolicy", {"n_steps": 6, "batch_size": 12, "n_epochs": 1}),
    "recurrent_ppo": (RecurrentPPO, "MlpLstmPolicy", {"n_steps": 6, "batch_size": 12, "n_epochs": 1}),
    "sac": (SAC, "MlpPolicy", {"learning_starts": 6, "batch_size": 8, "buffer_size": 100}),
}


def trained(algorithm: str, folder: Path, *, has_normalisation: bool = True, **network: Any) -> Any:
    """A model, saved in `folder` with its normalisation."""
    cls, policy, arguments = SMALL[algorithm]
    envs: Any = VecMonitor(NativeVecEnv(gym.make_vec("auction_env/Bidding-v0", num_envs=4, task=TASK, params=PARAMS)))
    if has_normalisation:
        envs = VecNormalize(envs, clip_obs=3.0)
    model = cls(policy, envs, seed=0, device="cpu", policy_kwargs={"net_arch": [8], **network}, **arguments)
    model.learn(48)
    model.save(folder / "model.zip")
    if has_normalisation:
        export_normalisation(model.get_env(), folder / "normalisation.safetensors")
    return model


@pytest.mark.parametrize(("algorithm", "has_normalisation"), [(name, True) for name in SMALL] + [("ppo", False)])
def test_a_bidder_acts_as_the_model_does(algorithm: str, has_normalisation: bool, tmp_path: Path) -> None:
    model = trained(algorithm, tmp_path, has_normalisation=has_normalisation)
    bidder = load_zip(
        tmp_path / "model.zip", algorithm=algorithm, task="TargetCPA",
        normalisation=tmp_path / "normalisation.safetensors" if has_normalisation else None,
    )  # fmt: skip
    played = rollout(bidder, seeds=[1, 2, 3], advertisers=[1, 2, 3], task=TASK, params=PARAMS)
    state, start = None, np.ones(3, bool)
    for t in range(6):
        observation = observe(played.features[t], played.requirements)
        if has_normalisation:
            observation = model.get_env().normalize_obs(observation)
        action, state = model.predict(observation, state=state, episode_start=start, deterministic=True)
        start = np.zeros(3, bool)
        wanted = played.targets.cpa * 5.0 ** np.clip(action[:, 0], -1, 1)
        np.testing.assert_allclose(played.ticks.multiplier[t], wanted, rtol=1e-4)
    agents.save(tmp_path / "agent", bidder)
    again = rollout(agents.load(tmp_path / "agent"), seeds=[1], advertisers=[1], task=TASK, params=PARAMS)
    np.testing.assert_allclose(again.ticks.multiplier[:, 0], played.ticks.multiplier[:, 0], rtol=1e-6)


class Bomb:
    """A pickle that leaves a mark when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self._mark,)


def rewritten(folder: Path, name: str, content: bytes) -> Path:
    """The zip with another file in the place of `name`."""
    out = folder / f"with-{name}.zip"
    with zipfile.ZipFile(folder / "model.zip") as before, zipfile.ZipFile(out, "w") as after:
        for entry in before.namelist():
            after.writestr(entry, content if entry == name else before.read(entry))
    return out


def test_no_code_of_a_file_is_run(tmp_path: Path) -> None:
    trained("ppo", tmp_path)
    mark = tmp_path / "mark"
    bomb = pickle.dumps(Bomb(mark))
    (tmp_path / "vecnormalize.pkl").write_bytes(bomb)
    load = {"algorithm": "ppo", "task": TASK}
    with pytest.raises(CheckpointError, match=r"VecNormalize.save writes a pickle, which could run any code: write a"):
        load_zip(tmp_path / "model.zip", normalisation=tmp_path / "vecnormalize.pkl", **load)
    with pytest.raises(CheckpointError, match="must be a zip of Stable-Baselines3's `save`"):
        load_zip(rewritten(tmp_path, "policy.pth", bomb), **load)
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        record = json.loads(archive.read("data"))
    record["observation_space"] = {":type:": "x", ":serialized:": base64.b64encode(bomb).decode()}
    load_zip(rewritten(tmp_path, "data", json.dumps(record).encode()), **load)  # what is not needed is not read
    assert not mark.exists()
    pickle.loads(bomb)
    assert mark.exists()


def test_models_that_cannot_be_rebuilt_are_refused(tmp_path: Path) -> None:
    trained("ppo", tmp_path)
    load = {"task": TASK, "normalisation": tmp_path / "normalisation.safetensors"}
    with pytest.raises(ValueError, match=r"`algorithm` must be one of .*, found 'pppo', nearest: ppo"):
        load_zip(tmp_path / "model.zip", algorithm="pppo", **load)
    with pytest.raises(CheckpointError, match="must fit Bidding-v0's observation and the network of its settings"):
        load_zip(tmp_path / "model.zip", algorithm="sac", **load)
    with pytest.raises(CheckpointError, match="must be a zip of Stable-Baselines3's `save`"):
        load_zip(tmp_path / "normalisation.safetensors", algorithm="ppo", **load)
    with pytest.raises(FileNotFoundError):
        load_zip(tmp_path / "gone.zip", algorithm="ppo", **load)
    other = trained("ppo", tmp_path, has_normalisation=False, activation_fn=torch.nn.ReLU)
    with pytest.raises(CheckpointError, match=r"whose `policy_kwargs` are numbers: classes .* are code"):
        load_zip(tmp_path / "model.zip", algorithm="ppo", **load)
    with pytest.raises(ValueError, match="`envs` must have a VecNormalize"):
        export_normalisation(other.get_env(), tmp_path / "x")
