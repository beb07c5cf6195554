"""The agents by name: what each is, which tasks it serves, how it learns, where it comes from; how a user adds one.

An agent of another package is an entry point of the group `vamo_bidding.agents` that names an `AgentEntry`. It is
imported when somebody lists or makes agents, and its own module only when that agent is made, trained or loaded.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agents.rules.mpid import MpidBidder, MpidGains
from agents.rules.pid import PidBidder
from auction_env.control.bidder import Bidder
from auction_env.market.pacing import PacingGains
from auction_env.names import check_name, nearest
from auction_env.tasks import CONSTRAINT_KINDS, OBJECTIVES

if TYPE_CHECKING:
    from agents.learning.checkpoint import Storable
    from agents.learning.learner import Experience, Learner, TrainResult

logger = logging.getLogger(__name__)

GROUP = "vamo_bidding.agents"
"""The group of entry points that name agents."""

KINDS: dict[str, str] = {
    "rule": "decides by a formula with few parameters",
    "offline": "learns from logs",
    "online": "learns by playing",
    "reference": "knows the episode beforehand: to compare with, not to deploy",
}
"""Kinds of agents."""

ANY_OBJECTIVE = tuple(OBJECTIVES)
AMOUNTS = tuple(name for name in OBJECTIVES if name != "surplus")
"""Objectives without their cost: what rules pursue that buy as much as money and limits allow."""
COST_LIMITS = ("cpa", "cpc", "roas")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEntry:
    """An agent in the registry: one that is made by a factory, or one that learns.

    Attributes:
        name: What `make`, `train` and the tables call it; of one that learns also the kind of its files.
        summary: One line.
        factory: Makes the bidder: a callable, or "module:attribute", which is imported when the agent is made.
        learner: Makes the `Learner` from the name: a callable, or "module:attribute", imported when it is needed.
        kind: One of `KINDS`.
        objectives: Of `tasks.OBJECTIVES`, those it can pursue.
        constraints: Of `tasks.CONSTRAINT_KINDS`, those it heeds beside the budget.
        paper: Where it comes from; empty if from nowhere in particular.
    """

    name: str
    summary: str
    factory: str | Callable[..., Bidder] = ""
    learner: str | Callable[[str], Learner] = ""
    kind: Literal["rule", "offline", "online", "reference"]
    objectives: tuple[str, ...] = ANY_OBJECTIVE
    constraints: tuple[str, ...] = ()
    paper: str = ""

    def __post_init__(self) -> None:
        if not self.name or self.name != self.name.strip():
            raise ValueError(f"`name` of an agent must be a text without spaces around it, found {self.name!r}")
        if self.kind not in KINDS:
            raise ValueError(f"`kind` of agent {self.name!r} must be one of {tuple(KINDS)}, found {self.kind!r}")
        if bool(self.factory) == bool(self.learner):
            found = (self.factory, self.learner)
            raise ValueError(f"agent {self.name!r} must have either a `factory` or a `learner`, found {found}")
        for label, known in (("objectives", OBJECTIVES), ("constraints", CONSTRAINT_KINDS)):
            unknown = [name for name in getattr(self, label) if name not in known]
            if unknown:
                raise ValueError(f"`{label}` of agent {self.name!r} must be of {tuple(known)}, found {unknown[0]!r}")

    @property
    def objectives_text(self) -> str:
        """The objectives for people."""
        others = [name for name in OBJECTIVES if name not in self.objectives]
        if len(others) >= len(self.objectives):
            return ", ".join(self.objectives)
        return f"all but {', '.join(others)}" if others else "all"

    def make_learner(self) -> Learner:
        """The learner; ValueError if the agent does not learn, or names nothing that can be called."""
        if not self.learner:
            names = [entry.name for entry in entries().values() if entry.learner]
            raise ValueError(f"agent {self.name!r} has nothing to learn, choose one of {names}")
        made: Learner = self._callable("learner")(self.name)
        return made

    def load(self) -> Callable[..., Bidder]:
        """What makes the bidder: the factory, or the learner's `load`; ValueError if it names nothing callable."""
        return self.make_learner().load if self.learner else self._callable("factory")

    def _callable(self, field: Literal["factory", "learner"]) -> Callable[..., Any]:
        value: Any = getattr(self, field)
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]  # a callable, by its annotation
        module, _, attribute = value.partition(":")
        found: Any = getattr(importlib.import_module(module), attribute or "_", None)
        if not callable(found):
            raise ValueError(f"`{field}` of agent {self.name!r} must be 'module:callable', found {value!r}")
        return found  # type: ignore[no-any-return]  # just found to be callable


