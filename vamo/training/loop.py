"""The training loop: one update a step, by the gradients that a backward strategy writes.

The loop knows parameters, a loss function of them and a supplier of batches: no trajectories, no tasks. Entry
point for data sets: `vamo.training.train.train`.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeAlias

import torch
from torch import Tensor, nn

from vamo.alignment.estimators import BatchT, Estimator, Explicit, ForwardMode, GroupLosses, Parameters
from vamo.alignment.ghost import Ghost
from vamo.alignment.pairs import Pairs
from vamo.alignment.weighting import Weighting, entropy
from vamo.config import Config, WeightingConfig
from vamo.examples.dagger import round_steps
from vamo.training.backward.strategy import Backward, make_backward
from vamo.training.batches import Batches
from vamo.training.distributed import Processes, SharedOut
from vamo.training.history import Record, is_stalled
from vamo.training.monitor import Monitor
from vamo.training.optimisation import Average, learning_rate, make_optimizer, preconditioner, set_learning_rate
from vamo.training.precision import compiled, in_precision
from vamo.training.source_weights import SourceWeights

logger = logging.getLogger(__name__)

Solver: TypeAlias = Callable[[Tensor], Tensor]
"""Gets the weights (K, I), writes the parameters that are best for them and returns the losses of the targets, (K,)."""


class Trainer(Generic[BatchT]):
    """State and steps of a run; deterministic given its arguments and the number of threads.

    Args:
        model: Holds the parameters, updated in place.
        losses: Losses (G, b) of a batch's groups at given parameters.
        batches: Supplier of batches.
        pairs: The (target, source) pairs that can be trained, sorted; all of them, or those of `Identity`.
        sizes: Trajectories of each of the I sources.
        n_targets: K.
        config: `train`, `weighting` and `balancing` are used.
        backward: Writes the gradients of a step; by default the strategy of `config.train.method`.
        processes: Those that train together, each with a trainer of equal arguments.
        monitor: What looks for signs of trouble in the records.
        given_weights: (K, I), of the methods that choose data before training (`vamo.alignment.sharing`).
        weighting: A user's weighting, in place of the one that `config.weighting.kind` names.
        candidates: (K, I) bool: the sources that the weights of method `vao` choose among; None for all.
        solver: Of a model whose parameters have a closed form: writes them in one step, instead of the gradients'
            steps.

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
        backward: Backward[BatchT] | None = None,
        processes: Processes | None = None,
        monitor: Monitor | None = None,
        given_weights: Tensor | None = None,
        weighting: Weighting | None = None,
        candidates: Tensor | None = None,
        solver: Solver | None = None,
    ) -> None:
        train = config.train
        self.config, self.monitor, self.solver = config, monitor, solver
        self.processes = Processes() if processes is None else processes
        self.parameters = dict(model.named_parameters())
        self.losses = losses  # in single precision: of the validation losses, as the bidder decides
        self.batches, self.n_targets = batches, n_targets
        device = next(iter(self.parameters.values())).device
        mixed = in_precision(losses, train.precision, device)
        if backward is None:
            backward = make_backward(
                config,
                compiled(mixed) if train.compile else mixed,
                self.parameters,
                batches,
                n_targets=n_targets,
                processes=self.processes,
            )
        self.backward: Backward[BatchT] = backward
        self.optimizer = make_optimizer(self.parameters, train, backward.own_parameters, backward.rate_factor)
        self.sources = SourceWeights(
            _make_estimator(config.weighting, mixed, model, batches, self.processes),
            batches,
            partial(preconditioner, self.optimizer, self.parameters),
            pairs=list(pairs),
            sizes=sizes,
            n_targets=n_targets,
            config=config,
            given=given_weights,
            own=weighting,
            candidates=candidates,
            device=device,
        )
        if self.processes.size > self.sources.n_step_pairs:
            raise ValueError(
                f"the number of processes must be at most that of the pairs in a step, {self.sources.n_step_pairs}, "
                f"which they share out, found {self.processes.size}"
            )
        self.average = Average(self.parameters, train.ema_decay) if train.ema_decay else None
        self.n_steps = 0
        self.history: list[Record] = []
        self.best_loss = math.inf
        self.best = self._copy_parameters()
        self.snapshots: dict[int, dict[str, Tensor]] = {}  # by the number of steps done
        self.grad_norm_max = torch.zeros((), device=device)  # since the last record

    @property
    def is_done(self) -> bool:
        """Whether all steps are done, or training has stopped early."""
        return self.n_steps >= self.total_steps or is_stalled(self.history, self.config.train.patience)

    @property
    def total_steps(self) -> int:
        """Steps of a training that does not stop early."""
        return self.config.train.steps if self.solver is None else 1

    def run(self, callback: Callable[[Record], None] | None, save: Callable[[], None], save_every: int) -> None:
        """Steps until all are done or the validation loss has stopped falling (`config.train.patience`).

        Args:
            callback: Gets every new record of the history.
            save: Called every `save_every` steps and at the end, before the callback.
            save_every: Steps between two calls of `save`.
        """
        steps, log_every = self.config.train.steps, self.config.train.log_every
        since, start = self.n_steps, time.perf_counter()
        if self.solver is not None and not self.is_done:
            self._solve(self.solver)
            if callback is not None:
                callback(self.history[-1])
        while not self.is_done:
            losses, grad_norm = self.step()
            if self.n_steps in kept_steps(self.config):
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

    def _solve(self, solver: Solver) -> None:
        """The one step of a training in closed form."""
        start = time.perf_counter()
        losses = solver(self.sources.weights)
        self.n_steps = 1
        record = self._evaluate(losses, torch.zeros(()), time.perf_counter() - start)
        self._log(dataclasses.replace(record, learning_rate=0.0))

    def step(self) -> tuple[Tensor, Tensor]:
        """One update by AdamW; of the weighted loss: theta <- theta - eta * sum_k sum_i w_ik g_ik.

        Returns:
            Losses of the targets, (K,), and the norm of the gradient before clipping.

        Raises:
            FloatingPointError: A loss or an alignment that is not finite.
        """
        step, train = self.n_steps, self.config.train
        self.sources.refresh(step)
        drawn = self.sources.draw(step)
        batch = self.batches.train(step, drawn.pairs)
        weights = self.sources.weigh(batch, drawn, step)
        self.optimizer.zero_grad()
        terms = self.backward(batch, weights, drawn.targets, step)
        _check_finite(terms, drawn.pairs, step)
        grad_norm = nn.utils.clip_grad_norm_(self.parameters.values(), train.clip_norm)
        torch.maximum(self.grad_norm_max, grad_norm, out=self.grad_norm_max)
        set_learning_rate(self.optimizer, step, train)
        self.optimizer.step()
        self.backward.after_step(batch, weights, drawn.targets)
        self.n_steps += 1
        if self.average is not None:
            self.average.update(self.n_steps)
        return terms.new_zeros(self.n_targets).index_add_(0, drawn.targets, terms), grad_norm

    @torch.no_grad()
    def _evaluate(self, losses: Tensor, grad_norm: Tensor, step_time: float) -> Record:
        """The record of the step just done; keeps the parameters if they are the best so far."""
        sources = self.sources
        validation = torch.zeros(self.n_targets, device=sources.weights.device)
        for k in range(self.n_targets)[self.processes.share(self.n_targets)]:
            validation[k] = self.losses(self.trained(), self.batches.evaluation(k)).mean()
        self.processes.sum([validation])
        record = Record(
            step=self.n_steps,
            loss=losses.tolist(),
            validation_loss=validation.tolist(),
            weights=sources.weights.tolist(),
            entropy=entropy(sources.weights).tolist(),
            alignment=sources.table.mean().tolist() if sources.needs_alignments else None,
            alignment_error=sources.table.standard_error().tolist() if sources.needs_alignments else None,
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


def kept_steps(config: Config) -> list[int]:
    """The numbers of steps done after which parameters are kept: for snapshots, and for the rounds of DAgger."""
    steps = config.train.steps
    return snapshot_steps(steps, config.train.snapshots) + round_steps(steps, config.data.given_rounds)


def _check_finite(terms: Tensor, pairs: Pairs, step: int) -> None:
    if not terms.isfinite().all():
        pair = int((~terms.isfinite()).nonzero()[0])
        target, source = pairs[pair]
        raise FloatingPointError(
            f"`loss` must be finite, found {float(terms[pair])} at step {step} for target {target} and source {source}"
        )


def _make_estimator(
    weighting: WeightingConfig,
    losses: GroupLosses[BatchT],
    model: nn.Module,
    batches: Batches[BatchT],
    processes: Processes,
) -> Estimator[BatchT]:
    kinds: dict[str, Callable[..., Estimator[BatchT]]] = {
        "ghost": Ghost,
        "forward_mode": ForwardMode,
        "explicit": Explicit,
    }
    estimator = kinds[weighting.estimator](losses, model, batches.groups)
    return estimator if processes.size == 1 else SharedOut(estimator, batches.groups, processes)
