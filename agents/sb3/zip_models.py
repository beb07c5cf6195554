"""A model that Stable-Baselines3 saved itself (`model.save`), with the statistics of `VecNormalize`, as a bidder.

Needs the extra `sb3`; `agents` does not import this module.

Nothing of the files is executed. Of the zip, the weights are read by `torch.load(weights_only=True)` and the settings
of the network from its JSON; the pickles that the JSON holds as text are left alone. `VecNormalize.save` writes a
pickle, which runs whatever code it names when it is loaded, so that it is not read here: `export_normalisation` writes
the same numbers as safetensors, in the script that has the object.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
import torch
from numpy.typing import NDArray
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize
from torch import Tensor

from agents.learning.checkpoint import CheckpointError
from agents.learning.observation import OBSERVATION_NAMES
from agents.sb3.bidder import Sb3Bidder
from agents.sb3.policy import build_policy
from agents.sb3.settings import ALGORITHMS, Sb3Settings
from auction_env.control.actions import ActionKind, LogMultiplier
from auction_env.files import write_atomically
from auction_env.names import check_name
from auction_env.tasks import Task, get_task

_KIND = "observation normalisation"
_BUFFERS = ("mean", "std", "clip")  # of `policy.Standardise`, which a policy of Stable-Baselines3's own does not have


class Normalisation(NamedTuple):
    """(x - mean) / std, clipped to [-clip, clip]: what `VecNormalize` does to observations."""

    mean: NDArray[np.float64]  # (d,)
    std: NDArray[np.float64]  # (d,)
    clip: float


def export_normalisation(envs: VecEnv, path: str | Path) -> None:
    """Writes the observation statistics of a `VecNormalize` to a file for `load_zip`, atomically.

    Args:
        envs: `VecNormalize`, or wrappers around it: `model.get_env()`, say.
        path: The file, safetensors.

    Raises:
        ValueError: There is no `VecNormalize`, or it does not normalise observations.
    """
    found = envs if isinstance(envs, VecNormalize) else unwrap_vec_normalize(envs)
    statistics: Any = None if found is None or not found.norm_obs else found.obs_rms  # a dictionary for dictionaries
    if found is None or not isinstance(statistics, RunningMeanStd):
        raise ValueError(f"`envs` must have a VecNormalize that normalises one array of observations, found {envs}")
    std = np.sqrt(statistics.var + found.epsilon)
    tensors = {"mean": statistics.mean, "std": std, "clip": np.array([float(found.clip_obs)])}
    write_atomically(Path(path), safetensors.numpy.save(tensors, {"kind": _KIND}))


def load_zip(
    path: str | Path,
    *,
    algorithm: str,
    task: str | Task,
    action_kind: ActionKind | None = None,
    normalisation: str | Path | None = None,
    name: str | None = None,
) -> Sb3Bidder:
    """A bidder that plays the policy of a zip of Stable-Baselines3; `agents.save` stores it as any other.

    Args:
        path: What `model.save` wrote, of a model that was trained on `Bidding-v0` with its policy "MlpPolicy"
            ("MlpLstmPolicy" for "recurrent_ppo").
        algorithm: One of `settings.ALGORITHMS`: the zip does not say.
        task: What it was trained for.
        action_kind: How its actions become multipliers; None: the environment's default.
        normalisation: File of `export_normalisation`; None: the policy takes raw observations.
        name: Label in tables; None is the algorithm's name.

    Raises:
        CheckpointError: No such zip or statistics, pickled statistics, or a network that cannot be rebuilt from
            numbers.
        ValueError: An unknown algorithm or task, or a setting of the network that cannot be a number.
        FileNotFoundError: No such file.
    """
    check_name("algorithm", algorithm, ALGORITHMS)
    kind = LogMultiplier() if action_kind is None else action_kind
    scale = _raw() if normalisation is None else read_normalisation(normalisation)
    record, weights = _read(Path(path))
    settings = Sb3Settings(name=algorithm, policy=_network(record, str(path)))
    policy = build_policy(algorithm, settings.policy, len(OBSERVATION_NAMES), kind.n_actions)
    _load(policy, weights, scale, f"{str(path)!r} as {algorithm!r}")
    return Sb3Bidder(policy, settings, get_task(task), kind, name=name)


def read_normalisation(path: str | Path) -> Normalisation:
    """The statistics of a file of `export_normalisation`; CheckpointError where it is none, or is a pickle."""
    found = Path(path)
    if not found.is_file():
        raise FileNotFoundError(f"{found} must exist")
    try:
        with safetensors.safe_open(found, framework="numpy") as file:
            kind = (file.metadata() or {}).get("kind")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    except safetensors.SafetensorError as error:
        fix = "VecNormalize.save writes a pickle, which could run any code: write a file by export_normalisation"
        raise CheckpointError(f"{str(found)!r} must be a file of export_normalisation, found {error}; {fix}") from error
    n = len(OBSERVATION_NAMES)
    shapes = {key: tensor.shape for key, tensor in tensors.items()}
    if kind != _KIND or shapes != {"mean": (n,), "std": (n,), "clip": (1,)}:
        raise CheckpointError(f"{str(found)!r} must hold mean and std of {n} numbers and a clip, found {shapes}")
    return Normalisation(tensors["mean"], tensors["std"], float(tensors["clip"][0]))


def _raw() -> Normalisation:
    return Normalisation(np.zeros(len(OBSERVATION_NAMES)), np.ones(len(OBSERVATION_NAMES)), np.inf)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The JSON and the policy's weights of a zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            record = json.loads(archive.read("data"))
            with archive.open("policy.pth") as file:
                weights = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever a foreign or damaged archive leads to
        raise CheckpointError(f"{str(path)!r} must be a zip of Stable-Baselines3's `save`, found {error}") from error
    return record, weights


def _network(record: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Arguments of the policy, where all of them are numbers and lists of numbers."""
    given = record.get("policy_kwargs")
    if not isinstance(given, dict) or ":serialized:" in given:
        rule = "must be of a policy whose `policy_kwargs` are numbers: classes (activation_fn, extractors) are code"
        raise CheckpointError(f"{path!r} {rule}, found {sorted(given) if isinstance(given, dict) else given!r}")
    if record.get("use_sde") or given.get("use_sde"):
        raise CheckpointError(f"{path!r} must be of a policy without state-dependent exploration, found use_sde=True")
    return {key: value for key, value in given.items() if key != "use_sde"}


def _load(policy: torch.nn.Module, weights: Mapping[str, Tensor], scale: Normalisation, what: str) -> None:
    """Puts weights and normalisation into a policy that has been built for them."""
    values = {name: torch.as_tensor(np.asarray(value), dtype=torch.float32) for name, value in scale._asdict().items()}
    own = policy.state_dict()
    state = {name: values[name.rpartition(".")[2]] for name in own if _is_normalisation(name)}
    state |= weights
    different = sorted(set(own) ^ set(state))
    shapes = [name for name in sorted(set(own) & set(state)) if own[name].shape != state[name].shape]
    if different or shapes:
        found = (different + shapes)[0]
        raise CheckpointError(
            f"{what} must fit Bidding-v0's observation and the network of its settings, found {found!r}"
        )
    policy.load_state_dict(state)


def _is_normalisation(name: str) -> bool:
    module, _, buffer = name.rpartition(".")
    return module.endswith("features_extractor") and buffer in _BUFFERS
