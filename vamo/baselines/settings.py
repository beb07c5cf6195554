"""Settings of the generative baselines; the packaged ones stand in `settings.toml` beside this file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

from agents.labels.actions import ActionLabel
from agents.learning.settings import (
    Settings,
    check_fields,
    read_file,
    require,
    require_not_negative,
    require_positive,
)
from vamo.config import Config, DataConfig, ModelConfig, TrainConfig

ALGORITHMS = ("dt", "cdt", "diffbid", "gave", "gas", "qga")
DEFAULTS = Path(__file__).with_name("settings.toml")


def _check_share(name: str, value: float) -> None:
    require(0 <= value < 1, name, "in [0, 1)", value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone(Settings):
    """Size of the transformer; `context` is the ticks of a window, for `diffbid` all of the episode's."""

    d_model: int
    n_blocks: int
    n_heads: int
    context: int
    n_ticks: int
    n_categories: int

    def __post_init__(self) -> None:
        check_fields(self)
        ModelConfig(backbone="transformer", **dataclasses.asdict(self))  # the same rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Training(Settings):
    """The training loop, as in `vamo.config.TrainConfig`."""

    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    log_every: int
    evaluation_windows: int
    seed: int

    def __post_init__(self) -> None:
        check_fields(self)
        TrainConfig(**dataclasses.asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Data(Settings):
    """How logs become training examples.

    Attributes:
        action_label: What the policy learns: the logged actions, given what was to go of the return; or the
            hindsight-optimal actions, given only what is known at the tick (`agents.labels.actions`).
    """

    action_label: ActionLabel

    def __post_init__(self) -> None:
        check_fields(self)


NEEDS_LOGGED = {
    "cdt": "is the decision transformer with a Gaussian head where no return and cost are to go",
    "diffbid": "reads its actions from pairs of logged states, which the logged actions led to",
}
"""The algorithms that learn no other actions than the logged ones, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions(Settings):
    """What the trained agent is conditioned on.

    Attributes:
        budget_ratio: Of a policy that learned hindsight-optimal actions: the budget, over the true one.
        quantile: Of one that learned logged actions: the return (or score), as a quantile of the training episodes'.
        cost: Of CDT and DiffBid: how far the episode's cost may lie above the limit, as a share of the budget.
    """

    quantile: float
    cost: float
    budget_ratio: float

    def __post_init__(self) -> None:
        check_fields(self)
        require_positive(self, "budget_ratio")
        require(0 <= self.quantile <= 1, "quantile", "in [0, 1]", self.quantile)


@dataclass(frozen=True, slots=True, kw_only=True)
class DtSettings(Settings):
    """The decision transformer has none of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CdtSettings(Settings):
    """Of the constrained decision transformer.

    Attributes:
        entropy_weight: lambda of the policy's entropy.
        augmented_share: Share of training windows whose targets come from the Pareto augmentation.
    """

    entropy_weight: float
    augmented_share: float

    def __post_init__(self) -> None:
        check_fields(self)
        require_not_negative(self, "entropy_weight")
        _check_share("augmented_share", self.augmented_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffbidSettings(Settings):
    """Of the diffusion planner.

    Attributes:
        n_noise_steps: Steps of the noise schedule in training (DDPM).
        n_sample_steps: Denoising steps of a decision (DDIM).
        guidance: omega; 1 is the conditional model alone.
        unconditional_share: Share of training episodes that are shown no condition.
        inverse_history: States, the present one included, that the inverse dynamics read beside the next one.
        inverse_weight: Weight of the inverse dynamics' loss.
    """

    n_noise_steps: int
    n_sample_steps: int
    guidance: float
    unconditional_share: float
    inverse_history: int
    inverse_weight: float

    def __post_init__(self) -> None:
        check_fields(self)
        require(self.n_noise_steps >= 2, "n_noise_steps", "at least 2", self.n_noise_steps)
        rule = f"in [1, {self.n_noise_steps}]"
        require(1 <= self.n_sample_steps <= self.n_noise_steps, "n_sample_steps", rule, self.n_sample_steps)
        require_not_negative(self, "guidance")
        require(self.inverse_history >= 1, "inverse_history", "at least 1", self.inverse_history)
        require_positive(self, "inverse_weight")
        _check_share("unconditional_share", self.unconditional_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class GaveSettings(Settings):
    """Of GAVE.

    Attributes:
        evaluated: What actions are valued by: the score to go `after` the tick (the paper's), or the `rest` of the
            score from the tick on.
        penalty: gamma of the score: how steeply it falls with the sampled ratio above the limit.
        expectile: tau of the value function.
        sharpness: alpha of the weight between logged and explored action.
        return_weight, action_weight, value_weight, explore_weight: Of the four losses.
    """

    evaluated: Literal["rest", "after"]
    penalty: float
    expectile: float
    sharpness: float
    return_weight: float
    action_weight: float
    value_weight: float
    explore_weight: float

    def __post_init__(self) -> None:
        check_fields(self)
        require(0 < self.expectile < 1, "expectile", "in (0, 1)", self.expectile)
        require_not_negative(self, "penalty", "return_weight", "action_weight", "value_weight", "explore_weight")
        require_positive(self, "sharpness")


@dataclass(frozen=True, slots=True, kw_only=True)
class GasSettings(Settings):
    """Of GAS.

    Attributes:
        penalties: gamma of the score of each critic: the preferences that vote.
        expectile: tau of the critics' value functions.
        n_candidates: Actions that are compared in a round, the best so far included.
        n_rounds: Rounds of the search; each halves the search_sd around the best action so far.
        search_sd: Of the first round's actions, standard deviations of the logged actions.
        seed: Of the perturbations.
    """

    penalties: tuple[float, ...]
    expectile: float
    n_candidates: int
    n_rounds: int
    search_sd: float
    seed: int

    def __post_init__(self) -> None:
        check_fields(self)
        is_list = len(self.penalties) > 0 and min(self.penalties) >= 0
        require(is_list, "penalties", "a list of numbers that are not negative", self.penalties)
        require(0 < self.expectile < 1, "expectile", "in (0, 1)", self.expectile)
        for name, least in (("n_candidates", 2), ("n_rounds", 1), ("seed", 0)):
            require(getattr(self, name) >= least, name, f"at least {least}", getattr(self, name))
        require_positive(self, "search_sd")


@dataclass(frozen=True, slots=True, kw_only=True)
class QgaSettings(Settings):
    """Of QGA.

    Attributes:
        penalty: gamma of the score that is valued.
        q_weight: Of the value of the policy's own actions, beside their squared error.
        return_factors: On the return to go that a decision conditions the policy on, one try each.
        n_candidates: Perturbed actions a try, the policy's own included.
        search_sd: Of the perturbations, standard deviations of the logged actions.
        seed: Of the perturbations.
    """

    penalty: float
    q_weight: float
    return_factors: tuple[float, ...]
    n_candidates: int
    search_sd: float
    seed: int

    def __post_init__(self) -> None:
        check_fields(self)
        require_not_negative(self, "penalty", "q_weight")
        is_list = len(self.return_factors) > 0 and min(self.return_factors) > 0
        require(is_list, "return_factors", "a list of positive numbers", self.return_factors)
        for name, least in (("n_candidates", 1), ("seed", 0)):
            require(getattr(self, name) >= least, name, f"at least {least}", getattr(self, name))
        require_positive(self, "search_sd")


Own = DtSettings | CdtSettings | DiffbidSettings | GaveSettings | GasSettings | QgaSettings
_OWN: dict[str, type[Own]] = {
    "dt": DtSettings,
    "cdt": CdtSettings,
    "diffbid": DiffbidSettings,
    "gave": GaveSettings,
    "gas": GasSettings,
    "qga": QgaSettings,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerativeSettings(Settings):
    """Everything that, with the data, determines a trained baseline."""

    name: str  # of `ALGORITHMS`
    data: Data
    backbone: Backbone
    train: Training
    agent: Conditions
    algorithm: Own

    def __post_init__(self) -> None:
        require(self.name in ALGORITHMS, "name", f"one of {ALGORITHMS}", self.name)
        if self.name in NEEDS_LOGGED:
            rule = f"'logged' for {self.name!r}, which {NEEDS_LOGGED[self.name]}"
            require(self.data.action_label == "logged", "data.action_label", rule, self.data.action_label)
        if self.data.action_label == "logged":
            rule = "1 where the policy learns logged actions, and is conditioned on a return instead"
            require(self.agent.budget_ratio == 1.0, "agent.budget_ratio", rule, self.agent.budget_ratio)
        if isinstance(self.algorithm, DiffbidSettings):
            size = self.backbone
            rule = f"{size.n_ticks}, as `backbone.n_ticks`, for 'diffbid', which plans the whole day"
            require(size.context == size.n_ticks, "backbone.context", rule, size.context)

    @property
    def penalties(self) -> tuple[float, ...]:
        """The exponents of the scores that the algorithm needs."""
        if isinstance(self.algorithm, GaveSettings | QgaSettings):
            return (self.algorithm.penalty,)
        return self.algorithm.penalties if isinstance(self.algorithm, GasSettings) else ()

    def config(self) -> Config:
        """What the shared windows and trainer of `vamo` read."""
        return Config(
            data=DataConfig(action_label=self.data.action_label),
            model=ModelConfig(backbone="transformer", **dataclasses.asdict(self.backbone)),
            train=TrainConfig(method="single", **dataclasses.asdict(self.train)),
        )

    @classmethod
    def field_types(cls, record: Mapping[str, Any]) -> dict[str, Any]:
        """The section `algorithm` is of the algorithm that `name` names."""
        name = record.get("name")
        require(name in ALGORITHMS, "name", f"one of {ALGORITHMS}", name)
        return get_type_hints(cls) | {"algorithm": _OWN[str(name)]}


def packaged_settings(name: str) -> GenerativeSettings:
    """The defaults of an algorithm of `ALGORITHMS`."""
    packaged = read_file(DEFAULTS)
    shared, own = packaged["shared"], packaged.get(name, {})
    sections = ("data", "backbone", "train", "agent", "algorithm")
    record = {key: {**shared.get(key, {}), **own.get(key, {})} for key in sections}
    return GenerativeSettings.from_dict({"name": name, **record})
