"""The study `ope/v1` as data: what is logged, what is estimated, and the sizes of both, all seeds explicit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from auction_env.market.funnel import Funnel
from auction_env.market.params import Drift, MarketParams, TrafficParams
from auction_env.names import check_name

ID = "ope/v1"
TASK = "TargetCPA"

_FIRST = 2**42 + 2**30
POOL_SEED, TRAIN_SEED, LATER_SEED, JOINT_SEED = _FIRST, _FIRST + 2**20, _FIRST + 2**21, _FIRST + 2**22
"""First market seeds, none of which was seen while the estimators were made: of the episodes that are logged, of those
that policies are trained on, of later days, and of markets in which everybody has the policy."""
TRAIN_DAYS, LATER_DAYS = (1, 2, 3, 4, 5, 6, 7, 8), (28, 29, 30)
DRIFT = Drift(value=-0.02, volume=0.02, value_walk=0.05, volume_walk=0.05, seed=9)

SAME, LATER, JOINT = "same market", "later days", "everybody"
"""Where a policy is played: in the logged episodes themselves, on later days, or by all advertisers at once."""


class Scenario(NamedTuple):
    """A log, and where the policy is played in truth.

    Attributes:
        name: In rows and tables.
        logs: Whose bids are logged. "random": a constant drawn for each episode, from 1/4 to 4 times a unit's worth,
            with noise within (0.2); "noisy": PID with log-normal noise between (0.3) and within (0.2) episodes;
            "deterministic": PID without noise; "constant": a unit's worth in all ticks of all episodes.
        truth: `SAME`, `LATER` or `JOINT`.
        is_early: Whether the log is of early days of a drifting market.
    """

    name: str
    logs: Literal["random", "noisy", "deterministic", "constant"]
    truth: str = SAME
    is_early: bool = False


SCENARIOS = (
    Scenario("random", "random"),
    Scenario("noisy", "noisy"),
    Scenario("deterministic", "deterministic"),
    Scenario("constant", "constant"),
    Scenario("drift", "noisy", LATER, is_early=True),
    Scenario("everybody", "noisy", JOINT),
)
"""What is varied. All logs are of one controlled advertiser among scripts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeSettings:
    """Sizes of the study.

    Attributes:
        size: Its name.
        n_logs: Numbers of logged episodes, ascending.
        n_pool: Episodes that logs are drawn from, a multiple of the number of advertisers; the policies' live scores
            are means over all of them.
        n_draws: Logs drawn of each number, for the direct and the doubly robust estimator; the others, whose errors are
            larger than the luck of a log, have the first only.
        n_joint: Market episodes in which everybody has the policy.
        n_train: Trajectories that the learners learn from.
        n_impressions: Of an episode.
        steps: Training steps by learner.
    """

    size: str
    n_logs: tuple[int, ...]
    n_pool: int
    n_draws: int
    n_joint: int
    n_train: int
    n_impressions: int
    steps: dict[str, int]

    @property
    def plan(self) -> dict[str, Any]:
        """All that the rows depend on, as JSON values."""
        scenarios = [scenario._asdict() for scenario in SCENARIOS]
        seeds = [POOL_SEED, TRAIN_SEED, LATER_SEED, JOINT_SEED]
        return {**asdict(self), "suite": ID, "task": TASK, "scenarios": scenarios, "seeds": seeds}

    def params(self, *, has_drift: bool = False) -> MarketParams:
        """The market, with or without drifting days."""
        traffic = TrafficParams(n_days=31, drift=DRIFT) if has_drift else TrafficParams()
        return MarketParams(n_impressions=self.n_impressions, funnel=Funnel(), traffic=traffic)


_SIZES = {
    "full": OpeSettings(
        size="full", n_logs=(30, 120, 480, 1920), n_pool=9600, n_draws=20, n_joint=96, n_train=480,
        n_impressions=50_000, steps={"bc": 2000, "iql": 2000, "vamo": 750},
    ),
    "cpu": OpeSettings(
        size="cpu", n_logs=(30, 120, 480), n_pool=960, n_draws=4, n_joint=10, n_train=240,
        n_impressions=4_800, steps={"bc": 600, "iql": 600, "vamo": 300},
    ),
    "testing": OpeSettings(
        size="testing", n_logs=(6, 12), n_pool=48, n_draws=2, n_joint=1, n_train=12,
        n_impressions=480, steps={"bc": 5, "iql": 5, "vamo": 5},
    ),
}  # fmt: skip


def settings_of(size: str) -> OpeSettings:
    """The settings of a size; ValueError, naming the sizes, for another one."""
    check_name("size", size, _SIZES)
    return _SIZES[size]
