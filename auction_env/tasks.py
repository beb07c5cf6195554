"""Tasks: what an advertiser wants (objective) and what limits it (constraints).

A task names an objective and the constraints that bind it; the numbers behind a constraint come from the advertiser
(`Targets`) unless the task fixes them. So one task serves all advertisers of a market, and the requirement vector y
tells a model which numbers apply.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.names import check_name

Float = NDArray[np.float64]

BASES = ("conversions", "clicks", "add_to_carts", "gmv")
"""What a bid may be proportional to: the bid on an impression is the multiplier times its predicted amount of this.
`gmv` is the gross merchandise value, conversion probability x value of the order, in currency."""


class Quantity(NamedTuple):
    """Names of the columns that count one of the `BASES`, in ticks, logs and totals alike."""

    sampled: str  # what happened: sampled
    expected: str  # its expectation, over exposed impressions: far less noise
    offered: str  # the same over all impressions of the tick, bid on or not
    target: str  # field of `Targets`: what the advertiser would pay for a unit, or get for a unit of money


QUANTITIES: dict[str, Quantity] = {
    "conversions": Quantity("conversions", "expected_conversions", "offered_conversions", "cpa"),
    "clicks": Quantity("clicks", "expected_clicks", "offered_clicks", "cpc"),
    "add_to_carts": Quantity("add_to_carts", "expected_add_to_carts", "offered_add_to_carts", "cart_cost"),
    "gmv": Quantity("gmv", "expected_gmv", "offered_gmv", "roas"),
}
"""The columns of each of the `BASES`."""

OBJECTIVES: dict[str, str] = {
    "conversions": "conversions",
    "expected_conversions": "conversions",
    "clicks": "clicks",
    "add_to_carts": "add_to_carts",
    "gmv": "gmv",
    "surplus": "gmv",
}
"""Objectives and their bases. `expected_conversions` counts predicted instead of sampled conversions, in the
constraints too: the same expectation, far less noise (AuctionNet, arXiv 2412.10798). `surplus` is GMV minus cost,
currency: the utility of auction theory, whose bidders bid their value in a second-price auction."""

RewardSignal = Literal["expected", "sampled"]
"""What returns and rewards are made of: expected amounts, or those that were drawn."""

ConstraintKind = Literal["cpa", "cpc", "roas", "min_delivery", "smoothness"]
CONSTRAINT_KINDS: dict[str, str] = {
    "cpa": "cost per conversion, at most the limit; currency",
    "cpc": "cost per click, at most the limit; currency",
    "roas": "return on ad spend, gross merchandise value over cost, at least the limit",
    "min_delivery": "share of the budget that is spent, at least the limit",
    "smoothness": "unevenness of the spend (`unevenness`), at most the limit; 0 is perfectly smooth",
}
"""Constraints beside the budget, which every task has."""

RATIO_BASES = {"cpa": "conversions", "cpc": "clicks", "roas": "gmv"}
"""Constraints on a ratio of cost to an amount, and what they count."""
_DEFAULT_LIMITS = {"min_delivery": 0.8, "smoothness": 0.25}  # no advertiser has targets of its own for these
LOWER_LIMITS = ("roas", "min_delivery")
"""Constraints whose realised value must be at least the limit."""

REQUIREMENT_NAMES = (
    "budget",
    *(f"wants_{basis}" for basis in BASES),
    *(name for kind in CONSTRAINT_KINDS for name in (f"{kind}_limit", f"has_{kind}_limit")),
)
"""Layout of the requirement vector y: the budget, which of the bases the objective counts (one of four is 1, or 2
where the objective is that amount minus the cost), and a limit and its mask for each kind of constraint. A limit that
does not apply is 0 and its mask `has_*` is 0, so that an irrelevant constraint never leaks its number into a model
(METHOD.md, relabelling)."""
N_REQUIREMENTS = len(REQUIREMENT_NAMES)
_MAX_QUOTED = 80  # characters of a text that is no task
_FLAGS = [i for i, name in enumerate(REQUIREMENT_NAMES) if name.startswith(("wants_", "has_"))]
_WANTS = [REQUIREMENT_NAMES.index(f"wants_{basis}") for basis in BASES]
_AMOUNT, _AMOUNT_MINUS_COST = 1.0, 2.0  # what an objective makes of the basis that it wants


class Targets(NamedTuple):
    """What advertisers have and what they would pay: the numbers behind requirements; arrays of one shape.

    Clicks, add-to-carts and GMV have a target of 0 where the market has none or the log does not record them.
    """

    budget: Float  # currency per episode
    cpa: Float  # currency per conversion
    cpc: Float  # currency per click
    cart_cost: Float  # currency per add-to-cart
    roas: Float  # gross merchandise value per currency spent

    @classmethod
    def of(
        cls,
        budget: ArrayLike,
        cpa: ArrayLike,
        cpc: ArrayLike = 0.0,
        cart_cost: ArrayLike = 0.0,
        roas: ArrayLike = 0.0,
    ) -> Targets:
        """Broadcasts the numbers to one shape."""
        parts = np.broadcast_arrays(*(np.asarray(part, np.float64) for part in (budget, cpa, cpc, cart_cost, roas)))
        return cls(*(part.copy() for part in parts))

    def at(self, rows: Any) -> Targets:
        """The targets of some of the advertisers: any index of the arrays."""
        return Targets(*(part[rows] for part in self))


class Totals(NamedTuple):
    """What finished episodes came to, arrays of one shape; 0 for what the market or the log does not have."""

    cost: Float  # currency
    conversions: Float
    expected_conversions: Float
    clicks: Float
    expected_clicks: Float
    add_to_carts: Float
    expected_add_to_carts: Float
    gmv: Float  # currency
    expected_gmv: Float  # currency
    unevenness: Float  # `unevenness` of the spend


OUTCOMES = Totals._fields[:-1]
"""What a tick adds to an episode's totals: cost, and realised and predicted amounts of every basis."""
FUNNEL_OUTCOMES = tuple(name for name in OUTCOMES if name not in ("cost", "conversions", "expected_conversions"))
"""Those of them that only a market with a funnel has."""


