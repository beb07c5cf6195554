"""What a suite is: data, all seeds explicit. A released suite is never edited: a change is a new version."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from auction_env.market.params import Drift
from auction_env.names import check_name
from auction_env.tasks import TASKS
from benchmarks.suites.periods import PeriodsData

Size = Literal["full", "cpu", "testing"]
SIZES: dict[Size, str] = {
    "full": "what published tables should rest on; days of CPU, or a cluster",
    "cpu": "the same comparison with less of everything: for a machine of 2 cores",
    "testing": "shows that everything works, in minutes; no figure of it means anything",
}
"""Sizes of a suite."""

TRAIN_SEEDS = (11, 23, 37, 41, 53, 67, 79, 83, 97, 101)
"""Training seeds of all suites."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._=+-]*")


def _check_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"`name` of a {what} must match {_NAME.pattern!r}, found {name!r}")


def _check_at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise ValueError(f"`{name}` must be at least {least}, found {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """Market seeds `first` .. `first + n - 1`; the advertisers take turns."""

    first: int
    n: int

    def __post_init__(self) -> None:
        _check_at_least(0, first=self.first)
        _check_at_least(1, n=self.n)

    def draw(self, advertisers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Seeds and advertisers, (n,) each."""
        return self.first + np.arange(self.n), np.asarray(advertisers, np.int64)[np.arange(self.n) % len(advertisers)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyData:
    """A synthetic family of data-scarce tasks (`agents.make_task_family`).

    Attributes:
        n_tasks, seed, shift, n_groups, n_impressions: Of the family.
        harms: What is wrong with which logs, as `agents.parse_harms` reads it: "none", "harm/v1", or kinds with their
            strengths. Harmful logs are sources, not targets: a score on a task whose own log is wrong means nothing.
        most, fewest: Trajectories of its largest and its smallest task.
        n_collected: Validation trajectories that are made of each task.
        n_validation: How many of them are used.
        n_scored: Tasks that are tuned for and played, spread evenly over the sizes; all are trained for.
    """

    n_tasks: int
    seed: int
    shift: float
    most: int
    fewest: int
    n_groups: int
    n_impressions: int
    n_collected: int
    n_validation: int
    n_scored: int
    harms: str = "none"

    def __post_init__(self) -> None:
        _check_at_least(1, n_collected=self.n_collected, n_validation=self.n_validation, n_scored=self.n_scored)
        if self.n_validation > self.n_collected:
            rule = f"at most `n_collected`, {self.n_collected}"
            raise ValueError(f"`n_validation` must be {rule}, found {self.n_validation}")
        if self.n_scored > self.n_tasks:
            raise ValueError(f"`n_scored` must be at most `n_tasks`, {self.n_tasks}, found {self.n_scored}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Under what test episodes are played.

    Attributes:
        name: Added to the name of the task in rows; empty where there is one condition only.
        days: Days of the episodes, which take turns; empty: drawn from the seeds.
        competitors: "scripts": those of the population; "mixed": other scripts, half of which ignore what a
            conversion costs; "rules": the registry's rules take turns for all other advertisers; "self": copies of the
            tested agent sit for all other advertisers.
    """

    name: str = ""
    days: tuple[int, ...] = ()
    competitors: Literal["scripts", "mixed", "rules", "self"] = "scripts"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketData:
    """Registered tasks in the standard market, with or without drifting days.

    Attributes:
        tasks: Names of `auction_env.TASKS`.
        n_train: Trajectories of each to train on.
        n_validation: Held-out trajectories of each.
        n_impressions: Of an episode.
        policy: Logging policy.
        log_seed: First market seed of the logs.
        drift: Of the days.
        n_days: Horizon.
        train_days, validation_days: Days that logs are of, and those that validation (trajectories, and simulated
            episodes to tune on) is of; they take turns. Empty: drawn from the seeds.
        conditions: What is tested, each on every task.
    """

    tasks: tuple[str, ...]
    n_train: tuple[int, ...]
    n_validation: int
    n_impressions: int
    policy: str
    log_seed: int
    drift: Drift = field(default_factory=Drift)
    n_days: int = 7
    train_days: tuple[int, ...] = ()
    validation_days: tuple[int, ...] = ()
    conditions: tuple[Condition, ...] = (Condition(),)

    def __post_init__(self) -> None:
        if len(self.tasks) != len(self.n_train) or not self.tasks:
            raise ValueError(f"`n_train` must have one number a task, found {self.n_train} for {self.tasks}")
        unknown = [name for name in self.tasks if name not in TASKS]
        if unknown:
            raise ValueError(f"`tasks` must be of {list(TASKS)}, found {unknown[0]!r}")
        _check_at_least(1, n_validation=self.n_validation, n_impressions=self.n_impressions, n_days=self.n_days)
        _check_at_least(1, **{f"n_train of {name}": n for name, n in zip(self.tasks, self.n_train, strict=True)})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsData:
    """Two tasks made of the logs in a directory; played in the standard market.

    Attributes:
        directory: A trajectory data set (`auction_env.data`).
        digest: First 16 digits of the SHA-256 of its manifest: rows are of these logs.
        tasks: The task with many trajectories, and the data-scarce one.
        n_scarce: Trajectories of the data-scarce task to train on; the other task has all that are left.
        n_validation: Held-out trajectories of each task.
        n_impressions: Of an episode.
        seed: Of the choice of trajectories.
    """

    directory: str
    digest: str
    tasks: tuple[str, str]
    n_scarce: int
    n_validation: int
    n_impressions: int
    seed: int

    def __post_init__(self) -> None:
        _check_at_least(1, n_scarce=self.n_scarce, n_validation=self.n_validation, n_impressions=self.n_impressions)


Data: TypeAlias = FamilyData | MarketData | LogsData | PeriodsData


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A setting in which all methods meet: data, tasks, markets.

    Attributes:
        name, label: In results, and for people.
        data: The setting.
        x: Its place on the suite's axis, where variants lie on one.
        arms: Names of the methods that are run; empty: all. A method that does not depend on what distinguishes the
            variants is run in one of them.
        group: Variants of one group are families that were drawn alike: statistics treat the family as random. Empty:
            the variant stands for itself.
    """

    name: str
    label: str
    data: Data
    x: float | None = None
    arms: tuple[str, ...] = ()
    group: str = ""

    def __post_init__(self) -> None:
        _check_name("variant", self.name)


LogsChoice = Literal["training", "validation", "both", "sound"]
"""Which logs a method learns from, see `Arm`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One of the methods of a suite.

    Attributes:
        name, label: In results, and for people.
        method: Which function makes it: a key of `benchmarks.suites.methods.methods.METHODS`, or "module:function" of
            yours, from `Setting` to `Fitted` (`benchmarks.suites.methods.fitting`).
        settings: "key=value" of that function; for `vamo` overrides of `vamo.Config`.
        is_trained: Whether it is run once a training seed; otherwise once.
        x: Its place on the suite's axis, where methods lie on one.
        logs: What it learns from. "training": the training trajectories of all tasks. "validation": in their place the
            targets' validation trajectories. "both": the targets' validation trajectories beside all training ones.
            "sound": the oracle's, of the training trajectories those that are known to be sound; data whose truth is
            known only. Validation sets and the simulated episodes to choose on are the same for all four.
    """

    name: str
    label: str
    method: str
    settings: tuple[str, ...] = ()
    is_trained: bool = True
    x: float | None = None
    logs: LogsChoice = "training"

    def __post_init__(self) -> None:
        _check_name("method", self.name)
        if self.logs not in get_args(LogsChoice):
            raise ValueError(f"`logs` of {self.name!r} must be one of {get_args(LogsChoice)}, found {self.logs!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A comparison that is registered before its suite is run; all other comparisons of the suite are exploratory.

    Attributes:
        name: In results.
        first, second: Methods; the estimate is first minus second.
        variants: Where they are compared; empty: in all.
        kind: "difference": is there one? "equivalence": is it smaller than `margin` either way?
        margin: Of an equivalence, share of the best constant multiplier.
    """

    name: str
    first: str
    second: str
    variants: tuple[str, ...] = ()
    kind: Literal["difference", "equivalence"] = "difference"
    margin: float | None = None

    def __post_init__(self) -> None:
        _check_name("contrast", self.name)
        if self.first == self.second:
            raise ValueError(f"`first` and `second` of contrast {self.name!r} must differ, found {self.first!r} twice")
        if (self.kind == "equivalence") != (self.margin is not None) or (self.margin is not None and self.margin <= 0):
            rule = "positive for an equivalence and absent for a difference"
            raise ValueError(f"`margin` of contrast {self.name!r} must be {rule}, found {self.margin}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A suite at one of its sizes.

    Attributes:
        id: "name/v1".
        size: Of `SIZES`.
        title, question: For people.
        variants, arms: What is compared on what; every method on every variant.
        train_seeds: Of the trained methods.
        training: Overrides of `vamo.Config` for all trained methods, before their own.
        validation, test: Market seeds of the simulated episodes to tune on and to test on.
        n_candidates: Parameter settings that a rule is tuned over; a policy has six things to be asked for.
        n_viewed: Test episodes of each task that are kept tick by tick, of the first training seed.
        axis: What `x` of variants or methods is.
        baseline: Against which the gain of sharing is counted (delta_m).
        ours: Methods that are compared with the best of all others.
        contrasts: Comparisons that are registered; Holm's correction spans these alone.
    """

    id: str
    size: Size
    title: str
    question: str
    variants: tuple[Variant, ...]
    arms: tuple[Arm, ...]
    validation: Seeds
    test: Seeds
    train_seeds: tuple[int, ...] = TRAIN_SEEDS
    training: tuple[str, ...] = ()
    n_candidates: int = 12
    n_viewed: int = 1
    axis: str = ""
    baseline: str = ""
    ours: tuple[str, ...] = ()
    contrasts: tuple[Contrast, ...] = ()

    def __post_init__(self) -> None:
        for what, names in (("variant", [v.name for v in self.variants]), ("method", [a.name for a in self.arms])):
            if not names or len(set(names)) != len(names):
                raise ValueError(f"{self.id} must have different {what}s, at least one, found {names}")
        known = {arm.name for arm in self.arms}
        named = {name for variant in self.variants for name in variant.arms} | set(self.ours)
        for name in sorted(named | ({self.baseline} if self.baseline else set())):
            if name not in known:
                raise ValueError(f"`arms`, `ours` and `baseline` of {self.id} must be methods of it, found {name!r}")
        self._check_contrasts()
        _check_at_least(1, n_candidates=self.n_candidates, train_seeds=len(self.train_seeds))
        if self.n_viewed > self.test.n:
            raise ValueError(f"`n_viewed` must be at most the test episodes, {self.test.n}, found {self.n_viewed}")
        overlap = range(
            max(self.validation.first, self.test.first),
            min(self.validation.first + self.validation.n, self.test.first + self.test.n),
        )
        if overlap:
            raise ValueError(f"validation and test must not share market seeds, found {overlap[0]} in both")

    def _check_contrasts(self) -> None:
        """ValueError where a contrast names what the suite does not have, or compares where a method is not run."""
        names = [contrast.name for contrast in self.contrasts]
        if len(set(names)) != len(names):
            raise ValueError(f"contrasts of {self.id} must have different names, found {names}")
        run_in = {variant.name: variant.arms or tuple(arm.name for arm in self.arms) for variant in self.variants}
        for contrast in self.contrasts:
            for variant in contrast.variants or tuple(run_in):
                if variant not in run_in:
                    raise ValueError(
                        f"`variants` of contrast {contrast.name!r} must be of {self.id}, found {variant!r}"
                    )
                missing = {contrast.first, contrast.second} - set(run_in[variant])
                if missing:
                    raise ValueError(
                        f"contrast {contrast.name!r} must compare methods that are run in {variant!r},"
                        f" found {min(missing)!r}"
                    )

    @property
    def version(self) -> int:
        return int(self.id.rpartition("/v")[2])

    @property
    def full_id(self) -> str:
        """The id with the size, which is left out where it is full."""
        return self.id if self.size == "full" else f"{self.id}/{self.size}"

    def settings(self) -> dict[str, Any]:
        """All that results depend on, as JSON values; titles, questions and labels are free to improve."""
        record: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        for key in ("title", "question", "axis"):
            del record[key]
        for part in (*record["variants"], *record["arms"]):
            del part["label"]
        for variant in record["variants"]:
            variant["data"] = without_place(variant["data"])
        return record

    def hash(self) -> str:
        """SHA-256 of the settings as they are written down; a run's own covers resolved ones, see `identity`."""
        return digest(self.settings())

    def runs(self) -> tuple[Run, ...]:
        """All runs: variants in order, methods within, training seeds within those.

        Seeds go round slowest, so that an interrupted suite has some seeds of every method.
        """
        seeds: dict[str, tuple[int, ...]] = {
            arm.name: self.train_seeds if arm.is_trained else (-1,) for arm in self.arms
        }
        return tuple(
            Run(suite=self, variant=variant, arm=arm, train_seed=seeds[arm.name][turn])
            for turn in range(len(self.train_seeds))
            for variant in self.variants
            for arm in self.arms
            if turn < len(seeds[arm.name]) and (not variant.arms or arm.name in variant.arms)
        )

    def only(
        self,
        *,
        n_seeds: int | None = None,
        arms: tuple[Arm, ...] | None = None,
        variants: Sequence[str] | None = None,
    ) -> Suite:
        """Some seeds, methods or variants of the suite; a run of it has the numbers that it has in the whole.

        Raises:
            ValueError: Fewer than one or too many seeds, or no such variant (names the nearest).
        """
        of_suite = [variant.name for variant in self.variants]
        for name in variants or ():
            check_name("variants", name, of_suite)
        kept = set(of_suite if variants is None else variants)
        chosen = self.arms if arms is None else arms
        names = {arm.name for arm in chosen}
        if n_seeds is not None and not 1 <= n_seeds <= len(self.train_seeds):
            raise ValueError(f"`seeds` must lie in 1..{len(self.train_seeds)}, found {n_seeds}")
        return replace(
            self,
            variants=tuple(
                replace(variant, arms=tuple(name for name in variant.arms if name in names))
                for variant in self.variants
                if variant.name in kept and (not variant.arms or names.intersection(variant.arms))
            ),
            arms=chosen,
            train_seeds=self.train_seeds[:n_seeds],
            baseline=self.baseline if self.baseline in names else "",
            ours=tuple(name for name in self.ours if name in names),
            contrasts=tuple(
                contrast
                for contrast in self.contrasts
                if {contrast.first, contrast.second} <= names and kept.issuperset(contrast.variants)
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One method with one training seed in one variant: what is done or not done."""

    suite: Suite
    variant: Variant
    arm: Arm
    train_seed: int

    @property
    def id(self) -> str:
        seed = "" if self.train_seed < 0 else f"--s{self.train_seed}"
        return f"{self.variant.name}--{self.arm.name}{seed}"

    @property
    def n_viewed(self) -> int:
        """Test episodes of each task that are kept tick by tick."""
        is_first = self.train_seed in (-1, self.suite.train_seeds[0])
        return self.suite.n_viewed if is_first else 0

    def written(self) -> dict[str, Any]:
        """What the suite says of the run, as JSON values; other methods and seeds of the suite are left out."""
        settings = self.suite.settings()
        of_suite = ("id", "size", "validation", "test", "training", "n_candidates")
        own: dict[str, Any] = {
            "variant": asdict(self.variant),
            "arm": asdict(self.arm),
            "train_seed": self.train_seed,
        }
        for part in ("variant", "arm"):
            del own[part]["label"], own[part]["x"]
        del own["variant"]["arms"], own["variant"]["group"]
        own["variant"]["data"] = without_place(own["variant"]["data"])
        record: dict[str, Any] = json.loads(json.dumps({name: settings[name] for name in of_suite} | own))
        return record


def without_place(data: Any) -> Any:
    """A record of data without their directory: results depend on what the files hold, which is in their `digest`."""
    if not isinstance(data, dict):
        return data
    return {name: without_place(part) for name, part in data.items() if name != "directory"}


def digest(record: Any) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
