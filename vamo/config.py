"""Settings of the generative agent and its training; files and assignments as of `agents.learning.settings`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from agents.labels.actions import ActionLabel
from agents.learning.settings import Settings, check_fields, override, require
from auction_env.tasks import RewardSignal

__all__ = [
    "MODEL_SIZES",
    "ActionLabel",
    "AgentConfig",
    "Backbone",
    "BalancingConfig",
    "Conditioning",
    "Config",
    "DataConfig",
    "GradientMethod",
    "Head",
    "LossMethod",
    "Method",
    "ModelConfig",
    "MultitaskMethod",
    "Precision",
    "ResponseLogs",
    "RewardSignal",
    "Scaling",
    "SharingConfig",
    "SharingMethod",
    "TrainConfig",
    "WeightingConfig",
    "WeightingKind",
    "override",
]

MultitaskMethod = Literal[
    "mean",
    "random",
    "graddrop",
    "pcgrad",
    "gradvac",
    "cagrad",
    "mgda",
    "imtl_g",
    "nash_mtl",
    "aligned_mtl",
    "fairgrad",
    "upgrad",
    "dualproj",
]
"""Methods that combine the gradients of the targets' losses; see `vamo.training.backward`."""
LossMethod = Literal["uncertainty", "dwa", "gradnorm", "famo"]
"""Methods that weight the targets by their losses; see `vamo.training.backward`."""
SharingMethod = Literal["cds", "nearest", "response_check", "dvdf", "sharing_rule"]
"""Rules that choose what a target learns from before training; see `vamo.alignment.sharing`."""
GradientMethod = Literal["agem", "sdmgrad"]
"""Methods that look at the gradients of a step in ways of their own; see `vamo.training.backward`."""
Method = Literal["single", "uniform", "pooled", "vao", SharingMethod, GradientMethod, MultitaskMethod, LossMethod]
Backbone = Literal["mlp", "transformer", "ridge"]
Conditioning = Literal["film", "token", "prompt", "hyper", "concat"]
Head = Literal["action", "planner"]
ResponseLogs = Literal["own", "all"]
Scaling = Literal["none", "rms", "cosine"]
Precision = Literal["float32", "bfloat16"]
WeightingKind = Literal["softmax", "entropy", "top1", "integral", "dga"]
"""Weightings of this package; others are named as of `vamo.extensions`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig(Settings):
    """How logged trajectories become training examples.

    Attributes:
        reward_signal: What returns are made of: `expected` amounts of exposed impressions, or `sampled` ones: the
            same mean with far more noise.
        action_label: What the policy learns. `logged`: the logged action, given the return and the realised
            constraint ratios of the episode (the paper's, and every decision transformer's). `hindsight`: the
            multiplier that would have scored best from the tick on (`agents.labels.hindsight`), given only what is
            known at the tick; the policy is then not conditioned on a return.
        response: Which logs the response model behind hindsight-optimal actions is fitted to. `own`: each log's
            actions come from that log, so that what a harmful source says stays where alignment can see it. `all`: one
            model of all sources. It is a little less noisy where logs are tiny, and wrong for all where one is harmful.
        trimmed_response: Whether the response model leaves out the episodes whose cost contradicts that of most others
            of its logs, such as those that record other bids than were submitted (`agents.labels.response`).
        dagger_rounds: Times that the policy in training is played through the logged episodes, as the source's response
            has them, at evenly spaced steps of the training; the states that it visits, with their hindsight-optimal
            actions, join the examples (`vamo.examples.dagger`). 0: the policy learns in logged states only. None: once,
            where the policy learns hindsight-optimal actions in steps, from at most 144 pairs of target and source or
            with a `dagger_spread`.
        dagger_episodes: Episodes that a round plays of each pair of target and source, at most.
        dagger_spread: How far budgets and targets lie from the logged ones in half of the played episodes: by factors
            from 1 / x to x, drawn for each. 1: all are the logged ones.
    """

    reward_signal: RewardSignal = "expected"
    action_label: ActionLabel = "hindsight"
    response: ResponseLogs = "own"
    trimmed_response: bool = True
    dagger_rounds: int | None = None
    dagger_episodes: int = 64
    dagger_spread: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        require(self.given_rounds >= 0, "dagger_rounds", "not negative", self.dagger_rounds)
        require(self.dagger_episodes >= 1, "dagger_episodes", "at least 1", self.dagger_episodes)
        require(self.dagger_spread >= 1, "dagger_spread", "at least 1", self.dagger_spread)
        is_spread = self.dagger_spread > 1
        rule = "at least 1, or left open, for `dagger_spread`: rounds play the other budgets and targets"
        require(not is_spread or self.dagger_rounds != 0, "dagger_rounds", rule, self.dagger_rounds)
        if self.dagger_rounds or is_spread:
            asked = "dagger_spread" if is_spread else "dagger_rounds"
            labels = f"hindsight for `{asked}`: nobody logged an action in the states that a policy visits"
            require(self.action_label == "hindsight", "action_label", labels, self.action_label)

    @property
    def given_rounds(self) -> int:
        """`dagger_rounds`, 0 where they are left open: `vamo.train` settles them before it begins."""
        return self.dagger_rounds or 0


CONDITIONINGS: dict[Backbone, tuple[Conditioning, ...]] = {
    "mlp": ("film", "concat"),
    "transformer": get_args(Conditioning),
    "ridge": ("concat",),
}
"""The ways in which the requirements can reach the layers of each backbone."""
BACKBONE_SETTINGS: dict[Backbone, tuple[str, ...]] = {
    "mlp": ("width", "depth"),
    "transformer": ("d_model", "n_blocks", "n_heads", "context", "head", "horizon", "n_periods"),
    "ridge": ("penalty",),
}
"""The settings that one backbone alone has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig(Settings):
    """Backbone and its size.

    A setting of another backbone than the one that is chosen must keep its default.

    Attributes:
        backbone: `mlp` and `ridge` are memoryless: they decide by the inputs of the tick, in which the features
            carry the history. `mlp` is a perceptron of `depth` hidden layers. `ridge` is linear and fitted in closed
            form. `transformer` reads the last `context` ticks (the paper's).
        width, depth: Units of a hidden layer of the MLP, and their number.
        penalty: Of the ridge regression's squared coefficients, in units of the mean squared error of a target.
        d_model, n_blocks, n_heads: Of the transformer; about 130,000 parameters by default.
        context: Ticks of the transformer's training window, and the most that a decision looks at, the current one
            included; more than `n_ticks` for windows over several days.
        conditioning: How the requirements reach the layers. `concat` joins them to the other inputs of the MLP and the
            ridge regression, and to the embedding of every token of the transformer, beside their own token. `film`
            also modulates the hidden layers of the MLP, or the stream before each block of the transformer (the
            paper). Of the transformer only: `token` is their own token alone, `prompt` puts learned tokens in front of
            the window, `hyper` generates low-rank updates of the blocks' weights.
        head: `action` reads the action from the last layer, `planner` plans the next states and takes the action from
            an inverse-dynamics model; of the transformer.
        horizon: States that the planner head plans ahead.
        n_periods: Periods of the history that are fed in beside each state of the transformer; 0 leaves the module
            out.
    """

    backbone: Backbone = "mlp"
    width: int = 128
    depth: int = 2
    penalty: float = 1e-3
    d_model: int = 64
    n_blocks: int = 2
    n_heads: int = 4
    context: int = 4
    n_ticks: int = 48  # ticks of an episode, which is one day; training takes it from the data
    n_categories: int = 16  # advertiser categories; any other category shares one further embedding
    conditioning: Conditioning = "concat"
    head: Head = "action"
    horizon: int = 4
    n_periods: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        sizes = ("width", "depth", "d_model", "n_blocks", "n_heads", "context", "n_ticks", "n_categories", "horizon")
        for name in sizes:
            require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        require(self.penalty > 0, "penalty", "positive", self.penalty)
        require(self.d_model % self.n_heads == 0, "d_model", f"a multiple of {self.n_heads}", self.d_model)
        highest = self.context // 2
        require(0 <= self.n_periods <= highest, "n_periods", f"in [0, {highest}]", self.n_periods)
        self._check_backbone()

    def _check_backbone(self) -> None:
        """Raises ValueError for a setting that the backbone does not have."""
        allowed = CONDITIONINGS[self.backbone]
        rule = f"one of {allowed} for `backbone` {self.backbone!r}"
        require(self.conditioning in allowed, "conditioning", rule, self.conditioning)
        defaults = {entry.name: entry.default for entry in fields(self)}
        for backbone, names in BACKBONE_SETTINGS.items():
            for name in names if backbone != self.backbone else ():
                rule = f"{defaults[name]!r}, its default, for `backbone` {self.backbone!r} (it is of {backbone!r})"
                require(getattr(self, name) == defaults[name], name, rule, getattr(self, name))

    @property
    def window(self) -> int:
        """Ticks of a training window: 1 for the memoryless backbones."""
        return self.context if self.backbone == "transformer" else 1


