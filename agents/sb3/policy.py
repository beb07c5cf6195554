"""Policies of Stable-Baselines3 that are rebuilt from numbers and JSON, with the normalisation inside.

Needs the extra `sb3`; `agents` does not import this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib import TQC, RecurrentPPO
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

_CLASSES: dict[str, tuple[type[BaseAlgorithm], str]] = {
    "ppo": (PPO, "MlpPolicy"),
    "sac": (SAC, "MlpPolicy"),
    "td3": (TD3, "MlpPolicy"),
    "recurrent_ppo": (RecurrentPPO, "MlpLstmPolicy"),
    "tqc": (TQC, "MlpPolicy"),
}
CLIP = 10.0  # standard deviations


def algorithm_class(name: str) -> type[BaseAlgorithm]:
    """Stable-Baselines3's class of an algorithm of `settings.ALGORITHMS`."""
    return _CLASSES[name][0]


def policy_class(name: str) -> type[BasePolicy]:
    """The policy's class of an algorithm."""
    algorithm, policy = _CLASSES[name]
    return algorithm.policy_aliases[policy]


class Standardise(BaseFeaturesExtractor):
    """(x - mean) / std, clipped: a part of the policy, so that its weights hold the normalisation.

    The numbers are measured before training (`training.measure_scale`) and stay: no observation of a replay buffer
    changes its meaning, and a trained policy takes the environment's raw observation.

    Args:
        observation_space: Of the environment, shape (d,).
        mean, std: (d,); `std` positive.
        clip: Largest result, in standard deviations.
    """

    mean: Tensor
    std: Tensor
    clip: Tensor

    def __init__(
        self, observation_space: gym.spaces.Box[np.float32], mean: list[float], std: list[float], clip: float = CLIP
    ) -> None:
        super().__init__(observation_space, features_dim=int(np.prod(observation_space.shape)))
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))
        self.register_buffer("clip", torch.tensor(clip, dtype=torch.float32))

    def forward(self, observations: Tensor) -> Tensor:
        return ((observations - self.mean) / self.std).clamp(-self.clip, self.clip)  # (B, d)


def policy_kwargs(settings: Mapping[str, Any], mean: NDArray[Any], std: NDArray[Any]) -> dict[str, Any]:
    """Arguments of a policy: those of the settings and the normalisation."""
    return {
        **settings,
        "features_extractor_class": Standardise,
        "features_extractor_kwargs": {"mean": np.asarray(mean).tolist(), "std": np.asarray(std).tolist()},
    }


def build_policy(name: str, settings: Mapping[str, Any], n_features: int, n_actions: int) -> BasePolicy:
    """A policy with weights yet to be loaded, normalisation included."""
    observations = gym.spaces.Box(0.0, np.inf, (n_features,), np.float32)
    actions = gym.spaces.Box(-1.0, 1.0, (n_actions,), np.float32)
    kwargs = policy_kwargs(settings, np.zeros(n_features), np.ones(n_features))
    return policy_class(name)(observations, actions, lr_schedule=_no_learning, **kwargs)


def _no_learning(progress: float) -> float:
    return 0.0
