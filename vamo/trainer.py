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

import torch
from torch import Tensor, nn

from vamo.alignment import BatchT, GroupLosses, forward_mode, gradient
from vamo.config import Config, TrainConfig
from vamo.weighting import Scaler, Weighting, entropy, make_weighting


class Batches(Protocol[BatchT]):
    """Supplies batches; equal arguments give equal batches, which is what makes a run resumable."""

    def train(self, step: int) -> BatchT:
        """One group a (target, source) pair, in the order of the trainer's pairs."""
        ...

    def groups(self, batch: BatchT, start: int, stop: int) -> BatchT:
        """The groups of a batch from `start` to before `stop`."""
        ...

    def validation(self, step: int, target: int) -> BatchT:
        """One group of a target's validation samples."""
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
    alignment: list[list[float]] | None  # m_ik of the last refresh, raw; None where the method has none
    alignment_error: list[list[float]] | None  # their standard errors
    learning_rate: float
    grad_norm: float  # before clipping
    step_time: float  # seconds a step, mean since the last record, validation losses left out


class Trainer(Generic[BatchT]):
    """State and steps of a run; deterministic given its arguments and the number of threads.

    Args:
        model: Holds the parameters, updated in place.
        losses: Losses (G, b) of a batch's groups at given parameters.
        batches: Supplier of batches.
        pairs: The (target, source) pairs of a training batch, sorted; all of them, or those of `Identity`.
        sizes: Trajectories of each of the I sources.
        n_targets: K.
        config: `train` and `weighting` are used.
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
        self.config = config
        self.parameters = dict(model.named_parameters())
        self.losses, self.batches = losses, batches
        self.n_targets = n_targets
        device = next(iter(self.parameters.values())).device
        self._target_of, self._source_of = torch.tensor(pairs, device=device).T
        self._sizes = torch.tensor(sizes, dtype=torch.float32, device=device)
        self.weighting: Weighting = make_weighting(config.train, config.weighting)
        self.scaler = Scaler(config.weighting.scaling, config.weighting.rms_decay, n_targets, device)
        self.alignment = torch.zeros(n_targets, len(sizes), device=device)
        self.alignment_error = torch.zeros_like(self.alignment)
        self.weights = self.weighting(self.alignment, self._sizes)  # (K, I)
        self.optimizer = _make_optimizer(self.parameters, config.train)
        self.n_steps = 0
        self.history: list[Record] = []
        self.best_loss = math.inf
        self.best = self._copy_parameters()

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
            Losses of the pairs, (P,), and the norm of the gradient before clipping.
        """
        train, weighting = self.config.train, self.config.weighting
        batch = self.batches.train(self.n_steps)
        if self.weighting.needs_alignments and self.n_steps % weighting.refresh_every == 0:
            self._refresh(batch)
        losses = self.losses(self.parameters, batch).mean(dim=1)  # (P, b) -> (P,)
        loss = (self.weights[self._target_of, self._source_of] * losses).sum()
        self._check_finite(losses.detach())
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        grad_norm = nn.utils.clip_grad_norm_(self.parameters.values(), train.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.n_steps, train)
        self.optimizer.step()
        self.n_steps += 1
        return losses.detach(), grad_norm

    def _refresh(self, batch: BatchT) -> None:
        """New weights from the alignment of every source with every target's validation gradient."""
        n_sources = len(self._sizes)
        for k in range(self.n_targets):
            direction = gradient(self.losses, self.parameters, self.batches.validation(self.n_steps, k))
            groups = self.batches.groups(batch, k * n_sources, (k + 1) * n_sources)
            alignment = forward_mode(self.losses, self.parameters, groups, direction)
            self.alignment[k], self.alignment_error[k] = alignment.mean, alignment.standard_error
        if not self.alignment.isfinite().all():
            raise FloatingPointError(
                f"`alignment` must be finite, found {self.alignment.tolist()} at step {self.n_steps}"
            )
        self.weights = self.weighting(self.scaler(self.alignment), self._sizes)

    def _check_finite(self, losses: Tensor) -> None:
        if not losses.isfinite().all():
            pair = int((~losses.isfinite()).nonzero()[0])
            raise FloatingPointError(
                f"`loss` must be finite, found {float(losses[pair])} at step {self.n_steps} for target "
                f"{int(self._target_of[pair])} and source {int(self._source_of[pair])}"
            )

    @torch.no_grad()
    def _evaluate(self, losses: Tensor, grad_norm: Tensor, step_time: float) -> Record:
        """The record of the step just done; keeps the parameters if they are the best so far."""
        weighted = self.weights[self._target_of, self._source_of] * losses
        per_target = torch.zeros(self.n_targets, device=losses.device)
        per_target.index_add_(0, self._target_of, weighted)
        batches = (self.batches.evaluation(k) for k in range(self.n_targets))
        validation = [float(self.losses(self.parameters, batch).mean()) for batch in batches]
        mean = sum(validation) / len(validation)
        if mean < self.best_loss:
            self.best_loss, self.best = mean, self._copy_parameters()
        has_alignments = self.weighting.needs_alignments
        return Record(
            step=self.n_steps,
            loss=per_target.tolist(),
            validation_loss=validation,
            weights=self.weights.tolist(),
            entropy=entropy(self.weights).tolist(),
            alignment=self.alignment.tolist() if has_alignments else None,
            alignment_error=self.alignment_error.tolist() if has_alignments else None,
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
        tensors |= {"weights": self.weights, "alignment": self.alignment}
        tensors |= {"alignment_error": self.alignment_error, "mean_square": self.scaler.mean_square}
        record = {
            "n_steps": self.n_steps,
            "n_updates": self.scaler.n_updates,
            "best_loss": self.best_loss if math.isfinite(self.best_loss) else None,
            "history": [dataclasses.asdict(line) for line in self.history],
        }
        return tensors, record

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Continues from a `state` of a trainer with equal arguments."""
        for name, parameter in self.parameters.items():
            parameter.copy_(tensors[f"parameters/{name}"])
            prefixes = {key: f"optimizer/{key}/{name}" for key in ("step", "exp_avg", "exp_avg_sq")}
            self.optimizer.state[parameter] = {
                key: tensors[path].to(parameter.device) for key, path in prefixes.items()
            }
            self.best[name].copy_(tensors[f"best/{name}"])
        device = self.weights.device
        self.weights, self.alignment = tensors["weights"].to(device), tensors["alignment"].to(device)
        self.alignment_error = tensors["alignment_error"].to(device)
        self.scaler.mean_square = tensors["mean_square"].to(device)
        self.scaler.n_updates = record["n_updates"]
        self.n_steps = record["n_steps"]
        self.best_loss = math.inf if record["best_loss"] is None else record["best_loss"]
        self.history = [Record(**line) for line in record["history"]]

    def _copy_parameters(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.parameters.items()}


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up to the peak, then a cosine down to `final_learning_rate` of it."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / (config.warmup_steps + 1)
    progress = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
    cosine = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
    return config.learning_rate * (config.final_learning_rate + (1 - config.final_learning_rate) * cosine)


def _make_optimizer(parameters: dict[str, nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    groups = [
        {"params": [p for p in parameters.values() if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.learning_rate, fused=True)