def make_pid(start: float = 1.0, *, name: str = "PID", **gains: float) -> PidBidder:
    """A PID bidder from flat numbers: `start` and the fields of `PacingGains`."""
    _check_gains(gains, PacingGains)
    return PidBidder(start, PacingGains(**gains), name=name)


def make_mpid(start: float = 1.0, *, name: str = "M-PID", **gains: float) -> MpidBidder:
    """An M-PID bidder from flat numbers: `start` and the fields of `MpidGains`."""
    _check_gains(gains, MpidGains)
    return MpidBidder(start, MpidGains(**gains), name=name)


def _check_gains(given: Mapping[str, float], kind: type[PacingGains] | type[MpidGains]) -> None:
    """ValueError, naming the nearest, for a gain that there is not."""
    for name in given:
        check_name("gains", name, ["start", "name", *(field.name for field in fields(kind))], rule="must be of")


BUILT_IN: tuple[AgentEntry, ...] = (
    AgentEntry(
        name="fixed",
        summary="the same multiple of a unit's worth all day; at 1 the fixed CPA bid of AuctionNet and rlbidder",
        factory="agents.rules.fixed:FixedBidder",
        kind="rule",
    ),
    AgentEntry(
        name="random",
        summary="a constant multiplier drawn for each episode",
        factory="agents.rules.random_multiplier:RandomMultiplierBidder",
        kind="rule",
    ),
    AgentEntry(
        name="pid",
        summary="paces the budget along the expected traffic, caps the multiplier by its cost limits",
        factory=make_pid,
        kind="rule",
        objectives=AMOUNTS,
        constraints=COST_LIMITS,
        paper="X. Yang et al., KDD 2019, without the model",
    ),
    AgentEntry(
        name="mpid",
        summary="two dual prices controlled by two PIDs, mixed by a linear model of their cross effects",
        factory=make_mpid,
        kind="rule",
        objectives=AMOUNTS,
        constraints=COST_LIMITS,
        paper="X. Yang et al., KDD 2019",
    ),
    AgentEntry(
        name="dual",
        summary="dual mirror descent on the prices of money and of cost limits",
        factory="agents.rules.dual:DualBidder",
        kind="rule",
        constraints=COST_LIMITS,
        paper="Balseiro, Lu and Mirrokni 2023; Feng et al. 2023",
    ),
    AgentEntry(
        name="adaptive-pacing",
        summary="bids worth / (1 + mu); mu descends on what each tick spent beyond a fixed plan",
        factory="agents.rules.pacing.adaptive_pacing:AdaptivePacingBidder",
        kind="rule",
        paper="Balseiro and Gur 2019, algorithm 1",
    ),
    AgentEntry(
        name="budget-pacer",
        summary="the target first, then a factor up or down where the rest of the day would not fit the money left",
        factory="agents.rules.pacing.budget_pacer:BudgetPacerBidder",
        kind="rule",
        objectives=AMOUNTS,
        paper="rlbidder's BudgetPacer",
    ),
    AgentEntry(
        name="ta-pid",
        summary="a PID on the log multiplier whose time is the traffic that has come",
        factory="agents.rules.pacing.ta_pid:TaPidBidder",
        kind="rule",
        objectives=AMOUNTS,
        paper="BAT, arXiv 2505.08485",
    ),
    AgentEntry(
        name="mystique",
        summary="steps against the error of the spend and of its slope, every few ticks",
        factory="agents.rules.pacing.mystique:MystiqueBidder",
        kind="rule",
        objectives=AMOUNTS,
        paper="Stram et al., WWW 2024",
    ),
    AgentEntry(
        name="broi",
        summary="the larger of two pacing multipliers, for budget and return, by optimistic descent",
        factory="agents.rules.pacing.broi:BroiBidder",
        kind="rule",
        objectives=AMOUNTS,
        constraints=COST_LIMITS,
        paper="Lucier et al., arXiv 2301.13306",
    ),
    AgentEntry(
        name="mpc",
        summary="learns the response to its bid within the episode, bids what keeps every limit to the end",
        factory="agents.rules.mpc:MpcBidder",
        kind="rule",
        objectives=AMOUNTS,
        constraints=COST_LIMITS,
        paper="Rawlings, Mayne and Diehl 2017; arXiv 2603.07721",
    ),
    AgentEntry(
        name="online-lp",
        summary="the threshold that money and cost limits allow for the rest of an episode like those of a history",
        factory="agents.rules.online_lp:OnlineLpBidder",
        kind="offline",
        objectives=AMOUNTS,
        constraints=COST_LIMITS,
        paper="Agrawal, Wang and Ye 2014",
    ),
    AgentEntry(
        name="auctionnet-lp",
        summary="AuctionNet's online LP: a table of thresholds by category, tick and money, from one logged period",
        factory="agents.rules.auctionnet_lp:AuctionNetLpBidder",
        kind="offline",
        objectives=("conversions",),
        paper="AuctionNet, arXiv 2412.10798",
    ),
    AgentEntry(
        name="grm",
        summary="the smallest multiplier that spends the budget or reaches a cost limit, by a response of logs",
        factory="agents.rules.grm:GrmBidder",
        kind="offline",
        objectives=AMOUNTS,
        constraints=COST_LIMITS,
        paper="arXiv 2605.27811, the controller",
    ),
    AgentEntry(
        name="mpc-response",
        summary="the multiplier with the best mean score over logged days, by a response of logs",
        factory="agents.rules.mpc_response:ResponseMpcBidder",
        kind="offline",
        constraints=(*COST_LIMITS, "min_delivery"),
        paper="Rawlings, Mayne and Diehl 2017",
    ),
    AgentEntry(
        name="oil",
        summary="plays and imitates an oracle that knows the others' bids, tick by tick",
        learner="agents.hindsight.imitation.oil:OilLearner",
        kind="online",
        constraints=COST_LIMITS,
        paper="arXiv 2412.11434",
    ),
    AgentEntry(
        name="ppo",
        summary="proximal policy optimisation, Stable-Baselines3",
        learner="agents.sb3.training:Sb3Learner",
        kind="online",
        constraints=tuple(CONSTRAINT_KINDS),
        paper="Schulman et al., arXiv 1707.06347",
    ),
    AgentEntry(
        name="sac",
        summary="soft actor-critic, Stable-Baselines3",
        learner="agents.sb3.training:Sb3Learner",
        kind="online",
        constraints=tuple(CONSTRAINT_KINDS),
        paper="Haarnoja et al., arXiv 1812.05905",
    ),
    AgentEntry(
        name="td3",
        summary="twin delayed deterministic policy gradient, Stable-Baselines3",
        learner="agents.sb3.training:Sb3Learner",
        kind="online",
        constraints=tuple(CONSTRAINT_KINDS),
        paper="Fujimoto et al., arXiv 1802.09477",
    ),
    AgentEntry(
        name="recurrent_ppo",
        summary="PPO with an LSTM, sb3-contrib",
        learner="agents.sb3.training:Sb3Learner",
        kind="online",
        constraints=tuple(CONSTRAINT_KINDS),
        paper="Schulman et al., arXiv 1707.06347",
    ),
    AgentEntry(
        name="tqc",
        summary="SAC with truncated quantile critics, sb3-contrib",
        learner="agents.sb3.training:Sb3Learner",
        kind="online",
        constraints=tuple(CONSTRAINT_KINDS),
        paper="Kuznetsov et al., arXiv 2005.04269",
    ),
    AgentEntry(
        name="bc",
        summary="behaviour cloning: the mean of the logged actions, from logs",
        learner="agents.offline.training:OfflineLearner",
        kind="offline",
        constraints=tuple(CONSTRAINT_KINDS),
        paper="Pomerleau 1991",
    ),
    AgentEntry(
        name="td3_bc",
        summary="TD3 kept near the logged actions, from logs",
        learner="agents.offline.training:OfflineLearner",
        kind="offline",
        constraints=tuple(CONSTRAINT_KINDS),
        paper="Fujimoto and Gu, arXiv 2106.06860",
    ),
    AgentEntry(
        name="iql",
        summary="implicit Q-learning: values of logged actions only, from logs",
        learner="agents.offline.training:OfflineLearner",
        kind="offline",
        constraints=tuple(CONSTRAINT_KINDS),
        paper="Kostrikov et al., arXiv 2110.06169",
    ),
    AgentEntry(
        name="cql",
        summary="conservative Q-learning, from logs",
        learner="agents.offline.training:OfflineLearner",
        kind="offline",
        constraints=tuple(CONSTRAINT_KINDS),
        paper="Kumar et al., arXiv 2006.04779",
    ),
    AgentEntry(
        name="bcq",
        summary="batch-constrained Q-learning: the best of generated actions, from logs",
        learner="agents.offline.training:OfflineLearner",
        kind="offline",
        constraints=tuple(CONSTRAINT_KINDS),
        paper="Fujimoto et al., arXiv 1812.02900",
    ),
    AgentEntry(
        name="mopo",
        summary="model-based, penalised where the model is uncertain, from logs",
        learner="agents.offline.training:OfflineLearner",
        kind="offline",
        constraints=tuple(CONSTRAINT_KINDS),
        paper="Yu et al., arXiv 2005.13239",
    ),
    AgentEntry(
        name="hindsight",
        summary="the best constant multiplier for the very episode it plays",
        factory="agents.hindsight.best_constant:HindsightBidder",
        kind="reference",
        constraints=tuple(CONSTRAINT_KINDS),
    ),
    AgentEntry(
        name="joint-hindsight",
        summary="near-best constants for all campaigns of a market at once",
        factory="agents.hindsight.joint_constants:JointHindsightBidder",
        kind="reference",
        constraints=tuple(CONSTRAINT_KINDS),
    ),
)
"""The agents of this package."""


