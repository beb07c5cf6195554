"""The training loop: one weighted loss over (target, source) pairs, weights refreshed from alignments.

The loop knows parameters, a loss function of them and a supplier of batches: no trajectories, no tasks. Entry
point for data sets: `vamo.training.train.train`.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vamo.alignment.estimators import Alignment, BatchT, Estimator, Explicit, ForwardMode, GroupLosses, Parameters
from vamo.alignment.ghost import Ghost
from vamo.alignment.pairs import AlignmentTable, Pairs, RefreshPlan, sample_pairs
from vamo.alignment.weighting import Evidence, Scaler, Weighting, entropy, make_weighting
from vamo.config import Config, WeightingConfig
from vamo.training.distributed import Processes, SharedOut
from vamo.training.history import Record, is_stalled
from vamo.training.loss_balancing import Balancer, is_loss_based, last_shared, make_balancer
from vamo.training.monitor import Monitor
from vamo.training.multitask import Multitask, is_multitask
from vamo.training.optimisation import Average, learning_rate, make_optimizer
from vamo.training.precision import compiled, in_precision

logger = logging.getLogger(__name__)

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
        processes: Those that train together, each with a trainer of equal arguments.
        monitor: What looks for signs of trouble in the records.
        given_weights: (K, I), of the methods that choose data before training (`vamo.alignment.sharing`).

    Raises:
        ValueError: More pairs or targets than one step or refresh holds, for a method that needs all in each; more
            processes than pairs in a step, or a method that trains in one process only.
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
        processes: Processes | None = None,
        monitor: Monitor | None = None,
        given_weights: Tensor | None = None,
    ) -> None:
        train, weighting = config.train, config.weighting
        self.config, self.monitor = config, monitor
        self.processes = Processes() if processes is None else processes
        self.parameters = dict(model.named_parameters())
        self.batches = batches
        self.pairs, self.n_targets, n_sources = list(pairs), n_targets, len(sizes)
        device = next(iter(self.parameters.values())).device
        self.losses = losses  # in single precision: of the validation losses, as the bidder decides
        mixed = in_precision(losses, train.precision, device)
        self._step_losses = compiled(mixed) if train.compile else mixed
        self.weighting: Weighting = make_weighting(train, weighting, given_weights)
        self.estimator = _make_estimator(weighting, mixed, model, batches)
        if self.processes.size > 1:
            self.estimator = SharedOut(self.estimator, batches.groups, self.processes)
        self.plan = RefreshPlan.of(n_targets, n_sources, weighting)
        self.table = AlignmentTable(n_targets, n_sources, weighting.ema_decay, device)
        self.scaler = Scaler(weighting.scaling, weighting.rms_decay, n_targets, device)
        self._index = torch.tensor(self.pairs, device=device).T.contiguous()  # (2, P) targets and sources
        self._sizes = torch.tensor(sizes, dtype=torch.float32, device=device)
        self.weights = self.weighting(self._evidence())  # (K, I)
        self.multitask: Multitask[BatchT] | None = None
        if is_multitask(train.method):
            self.multitask = Multitask(
                train.method,  # type: ignore[arg-type]  # just found to be one
                mixed,
                self.parameters,
                batches.groups,
                n_targets=n_targets,
                seed=train.seed,
            )
        self.balancer: Balancer | None = None
        if is_loss_based(train.method):
            self.balancer = make_balancer(train.method, config.balancing, n_targets, device)  # type: ignore[arg-type]  # just found to be one
        self._check_sizes()
        self.optimizer = make_optimizer(self.parameters, train)
        if self.balancer is not None and self.balancer.parameters:
            factor = config.balancing.uncertainty_rate
            own = {"params": self.balancer.parameters, "weight_decay": 0.0, "rate_factor": factor}
            self.optimizer.add_param_group(own)
        self.average = Average(self.parameters, train.ema_decay) if train.ema_decay else None
        self.n_steps = 0
        self.history: list[Record] = []
        self.best_loss = math.inf
        self.best = self._copy_parameters()
        self.snapshots: dict[int, dict[str, Tensor]] = {}  # by the number of steps done
        self.grad_norm_max = torch.zeros((), device=device)  # since the last record

    def _check_sizes(self) -> None:
        weighting, method = self.config.weighting, self.config.train.method
        needs_targets = self.multitask is not None or self.balancer is not None
        if needs_targets and weighting.pairs_per_step < self.n_targets:
            raise ValueError(
                f"`pairs_per_step` must be at least the number of targets, {self.n_targets}, for method "
                f"{method!r}, found {weighting.pairs_per_step}"
            )
        if self.is_per_sample and weighting.pairs_per_step < len(self.pairs):
            raise ValueError(
                f"`pairs_per_step` must be at least the number of pairs, {len(self.pairs)}, for `per_sample` "
                f"weights, found {weighting.pairs_per_step}"
            )
        if self.processes.size > self.n_step_pairs:
            raise ValueError(
                f"the number of processes must be at most that of the pairs in a step, {self.n_step_pairs}, which "
                f"they share out, found {self.processes.size}"
            )
        if needs_targets and self.processes.size > 1:
            raise ValueError(f"method {method!r} must train in one process, found {self.processes.size}")

    @property
    def n_step_pairs(self) -> int:
        """Pairs in a step, P: all, or as many as the sample takes, the same number for each of its targets."""
        n = self.config.weighting.pairs_per_step
        n_targets = min(self.n_targets, n)
        return len(self.pairs) if len(self.pairs) <= n else n // n_targets * n_targets

    @property
    def is_done(self) -> bool:
        """Whether all steps are done, or training has stopped early."""
        train = self.config.train
        return self.n_steps >= train.steps or is_stalled(self.history, train.patience)

    @property
    def is_per_sample(self) -> bool:
        """Whether every sample has a weight of its own."""
        return self.config.weighting.per_sample and self.weighting.needs_alignments

    def run(self, callback: Callable[[Record], None] | None, save: Callable[[], None], save_every: int) -> None:
        """Steps until all are done or the validation loss has stopped falling (`config.train.patience`).

        Args:
            callback: Gets every new record of the history.
            save: Called every `save_every` steps and at the end, before the callback.
            save_every: Steps between two calls of `save`.
        """
        steps, log_every = self.config.train.steps, self.config.train.log_every
        since, start = self.n_steps, time.perf_counter()
        while not self.is_done:
            losses, grad_norm = self.step()
            if self.n_steps in snapshot_steps(steps, self.config.train.snapshots):
                self.snapshots[self.n_steps] = self._copy_parameters()
            is_logged = self.n_steps % log_every == 0 or self.n_steps == steps
            if is_logged:
                seconds = (time.perf_counter() - start) / (self.n_steps - since)
                self._log(self._evaluate(losses, grad_norm, seconds))
            if self.n_steps % save_every == 0 or self.is_done:
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
        self.optimizer.zero_grad()
        losses = self._backward(batch, pairs, pair_weights)  # (P,)
        self._check_finite(losses, pairs)
        grad_norm = nn.utils.clip_grad_norm_(self.parameters.values(), train.clip_norm)
        torch.maximum(self.grad_norm_max, grad_norm, out=self.grad_norm_max)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.n_steps, train) * group.get("rate_factor", 1.0)
        self.optimizer.step()
        if self.balancer is not None:
            with torch.no_grad():
                self.balancer.after_step(lambda: self._target_losses(batch, pairs, pair_weights)[1])
        self.n_steps += 1
        if self.average is not None:
            self.average.update(self.n_steps)
        return torch.zeros_like(self.weights[:, 0]).index_add_(0, self._targets_of(pairs), losses), grad_norm

    def _backward(self, batch: BatchT, pairs: Pairs, pair_weights: Tensor) -> Tensor:
        """Writes the gradients of the weighted loss over all processes; its terms, (P,)."""
        if self.multitask is not None:
            targets = self._targets_of(pairs)
            return pair_weights * self.multitask.backward(batch, pair_weights, targets, self.n_steps)
        if self.balancer is not None:
            terms, losses = self._target_losses(batch, pairs, pair_weights)
            self.balancer.scalar(losses, last_shared(self.parameters)).backward()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
            self._fill_gradients()
            return terms.detach()
        sample_weights = self._sample_weights(batch) if self.is_per_sample else None  # (P, b)
        part = self.processes.share(len(pairs))
        if self.processes.size > 1:
            batch = self.batches.groups(batch, part.start, part.stop)
        own = self._step_losses(self.parameters, batch)  # (P of this process, b)
        weights = pair_weights[part, None] / own.shape[1] if sample_weights is None else sample_weights[part]
        own = (weights * own).sum(dim=1)
        own.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        losses = torch.zeros_like(pair_weights)
        losses[part] = own.detach()
        self._fill_gradients()
        self.processes.sum([losses, *(p.grad for p in self.parameters.values() if p.grad is not None)])
        return losses

    def _target_losses(self, batch: BatchT, pairs: Pairs, pair_weights: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted losses (P,) of the pairs, and their sums (K,) over each target."""
        terms = pair_weights * self._step_losses(self.parameters, batch).mean(dim=1)
        return terms, torch.zeros_like(self.weights[:, 0]).index_add(0, self._targets_of(pairs), terms)

    def _fill_gradients(self) -> None:
        for parameter in self.parameters.values():
            if parameter.grad is None:  # the loss does not depend on it
                parameter.grad = torch.zeros_like(parameter)

    def _targets_of(self, pairs: Pairs) -> Tensor:
        """Targets (P,) of the pairs."""
        if pairs is self.pairs:
            return self._index[0]
        return torch.tensor([k for k, _ in pairs], device=self.weights.device)

    def _is_refresh_due(self) -> bool:
        is_wanted = self.weighting.needs_alignments and not self.is_per_sample
        return is_wanted and self.n_steps % self.config.weighting.refresh_every == 0

    def _draw_pairs(self) -> tuple[Pairs, Tensor]:
        """The step's pairs and the factors (P,) of their losses: all pairs, or an unbiased sample."""
        n = self.config.weighting.pairs_per_step
        if len(self.pairs) <= n:
            return self.pairs, self.weights[self._index[0], self._index[1]]
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
        validation = torch.zeros(self.n_targets, device=self.weights.device)
        for k in range(self.n_targets)[self.processes.share(self.n_targets)]:
            validation[k] = self.losses(self.trained(), self.batches.evaluation(k)).mean()
        self.processes.sum([validation])
        has_alignments = self.weighting.needs_alignments
        record = Record(
            step=self.n_steps,
            loss=losses.tolist(),
            validation_loss=validation.tolist(),
            weights=self.weights.tolist(),
            entropy=entropy(self.weights).tolist(),
            alignment=self.table.mean().tolist() if has_alignments else None,
            alignment_error=self.table.standard_error().tolist() if has_alignments else None,
            learning_rate=learning_rate(self.n_steps - 1, self.config.train),
            grad_norm=float(grad_norm),
            grad_norm_max=float(self.grad_norm_max),
            step_time=step_time,
            warnings=[],
        )
        self.grad_norm_max.zero_()
        if record.mean_validation_loss < self.best_loss:
            self.best_loss, self.best = record.mean_validation_loss, self._copy_parameters()
        return record

    def _log(self, record: Record) -> None:
        """Adds a record to the history, with the warnings that it justifies."""
        found = [] if self.monitor is None else self.monitor.observe(record)
        for text in found:
            if self.processes.is_first:
                logger.warning("%s", text)
        self.history.append(dataclasses.replace(record, warnings=found))

    @torch.no_grad()
    def finish(self) -> None:
        """Puts the parameters that `config.train.select` asks for into the model: averaged ones where there are."""
        chosen = self.best if self.config.train.select == "best" else self.trained()
        for name, parameter in self.parameters.items():
            parameter.copy_(chosen[name])

    def trained(self) -> Parameters:
        """What is validated and returned: the averaged parameters, or the present ones where there is no average."""
        return self.parameters if self.average is None else self.average.mean

    def _copy_parameters(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.trained().items()}


def snapshot_steps(n_steps: int, n: int) -> list[int]:
    """The numbers of steps done after which parameters are kept: n in the second half, the last step among them."""
    return [n_steps - (n_steps // 2) * k // max(n, 1) for k in range(n)]


def _make_estimator(
    weighting: WeightingConfig, losses: GroupLosses[BatchT], model: nn.Module, batches: Batches[BatchT]
) -> Estimator[BatchT]:
    if weighting.estimator == "ghost":
        return Ghost(losses, model, batches.groups)
    kind = Explicit if weighting.estimator == "explicit" else ForwardMode
    return kind(losses, model, batches.groups)
