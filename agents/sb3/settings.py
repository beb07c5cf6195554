"""Settings of Stable-Baselines3 agents: one TOML file an algorithm, a user's file over it, assignments over both."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

from agents.learning.reward import check_signal
from agents.learning.settings import (
    check_key,
    check_not_negative,
    check_positive,
    check_value,
    nearest,
    parse_value,
    read_toml,
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
class RewardSettings:
    """The reward for learning; see `agents.sb3.reward`."""

    signal: str = "expected"  # "expected": predicted amounts; "sampled": what happened
    scale: float = 1.0  # return of an episode that buys its whole budget's worth and keeps all limits
    shaping: float = 0.0  # weight of the potential min(budget left, time left); 0: none

    def __post_init__(self) -> None:
        check_signal("reward.signal", self.signal)
        check_positive("reward.scale", self.scale)
        check_not_negative("reward.shaping", self.shaping)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSettings:
    """How the policy's numbers become a multiplier; see `auction_env.control.actions`."""

    kind: str = "log_multiplier"
    max_ratio: float = 5.0
    max_ratio_step: float = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What surrounds the algorithm."""

    scaling_episodes: int = 64  # episodes of random constants whose observations give the normalisation
    validation_episodes: int = 48
    validate_every: int = 50_000  # environment steps, rounded up to whole episodes and updates
    action_noise: float = 0.0  # standard deviation of Gaussian exploration noise, off-policy algorithms only

    def __post_init__(self) -> None:
        for name in ("scaling_episodes", "validation_episodes", "validate_every"):
            check_positive(f"run.{name}", getattr(self, name))
        check_not_negative("run.action_noise", self.action_noise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sb3Settings:
    """All settings of one algorithm."""

    name: str  # one of ALGORITHMS
    algorithm: Mapping[str, Any] = field(default_factory=dict)  # arguments of Stable-Baselines3's class
    policy: Mapping[str, Any] = field(default_factory=dict)  # POLICY_KEYS
    reward: RewardSettings = field(default_factory=RewardSettings)
    action: ActionSettings = field(default_factory=ActionSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def __post_init__(self) -> None:
        if self.run.action_noise and self.name not in ("sac", "td3", "tqc"):
            raise ValueError(
                f"`run.action_noise` is for off-policy algorithms and must be 0 for {self.name!r},"
                f" found {self.run.action_noise}"
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON values by section, from which `from_dict` rebuilds equal settings."""
        sections: dict[str, Any] = {"algorithm": dict(self.algorithm), "policy": dict(self.policy)}
        for name in ("reward", "action", "run"):
            part = getattr(self, name)
            sections[name] = {f.name: getattr(part, f.name) for f in fields(part)}
        return sections

    @classmethod
    def from_dict(cls, name: str, record: Mapping[str, Any]) -> Sb3Settings:
        """Settings from sections; ValueError naming an unknown section or key and the nearest known one."""
        known = known_keys(name)
        for section, values in record.items():
            check_key("section", section, known)
            if not isinstance(values, Mapping):
                raise ValueError(f"section {section!r} must be a table, found {values!r}")
            for key, value in values.items():
                check_key(f"key of section {section!r}", key, known[section])
                check_value(f"{section}.{key}", value, known[section][key])
        return cls(
            name=name,
            algorithm=dict(record.get("algorithm", {})),
            policy=dict(record.get("policy", {})),
            reward=RewardSettings(**record.get("reward", {})),
            action=ActionSettings(**record.get("action", {})),
            run=RunSettings(**record.get("run", {})),
        )


def read_settings(name: str, path: Path | None = None, assignments: Iterable[str] = ()) -> Sb3Settings:
    """The packaged settings of an algorithm, those of a TOML file over them, and "section.key=value" over both.

    Raises:
        ValueError: An unknown algorithm, section or key (names the nearest), a value of a wrong type, no TOML.
        FileNotFoundError: No such file.
    """
    check_algorithm(name)
    packaged = resources.files("agents.sb3") / "defaults" / f"{name}.toml"
    record: dict[str, Any] = tomllib.loads(packaged.read_text(encoding="utf-8"))
    layers = []
    if path is not None:
        layers.append(read_toml(path))
    for assignment in assignments:
        target, is_assigned, text = assignment.partition("=")
        section, has_section, key = target.partition(".")
        if not (is_assigned and has_section and key):
            raise ValueError(f"`--set` must be SECTION.KEY=VALUE, found {assignment!r}")
        layers.append({section.strip(): {key.strip(): parse_value(text.strip())}})
    for layer in layers:
        Sb3Settings.from_dict(name, layer)  # so that an error is about what the user wrote
        for section, values in layer.items():
            record[section] = {**record.get(section, {}), **values}
    return Sb3Settings.from_dict(name, record)


def check_algorithm(name: str) -> None:
    """ValueError that names the nearest if there is no such algorithm."""
    if name not in ALGORITHMS:
        raise ValueError(f"`algo` must be one of {ALGORITHMS}, found {name!r}{nearest(name, ALGORITHMS)}")


def known_keys(name: str) -> dict[str, dict[str, Any]]:
    """Sections, their keys and the default of each, from which its type follows (None: any)."""
    from agents.sb3.policy import algorithm_class

    arguments = inspect.signature(algorithm_class(name)).parameters
    sections: dict[str, dict[str, Any]] = {
        "algorithm": {key: _number(a.default) for key, a in arguments.items() if key not in _NOT_DATA},
        "policy": dict.fromkeys(POLICY_KEYS[name]),
    }
    for section, part in (("reward", RewardSettings()), ("action", ActionSettings()), ("run", RunSettings())):
        sections[section] = {f.name: getattr(part, f.name) for f in fields(part)}
    return sections


def _number(default: Any) -> int | float | None:
    """A default from which the type follows: that of texts, flags and None is left to the algorithm."""
    return default if isinstance(default, int | float) and not isinstance(default, bool) else None