def entries() -> dict[str, AgentEntry]:
    """All agents by name: this package's, then those of entry points in the order of their names.

    An entry point that fails to load is left out with a warning in the log, so that one broken package does not hide
    all other agents; `make` says what was wrong with it.
    """
    found = {entry.name: entry for entry in BUILT_IN}
    for point in _points():
        try:
            found[point.name] = _load(point)
        except ValueError as error:
            logger.warning("%s", error)
    return found


def make(name: str, /, **kwargs: Any) -> Bidder:
    """An agent by name.

    Args:
        name: One of `entries()`.
        kwargs: Arguments of the agent, as its class or factory takes them.

    Raises:
        ValueError: No such agent (names the nearest), an entry point that does not load, or arguments that it does
            not take, by name or by type.
    """
    entry = get(name)
    factory = entry.load()
    signature = inspect.signature(factory)
    try:
        signature.bind(**kwargs)
    except TypeError as error:
        unknown = [given for given in kwargs if given not in signature.parameters]
        hint = nearest(unknown[0], list(signature.parameters)) if unknown else ""
        raise ValueError(f"agent {name!r} takes {signature}, found {sorted(kwargs)}: {error}{hint}") from error
    try:
        return factory(**kwargs)
    except TypeError as error:  # a value of a wrong type, which its constructor met before it could check
        raise ValueError(f"agent {name!r} takes {signature}, found {kwargs}: {error}") from error


