"""The trained policy as a bidder: one batched forward pass a tick for all n campaigns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from agents.labels.relabel import Float
from agents.learning.checkpoint import AgentFile
from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.tasks import (
    BASES,
    CONSTRAINT_KINDS,
    LOWER_LIMITS,
    RATIO_BASES,
    REQUIREMENT_NAMES,
    Task,
    same_requirements,
    wanted_basis,
    wants_surplus,
)
from vamo.config import Config
from vamo.examples.inputs import Conditions, EpisodeInputs
from vamo.model.decoding import decoder_of
from vamo.model.making import make_ensemble
from vamo.model.policy import Policy

N_QUANTILES = 101


class ReturnTable(NamedTuple):
    """What a task's training episodes returned."""

    task: Task
    quantiles: Float  # (N_QUANTILES,) of the dimensionless returns, at 0, 1, ... 100 %

    @classmethod
    def of(cls, task: Task, returns: Float) -> ReturnTable:
        """The table of returns (e,)."""
        return cls(task, np.quantile(returns, np.linspace(0, 1, N_QUANTILES)))

    def at(self, quantile: float) -> float:
        """The return at a quantile in [0, 1]."""
        return float(np.interp(quantile, np.linspace(0, 1, N_QUANTILES), self.quantiles))

    @classmethod
    def from_numbers(cls, task: Task, quantiles: Sequence[float]) -> ReturnTable:
        """A stored table; raises ValueError where it does not have `N_QUANTILES` numbers."""
        numbers = np.asarray(quantiles, np.float64)
        if numbers.shape != (N_QUANTILES,):
            raise ValueError(f"`quantiles` must have shape ({N_QUANTILES},), found {numbers.shape}")
        return cls(task, numbers)


class LearnedFrom(NamedTuple):
    """How much each source counted in the training of each target, when the parameters were taken.

    Attributes:
        targets, sources: Names of their logs, K and I.
        weights: (K, I).
    """

    targets: tuple[str, ...]
    sources: tuple[str, ...]
    weights: Float

    def to_json(self) -> dict[str, object]:
        """JSON values."""
        return {"targets": list(self.targets), "sources": list(self.sources), "weights": self.weights.tolist()}

    @classmethod
    def from_json(cls, record: dict[str, list[Any]]) -> LearnedFrom:
        """What `to_json` wrote; ValueError where the shapes differ."""
        targets, sources = tuple(record["targets"]), tuple(record["sources"])
        weights = np.asarray(record["weights"], np.float64)
        if weights.shape != (len(targets), len(sources)):
            raise ValueError(f"`weights` must have shape ({len(targets)}, {len(sources)}), found {weights.shape}")
        return cls(targets, sources, weights)