class Amounts(Protocol):
    """Whatever has the cost and the columns of `QUANTITIES` as attributes: a tick, a log, an episode's totals."""

    @property
    def cost(self) -> Float: ...
    @property
    def conversions(self) -> Float: ...
    @property
    def expected_conversions(self) -> Float: ...
    @property
    def clicks(self) -> Float: ...
    @property
    def expected_clicks(self) -> Float: ...
    @property
    def add_to_carts(self) -> Float: ...
    @property
    def expected_add_to_carts(self) -> Float: ...
    @property
    def gmv(self) -> Float: ...
    @property
    def expected_gmv(self) -> Float: ...


def wanted_basis(requirements: Float) -> NDArray[np.intp]:
    """(n,) index into `BASES` of what each objective counts, from requirement vectors (n, N_REQUIREMENTS)."""
    return np.asarray(np.argmax(requirements[:, _WANTS], axis=1))


def wants_surplus(requirements: Float) -> NDArray[np.bool_]:
    """(n,) whether each objective subtracts the cost, from requirement vectors (n, N_REQUIREMENTS)."""
    return np.asarray((requirements[:, _WANTS] == _AMOUNT_MINUS_COST).any(axis=1))


def earned(requirements: Float, amounts: Float, cost: Float) -> Float:
    """(n,) what each objective has earned: `Task.reward` where the task is known by its requirement vector alone.

    Args:
        requirements: (n, N_REQUIREMENTS).
        amounts: (n, 4) in the order of `BASES`.
        cost: (n,) currency.
    """
    own = np.take_along_axis(amounts, wanted_basis(requirements)[:, None], axis=1)[:, 0]
    return np.asarray(np.where(wants_surplus(requirements), own - cost, own))


def same_requirements(task: Task, requirements: Float) -> NDArray[np.bool_]:
    """(n,) whether campaigns have the task's objective and constraints, whatever their numbers.

    Args:
        task: For instance the one that a policy was trained on.
        requirements: (n, N_REQUIREMENTS) of the campaigns.
    """
    wanted = task.requirements(Targets.of(1.0, 1.0, 1.0, 1.0, 1.0))[_FLAGS]
    return np.asarray((np.asarray(requirements)[..., _FLAGS] == wanted).all(axis=-1))