MODEL_SIZES = {
    "default": ModelConfig(),
    "transformer": ModelConfig(backbone="transformer", conditioning="film"),
    "1M": ModelConfig(backbone="transformer", conditioning="film", d_model=128, n_blocks=4),
    "100M": ModelConfig(backbone="transformer", conditioning="film", d_model=768, n_blocks=12, n_heads=12),
}
"""Sizes of the cost benchmarks, by their approximate number of parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightingConfig(Settings):
    """How alignments are estimated and become the weights of the sources (arXiv 2510.07760).

    The paper itself: `kind=softmax`, `candidates=all`, `scaling=none`, `temperature=0.1`, and budgets that hold every
    pair. A refresh costs a forward and backward pass of `validation_batch_size + alignment_batch_size` windows,
    whatever the number of targets and sources.

    Attributes:
        kind: `integral`: multiplicative weights on the alignments of all refreshes so far; `dga`: those of arXiv
            2410.02498 (`vamo.alignment.accumulation` has both); `softmax` at `temperature` (the paper); `entropy`: the
            softmax whose temperature gives the weights of every target the entropy `target_entropy`; `top1`: all
            weight on the best source. Any other name is a weighting of yours, see `vamo.extensions`.
        options: Of a weighting of yours: its arguments by name.
        candidates: Which sources may have weight: those that pass the `response_check` of a target (see
            `SharingConfig`), which sees what a log costs in total, where alignments see what it teaches; or `all`, as
            in the paper.
        eta: Of `integral` and `dga`: step of the logits at a refresh.
        decay: Of `integral`: what is kept of the logits at a refresh: 1 sums all alignments, less forgets, for markets
            that drift, and 0 is the softmax of temperature 1 / eta. Of `dga`: what is kept of the weights.
        floor: Of `integral` and `dga`: share of the weight that is spread evenly over the sources.
        temperature: lambda of the softmax over sources.
        target_entropy: Of `entropy`, as a share of the uniform weights' entropy.
        shrinkage: Whether alignments are first shrunk toward their target's mean by their standard errors.
        per_sample: Whether every training sample gets a weight of its own, from its own alignment, among all
            samples of its target. Needs `refresh_every=1`: the alignments are those of the step's batch.
        per_episode: Whether the episodes within a source have factors of their own (`vamo.alignment.episode_weights`),
            so that a source of which a part is bad loses that part. They follow `eta` and `decay`, and alignments of
            single samples: the more samples a refresh has, the sooner they tell.
        estimator: `ghost` (fastest), `forward_mode` or `explicit` (the slow reference): the same numbers.
        gradient: Whose gradient sources are aligned with: that of the target's `validation` set, or of its
            own `training` set (the paper's ablation).
        scaling: `none` is the paper's raw inner product; `rms` divides the alignments of a target by their
            running root mean square over sources and refreshes, so that lambda means the same throughout a
            training run whatever the size of the gradients; `cosine` divides each by the two gradients'
            norms, which forward mode does not know.
        rms_decay: Decay of that running mean square, per refresh; 1 is the plain mean over all refreshes so far.
        precondition: Whether the validation gradient is multiplied by Adam's current preconditioner, as the
            update will be (arXiv 2602.00329).
        ema_decay: Decay of the running mean of every alignment over its refreshes; 0 keeps the last one only.
        refresh_every: Training steps between two refreshes of the weights.
        validation_batch_size: Validation windows of a refresh, shared by its targets.
        alignment_batch_size: Training windows of a refresh, shared by its pairs of target and source, at
            least two a pair; pairs that find no room wait for a later refresh.
        targets_per_refresh: Targets of a refresh; with more than that they take turns.
        pairs_per_step: Pairs of target and source in a training step: all of them while there are no more,
            otherwise a sample that keeps the gradient unbiased.
    """

    kind: str = "integral"
    options: Mapping[str, Any] = field(default_factory=dict)
    candidates: Literal["all", "response_check"] = "response_check"
    eta: float = 0.1
    decay: float = 1.0
    floor: float = 0.0
    temperature: float = 1.0
    target_entropy: float = 0.7
    shrinkage: bool = True
    per_sample: bool = False
    per_episode: bool = False
    estimator: Literal["ghost", "forward_mode", "explicit"] = "ghost"
    gradient: Literal["validation", "training"] = "validation"
    scaling: Scaling = "rms"
    rms_decay: float = 0.9
    precondition: bool = False
    ema_decay: float = 0.0
    refresh_every: int = 5
    validation_batch_size: int = 384
    alignment_batch_size: int = 1152
    targets_per_refresh: int = 12
    pairs_per_step: int = 64

    def __post_init__(self) -> None:
        check_fields(self)
        require(self.temperature > 0, "temperature", "positive", self.temperature)
        require(0 < self.target_entropy < 1, "target_entropy", "in (0, 1)", self.target_entropy)
        require(self.eta > 0, "eta", "positive", self.eta)
        for name in ("ema_decay", "floor"):
            require(0 <= getattr(self, name) < 1, name, "in [0, 1)", getattr(self, name))
        for name in ("rms_decay", "decay"):
            require(0 <= getattr(self, name) <= 1, name, "in [0, 1]", getattr(self, name))
        counts = ("refresh_every", "validation_batch_size", "targets_per_refresh", "pairs_per_step")
        for name in counts:
            require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        require(self.alignment_batch_size >= 2, "alignment_batch_size", "at least 2", self.alignment_batch_size)
        if self.scaling == "cosine":
            norms = "ghost or explicit for `scaling` cosine"
            require(self.estimator != "forward_mode", "estimator", norms, self.estimator)
        if self.per_sample:
            require(self.refresh_every == 1, "refresh_every", "1 for `per_sample` weights", self.refresh_every)
            require(self.ema_decay == 0, "ema_decay", "0 for `per_sample` weights", self.ema_decay)
            require(not self.shrinkage, "shrinkage", "false for `per_sample` weights", self.shrinkage)
            require(not self.per_episode, "per_episode", "false for `per_sample` weights", self.per_episode)
            softmaxes = "softmax, entropy, top1 or a weighting of your own for `per_sample` weights"
            require(not self.is_accumulated, "kind", softmaxes, self.kind)
            require(self.candidates == "all", "candidates", "all for `per_sample` weights", self.candidates)
        if self.kind in get_args(WeightingKind):
            require(not self.options, "options", f"empty for `kind` {self.kind!r}", dict(self.options))
        if self.kind == "dga":
            require(self.decay < 1, "decay", "below 1 for `dga`, whose weights would never move", self.decay)

    @property
    def is_accumulated(self) -> bool:
        """Whether the weights follow the alignments of all refreshes."""
        return self.kind in ("integral", "dga")


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingConfig(Settings):
    """The rules that choose data before training (`vamo.alignment.sharing`).

    Attributes:
        percentile: Of `cds`: of the scores of a target's own trajectories, which those of others must reach to be
            shared (arXiv 2109.08128 shares the top 10 %).
        n_nearest: Of `nearest`: sources that a target learns from beside its own.
        response_factor: Of `response_check`, as a method or for `weighting.candidates`: predicted over actual cost must
            lie in [1 / factor, factor].
        per_episode: Of `response_check`, as a method or for `weighting.candidates`: whether episodes are checked for
            themselves, instead of whole sources.
        dvdf_share: Of `dvdf`: the share of all trajectories of other sources that is kept.
        dvdf_dynamics: Of `dvdf`: the weight of the dynamics against that of the value.
        rule: Of `sharing_rule`: the name of a rule of yours (`vamo.alignment.sharing.own_sharing`), as of
            `vamo.extensions`.
        options: Of `sharing_rule`: the rule's arguments by name.
    """

    percentile: float = 90.0
    n_nearest: int = 1
    response_factor: float = 5.0
    per_episode: bool = False
    dvdf_share: float = 0.25
    dvdf_dynamics: float = 0.5
    rule: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
        require(0 <= self.percentile <= 100, "percentile", "in [0, 100]", self.percentile)
        require(self.n_nearest >= 1, "n_nearest", "at least 1", self.n_nearest)
        require(self.response_factor > 1, "response_factor", "above 1", self.response_factor)
        require(0 < self.dvdf_share <= 1, "dvdf_share", "in (0, 1]", self.dvdf_share)
        require(0 <= self.dvdf_dynamics <= 1, "dvdf_dynamics", "in [0, 1]", self.dvdf_dynamics)


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancingConfig(Settings):
    """The loss-based multi-task optimisers (`vamo.training.backward`); defaults are those of their papers.

    Attributes:
        uncertainty_rate: Learning rate of the log-variances, as a multiple of the model's (1: the paper's, in one
            optimiser with the model).
        dwa_temperature: T of the softmax over rates of descent.
        dwa_period: Steps whose mean loss stands for an epoch's.
        gradnorm_alpha: Strength of the pull toward slow targets; 0 makes gradient norms equal.
        gradnorm_rate, famo_rate: Learning rates of the weights' own Adam.
        famo_decay: gamma, of the logits of the weights.
        sdmgrad_lambda: Pull of SDMGrad toward the mean of the targets' gradients: 0 is MGDA.
        sdmgrad_rate, sdmgrad_steps: Its learning rate and number of steps for the weights, of gradients that are
            scaled to a mean length of 1 (the authors' code).
    """

    uncertainty_rate: float = 1.0
    dwa_temperature: float = 2.0
    dwa_period: int = 25
    gradnorm_alpha: float = 1.5
    gradnorm_rate: float = 0.025
    famo_rate: float = 0.025
    famo_decay: float = 0.001
    sdmgrad_lambda: float = 0.3
    sdmgrad_rate: float = 10.0
    sdmgrad_steps: int = 20

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("uncertainty_rate", "dwa_temperature", "gradnorm_rate", "famo_rate", "sdmgrad_rate"):
            require(getattr(self, name) > 0, name, "positive", getattr(self, name))
        for name in ("gradnorm_alpha", "famo_decay", "sdmgrad_lambda"):
            require(getattr(self, name) >= 0, name, "not negative", getattr(self, name))
        for name in ("dwa_period", "sdmgrad_steps"):
            require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig(Settings):
    """The training loop.

    Attributes:
        method: `single` gives every target its own data only (with one target the single-task baseline,
            with several one model without sharing), `uniform` shares with equal weight per source,
            `pooled` in proportion to the sources' trajectories, `vao` by validation-aligned weights.
            `cds`, `nearest`, `response_check`, `dvdf` and `sharing_rule`, a rule of yours, choose the data before
            training (`SharingConfig`). The others share uniformly: `agem` takes out of a source's gradient what points
            against the target's validation gradient; `uncertainty`, `dwa`, `gradnorm` and `famo` weight the targets by
            their losses (`BalancingConfig`); the rest, `sdmgrad` among them, combine the targets' gradients and need
            the extra `mtl`.
        batch_size: Windows per step over all (target, source) pairs together; a window is one tick for the memoryless
            backbones.
        select: `best` returns the parameters with the lowest mean validation loss over the targets, `last`
            those of the last step. `estimate` needs no market and chooses what the bidder is conditioned on too: of the
            `snapshots`, or else of the last parameters, under each condition, what has the highest score by the
            offline estimate on the validation trajectories (`vamo.conditions`).
        precision: Of the matrix products in steps and alignments: `bfloat16` is automatic mixed precision;
            parameters, optimiser and validation losses stay in single precision.
        compile: Whether the training step's loss is compiled by `torch.compile`. Alignments and validation
            losses are not: the former listen to single layers.
        ema_decay: Decay per step of the running mean of the parameters, which validation losses, the
            selection and the returned model are of; 0 leaves it out.
        snapshots: Number of stages of the second half of the steps, evenly spaced and ending with the last step, whose
            parameters are kept as bidders of their own (`TrainResult.snapshots`), to choose among on simulated
            validation episodes; a run that stops early has those that it reached.
        ensemble: Members, trained one after the other from seeds that follow from `seed`; the bidder decides by the
            mean of their log multipliers. `steps` are those of a member.
        patience: Records without a new lowest mean validation loss after which training stops; 0 never does.
        cross_fit: Number of folds, 0 for none. The targets also learn from their validation trajectories. Methods that
            use validation gradients (`vao`, `agem`) deal each target's own trajectories into folds: with each refresh
            of the weights the next fold gives the validation gradients, and no training window comes from it until the
            next refresh. Validation losses are then of data that were trained on: they choose nothing.
    """

    method: Method = "vao"
    steps: int = 750
    batch_size: int = 512
    learning_rate: float = 2e-3  # peak, after the warm-up
    final_learning_rate: float = 0.05  # share of the peak that the cosine ends at
    warmup_steps: int = 25
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    seed: int = 0
    log_every: int = 25  # steps between two records, each with validation losses
    evaluation_windows: int = 128  # fixed validation windows per target behind a validation loss
    select: Literal["best", "last", "estimate"] = "last"
    precision: Precision = "float32"
    compile: bool = False
    ema_decay: float = 0.0
    patience: int = 0
    snapshots: int = 0
    ensemble: int = 1
    cross_fit: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("steps", "batch_size", "log_every", "evaluation_windows", "ensemble"):
            require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("learning_rate", "clip_norm"):
            require(getattr(self, name) > 0, name, "positive", getattr(self, name))
        for name in ("weight_decay", "warmup_steps", "seed", "patience", "snapshots"):
            require(getattr(self, name) >= 0, name, "not negative", getattr(self, name))
        require(0 <= self.ema_decay < 1, "ema_decay", "in [0, 1)", self.ema_decay)
        require(self.cross_fit == 0 or self.cross_fit >= 2, "cross_fit", "0 or at least 2", self.cross_fit)
        if self.cross_fit:
            learned = "for `cross_fit`, which trains on the validation trajectories"
            require(self.select == "last", "select", f"last {learned}", self.select)
            require(self.patience == 0, "patience", f"0 {learned}", self.patience)
        if self.method in (*get_args(MultitaskMethod), *get_args(GradientMethod)):
            eager = f"false for method {self.method!r}, which takes gradients of one target after the other"
            require(not self.compile, "compile", eager, self.compile)
        if self.method == "gradnorm":
            require(not self.compile, "compile", "false for method 'gradnorm', which keeps the graph", self.compile)
        require(0 <= self.final_learning_rate <= 1, "final_learning_rate", "in [0, 1]", self.final_learning_rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig(Settings):
    """What the trained agent is conditioned on.

    Attributes:
        quantile: For `data.action_label` logged: the target return, as a quantile of the task's own training
            returns.
        budget_ratio: For `data.action_label` hindsight: the budget that the policy sees, as a share of the true
            one. Above 1 it plans to spend its money before the end of the episode.
        limit_ratio: Target of realised over limit, for each constraint but the budget. For logged actions it stands
            where the realised ratio stands in training, for hindsight the policy sees limits this much larger.
    """

    quantile: float = 0.95
    budget_ratio: float = 1.0
    limit_ratio: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        require(0 <= self.quantile <= 1, "quantile", "in [0, 1]", self.quantile)
        for name in ("budget_ratio", "limit_ratio"):
            require(getattr(self, name) > 0, name, "positive", getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Settings):
    """Everything that, with the data, determines a trained agent."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    weighting: WeightingConfig = field(default_factory=WeightingConfig)
    sharing: SharingConfig = field(default_factory=SharingConfig)
    balancing: BalancingConfig = field(default_factory=BalancingConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.train.method == "sharing_rule":
            require(bool(self.sharing.rule), "sharing.rule", "the name of a rule for `train.method` 'sharing_rule'", "")
        else:
            alone = f"empty for `train.method` {self.train.method!r}"
            require(not self.sharing.rule, "sharing.rule", alone, self.sharing.rule)
        most = self.train.steps - 1
        rounds = self.data.given_rounds
        require(rounds <= most, "dagger_rounds", f"fewer than `steps`, {most + 1}", rounds)
        rule = "at least 2 for `dagger_spread`, which a round within the training plays"
        require(self.data.dagger_spread == 1 or self.train.steps > 1, "train.steps", rule, self.train.steps)
        if self.model.backbone == "ridge":
            self._check_ridge()

    def _check_ridge(self) -> None:
        """Raises ValueError for what needs steps or gradients."""
        solved = ("single", "uniform", "pooled", *get_args(SharingMethod))
        rule = f"one of {solved} for `model.backbone` 'ridge', which is fitted in closed form without gradients"
        require(self.train.method in solved, "train.method", rule, self.train.method)
        rule = "1 for `model.backbone` 'ridge', whose members would be equal"
        require(self.train.ensemble == 1, "train.ensemble", rule, self.train.ensemble)
        rule = "0 for `model.backbone` 'ridge', which is fitted in one step"
        require(self.data.given_rounds == 0, "data.dagger_rounds", rule, self.data.dagger_rounds)
        rule = "1 for `model.backbone` 'ridge', which is fitted in one step"
        require(self.data.dagger_spread == 1, "data.dagger_spread", rule, self.data.dagger_spread)
