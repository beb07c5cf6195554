"""Families of related tasks: synthetic data-scarce suites whose truth is known because they were made.

A family has K tasks that differ by as much as asked for, in ways that are named; very unequal amounts of logged
trajectories; and sources of which it is known which help, and which harm, a given target. A weighting of sources
(arXiv 2510.07760) is then judged against these known relations, not only by its score.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.families.harms import Harms, deal_harms
from agents.families.shift import Centre, Shift
from agents.logging.harm import Harm, sound_trajectories
from auction_env.market.funnel import Funnel
from auction_env.market.params import LOG_IMPRESSIONS, MarketParams
from auction_env.market.population import Population, auctionnet_population
from auction_env.notebook import data_frame, html_table
from auction_env.tasks import TASKS, Constraint, Task

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

MIN_TASKS, MAX_TASKS = 2, 128
_GROUP_TASKS = ("MaxConversions", "TargetCPA", "TargetROAS", "MaxClicks", "MultiConstraint", "AddToCart")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Member:
    """One task of a family and how its trajectories are made.

    Attributes:
        task: The task; its name is unique in the family.
        group: Members of a group share objective, advertisers, market and season.
        harm: What is wrong with its log; None: nothing. The task itself is played in `params` and `population`.
        n_trajectories: To train on.
        policy: Logging policy, as `agents.logging.policies.parse_shares` reads it.
        advertisers: Indices of the advertisers that the policy controls; all others compete by their script.
        params, population: The market.
        first_seed: Market seed of its first episode; members never share seeds.
    """

    task: Task
    group: int
    harm: Harm | None
    n_trajectories: int
    policy: str
    advertisers: tuple[int, ...]
    params: MarketParams
    population: Population
    first_seed: int

    def __repr__(self) -> str:
        harm = "" if self.harm is None else f", harm: {self.harm}"
        return f"Member({self.name}, group {self.group}, {self.n_trajectories:,} trajectories{harm})"

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def is_harmful(self) -> bool:
        """Whether any of its trajectories is not sound."""
        return bool(self.harm)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TaskFamily:
    """Tasks, how their logs are made, and which sources help which targets.

    Attributes:
        members: The K tasks, from the one with the most trajectories to the one with the fewest.
        seed: Of the draws behind the members.
        shift: Distances between the groups.
    """

    members: tuple[Member, ...]
    seed: int
    shift: Shift

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        sizes = f"{self.members[0].n_trajectories:,} to {self.members[-1].n_trajectories:,} trajectories"
        n_harmful = sum(member.is_harmful for member in self.members)
        return f"TaskFamily({len(self)} tasks, {sizes}, harmful logs: {n_harmful}, seed {self.seed})"

    def _repr_html_(self) -> str:
        columns = self.columns()
        return html_table(repr(self), list(columns), zip(*columns.values(), strict=True))

    def columns(self) -> dict[str, Sequence[Any]]:
        """The members as columns, K each; the last two count the sources that help and that harm a member."""
        relations = self.relations
        return {
            "task": self.names,
            "group": [member.group for member in self.members],
            "trajectories": [member.n_trajectories for member in self.members],
            "policy": [member.policy for member in self.members],
            "harm": [str(member.harm or "") for member in self.members],
            "helpful sources": ((relations > 0).sum(axis=1) - 1).tolist(),  # a member helps itself
            "harmful sources": (relations < 0).sum(axis=1).tolist(),
        }

    def to_pandas(self) -> Any:
        """A data frame with a row a member: `columns`.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        return data_frame(self.columns())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(member.name for member in self.members)

    @property
    def relations(self) -> Int:
        """How source i (column) affects target k (row), (K, K): 1 it helps, 0 unrelated, -1 it is a harmful source.

        A source helps if its log shows the same action in the same state: it is of the target's group and has the
        same harm, or none. It is harmful if the harms of the two logs differ for what the target's task counts: the
        best action in the same state is another one. Everything else, a sound log of another objective or from
        another market, counts as unrelated: how much it helps is measured. A harmful source may be sound in a part
        of its trajectories (`sound_episodes`), and how much it harms is measured too (`measure_harm`).
        """
        out = np.empty((len(self), len(self)), np.int64)
        for k, target in enumerate(self.members):
            for i, source in enumerate(self.members):
                harms = [m.harm if m.harm and m.harm.affects(target.task) else None for m in (target, source)]
                out[k, i] = int(target.group == source.group) if harms[0] == harms[1] else -1
        return out

    def sound_episodes(self, name: str, n_held_out: int = 0) -> Bool:
        """Which trajectories of a member's log are sound, in the order of the collected log.

        The order of a split is another one: `agents.families.storage.sound_episodes` has the truth of logs on disk.

        Args:
            name: Of the member.
            n_held_out: Trajectories of the log beyond those to train on.

        Returns:
            (n_trajectories + n_held_out,).

        Raises:
            ValueError: No member has that name.
        """
        if name not in self.names:
            raise ValueError(f"`name` must be one of {list(self.names)}, found {name!r}")
        member = self.members[self.names.index(name)]
        n = member.n_trajectories + n_held_out
        n_episodes = -(-n // len(member.advertisers))
        sound = sound_trajectories(
            member.harm,
            np.repeat(np.arange(n_episodes), len(member.advertisers)),
            np.tile(np.sort(member.advertisers), n_episodes),
            n_episodes=n_episodes,
            controlled=member.advertisers,
            population=member.population,
        )
        return sound[:n]

    def to_json(self) -> str:
        """What the family is, and its truth, for the record; it is rebuilt by `make_task_family`."""
        record = {
            "seed": self.seed,
            "shift": asdict(self.shift),
            "relations": self.relations.tolist(),
            "members": [
                {
                    "task": json.loads(member.task.to_json()),
                    "group": member.group,
                    "harm": None if member.harm is None else member.harm.to_json(),
                    "n_trajectories": member.n_trajectories,
                    "policy": member.policy,
                    "advertisers": list(member.advertisers),
                    "first_seed": member.first_seed,
                }
                for member in self.members
            ],
        }
        return json.dumps(record, sort_keys=True)


def make_task_family(
    n_tasks: int,
    seed: int = 0,
    shift: float | Shift = 0.5,
    imbalance: tuple[int, int] = (5000, 20),
    *,
    n_groups: int | None = None,
    harms: Harms = (),
    n_impressions: int | None = None,
    params: MarketParams | None = None,
    population: Population | None = None,
) -> TaskFamily:
    """A family of K distinct tasks.

    The tasks fall into groups, which lie apart by `shift`; within a group they differ slightly. Objectives and
    constraints go round: group g takes the g-th registered task, with limits scaled differently for each member.

    Args:
        n_tasks: K, from 2 to 128.
        seed: Of everything drawn; the same arguments give the same family.
        shift: Distance between the groups: a `Shift`, or one level for all its knobs.
        imbalance: Trajectories of the largest and of the smallest task; the others lie between them on a geometric
            scale, which is a long tail.
        n_groups: Number of groups; by default half the tasks.
        harms: What is wrong with which logs: the world "harm/v1"; or harms by the position of the task; or harms
            alone, spread over the sizes but for the largest. By default all logs are sound.
        n_impressions: Size of the markets' episodes; by default that of `params`, or 4,800 without them.
        params: Rules and traffic of the markets before the shifts, `preset("sparse").params` for example; without a
            funnel they get one, because some tasks count clicks. Default: our market.
        population: Whose advertisers they are, before the shifts; AuctionNet's 48 by default.

    Raises:
        ValueError: A number that breaks a rule, or a harm that no market of these `params` can have; it is named.
    """
    _check_family(n_tasks, seed, imbalance, n_groups)
    shift = shift if isinstance(shift, Shift) else Shift.of(shift)
    groups = n_groups or n_tasks // 2
    harm_of = deal_harms(harms, n_tasks, groups, seed)
    base = population or auctionnet_population()
    if base.n_advertisers < 3:
        raise ValueError(f"`population` must have at least 3 advertisers, found {base.n_advertisers}")
    rules = _rules(params, n_impressions)
    rules.check_population(base)
    centres = Centre.evenly_spaced(np.random.default_rng([seed, 1]), groups, shift, base)
    most, fewest = imbalance
    sizes = np.rint(np.geomspace(most, fewest, n_tasks)).astype(int)
    members = []
    for k in range(n_tasks):
        group, turn = k % groups, k // groups
        rng = np.random.default_rng([seed, 2, k])
        centre = centres[group].near(rng, shift)
        members.append(
            Member(
                task=_task(group, turn, k, n_turns=-(-n_tasks // groups)),
                group=group,
                harm=harm_of.get(k),
                n_trajectories=int(sizes[k]),
                policy=centre.policy,
                advertisers=centre.advertisers,
                params=centre.params(rules),
                population=centre.population(),
                first_seed=(seed % 2**20 + 1) * 2**40 + 2**39 + k * 2**32,
            )
        )
    for member in members:
        _check_harm(member)
    return TaskFamily(members=tuple(members), seed=seed, shift=shift)


def _rules(params: MarketParams | None, n_impressions: int | None) -> MarketParams:
    """The market before the shifts: with a funnel, so that a log of it can be relabelled to any task."""
    if params is None:
        return MarketParams(n_impressions=n_impressions or LOG_IMPRESSIONS, funnel=Funnel())
    return replace(params, n_impressions=n_impressions or params.n_impressions, funnel=params.funnel or Funnel())


def _check_harm(member: Member) -> None:
    """Raises ValueError if the market of the harmed log would break a rule."""
    if member.harm is None:
        return
    try:
        member.harm.market(member.params, member.population, member.advertisers)
    except ValueError as error:
        raise ValueError(f"`harms` must suit the market, found {member.harm} for {member.name!r}: {error}") from error


def _check_family(n_tasks: int, seed: int, imbalance: tuple[int, int], n_groups: int | None) -> None:
    if not MIN_TASKS <= n_tasks <= MAX_TASKS:
        raise ValueError(f"`n_tasks` must lie in {MIN_TASKS}..{MAX_TASKS}, found {n_tasks}")
    if seed < 0:
        raise ValueError(f"`seed` must not be negative, found {seed}")
    if len(imbalance) != 2 or not 1 <= imbalance[1] <= imbalance[0]:
        raise ValueError(f"`imbalance` must be (most, fewest) trajectories, fewest at least 1, found {imbalance}")
    if n_groups is not None and not 1 <= n_groups <= n_tasks:
        raise ValueError(f"`n_groups` must lie in 1..{n_tasks}, found {n_groups}")


def _task(group: int, turn: int, k: int, n_turns: int) -> Task:
    """The task of a member: its group's registered one, with limits of its own."""
    base = TASKS[_GROUP_TASKS[group % len(_GROUP_TASKS)]]
    scale = 1.0 + 0.1 * (turn - (n_turns - 1) / 2) / max(n_turns - 1, 1)  # 0.95 .. 1.05
    constraints = tuple(
        Constraint(kind=constraint.kind, scale=round(constraint.scale * scale, 6)) for constraint in base.constraints
    )
    return replace(base, name=f"{base.name}-{k:03d}", constraints=constraints)
