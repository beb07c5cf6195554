"""What an environment plays: task, market and action, resolved and checked once for every kind of environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypedDict, TypeVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from auction_env.control.actions import ActionKind, get_action_kind
from auction_env.control.controlled_market import ControlledMarket
from auction_env.control.observation import FEATURE_NAMES, N_FEATURES
from auction_env.envs.own import Observation, Reward
from auction_env.integers import check_integers
from auction_env.market.params import MAX_MONEY
from auction_env.tasks import Targets, Task

MAX_EPISODE_SEED = 2**62

Choice = Mapping[str, int]
"""What is given of an episode beside its seed, by the names of `EnvMarket.chosen_by`; the rest is drawn."""

Chosen: TypeAlias = "int | Sequence[int] | NDArray[np.integer[Any]] | None"
"""An argument that gives a part of the choice: for all copies of an environment, one a copy, or None to draw it."""


class EpisodeId(NamedTuple):
    """One episode of an environment's market."""

    seed: int
    advertiser: int
    day: int | None = None  # None: the market draws it from the seed


class Maxima(NamedTuple):
    """The largest values that a market has: what bounds the observations."""

    competing_bid: float  # currency per impression
    reserve: float  # currency per impression
    quality: float  # factor of a bid in the ranking
    amount: float  # predicted amount of what the task's objective counts, per impression
    n_impressions: float  # of an episode
    conversions: float  # conversions per impression that a tick may report


class EnvMarket(Protocol):
    """A kind of market that environments play: the live one (`envs.live`) or a log (`replay.env`)."""

    @property
    def chosen_by(self) -> tuple[str, ...]:
        """What chooses an episode beside its seed, as an argument, an option and in `info`: advertiser, then day."""

    @property
    def label(self) -> str:
        """The market in a few words: the title of pictures."""

    @property
    def n_ticks(self) -> int:
        """Ticks of an episode."""

    @property
    def targets(self) -> Targets:
        """What the advertisers have and would pay, (n_campaigns,) each: all that can be controlled."""

    def maxima(self, task: Task) -> Maxima:
        """The largest values of an episode of this task."""

    def check(self, choice: Choice) -> None:
        """Raises ValueError, naming the argument, if no episode fits."""

    def draw(self, rng: np.random.Generator, choice: Choice) -> EpisodeId:
        """The next episode of an environment; draws the same numbers whatever is chosen, so that nothing shifts."""

    def controlled_market(self, task: Task, n: int) -> ControlledMarket:
        """n episodes side by side with one controlled advertiser each."""


MarketT = TypeVar("MarketT", bound=EnvMarket)
MarketT_co = TypeVar("MarketT_co", bound=EnvMarket, covariant=True)


class ActionArguments(TypedDict, total=False):
    """The arguments of an environment on action, observation and reward; see `BiddingEnv`."""

    action_kind: str | ActionKind
    max_ratio: float
    max_ratio_step: float
    observation: Observation | None
    reward: Reward | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BiddingSpec(Generic[MarketT_co]):
    """The arguments of an environment, resolved and checked by `resolve_spec`.

    Attributes:
        task: The task of the controlled advertisers.
        market: What they bid in.
        action_kind: How an action becomes a multiplier.
        choice: What is the same in all episodes: () for all copies of the environment, or (n,) one a copy.
        observation, reward: A user's own; None: those of `BiddingEnv`.
    """

    task: Task
    market: MarketT_co
    action_kind: ActionKind
    choice: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    observation: Observation | None = None
    reward: Reward | None = None

    def choices(self, n: int) -> list[Choice]:
        """`choice` of each of n copies; ValueError if it is given for another number of copies."""
        for name, values in self.choice.items():
            if values.shape not in ((), (n,)):
                rule = "an integer" if n == 1 else f"an integer or {n} of them"
                raise ValueError(f"`{name}` must be {rule}, found {values.tolist()}")
        return _choices(self.choice, n)

    @property
    def observation_space(self) -> gym.spaces.Box[np.float32]:
        """Of one advertiser."""
        if self.observation is not None:
            return self.observation.space
        targets, most = self.market.targets, self.market.maxima(self.task)
        own_bid = float(self.action_kind.highest(self.task.unit_worth(targets)).max() * most.amount)
        # the least winning cost is a score: bid x quality
        highest_score = max(max(own_bid, most.competing_bid) * most.quality, most.reserve)
        high = np.ones(N_FEATURES)
        for index, name in enumerate(FEATURE_NAMES):
            if name.startswith(("bid_", "least_winning_cost_")):
                high[index] = highest_score
            elif name.startswith("volume_"):
                high[index] = most.n_impressions
            elif name.startswith("conversions_"):
                high[index] = most.conversions
        requirements = self.task.requirements(targets).max(axis=0)
        requirements[requirements == 0] = 1.0  # absent limits are 0; a space needs some width
        bound: NDArray[np.float32] = np.concatenate((high, requirements)).astype(np.float32)
        bound = np.nextafter(bound, np.float32(np.inf))  # float32 rounding must not leave the space
        return gym.spaces.Box(np.zeros_like(bound), bound, dtype=np.float32)

    @property
    def action_space(self) -> gym.spaces.Box[np.float32]:
        """Of one advertiser."""
        return gym.spaces.Box(-1.0, 1.0, (self.action_kind.n_actions,), np.float32)


def resolve_spec(
    task: Task,
    market: MarketT,
    choice: Mapping[str, Chosen],
    *,
    action_kind: str | ActionKind = "log_multiplier",
    max_ratio: float = 5.0,
    max_ratio_step: float = 1.2,
    observation: Observation | None = None,
    reward: Reward | None = None,
) -> BiddingSpec[MarketT]:
    """Checks the action and the choice, in which None leaves something open.

    Raises:
        ValueError: An unknown action kind, multipliers beyond all money, a choice that no episode fits, an observation
            or a reward of another kind.
    """
    worth = task.unit_worth(market.targets)
    kind = get_action_kind(
        action_kind, max_ratio=max_ratio, max_ratio_step=max_ratio_step, reference=float(np.mean(worth))
    )
    highest = float(kind.highest(worth).max())
    if highest > MAX_MONEY:
        raise ValueError(f"`max_ratio` must keep multipliers at most {MAX_MONEY:g}, found up to {highest:g}")
    given = {name: check_integers(name, numbers) for name, numbers in choice.items() if numbers is not None}
    lengths = {values.shape for values in given.values() if values.ndim}
    if len(lengths) > 1 or any(len(shape) != 1 or not shape[0] for shape in lengths):
        raise ValueError(f"{sorted(given)} must be integers or one a copy, found shapes {sorted(lengths)}")
    for of_copy in _choices(given, max((shape[0] for shape in lengths), default=1)):
        market.check(of_copy)
    if not (observation is None or isinstance(observation, Observation)):
        raise ValueError(f"`observation` must be an `auction_env.envs.own.Observation`, found {observation!r}")
    if not (reward is None or callable(reward)):
        raise ValueError(f"`reward` must be a function of campaigns, tick and totals, found {reward!r}")
    return BiddingSpec(task=task, market=market, action_kind=kind, choice=given, observation=observation, reward=reward)


def _choices(choice: Mapping[str, NDArray[np.int64]], n: int) -> list[Choice]:
    of_copies = {name: np.broadcast_to(values, n).tolist() for name, values in choice.items()}
    return [{name: values[copy] for name, values in of_copies.items()} for copy in range(n)]