class VamoBidder(NamedBidder):
    """Implements `auction_env.control.bidder.Bidder` with a trained model.

    A policy that learned hindsight-optimal actions is conditioned on a budget and limits: the true ones times
    `config.agent.budget_ratio` and `limit_ratio`.

    A policy that learned logged actions is conditioned on a return. It is dimensionless (`relabel.return_scale`: 1 is
    what the whole budget buys at the target CPA), by default `config.agent.quantile` of the training returns of the
    campaign's task, recognised by the constraints that its requirements switch on; of all tasks if there is no such
    task. It is also conditioned on the ratio of realised value over limit, `config.agent.limit_ratio` for each
    constraint, or less where the budget would not buy the return at that price.

    Args:
        model: The trained model; decisions are made on its device.
        config: Its configuration.
        returns: Tables of training returns, one a target task.
        target_return: The return that every campaign is conditioned on; overrides the quantile. Only for a policy that
            learned logged actions.
        name: Label in results.
        data_hash: Of the training data.
        learned_from: The weights of the sources; None where they are not known.
    """

    def __init__(
        self,
        model: Policy,
        config: Config,
        returns: Sequence[ReturnTable],
        *,
        target_return: float | None = None,
        name: str = "vamo",
        data_hash: str = "",
        learned_from: LearnedFrom | None = None,
    ) -> None:
        if target_return is not None and not np.isfinite(target_return):
            raise ValueError(f"`target_return` must be finite, found {target_return}")
        self._check_conditions(config, target_return=target_return)
        self.model = model
        self.config = config
        self.returns = tuple(returns)
        self.target_return = target_return
        self.name = name
        self.data_hash = data_hash
        self.learned_from = learned_from
        self._inputs: EpisodeInputs | None = None
        self._bounds = float(model.get_buffer("action_low")), float(model.get_buffer("action_high"))

    def conditioned_on(
        self,
        *,
        target_return: float | None = None,
        quantile: float | None = None,
        budget_ratio: float | None = None,
        limit_ratio: float | None = None,
        name: str | None = None,
    ) -> VamoBidder:
        """The same model as a fresh bidder under other conditions; what is not given stays.

        Args:
            target_return: A dimensionless return.
            quantile: A quantile in [0, 1] of the training returns; excludes `target_return`.
            budget_ratio: Budget that the policy is conditioned on, over the true one.
            limit_ratio: Realised value over limit, for each constraint but the budget.
            name: Label in results.

        Raises:
            ValueError: A number out of range, or one that this kind of policy is not conditioned on.
        """
        self._check_conditions(self.config, target_return=target_return, quantile=quantile, budget_ratio=budget_ratio)
        if target_return is not None and quantile is not None:
            raise ValueError(
                f"`target_return` and `quantile` must not both be given, found {target_return} and {quantile}"
            )
        changes = {"quantile": quantile, "budget_ratio": budget_ratio, "limit_ratio": limit_ratio}
        record = self.config.to_dict()
        record["agent"] |= {key: value for key, value in changes.items() if value is not None}
        kept = self.target_return if quantile is None else None
        return VamoBidder(
            self.model,
            Config.from_dict(record),
            self.returns,
            target_return=kept if target_return is None else target_return,
            name=self.name if name is None else name,
            data_hash=self.data_hash,
            learned_from=self.learned_from,
        )

    def __repr__(self) -> str:
        tasks = ", ".join(table.task.name for table in self.returns)
        n = sum(parameter.numel() for parameter in self.model.parameters())
        return f"VamoBidder({self.name!r}, {self.config.model.backbone} of {n:,} parameters, tasks: {tasks})"

    def __deepcopy__(self, memo: dict[int, object]) -> VamoBidder:
        return self.conditioned_on()  # a bidder of its own; the weights are read only and stay shared

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes; raises ValueError where their ticks are not those of the training data."""
        if campaigns.n_ticks != self.config.model.n_ticks:
            raise ValueError(
                f"`n_ticks` must be that of the training data, {self.config.model.n_ticks}, found {campaigns.n_ticks}"
            )
        agent, is_scaled = self.config.agent, self.config.data.action_label == "hindsight"
        self._inputs = EpisodeInputs(
            campaigns,
            conditions=self.conditions(campaigns),
            signal=self.config.data.reward_signal,
            budget_ratio=agent.budget_ratio if is_scaled else 1.0,
            limit_ratio=agent.limit_ratio if is_scaled else 1.0,
        )
        category = self._tensor(np.asarray(campaigns.category, np.int64))
        self._decoder = decoder_of(self.model, self._tensor(self._inputs.advertiser), category)

    def act(self, view: TickView) -> Float:
        """Multipliers for this tick, shape (n,), within the range of the logged ones relative to the base."""
        if self._inputs is None:
            raise RuntimeError("`reset` must be called before `act`")
        if not 0 <= view.tick < self.config.model.n_ticks:
            raise ValueError(f"`tick` must be in [0, {self.config.model.n_ticks}), found {view.tick}")
        inputs = self._inputs.observe(view)
        decided = self._decoder.decide(self._tensor(inputs.requirements), self._tensor(inputs.state), view.tick)
        log_relative = np.clip(decided.cpu().numpy(), *self._bounds)
        multiplier: Float = self._inputs.base * np.exp(log_relative.astype(np.float64))
        return multiplier

    def conditions(self, campaigns: Campaigns) -> Conditions:
        """What each campaign is conditioned on beside its limits; nothing where actions were hindsight-optimal."""
        if self.config.data.action_label == "hindsight":
            return Conditions()
        requirements = np.asarray(campaigns.requirements, np.float64)
        if self.target_return is None:
            returns = np.array([self._usual_return(vector) for vector in requirements])
        else:
            returns = np.full(len(requirements), self.target_return)
        # return x budget / base x limit x ratio is the cost of the episode, which the budget bounds
        with np.errstate(divide="ignore"):
            affordable = campaigns.base / (np.maximum(returns, 0.0) * self._own_price(requirements))
        wanted = self.config.agent.limit_ratio
        log_ratio = {kind: np.full(len(returns), np.log(wanted)) for kind in CONSTRAINT_KINDS}
        basis = wanted_basis(requirements)
        for kind, counted in RATIO_BASES.items():  # a ratio of the objective itself is bounded by what is affordable
            is_own = (basis == BASES.index(counted)) & ~wants_surplus(requirements)
            log_ratio[kind][is_own] = np.log(np.minimum(wanted, affordable[is_own]))
        return Conditions(returns, log_ratio)

    @staticmethod
    def _own_price(requirements: Float) -> Float:
        """(n,) what a unit of the objective may cost at the limit on its own ratio; 0 without such a limit."""
        price = np.zeros(len(requirements))
        basis = wanted_basis(requirements)
        for kind, counted in RATIO_BASES.items():
            has = (requirements[:, REQUIREMENT_NAMES.index(f"has_{kind}_limit")] > 0) & (basis == BASES.index(counted))
            has &= ~wants_surplus(requirements)  # a surplus is no amount that has a price
            limit = requirements[has, REQUIREMENT_NAMES.index(f"{kind}_limit")]
            price[has] = 1.0 / limit if kind in LOWER_LIMITS else limit
        return price

    @staticmethod
    def _check_conditions(config: Config, **given: float | None) -> None:
        """Raises ValueError for what this kind of policy is not conditioned on."""
        label = config.data.action_label
        others = ("budget_ratio",) if label == "logged" else ("target_return", "quantile")
        for name in others:
            if given.get(name) is not None:
                raise ValueError(
                    f"`{name}` must not be given for a policy trained with `data.action_label` {label!r},"
                    f" found {given[name]}"
                )

    def _usual_return(self, requirements: Float) -> float:
        """The return at the configured quantile, over the tasks with this objective and constraints, or over all."""
        alike = [table for table in self.returns if same_requirements(table.task, requirements)]
        values = [table.at(self.config.agent.quantile) for table in alike or self.returns]
        return float(np.mean(values))

    def to_file(self) -> AgentFile:
        """Weights, normalisation, settings, tables of training returns with their tasks, weights of the sources."""
        known = {} if self.learned_from is None else {"learned_from": self.learned_from.to_json()}
        return AgentFile(
            kind="vamo",
            name=self.name,
            settings=self.config.to_dict(),
            tasks=[table.task.to_json() for table in self.returns],
            data_hash=self.data_hash,
            tensors=self.model.state_dict(),
            own={"quantiles": [table.quantiles.tolist() for table in self.returns], **known},
        )

    @classmethod
    def from_file(cls, file: AgentFile, device: torch.device | str = "cpu") -> VamoBidder:
        """The bidder that `to_file` described, deciding on a device."""
        config = Config.from_dict(file.settings)
        model = make_ensemble(config.model, n_members=config.train.ensemble)
        model.load_state_dict(dict(file.tensors))
        pairs = zip(file.tasks, file.own["quantiles"], strict=True)
        returns = tuple(ReturnTable.from_numbers(Task.from_json(task), quantiles) for task, quantiles in pairs)
        return cls(
            model.to(device),
            config,
            returns,
            name=file.name,
            data_hash=file.data_hash,
            learned_from=LearnedFrom.from_json(file.own["learned_from"]) if "learned_from" in file.own else None,
        )

    def _tensor(self, values: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(values).to(self.model.get_buffer("action_mean").device)