def unevenness(cost: Float, n_impressions: Float, axis: int = 0) -> Float:
    """How far the spend was from following the traffic: 0 (in proportion to it) to 1 (all in ticks of no traffic).

    The total variation distance between the shares of the ticks in the spend and in the impressions; 0 where nothing
    was spent.

    Args:
        cost: Spend by tick, currency.
        n_impressions: Impressions by tick, same shape.
        axis: The axis of the ticks.
    """
    spent, seen = cost.sum(axis, keepdims=True), n_impressions.sum(axis, keepdims=True)
    share = np.divide(cost, spent, out=np.zeros(cost.shape), where=spent > 0)
    expected = np.divide(n_impressions, seen, out=np.zeros(cost.shape), where=seen > 0)
    distance = 0.5 * np.abs(share - expected).sum(axis)
    return np.asarray(np.where(np.squeeze(spent, axis) > 0, distance, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A limit on a realised ratio of the episode.

    Attributes:
        kind: One of `CONSTRAINT_KINDS`.
        scale: The limit as a multiple of the advertiser's own target (`min_delivery`, `smoothness`: of 0.8 and
            0.25); used when `limit` is None.
        limit: An absolute limit, the same for every advertiser, in the unit of the kind.
    """

    kind: ConstraintKind
    scale: float = 1.0  # multiple of the advertiser's target
    limit: float | None = None  # unit of the kind

    def __post_init__(self) -> None:
        check_name("kind", self.kind, CONSTRAINT_KINDS)
        for name in ("scale", "limit"):
            value = getattr(self, name)
            if value is None and name == "limit":
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not (0 < value < np.inf):
                raise ValueError(f"`{name}` of constraint {self.kind!r} must be positive and finite, found {value!r}")
        if self.kind in _DEFAULT_LIMITS and self.limit_of(Targets.of(1.0, 1.0)) > 1:
            raise ValueError(
                f"the limit of constraint {self.kind!r} is a share, at most 1, found {self.limit or self.scale}"
            )

    @property
    def basis(self) -> str | None:
        """Which of the `BASES` the ratio counts; None for those of the spend alone."""
        return RATIO_BASES.get(self.kind)

    def limit_of(self, targets: Targets) -> Float:
        """The limit of advertisers with these targets, of their shape, in the unit of the kind."""
        if self.limit is not None:
            return np.full(targets.budget.shape, float(self.limit))
        if self.kind in _DEFAULT_LIMITS:
            return np.full(targets.budget.shape, self.scale * _DEFAULT_LIMITS[self.kind])
        return np.asarray(self.scale * getattr(targets, self.kind))

    def ratio(self, totals: Totals, targets: Targets, *, is_expected: bool) -> Float:
        """Realised over limit, or limit over realised for a lower limit: at most 1 is feasible.

        A ratio without money spent is 0 (nothing is violated), but for `min_delivery`; one of money spent on nothing
        is infinite.
        """
        limit, cost = self.limit_of(targets), np.asarray(totals.cost, np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.kind == "smoothness":
                return np.asarray(totals.unevenness / limit)
            if self.kind == "min_delivery":
                return np.asarray(limit * targets.budget / cost)
            column = QUANTITIES[RATIO_BASES[self.kind]]
            amount = np.asarray(getattr(totals, column.expected if is_expected else column.sampled), np.float64)
            allowed = amount / limit if self.kind in LOWER_LIMITS else amount * limit
            return np.where(cost > 0, cost / allowed, 0.0)


class Feasibility(NamedTuple):
    """How well episodes kept one limit."""

    share: float  # of the episodes within it
    excess: float  # mean of realised over limit minus 1 over the others; 0 if there are none


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An objective under a budget and further constraints.

    The score of an episode is AuctionNet's: the objective times, for every constraint,
    min(1, limit / realised) ** beta (arXiv 2412.10798, section 3; beta = 2). A surplus below 0 is its own score, since
    a penalty would make a loss smaller.

    Attributes:
        name: Label of the task in logs and tables.
        objective: One of `OBJECTIVES`.
        constraints: Constraints beside the budget, at most one of a kind; a list becomes a tuple.
        beta: Exponent of the penalty.
    """

    name: str
    objective: str = "conversions"
    constraints: tuple[Constraint, ...] = ()
    beta: float = 2.0

    def __post_init__(self) -> None:
        if not self.name or not isinstance(self.name, str):
            raise ValueError(f"`name` of a task must be a text that is not empty, found {self.name!r}")
        check_name("objective", self.objective, OBJECTIVES)
        object.__setattr__(self, "constraints", _constraints(self.constraints))  # a list would have no hash
        kinds = [constraint.kind for constraint in self.constraints]
        if len(kinds) != len(set(kinds)):
            raise ValueError(f"`constraints` must hold at most one of a kind, found {kinds}")
        is_number = isinstance(self.beta, (int, float)) and not isinstance(self.beta, bool)
        if not (is_number and np.isfinite(self.beta) and self.beta >= 0):
            raise ValueError(f"`beta` must be finite and not negative, found {self.beta!r}")

    @property
    def basis(self) -> str:
        """Which of the `BASES` the objective counts: what bids are proportional to."""
        return OBJECTIVES[self.objective]

    @property
    def is_surplus(self) -> bool:
        """Whether the objective subtracts the cost from the amount of its basis."""
        return self.objective == "surplus"

    @property
    def needs(self) -> tuple[str, ...]:
        """The `BASES` that the objective and the constraints count, in their order."""
        used = {self.basis, *(constraint.basis for constraint in self.constraints)}
        return tuple(basis for basis in BASES if basis in used)

    @property
    def needs_funnel(self) -> bool:
        """Whether a market must have clicks, add-to-carts and order values (`auction_env.Funnel`) for this task."""
        return self.needs != ("conversions",)

    def check(self, targets: Targets) -> None:
        """ValueError if the task counts something that these markets or logs do not have."""
        for basis in self.needs:
            name = QUANTITIES[basis].target
            absent = np.asarray(getattr(targets, name)) <= 0
            if absent.any():
                raise ValueError(
                    f"task {self.name!r} counts {basis}, which must be recorded: the {name} target must be positive,"
                    f" found {np.asarray(getattr(targets, name))[absent].flat[0]} ({int(absent.sum())} of"
                    f" {absent.size}); a market has them with `MarketParams(funnel=Funnel())`"
                )

    def unit_worth(self, targets: Targets) -> Float:
        """What the advertisers would pay for a unit of the objective: the base of the multiplier, currency.

        A unit of GMV is worth 1 where the objective is the surplus, so that a ratio of 1 bids the true value.
        """
        self.check(targets)
        if self.is_surplus:
            return np.ones(np.shape(targets.budget))
        worth: Float = getattr(targets, QUANTITIES[self.basis].target)
        return 1.0 / worth if self.basis == "gmv" else worth.copy()

    def limits(self, targets: Targets) -> dict[str, Float]:
        """The limit of every constraint, by name, for advertisers with these targets."""
        self.check(targets)
        return {"budget": targets.budget.copy()} | {c.kind: c.limit_of(targets) for c in self.constraints}

    def requirements(self, targets: Targets) -> Float:
        """The requirement vector y, shape (..., N_REQUIREMENTS), in the units of the limits."""
        limits = self.limits(targets)
        out = np.zeros((*targets.budget.shape, N_REQUIREMENTS))
        out[..., 0] = limits.pop("budget")
        out[..., REQUIREMENT_NAMES.index(f"wants_{self.basis}")] = _AMOUNT_MINUS_COST if self.is_surplus else _AMOUNT
        for kind, limit in limits.items():
            out[..., REQUIREMENT_NAMES.index(f"{kind}_limit")] = limit
            out[..., REQUIREMENT_NAMES.index(f"has_{kind}_limit")] = 1.0
        return out

    def counted(self, *, expected: bool = False) -> str:
        """Which of the `Amounts` the objective counts; `expected` takes predicted instead of sampled ones."""
        column = QUANTITIES[self.basis]
        return column.expected if expected or self.objective == "expected_conversions" else column.sampled

    def reward(self, amounts: Amounts, *, expected: bool = False) -> Float:
        """The objective earned in a tick (or any span); `expected` as of `counted`."""
        return self.net(np.asarray(getattr(amounts, self.counted(expected=expected)), np.float64), amounts.cost)

    def net(self, amount: Float, cost: Float) -> Float:
        """The objective from the amount of its basis: the amount itself, or the amount minus the cost."""
        return amount - cost if self.is_surplus else amount

    def ratios(self, totals: Totals, targets: Targets, *, expected: bool = False) -> dict[str, Float]:
        """Realised over limit for each constraint of finished episodes: at most 1 is feasible."""
        self.check(targets)
        is_expected = expected or self.objective == "expected_conversions"
        ratios = {"budget": np.asarray(totals.cost, np.float64) / targets.budget}
        for constraint in self.constraints:
            ratios[constraint.kind] = constraint.ratio(totals, targets, is_expected=is_expected)
        return ratios

    def score(self, totals: Totals, targets: Targets, *, expected: bool = False) -> Float:
        """Score of finished episodes: objective x product of min(1, limit / realised) ** beta; a loss as it is."""
        return self.penalised(self.reward(totals, expected=expected), self.ratios(totals, targets, expected=expected))

    def penalised(self, objective: Float, ratios: Mapping[str, Float]) -> Float:
        """The score of episodes with these objectives and `ratios`."""
        out = objective
        for ratio in ratios.values():
            out = out * np.maximum(ratio, 1.0) ** -self.beta
        return np.minimum(objective, out) if self.is_surplus else out

    def to_json(self) -> str:
        """One line of JSON, from which `Task.from_json` rebuilds an equal task."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Task:
        """A task from JSON, `to_json`'s or one written by hand, in which all but names and kinds may be left out.

        Raises:
            ValueError: No JSON, an unknown, missing or malformed key; it is named.
        """
        try:
            record: Any = json.loads(text)
        except ValueError as error:
            raise ValueError(f"a task must be JSON, found {text[:_MAX_QUOTED]!r}: {error}") from error
        _check_keys("a task's JSON", record, {"name"}, {"objective", "constraints", "beta"})
        entries = record.get("constraints", [])
        if not isinstance(entries, list):
            raise ValueError(f"`constraints` of a task's JSON must be a list of objects, found {entries!r}")
        for entry in entries:
            _check_keys("a constraint of a task's JSON", entry, {"kind"}, {"scale", "limit"})
        return cls(**{**record, "constraints": tuple(Constraint(**entry) for entry in entries)})


def _check_keys(what: str, record: object, needed: set[str], optional: set[str]) -> None:
    """ValueError unless `record` is an object with all keys of `needed` and no others than those of `optional`."""
    if not isinstance(record, dict):
        raise ValueError(f"{what} must be an object with the keys {sorted(needed | optional)}, found {record!r}")
    for key in record:
        check_name("key", key, sorted(needed | optional), rule=f"of {what} must be one of")
    missing = sorted(needed - set(record))
    if missing:
        raise ValueError(f"{what} must have the key {missing[0]!r}, found {sorted(record)}")


def _constraints(given: Any) -> tuple[Constraint, ...]:
    """The constraints of a task as a tuple; ValueError where they are something else."""
    rule = "`constraints` must be a tuple of Constraint objects"
    if not isinstance(given, list | tuple):
        raise ValueError(f"{rule}, such as (Constraint(kind='cpa'),), found {given!r}")
    for constraint in given:
        if isinstance(constraint, str):
            check_name("constraints", constraint, CONSTRAINT_KINDS, rule="must hold Constraint objects, of a kind of")
            raise ValueError(f"{rule}: write Constraint(kind={constraint!r}), found {constraint!r}")
        if not isinstance(constraint, Constraint):
            raise ValueError(f"{rule}, such as (Constraint(kind='cpa'),), found {constraint!r}")
    return tuple(given)


def feasibility(ratios: dict[str, Float], *, tolerance: float = 1e-9) -> dict[str, Feasibility]:
    """For every constraint, the share of episodes within its limit and how far over the others are.

    Args:
        ratios: Realised over limit by constraint, (n_episodes,) each: what `Task.ratios` gives.
        tolerance: Relative slack for rounding.
    """
    out = {}
    for name, ratio in ratios.items():
        is_over = ratio > 1.0 + tolerance
        excess = float(np.mean(ratio[is_over] - 1.0)) if is_over.any() else 0.0
        out[name] = Feasibility(float(1.0 - is_over.mean()) if len(ratio) else np.nan, excess)
    return out


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(name="MaxConversions"),
        Task(name="TargetCPA", constraints=(Constraint(kind="cpa"),)),
        Task(name="TargetROAS", objective="gmv", constraints=(Constraint(kind="roas"),)),
        Task(name="MaxClicks", objective="clicks", constraints=(Constraint(kind="cpc"),)),
        Task(name="MultiConstraint", constraints=(Constraint(kind="cpa"), Constraint(kind="roas"))),
        Task(name="AddToCart", objective="add_to_carts"),
        Task(name="MaxSurplus", objective="surplus"),
    )
}
"""The registered tasks, by name."""


def get_task(task: str | Task) -> Task:
    """A registered task by name, or the task itself; raises ValueError that lists the known names."""
    if isinstance(task, Task):
        return task
    check_name("task", task, TASKS, rule="must be a Task or one of")
    return TASKS[task]
