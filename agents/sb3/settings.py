"""Settings of Stable-Baselines3 agents; the packaged ones stand in `agents/sb3/defaults/NAME.toml`.

The tables `algorithm` and `policy` are arguments of Stable-Baselines3's classes and are checked against these.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.learning.reward import check_signal
from agents.learning.settings import (
    Settings,
    check_fields,
    nearest,
    read_file,
    require,
    require_not_negative,
    require_positive,
)

ALGORITHMS = ("ppo", "sac", "td3", "recurrent_ppo", "tqc")
"""Algorithms by the names that commands, files and the registry use."""

POLICY_KEYS = {
    "ppo": ("net_arch", "log_std_init"),
    "sac": ("net_arch", "log_std_init", "n_critics"),
    "td3": ("net_arch", "n_critics"),
    "recurrent_ppo": ("net_arch", "log_std_init", "lstm_hidden_size", "n_lstm_layers"),
    "tqc": ("net_arch", "log_std_init", "n_critics", "n_quantiles"),
}
"""Arguments of each algorithm's policy that a file may set: numbers and lists of numbers."""

# arguments of Stable-Baselines3's classes that the training sets itself, or that are no data
_NOT_DATA = {
    "self", "policy", "env", "seed", "device", "verbose", "tensorboard_log", "policy_kwargs", "action_noise",
    "replay_buffer_class", "replay_buffer_kwargs", "rollout_buffer_class", "rollout_buffer_kwargs",
    "optimize_memory_usage", "stats_window_size", "use_sde", "sde_sample_freq", "use_sde_at_warmup",
    "_init_setup_model",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSettings(Settings):
    """The reward for learning; see `agents.sb3.reward`."""

    signal: str = "expected"  # "expected": predicted amounts; "sampled": what happened
    scale: float = 1.0  # return of an episode that buys its whole budget's worth and keeps all limits
    shaping: float = 0.0  # weight of the potential min(budget left, time left); 0: none

    def __post_init__(self) -> None:
        check_fields(self)
        check_signal("signal", self.signal)
        require_positive(self, "scale")
        require_not_negative(self, "shaping")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSettings(Settings):
    """How the policy's numbers become a multiplier; see `auction_env.control.actions`."""

    kind: str = "log_multiplier"
    max_ratio: float = 5.0
    max_ratio_step: float = 1.2

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings(Settings):
    """What surrounds the algorithm."""

    steps: int = 200_000  # environment steps, all copies together; rounded up to whole episodes and updates
    n_envs: int = 64  # copies of the environment
    scaling_episodes: int = 64  # episodes of random constants whose observations give the normalisation
    validation_episodes: int = 48
    validate_every: int = 50_000  # environment steps, rounded up to whole episodes and updates
    action_noise: float = 0.0  # standard deviation of Gaussian exploration noise, off-policy algorithms only

    def __post_init__(self) -> None:
        check_fields(self)
        require_positive(self, "steps", "n_envs", "scaling_episodes", "validation_episodes", "validate_every")
        require_not_negative(self, "action_noise")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sb3Settings(Settings):
    """All settings of one algorithm."""

    name: str  # one of ALGORITHMS
    algorithm: Mapping[str, Any] = field(default_factory=dict)  # arguments of Stable-Baselines3's class
    policy: Mapping[str, Any] = field(default_factory=dict)  # POLICY_KEYS
    reward: RewardSettings = field(default_factory=RewardSettings)
    action: ActionSettings = field(default_factory=ActionSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def __post_init__(self) -> None:
        check_fields(self)
        require(self.name in ALGORITHMS, "name", f"one of {ALGORITHMS}", self.name)
        if self.run.action_noise and self.name not in ("sac", "td3", "tqc"):
            raise ValueError(
                f"`run.action_noise` is for off-policy algorithms and must be 0 for {self.name!r},"
                f" found {self.run.action_noise}"
            )
        _check_table("algorithm", self.algorithm, algorithm_defaults(self.name))
        _check_table("policy", self.policy, dict.fromkeys(POLICY_KEYS[self.name]))
        starts = self.algorithm.get("learning_starts", 0)
        rule = f"above `algorithm.learning_starts` = {starts}"
        require(self.run.steps > starts, "run.steps", rule, self.run.steps)


def packaged_settings(name: str) -> Sb3Settings:
    """The defaults of an algorithm of `ALGORITHMS`."""
    file = Path(__file__).parent / "defaults" / f"{name}.toml"
    return Sb3Settings.from_dict({"name": name, **read_file(file)})


def algorithm_defaults(name: str) -> dict[str, Any]:
    """Arguments of an algorithm that are data, and the default of each, from which its type follows (None: any)."""
    from agents.sb3.policy import algorithm_class

    arguments = inspect.signature(algorithm_class(name)).parameters
    return {key: _number(a.default) for key, a in arguments.items() if key not in _NOT_DATA}


def _check_table(section: str, table: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """ValueError for an unknown key, naming the nearest, or a value of another type than its default's."""
    for key, value in table.items():
        if key not in known:
            raise ValueError(f"`{section}.{key}` is no setting{nearest(key, known, prefix=f'{section}.')}")
        default = known[key]
        if default is None:
            continue
        wanted: tuple[type, ...] = (int, float) if isinstance(default, float) else (type(default),)
        is_of_type = isinstance(value, wanted) and not isinstance(value, bool)
        require(is_of_type, f"{section}.{key}", f"of type {type(default).__name__}", value)


def _number(default: Any) -> int | float | None:
    """A default from which the type follows: that of texts, flags and None is left to the algorithm."""
    return default if isinstance(default, int | float) and not isinstance(default, bool) else None
