"""The training loop: one weighted loss over (target, source) pairs, weights refreshed from alignments.

The loop knows parameters, a loss function of them and a supplier of batches: no trajectories, no tasks. Entry
point for data sets: `vamo.training.train`.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vamo.alignment import Alignment, BatchT, Estimator, Explicit, ForwardMode, GroupLosses, Parameters
from vamo.config import Config, TrainConfig, WeightingConfig
from vamo.ghost import Ghost
from vamo.multitask import Multitask, is_multitask
from vamo.pairs import AlignmentTable, Pairs, RefreshPlan, sample_pairs
from vamo.weighting import Evidence, Scaler, Weighting, entropy, make_weighting

_PAIRS = 101  # stream of random numbers, apart from those of the batches


class Batches(Protocol[BatchT]):
    """Supplies batches; equal arguments give equal batches, which is what makes a run resumable."""

    def train(self, step: int, pairs: Pairs) -> BatchT:
        """One group a (target, source) pair, in the order of `pairs`; a pair may be named several times."""
        ...

    def alignment(self, step: int, pairs: Pairs, n: int) -> BatchT:
        """One group of n training samples a pair, from which its alignment is estimated."""
        ...

    def validation(self, step: int, targets: Sequence[int], n: int) -> BatchT:
        """One group of n samples a target, behind its validation gradient."""
        ...

    def groups(self, batch: BatchT, start: int, stop: int) -> BatchT:
        """The groups of a batch from `start` to before `stop`."""
        ...

    def evaluation(self, target: int) -> BatchT:
        """The fixed group behind a target's validation loss."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line of the history; lists are per target (K,) or per target and source (K, I)."""

    step: int  # steps done
    loss: list[float]  # sum_i w_ik L_ik of the step's batch
    validation_loss: list[float]  # after the step, over the fixed windows
    weights: list[list[float]]
    entropy: list[float]  # of the weights, nats
    alignment: list[list[float]] | None  # last known m_ik, before any scaling by rms; None where there are none
    alignment_error: list[list[float]] | None  # their standard errors; inf before the first, nan where unknown
    learning_rate: float
    grad_norm: float  # before clipping
    step_time: float  # seconds a step, mean since the last record, validation losses left out


