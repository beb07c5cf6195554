"""Settings of the offline algorithms; the numbers stand in `agents/offline/defaults/NAME.toml` and nowhere else.

What an algorithm has beside `OfflineSettings` stands in its own file.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from agents.labels.actions import ActionLabel
from agents.learning.reward import check_signal
from agents.learning.settings import Settings, check_fields, read_file, require, require_positive, require_share

ALGORITHMS = ("bc", "td3_bc", "iql", "cql", "bcq", "mopo")
"""Algorithms by the names that commands, files and the registry use; each is a module of this package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineSettings(Settings):
    """What all algorithms have.

    Attributes:
        uses_rewards: Whether the algorithm learns from what followed the logged action. Such a one can be taught no
            other action: the reward and the next observation would not be that action's.
    """

    uses_rewards: ClassVar[bool] = True

    steps: int  # gradient steps
    batch_size: int  # transitions of a step
    learning_rate: float  # of Adam
    hidden: tuple[int, ...]  # units of each hidden layer of each network
    signal: str  # of the reward: "expected" or "sampled" amounts, see `agents.learning.reward`
    reward_scale: float  # return of an episode that buys its whole budget's worth and keeps all limits
    discount: float  # per tick
    n_step: int  # ticks whose rewards a target sums before it bootstraps
    action_label: ActionLabel  # what the policy is taught, see `agents.labels.actions`
    action_share: float  # of the actions, in the middle of their range: how far a policy may bid

    def __post_init__(self) -> None:
        check_fields(self)
        check_signal("signal", self.signal)
        require_positive(self, "steps", "batch_size", "learning_rate", "reward_scale", "n_step")
        is_network = bool(self.hidden) and min(self.hidden) >= 1
        require(is_network, "hidden", "the sizes of at least one layer, each positive", self.hidden)
        require_share(self, "discount", "action_share")
        is_possible = self.action_label == "logged" or not self.uses_rewards
        rule = "'logged' for an algorithm that learns from rewards, which are those of the logged actions"
        require(is_possible, "action_label", rule, self.action_label)


def settings_class(name: str) -> type[OfflineSettings]:
    """The settings of an algorithm of `ALGORITHMS`, of its own module."""
    found: type[OfflineSettings] = importlib.import_module(f"agents.offline.{name}").SETTINGS
    return found


def packaged_settings(name: str) -> OfflineSettings:
    """The defaults of an algorithm of `ALGORITHMS`."""
    return settings_class(name).from_dict(read_file(Path(__file__).parent / "defaults" / f"{name}.toml"))
