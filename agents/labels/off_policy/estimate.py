"""What a policy is worth, from logs of other policies: the estimate, its interval, and where not to trust it.

Every estimator takes the market's side of an episode (traffic, predicted amounts, prices) as logged: the policy of one
advertiser among many changes it little. Where competitors answer, or where many advertisers change their policy at
once, no log of the present shows what would come.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from agents.labels.completion import complete, describe
from agents.labels.off_policy.fitted_q import decisions, fitted_scores
from agents.labels.off_policy.intervals import mean_interval, model_error, widened
from agents.labels.off_policy.rules import RULES
from agents.labels.off_policy.trust import Evidence, warnings_of
from agents.labels.predicted_log import complete_episodes, predicted_logs
from agents.labels.relabel import Float
from agents.labels.response import Response
from auction_env.control.bidder import Bidder, check_bidder
from auction_env.data import TrajectoryData, require
from auction_env.names import check_name
from auction_env.tasks import Task, get_task

FITTED_Q = "fitted_q"
METHODS: dict[str, str] = {
    "direct": "the response model alone",
    "importance": "logged outcomes, weighted by the bid landscape",
    "self_normalised": "the same, with weights that bring the wins the landscape predicts",
    "doubly_robust": "the response model, corrected by weighted logged outcomes",
    FITTED_Q: "regression of what comes after each decision",
}
"""The estimators by name."""
DEFAULT_METHOD = "direct"
LEVEL = 0.9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolicyEstimate:
    """What a policy is worth by one estimator: its mean expected score on episodes like the logged ones.

    Attributes:
        policy, method, task: Names.
        scores: (e,) estimated expected score of each logged episode.
        low, high: Interval of their mean, at `level`: the luck of the episodes, and the error of the response model as
            far as the log tells it (`intervals.model_error`).
        level: Its coverage.
        effective_n: Effective sample size, in episodes: how many logged episodes' outcomes the policy's own would be
            estimated from, (sum w)^2 / sum w^2 over ticks, with the weights of importance sampling.
        logged_score: Mean expected score of the policy that was logged.
        warnings: Why not to trust it, in sentences.
    """

    policy: str
    method: str
    task: str
    scores: Float
    low: float
    high: float
    level: float
    effective_n: float
    logged_score: float
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        return f"PolicyEstimate({self.policy!r}, {self.method}: {self.score:.4g} [{self.low:.4g}, {self.high:.4g}])"

    @property
    def score(self) -> float:
        """The estimate: mean of `scores`."""
        return float(self.scores.mean())

    @property
    def n_episodes(self) -> int:
        """Logged episodes behind it."""
        return len(self.scores)


class OfflineEvaluation:
    """A log, prepared once for the estimates of many policies.

    Args:
        data: Trajectories, whatever they lack: what can be estimated is estimated (`agents.labels.completion`).
        task: What policies are scored by; None: the log's only task.

    Raises:
        ValueError: A log without a complete episode or without bids, that lacks what nothing else tells, or of several
            tasks where none is given.
    """

    def __init__(self, data: TrajectoryData, *, task: Task | str | None = None) -> None:
        self.task = _task_of(data, task)
        n_ticks = int(data.tick.max()) + 1 if len(data) else 0
        whole = complete_episodes(data, n_ticks)
        if not len(whole):
            raise ValueError(
                f"`data` must hold an episode with all its {n_ticks} ticks, found {data.n_episodes} episodes without"
            )
        if np.isnan(data.cost).all():
            require(data, ("cost",), "estimates of what a policy is worth")
        self.n_left_out = data.n_episodes - len(whole)
        self.data = complete(data.select(whole))
        self.n_ticks = n_ticks
        self.response = Response.fit([self.data])
        self._first = self.data.episode_starts[:-1]
        self.targets = self.data.targets.at(self._first)

    @cached_property
    def logged_scores(self) -> Float:
        """(e,) expected score of the logged episodes."""
        return self.task.score(self.data.totals(), self.targets, expected=True)

    @cached_property
    def model_error(self) -> float:
        """Relative error of the response model on bids that it was not fitted to (`intervals.model_error`)."""
        return model_error(self.data, self.task, self.n_ticks)

    @property
    def advertiser(self) -> NDArray[np.int32]:
        """(e,)."""
        return self.data.advertiser[self._first]

    def estimate(
        self, bidder: Bidder, *, method: str = DEFAULT_METHOD, level: float = LEVEL, seed: int = 0
    ) -> PolicyEstimate:
        """Estimates what a bidder is worth; see `estimate`."""
        check_bidder(bidder)
        check_name("method", method, METHODS)
        if not 0 < level < 1:
            raise ValueError(f"`level` must lie between 0 and 1, found {level}")
        rng = np.random.default_rng([seed, 0])
        rule = RULES["direct" if method == FITTED_Q else method]
        (played,) = predicted_logs(
            bidder, self.task, [(self.data, self.response)], n_ticks=self.n_ticks, rng=rng, rule=rule
        )
        if method == FITTED_Q:
            self._check_basis()
            decided = decisions(bidder, self.task, self.data, self.n_ticks)
            scores = fitted_scores(self.task, self.data, decided, self.n_ticks)
        else:
            scores = self.task.score(played.totals(), self.targets, expected=True)
        luck = mean_interval(scores, self.advertiser, level, seed)
        low, high = widened(luck, float(scores.mean()), self.model_error, level)
        evidence = Evidence.of(self.data, played, self.response, self.task)
        noted = describe(self.data.metadata)
        return PolicyEstimate(
            policy=bidder.name,
            method=method,
            task=self.task.name,
            scores=scores,
            low=low,
            high=high,
            level=level,
            effective_n=evidence.effective_n,
            logged_score=float(self.logged_scores.mean()),
            warnings=(*([noted] if noted else []), *warnings_of(evidence, method)),
        )

    def _check_basis(self) -> None:
        others = [task.name for task in self.data.tasks if task.basis != self.task.basis]
        if others:
            raise ValueError(
                f"method {FITTED_Q!r} needs logged bids proportional to {self.task.basis}, as task {self.task.name!r}"
                f" has them, found a log of task {others[0]!r}: take another method"
            )


def estimate(
    data: TrajectoryData,
    bidder: Bidder,
    *,
    method: str = DEFAULT_METHOD,
    task: Task | str | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> PolicyEstimate:
    """Estimates what a policy is worth from logs of other policies, without a market.

    Args:
        data: Trajectories, collected or imported. For several policies prepare them once: `OfflineEvaluation(data)`.
        bidder: The policy. References in hindsight cannot be estimated: they need the episode's market.
        method: One of `METHODS`.
        task: What it is scored by; None: the log's only task.
        level: Coverage of the interval.
        seed: Of what is drawn: sampled amounts that the policy sees, and the resamples of the interval.

    Raises:
        ValueError: A log of which nothing can be estimated (it says what is missing), an unknown method, or a bidder
            that cannot bid in logged episodes.
    """
    return OfflineEvaluation(data, task=task).estimate(bidder, method=method, level=level, seed=seed)


def _task_of(data: TrajectoryData, task: Task | str | None) -> Task:
    if task is not None:
        wanted = get_task(task)
    else:
        present = [data.tasks[code] for code in np.unique(data.task)]
        if len(present) != 1:
            raise ValueError(
                f"`task` must be given for a log of {len(present)} tasks, found {[one.name for one in present]}"
            )
        wanted = present[0]
    wanted.check(data.targets)
    return wanted