class Trainer(Generic[BatchT]):
    """State and steps of a run; deterministic given its arguments and the number of threads.

    Args:
        model: Holds the parameters, updated in place.
        losses: Losses (G, b) of a batch's groups at given parameters.
        batches: Supplier of batches.
        pairs: The (target, source) pairs that can be trained, sorted; all of them, or those of `Identity`.
        sizes: Trajectories of each of the I sources.
        n_targets: K.
        config: `train` and `weighting` are used.

    Raises:
        ValueError: More pairs or targets than one step or refresh holds, for a method that needs all in each.
    """

    def __init__(
        self,
        model: nn.Module,
        losses: GroupLosses[BatchT],
        batches: Batches[BatchT],
        *,
        pairs: Sequence[tuple[int, int]],
        sizes: Sequence[int],
        n_targets: int,
        config: Config,
    ) -> None:
        train, weighting = config.train, config.weighting
        self.config = config
        self.parameters = dict(model.named_parameters())
        self.losses, self.batches = losses, batches
        self.pairs, self.n_targets, n_sources = list(pairs), n_targets, len(sizes)
        device = next(iter(self.parameters.values())).device
        self.weighting: Weighting = make_weighting(train, weighting)
        self.estimator = _make_estimator(weighting, losses, model, batches)
        self.plan = RefreshPlan.of(n_targets, n_sources, weighting)
        self.table = AlignmentTable(n_targets, n_sources, weighting.ema_decay, device)
        self.scaler = Scaler(weighting.scaling, weighting.rms_decay, n_targets, device)
        self._sizes = torch.tensor(sizes, dtype=torch.float32, device=device)
        self.weights = self.weighting(self._evidence())  # (K, I)
        self.multitask: Multitask[BatchT] | None = None
        if is_multitask(train.method):
            self.multitask = Multitask(
                train.method,  # type: ignore[arg-type]  # just found to be one
                losses,
                self.parameters,
                batches.groups,
                n_targets=n_targets,
                seed=train.seed,
            )
        self._check_sizes()
        self.optimizer = _make_optimizer(self.parameters, train)
        self.n_steps = 0
        self.history: list[Record] = []
        self.best_loss = math.inf
        self.best = self._copy_parameters()

    def _check_sizes(self) -> None:
        weighting, method = self.config.weighting, self.config.train.method
        if self.multitask is not None and weighting.pairs_per_step < self.n_targets:
            raise ValueError(
                f"`pairs_per_step` must be at least the number of targets, {self.n_targets}, for method "
                f"{method!r}, found {weighting.pairs_per_step}"
            )
        if self.is_per_sample and weighting.pairs_per_step < len(self.pairs):
            raise ValueError(
                f"`pairs_per_step` must be at least the number of pairs, {len(self.pairs)}, for `per_sample` "
                f"weights, found {weighting.pairs_per_step}"
            )

    @property
    def is_per_sample(self) -> bool:
        """Whether every sample has a weight of its own."""
        return self.config.weighting.per_sample and self.weighting.needs_alignments

    def run(self, callback: Callable[[Record], None] | None, save: Callable[[], None], save_every: int) -> None:
        """Steps until `config.train.steps` are done.

        Args:
            callback: Gets every new record of the history.
            save: Called every `save_every` steps and at the end, before the callback.
            save_every: Steps between two calls of `save`.
        """
        steps, log_every = self.config.train.steps, self.config.train.log_every
        since, start = self.n_steps, time.perf_counter()
        while self.n_steps < steps:
            losses, grad_norm = self.step()
            is_logged = self.n_steps % log_every == 0 or self.n_steps == steps
            if is_logged:
                seconds = (time.perf_counter() - start) / (self.n_steps - since)
                self.history.append(self._evaluate(losses, grad_norm, seconds))
            if self.n_steps % save_every == 0 or self.n_steps == steps:
                save()
            if is_logged:
                if callback is not None:
                    callback(self.history[-1])
                since, start = self.n_steps, time.perf_counter()

    def step(self) -> tuple[Tensor, Tensor]:
        """One update theta <- theta - eta * sum_k sum_i w_ik g_ik as one weighted loss, by AdamW.

        Returns:
            Losses of the targets, (K,), and the norm of the gradient before clipping.
        """
        train = self.config.train
        if self._is_refresh_due():
            self._refresh()
        pairs, pair_weights = self._draw_pairs()
        batch = self.batches.train(self.n_steps, pairs)
        targets = torch.tensor([k for k, _ in pairs], device=pair_weights.device)
        self.optimizer.zero_grad()
        if self.multitask is None:
            losses = self.losses(self.parameters, batch)  # (P, b)
            weights = self._sample_weights(batch) if self.is_per_sample else pair_weights[:, None] / losses.shape[1]
            losses = (weights * losses).sum(dim=1)  # (P,)
            losses.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        else:
            losses = pair_weights * self.multitask.backward(batch, pair_weights, targets, self.n_steps)
        self._check_finite(losses.detach(), pairs)
        grad_norm = nn.utils.clip_grad_norm_(self.parameters.values(), train.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.n_steps, train)
        self.optimizer.step()
        self.n_steps += 1
        return torch.zeros_like(self.weights[:, 0]).index_add_(0, targets, losses.detach()), grad_norm

    def _is_refresh_due(self) -> bool:
        is_wanted = self.weighting.needs_alignments and not self.is_per_sample
        return is_wanted and self.n_steps % self.config.weighting.refresh_every == 0

    def _draw_pairs(self) -> tuple[Pairs, Tensor]:
        """The step's pairs and the factors (P,) of their losses: all pairs, or an unbiased sample."""
        n = self.config.weighting.pairs_per_step
        if len(self.pairs) <= n:
            k, i = torch.tensor(self.pairs, device=self.weights.device).T
            return self.pairs, self.weights[k, i]
        rng = np.random.default_rng([self.config.train.seed, _PAIRS, self.n_steps])
        pairs, factor = sample_pairs(self.weights.double().cpu().numpy(), n, rng)
        return pairs, torch.full((len(pairs),), factor, device=self.weights.device)

    def _refresh(self) -> None:
        """New weights from the alignments of the pairs whose turn it is with their validation gradients."""
        plan = self.plan
        pairs = plan.pairs(self.n_steps // self.config.weighting.refresh_every)
        training = self.batches.alignment(self.n_steps, pairs, plan.n_samples)
        targets = [k for k, _ in pairs[:: plan.n_aligned]]
        new = self._estimate(training, self.batches.validation(self.n_steps, targets, plan.n_validation))
        self.table.update(pairs, new)
        self.scaler.update(new.mean, torch.tensor(targets, device=self.weights.device))
        self.weights = self.weighting(self._evidence())

    def _sample_weights(self, batch: BatchT) -> Tensor:
        """Weights (P, b) of the samples of a batch of all pairs; a target's sum to 1.

        The table and `weights` follow: a source's weight is the sum of its samples' weights.
        """
        every = range(self.n_targets)
        n = max(self.plan.n_validation * self.plan.n_refreshed // self.n_targets, 1)
        new = self._estimate(batch, self.batches.validation(self.n_steps, every, n))  # (K, I, b)
        self.table.update(self.pairs, new)
        self.scaler.update(new.per_sample.flatten(1), torch.arange(self.n_targets, device=self.weights.device))
        alignment = new.per_sample.flatten(1) / self.scaler.scale()[:, None]  # (K, I * b)
        sizes = self._sizes.repeat_interleave(new.per_sample.shape[2])
        weights = self.weighting(Evidence(alignment, torch.full_like(alignment, torch.nan), sizes))
        self.weights = weights.view_as(new.per_sample).sum(dim=2)
        return weights.view(len(self.pairs), -1)

    def _estimate(self, training: BatchT, validation: BatchT) -> Alignment:
        weighting = self.config.weighting
        new = self.estimator(
            training,
            validation,
            preconditioner=self._preconditioner() if weighting.precondition else None,
            norms=weighting.scaling == "cosine",
        ).normalised()
        if not new.per_sample.isfinite().all():
            raise FloatingPointError(f"`alignment` must be finite, found {new.mean.tolist()} at step {self.n_steps}")
        return new

    def _preconditioner(self) -> Parameters | None:
        """Adam's, 1 / (sqrt(v) + eps) for each parameter entry; None before its first step."""
        if not self.optimizer.state:
            return None
        beta, eps = self.optimizer.defaults["betas"][1], self.optimizer.defaults["eps"]
        out = {}
        for name, parameter in self.parameters.items():
            state = self.optimizer.state[parameter]
            second_moment = state["exp_avg_sq"] / (1 - beta ** state["step"])
            out[name] = 1 / (second_moment.sqrt() + eps)
        return out

    def _evidence(self) -> Evidence:
        scale = self.scaler.scale()[:, None]
        return Evidence(self.table.mean() / scale, self.table.standard_error() / scale, self._sizes)

    def _check_finite(self, losses: Tensor, pairs: Pairs) -> None:
        if not losses.isfinite().all():
            pair = int((~losses.isfinite()).nonzero()[0])
            target, source = pairs[pair]
            raise FloatingPointError(
                f"`loss` must be finite, found {float(losses[pair])} at step {self.n_steps} for target "
                f"{target} and source {source}"
            )

    @torch.no_grad()
    def _evaluate(self, losses: Tensor, grad_norm: Tensor, step_time: float) -> Record:
        """The record of the step just done; keeps the parameters if they are the best so far."""
        batches = (self.batches.evaluation(k) for k in range(self.n_targets))
        validation = [float(self.losses(self.parameters, batch).mean()) for batch in batches]
        mean = sum(validation) / len(validation)
        if mean < self.best_loss:
            self.best_loss, self.best = mean, self._copy_parameters()
        has_alignments = self.weighting.needs_alignments
        return Record(
            step=self.n_steps,
            loss=losses.tolist(),
            validation_loss=validation,
            weights=self.weights.tolist(),
            entropy=entropy(self.weights).tolist(),
            alignment=self.table.mean().tolist() if has_alignments else None,
            alignment_error=self.table.standard_error().tolist() if has_alignments else None,
            learning_rate=learning_rate(self.n_steps - 1, self.config.train),
            grad_norm=float(grad_norm),
            step_time=step_time,
        )

    @torch.no_grad()
    def finish(self) -> None:
        """Puts the parameters that `config.train.select` asks for into the model."""
        if self.config.train.select == "best":
            for name, parameter in self.parameters.items():
                parameter.copy_(self.best[name])

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON values from which `restore` continues to the same numbers."""
        tensors = {f"parameters/{name}": p.detach() for name, p in self.parameters.items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer/{key}/{name}"] = value
        tensors |= {"weights": self.weights} | self._running_state()
        record = {
            "n_steps": self.n_steps,
            "best_loss": self.best_loss if math.isfinite(self.best_loss) else None,
            "history": [dataclasses.asdict(line) for line in self.history],
        }
        return tensors, record

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Continues from a `state` of a trainer with equal arguments.

        Raises:
            ValueError: The method keeps state of its own, which `state` does not hold.
        """
        if self.multitask is not None and self.multitask.is_stateful:
            raise ValueError(
                f"`method` must not be {self.config.train.method!r} to go on from a checkpoint: torchjd keeps "
                f"its state to itself"
            )
        for name, parameter in self.parameters.items():
            parameter.copy_(tensors[f"parameters/{name}"])
            prefixes = {key: f"optimizer/{key}/{name}" for key in ("step", "exp_avg", "exp_avg_sq")}
            self.optimizer.state[parameter] = {
                key: tensors[path].to(parameter.device) for key, path in prefixes.items()
            }
            self.best[name].copy_(tensors[f"best/{name}"])
        for name, tensor in self._running_state().items():
            tensor.copy_(tensors[name])
        self.weights = tensors["weights"].to(self.weights.device)
        self.n_steps = record["n_steps"]
        self.best_loss = math.inf if record["best_loss"] is None else record["best_loss"]
        self.history = [Record(**line) for line in record["history"]]

    def _running_state(self) -> dict[str, Tensor]:
        """The tensors of alignments and their scale, updated in place, by name."""
        table = {"sum": self.table.sum, "square_error": self.table.square_error, "n_updates": self.table.n_updates}
        scale = {"mean_square": self.scaler.mean_square, "n_updates": self.scaler.n_updates}
        state = {f"alignment/{name}": tensor for name, tensor in table.items()}
        return state | {f"scale/{name}": tensor for name, tensor in scale.items()}

    def _copy_parameters(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.parameters.items()}


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up to the peak, then a cosine down to `final_learning_rate` of it."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / (config.warmup_steps + 1)
    progress = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
    cosine = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
    return config.learning_rate * (config.final_learning_rate + (1 - config.final_learning_rate) * cosine)


def _make_estimator(
    weighting: WeightingConfig, losses: GroupLosses[BatchT], model: nn.Module, batches: Batches[BatchT]
) -> Estimator[BatchT]:
    if weighting.estimator == "ghost":
        return Ghost(losses, model, batches.groups)
    kind = Explicit if weighting.estimator == "explicit" else ForwardMode
    return kind(losses, model, batches.groups)


def _make_optimizer(parameters: dict[str, nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    groups = [
        {"params": [p for p in parameters.values() if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.learning_rate, fused=True)
