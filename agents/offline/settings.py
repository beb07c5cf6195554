"""Settings of offline learners: a complete TOML file an algorithm, a user's file over it, assignments over both.

The numbers stand in `agents/offline/defaults/NAME.toml` and nowhere else. What an algorithm has beside `Settings`
stands in its own file.
"""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, Self

import numpy as np

from agents.learning.reward import check_signal
from agents.learning.settings import check_key, check_positive, nearest, parse_value, read_toml

ALGORITHMS = ("bc", "td3_bc", "iql", "cql", "bcq", "mopo")
"""Algorithms by the names that commands, files and the registry use; each is a module of this package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all algorithms have."""

    steps: int  # gradient steps
    batch_size: int  # transitions of a step
    learning_rate: float  # of Adam
    hidden: tuple[int, ...]  # units of each hidden layer of each network
    signal: str  # of the reward: "expected" or "sampled" amounts, see `agents.learning.reward`
    reward_scale: float  # return of an episode that buys its whole budget's worth and keeps all limits
    discount: float  # per tick
    n_step: int  # ticks whose rewards a target sums before it bootstraps

    def __post_init__(self) -> None:
        check_signal("signal", self.signal)
        for name in ("steps", "batch_size", "learning_rate", "reward_scale", "n_step"):
            check_positive(name, getattr(self, name))
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"`hidden` must hold the size of at least one layer, each positive, found {self.hidden}")
        self.check_share("discount")

    def check_share(self, name: str) -> None:
        """ValueError if a field is not in (0, 1]."""
        value = getattr(self, name)
        if not 0 < value <= 1:
            raise ValueError(f"`{name}` must be above 0 and at most 1, found {value}")

    def check_not_negative(self, name: str) -> None:
        """ValueError if a field is negative or not finite."""
        value = getattr(self, name)
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"`{name}` must be finite and not negative, found {value}")

    def to_dict(self) -> dict[str, Any]:
        """JSON values, from which `from_dict` rebuilds equal settings."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Settings from all their values; ValueError for an unknown, missing or malformed one."""
        kinds = {field.name: str(field.type) for field in fields(cls)}
        check_record(cls, record)
        missing = [name for name in kinds if name not in record]
        if missing:
            raise ValueError(f"settings must hold every key, `{missing[0]}` is missing")
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in record.items()}
        return cls(**values)


def settings_class(algo: str) -> type[Settings]:
    """The settings of an algorithm, of its own module."""
    check_algorithm(algo)
    found: type[Settings] = importlib.import_module(f"agents.offline.{algo}").SETTINGS
    return found


def read_settings(algo: str, path: Path | None = None, assignments: Iterable[str] = ()) -> Settings:
    """The packaged settings of an algorithm, those of a TOML file over them, and "key=value" over both.

    Raises:
        ValueError: An unknown algorithm or key (names the nearest), a value of a wrong type or range, no TOML.
        FileNotFoundError: No such file.
    """
    cls = settings_class(algo)
    packaged = resources.files("agents.offline") / "defaults" / f"{algo}.toml"
    record: dict[str, Any] = tomllib.loads(packaged.read_text(encoding="utf-8"))
    layers = [] if path is None else [read_toml(path)]
    for assignment in assignments:
        key, is_assigned, text = assignment.partition("=")
        if not (is_assigned and key.strip()):
            raise ValueError(f"`--set` must be KEY=VALUE, found {assignment!r}")
        layers.append({key.strip(): parse_value(text.strip())})
    for layer in layers:
        check_record(cls, layer)  # so that an error is about what the user wrote
        record |= layer
    return cls.from_dict(record)


def check_algorithm(algo: str) -> None:
    """ValueError that names the nearest if there is no such algorithm."""
    if algo not in ALGORITHMS:
        raise ValueError(f"`algo` must be one of {ALGORITHMS}, found {algo!r}{nearest(algo, ALGORITHMS)}")


def check_record(cls: type[Settings], record: Mapping[str, Any]) -> None:
    """ValueError for an unknown key, naming the nearest, or a value of another type than the field's."""
    kinds = {field.name: str(field.type) for field in fields(cls)}
    for key, value in record.items():
        check_key("setting", key, kinds)
        if not _fits(value, kinds[key]):
            raise ValueError(f"`{key}` must be of type {kinds[key]}, found {value!r}")


def _fits(value: Any, kind: str) -> bool:
    if kind.startswith("tuple"):
        return isinstance(value, list | tuple) and all(_fits(item, "int") for item in value)
    wanted: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,)}
    return isinstance(value, wanted[kind]) and not isinstance(value, bool)
