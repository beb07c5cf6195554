"""A trained generative baseline as a bidder, and what its file holds."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from agents.labels.relabel import Float
from agents.learning.checkpoint import AgentFile
from agents.learning.observation import check_campaigns
from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.tasks import RATIO_BASES, REQUIREMENT_NAMES, Targets, Task
from vamo.agent import N_QUANTILES
from vamo.baselines.backbone import Baseline
from vamo.baselines.cdt import ConstrainedDecisionTransformer
from vamo.baselines.diffbid import DiffBid
from vamo.baselines.dt import DecisionTransformer
from vamo.baselines.gas import Gas
from vamo.baselines.gave import Gave
from vamo.baselines.qga import Qga
from vamo.baselines.settings import CdtSettings, DiffbidSettings, GasSettings, GenerativeSettings, QgaSettings
from vamo.baselines.windows import COST, Player, Statistics

MODELS: dict[str, type[Baseline]] = {
    "dt": DecisionTransformer,
    "cdt": ConstrainedDecisionTransformer,
    "diffbid": DiffBid,
    "gave": Gave,
    "gas": Gas,
    "qga": Qga,
}
_UNIT = Targets.of(1.0, 1.0, 1.0, 1.0, 1.0)


class GenerativeBidder(NamedBidder):
    """Implements `auction_env.control.bidder.Bidder` with a trained baseline, for the task that it was trained on.

    Args:
        model: The trained model.
        task: Its task.
        quantiles: (N_QUANTILES, C) of the training episodes' totals.
        name: Label in results.
        data_hash: Of the training data.
    """

    def __init__(self, model: Baseline, task: Task, quantiles: Float, *, name: str, data_hash: str = "") -> None:
        self.model, self.task, self.quantiles = model, task, quantiles
        self.name, self.data_hash = name, data_hash
        self.settings = model.settings
        self._player: Player | None = None

    def conditioned_on(
        self,
        *,
        quantile: float | None = None,
        cost: float | None = None,
        budget_ratio: float | None = None,
        search_sd: float | None = None,
        name: str | None = None,
    ) -> GenerativeBidder:
        """The same model as a fresh bidder under other conditions; what is not given stays.

        Args:
            quantile: Of the training returns or scores, in [0, 1]; of a policy that learned logged actions.
            cost: Of CDT and DiffBid: excess over the limit, as a share of the budget.
            budget_ratio: Of one that learned hindsight-optimal actions: the budget, over the true one.
            search_sd: Of GAS (of its first round) and QGA: of the search, in standard deviations of the logged actions.
            name: Label in results.

        Raises:
            ValueError: A number out of range, or one for an algorithm that does not know it.
        """
        own = self.settings.algorithm
        if cost is not None and not isinstance(own, CdtSettings | DiffbidSettings):
            raise ValueError(f"`cost` must not be given for {self.settings.name!r}, found {cost}")
        if search_sd is not None:
            if not isinstance(own, GasSettings | QgaSettings):
                raise ValueError(f"`search_sd` must not be given for {self.settings.name!r}, found {search_sd}")
            own = dataclasses.replace(own, search_sd=search_sd)
        label = self.settings.data.action_label
        if quantile is not None and label == "hindsight":
            rule = "for a policy that learned hindsight-optimal actions, which no return is asked of"
            raise ValueError(f"`quantile` must not be given {rule}, found {quantile}")
        given = {"quantile": quantile, "cost": cost, "budget_ratio": budget_ratio}
        agent = dataclasses.replace(self.settings.agent, **{k: v for k, v in given.items() if v is not None})
        return GenerativeBidder(
            self.model.with_settings(dataclasses.replace(self.settings, agent=agent, algorithm=own)),
            self.task,
            self.quantiles,
            name=self.name if name is None else name,
            data_hash=self.data_hash,
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> GenerativeBidder:
        """A fresh bidder with the same model, which is not changed by playing; in an episode, one that is not."""
        return self.conditioned_on()

    def conditions(self, n: int) -> Float:
        """(n, C) totals of an episode to condition on: the quantile of return and scores, and the limit on the cost."""
        share = np.linspace(0, 1, N_QUANTILES)
        total = np.array([np.interp(self.settings.agent.quantile, share, q) for q in self.quantiles.T])
        is_limited = any(kind in RATIO_BASES for kind in _limits_of(self.task))
        total[COST] = (0.0 if is_limited else 1.0) + self.settings.agent.cost
        return np.tile(total, (n, 1))

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes; ValueError for another task or number of ticks than those of the training."""
        n_ticks = self.settings.backbone.n_ticks
        if campaigns.n_ticks != n_ticks:
            raise ValueError(f"`n_ticks` must be that of the training data, {n_ticks}, found {campaigns.n_ticks}")
        check_campaigns(self.name, self.task, campaigns.requirements)
        self._player = Player(campaigns, self.conditions(len(campaigns.base)), self.settings)

    def act(self, view: TickView) -> Float:
        """Multipliers for this tick, shape (n,), within the range of the learned ones relative to the base."""
        if self._player is None:
            raise RuntimeError("`reset` must be called before `act`")
        with torch.inference_mode():
            action = self.model.multiplier(self.model.decide(self._player.observe(view)))
        self._player.note(action)
        multiplier: Float = self._player.base * np.exp(action.numpy().astype(np.float64))
        return multiplier

    def to_file(self) -> AgentFile:
        """Weights, statistics, settings, task, and quantiles of the training episodes' totals."""
        return AgentFile(
            kind=self.settings.name,
            name=self.name,
            settings=self.settings.to_dict(),
            tasks=[self.task.to_json()],
            data_hash=self.data_hash,
            tensors=self.model.state_dict(),
            own={"quantiles": self.quantiles.tolist()},
        )

    @classmethod
    def from_file(cls, file: AgentFile) -> GenerativeBidder:
        """The bidder that `to_file` described."""
        settings, tensors = GenerativeSettings.from_dict(file.settings), dict(file.tensors)
        statistics = Statistics(*(tensors[name].numpy() for name in Statistics._fields))
        model = make_model(settings, statistics)
        model.load_state_dict(tensors)
        (task,) = (Task.from_json(text) for text in file.tasks)
        quantiles = np.asarray(file.own["quantiles"], np.float64)
        return cls(model.eval(), task, quantiles, name=file.name, data_hash=file.data_hash)


def make_model(settings: GenerativeSettings, statistics: Statistics) -> Baseline:
    """The untrained model; its parameters depend on `train.seed` alone, and global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(settings.train.seed)
        return MODELS[settings.name](settings, statistics)


def _limits_of(task: Task) -> list[str]:
    vector = task.requirements(_UNIT)
    return [
        name.removeprefix("has_").removesuffix("_limit")
        for name, value in zip(REQUIREMENT_NAMES, vector, strict=True)
        if name.startswith("has_") and value > 0
    ]
