"""What is known of a family on disk: its truth, distances, the response check, measured harm, an agent's weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agents.families.distances import Distance, data_distance
from agents.families.family import TaskFamily
from agents.families.measurement import MeasuredHarm
from agents.families.storage import load_family_parts, read_family, read_harm
from agents.labels.response_check import check_sources
from vamo.config import SharingConfig

if TYPE_CHECKING:
    from vamo.agent import LearnedFrom

Float = NDArray[np.float64]
Progress = Callable[[int], None]

CLASSES = {"own": 2, "helpful": 1, "unrelated": 0, "harmful": -1}
"""Relation of a source to a target; the target's own source is apart."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FamilyDescription:
    """What `describe_family` finds; matrices are (K, K), targets by sources, in the family's order.

    Attributes:
        path: Where the family is.
        family: The tasks.
        distances: By part of `Distance`, between the validation data.
        ratios: Cost that the response of a target's validation data predicts for a source's training data, over the
            actual cost; NaN where nothing can be said.
        factor: A source is not shared where the ratio lies outside [1 / factor, factor].
        harm: Measured harm; None where it was not measured (`vamo family --measure`).
        agent: Name of the agent whose weights are shown; empty without one.
        weights: How much each source counted in the training of each target, NaN for targets and sources that the agent
            did not learn; None without an agent.
    """

    path: Path
    family: TaskFamily
    distances: dict[str, Float]
    ratios: Float
    factor: float
    harm: MeasuredHarm | None
    agent: str
    weights: Float | None

    @property
    def relations(self) -> NDArray[np.int64]:
        """The truth, with the codes of `CLASSES`."""
        return self.family.relations + np.eye(len(self.family), dtype=np.int64)

    @property
    def is_shared(self) -> NDArray[np.bool_]:
        """Whether the response check shares a source with a target; a target's own source always is."""
        with np.errstate(divide="ignore", invalid="ignore"):
            agrees = np.abs(np.log(self.ratios)) <= np.log(self.factor)
        return np.asarray(agrees | np.eye(len(self.family), dtype=bool))

    @property
    def weight_by_class(self) -> dict[str, float]:
        """As `weight_by_class`; empty without an agent."""
        return {} if self.weights is None else weight_by_class(self.weights, self.family)


def describe_family(
    directory: str | Path, agent: str | Path | None = None, progress: Progress | None = None
) -> FamilyDescription:
    """Reads a family and what is known of it.

    Args:
        directory: Where it was collected.
        agent: File of an agent that was trained on it and weighs sources.
        progress: Told the number of pairs of tasks as they are compared: 2 K^2 in all.

    Raises:
        FileNotFoundError: No family, or no agent.
        ValueError: An agent that does not weigh sources, or those of other tasks.
    """
    path = Path(directory)
    family = read_family(path)
    weights = None if agent is None else _weights(_learned_from(agent), family, str(agent))
    validation, training = load_family_parts(path, ("validation", "train"))
    tell = progress or (lambda n: None)
    n = len(family)
    distances = {part: np.zeros((n, n)) for part in Distance._fields}
    ratios = np.empty((n, n))
    for k, target in enumerate(family.names):
        for i in range(k):
            apart = data_distance(validation[target], validation[family.names[i]])
            for part, value in apart._asdict().items():
                distances[part][k, i] = distances[part][i, k] = value
        tell(n)
        (checks,) = check_sources(training, {target: validation[target]})
        ratios[k] = [check.ratio for check in checks]
        tell(n)
    return FamilyDescription(
        path=path,
        family=family,
        distances=distances,
        ratios=ratios,
        factor=SharingConfig().response_factor,
        harm=read_harm(path),
        agent="" if agent is None else Path(agent).stem,
        weights=weights,
    )


def weight_by_class(weights: Float, family: TaskFamily) -> dict[str, float]:
    """Mean weight of a source of each class over that of uniform sharing, over the targets whose own logs are sound.

    Args:
        weights: (K, K) of targets and sources in the family's order, rows with sum 1; NaN where nothing was learned.
        family: Whose truth it is.
    """
    relations = family.relations + np.eye(len(family), dtype=np.int64)
    sound = np.array([not member.is_harmful for member in family.members])
    shares = (weights * (~np.isnan(weights)).sum(axis=1, keepdims=True))[sound]
    found = {}
    for name, code in CLASSES.items():
        own = shares[relations[sound] == code]
        own = own[~np.isnan(own)]
        found[name] = float(own.mean()) if len(own) else float("nan")
    return found


def _learned_from(agent: str | Path) -> LearnedFrom:
    from agents import registry
    from vamo.agent import VamoBidder  # needs torch: only where there is an agent

    bidder = registry.load(agent)
    if not isinstance(bidder, VamoBidder):
        raise ValueError(f"{agent} must be an agent that weighs sources (vamo), found {type(bidder).__name__}")
    if bidder.learned_from is None:
        raise ValueError(f"{agent} must hold the weights of its sources, found none: train it again")
    return bidder.learned_from


def _weights(learned: LearnedFrom, family: TaskFamily, agent: str) -> Float:
    names = family.names
    others = [name for name in (*learned.targets, *learned.sources) if name not in names]
    if others:
        raise ValueError(f"{agent} must be trained on the tasks of the family, {list(names)}, found {others[0]!r}")
    out = np.full((len(names), len(names)), np.nan)
    rows, columns = ([names.index(name) for name in part] for part in (learned.targets, learned.sources))
    out[np.ix_(rows, columns)] = learned.weights
    return out