def learner(name: str) -> Learner:
    """The learner of an agent by name; raises as `make`, and where the agent does not learn."""
    return get(name).make_learner()


def train(name: str, experience: Experience, **arguments: Any) -> TrainResult[Any, Any]:
    """Trains an agent by name; arguments as of `agents.learning.learner.Learner.train`."""
    return learner(name).train(experience, **arguments)


def load(path: str | Path, *, name: str | None = None, device: str = "cpu") -> Any:
    """The bidder of any agent's file: the file's kind is looked up in the registry, nothing in it is executed.

    Args:
        path: The file.
        name: Another label than the stored one.
        device: Where it decides.

    Raises:
        FileNotFoundError: No such file.
        CheckpointError: A foreign or damaged file, or one of an agent that is not installed.
    """
    from agents.learning.checkpoint import CheckpointError, read_agent

    kind = read_agent(path).kind
    try:
        entry = get(kind)
    except ValueError as error:
        raise CheckpointError(f"{str(path)!r} must be of an agent that is installed, found {kind!r}") from error
    if not entry.learner:
        raise CheckpointError(f"{str(path)!r} must be of an agent that learns, found {kind!r}")
    return entry.make_learner().load(path, name=name, device=device)


def save(path: str | Path, bidder: Storable) -> None:
    """Writes a trained agent to a file for `load`, atomically."""
    from agents.learning import checkpoint

    checkpoint.save(path, bidder)


def get(name: str) -> AgentEntry:
    """The entry of an agent; raises as `make`."""
    for entry in BUILT_IN:
        if entry.name == name:
            return entry
    points = {point.name: point for point in _points()}
    if name in points:
        return _load(points[name])
    known = [*(entry.name for entry in BUILT_IN), *points]
    raise ValueError(f"`name` must be an agent ({', '.join(known)}), found {name!r}{nearest(name, known)}")


def _points() -> list[EntryPoint]:
    return sorted(set(entry_points(group=GROUP)), key=lambda point: (point.name, point.value))


def _load(point: EntryPoint) -> AgentEntry:
    where = f"entry point {point.name!r} = {point.value!r} of {GROUP!r}"
    if any(entry.name == point.name for entry in BUILT_IN):
        raise ValueError(f"{where} must have another name than this package's agents")
    try:
        entry = point.load()
    except (Exception, SystemExit) as error:  # whatever a stranger's module does when it is imported
        package = "" if point.dist is None else f"; the package {point.dist.name} must be repaired or uninstalled"
        raise ValueError(f"{where} must load, found {type(error).__name__}: {error}{package}") from error
    if not isinstance(entry, AgentEntry):
        raise ValueError(f"{where} must be an AgentEntry, found {entry!r}")
    if entry.name != point.name:
        raise ValueError(f"{where} must have the name of its AgentEntry, found {entry.name!r}")
    return entry
