"""Training rows of `vamo bench speed`: what validation-aligned weights cost beside naive sharing and torchjd.

Batches are random windows that lie ready in memory, the same for every method, so that drawing them dilutes no
ratio. A round is a refresh period (one step for torchjd's optimisers) of every method, step by step in turn, so that
other load on the machine hits them alike; a ratio is the median over rounds of the ratio within the round. The model
has about a million parameters, and the weighting its default settings.

What to expect, in forward passes over the batch: a step of naive sharing takes 3 (one forward, two backward),
and so does a step of VAO; its refresh takes another 3 over validation and alignment windows, every
`refresh_every` steps. torchjd's optimisers need a gradient per target: 1 forward and 2 K backward passes as it is
documented, 3 where each target's part of the batch is taken alone.

With `quick` only the default models are timed.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from auction_env.control.observation import N_FEATURES
from benchmarks.speed.measure import Measurement, Row, median_seconds
from benchmarks.suites.running.provenance import peak_memory_mb
from vamo.alignment.estimators import GroupLosses
from vamo.alignment.pairs import Pairs
from vamo.config import Config, MultitaskMethod, override
from vamo.examples.batch import Batch, groups
from vamo.examples.inputs import ADVERTISER_INPUTS, REQUIREMENT_INPUTS
from vamo.model.losses import losses
from vamo.model.making import make_policy
from vamo.training.backward.combined_gradients import (
    is_multitask,
    make_aggregator,
    without_solver_warnings,
)
from vamo.training.loop import Trainer

MILLION = (  # 968,833 parameters
    "train.batch_size=256",
    "model.backbone=transformer",
    "model.conditioning=film",
    "model.d_model=128",
    "model.n_blocks=4",
)
DEFAULTS: dict[str, tuple[str, ...]] = {
    "mlp": (),
    "transformer": ("model.backbone=transformer", "model.conditioning=film"),
}
"""Settings of the default model, and of the transformer of the same size."""
_MULTITASK: tuple[MultitaskMethod, ...] = ("pcgrad", "cagrad", "nash_mtl")


class SyntheticBatches:
    """Random windows on a device; every batch is a slice of them.

    Args:
        config: Sizes.
        device: Where they live.
    """

    def __init__(self, config: Config, device: torch.device | str = "cpu") -> None:
        self._config = config
        weighting = config.weighting
        n = max(config.train.batch_size, weighting.validation_batch_size, weighting.alignment_batch_size)
        context = config.model.window
        generator = torch.Generator().manual_seed(0)
        normal = partial(torch.randn, generator=generator)
        self._columns = [
            column.to(device)
            for column in (
                normal(n, context, len(REQUIREMENT_INPUTS)),
                normal(n, context, N_FEATURES),
                normal(n, len(ADVERTISER_INPUTS)),
                torch.zeros(n, dtype=torch.int64),
                torch.arange(context).expand(n, context).contiguous(),
                normal(n, context),
                torch.ones(n, context),
                torch.zeros(n, dtype=torch.int64),
            )
        ]

    def _first(self, n: int, n_groups: int) -> Batch:
        return Batch._make([*(column[:n] for column in self._columns), n_groups])

    def train(self, step: int, pairs: Pairs) -> Batch:
        """As many windows as fit the batch, in equal parts."""
        return self._first(self._config.train.batch_size // len(pairs) * len(pairs), len(pairs))

    def alignment(self, step: int, pairs: Pairs, n: int) -> Batch:
        """n windows a pair."""
        return self._first(n * len(pairs), len(pairs))

    def validation(self, step: int, targets: Sequence[int], n: int) -> Batch:
        """n windows a target."""
        return self._first(n * len(targets), len(targets))

    groups = staticmethod(groups)
    episode_counts: Sequence[int] = ()  # no configuration of the benchmark weights episodes

    def episodes(self, batch: Batch) -> Tensor:
        """All windows are of one episode."""
        return batch.episode.view(batch.n_groups, -1)

    def evaluation(self, target: int) -> Batch:
        """One window: steps are timed, not evaluations."""
        return self._first(1, 1)


class Autojac:
    """Gradients of the targets as torchjd documents it: `autojac.backward` on the losses of one forward pass.

    A backward strategy in the place of `CombinedGradients`; the numbers are the same.
    """

    own_parameters: Sequence[nn.Parameter] = ()
    rate_factor = 1.0

    def __init__(self, trainer: Trainer[Batch], method: MultitaskMethod) -> None:
        self._trainer = trainer
        self._aggregator = make_aggregator(method, trainer.n_targets)

    def __call__(self, batch: Batch, weights: Tensor, targets: Tensor, step: int) -> Tensor:
        """See `vamo.training.backward.strategy.Backward`."""
        from torchjd import autojac

        trainer = self._trainer
        terms = weights * trainer.losses(trainer.parameters, batch).mean(dim=1)
        totals = terms.new_zeros(trainer.n_targets).index_add(0, targets, terms)
        # one after the other: in parallel, its default, was slower on a CPU and takes K times the memory
        autojac.backward(totals, parallel_chunk_size=1)
        with without_solver_warnings():
            autojac.jac_to_grad(trainer.parameters.values(), self._aggregator)
        for parameter in trainer.parameters.values():
            assert parameter.grad is not None
            parameter.grad *= trainer.n_targets
        return terms.detach()

    def after_step(self, batch: Batch, weights: Tensor, targets: Tensor) -> None:
        """Nothing is learned."""

    def state(self) -> dict[str, Tensor]:
        """Runs that are timed are not saved."""
        return {}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Nor resumed."""


def make_trainer(
    n_targets: int,
    *assignments: str,
    device: torch.device | str = "cpu",
    wrap: Callable[[GroupLosses[Batch]], GroupLosses[Batch]] | None = None,
) -> Trainer[Batch]:
    """A trainer of K targets and K sources on synthetic batches.

    Args:
        n_targets: K.
        assignments: Settings that differ from the default ones.
        device: Where it runs.
        wrap: Changes the loss function, for instance to run it in mixed precision.
    """
    config = override(Config(), assignments)
    model = make_policy(config.model, seed=config.train.seed).to(device)
    loss_of: GroupLosses[Batch] = partial(losses, model)
    return Trainer(
        model,
        loss_of if wrap is None else wrap(loss_of),
        SyntheticBatches(config, device),
        pairs=[(k, i) for k in range(n_targets) for i in range(n_targets)],
        sizes=[100] * n_targets,
        n_targets=n_targets,
        config=config,
    )


def step_seconds(trainers: Mapping[str, Trainer[Batch]], n_rounds: int) -> dict[str, list[float]]:
    """Seconds a step of each trainer, averaged over a refresh period, in every round; see the module's description."""
    periods = {
        name: 1 if is_multitask(trainer.config.train.method) else trainer.config.weighting.refresh_every
        for name, trainer in trainers.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for number in range(n_rounds + 1):  # the first one is not counted
        row = dict.fromkeys(trainers, 0.0)
        for step in range(max(periods.values())):
            for name, trainer in trainers.items():
                if step < periods[name]:
                    row[name] += _step_seconds(trainer) / periods[name]
        if number:
            for name, value in row.items():
                seconds[name].append(value)
    return seconds


def ratio(seconds: Mapping[str, Sequence[float]], a: str, b: str) -> float:
    """Median over the rounds of a's seconds over b's."""
    return statistics.median(x / y for x, y in zip(seconds[a], seconds[b], strict=True))


def _step_seconds(trainer: Trainer[Batch]) -> float:
    start = time.perf_counter()
    _, grad_norm = trainer.step()
    grad_norm.item()  # waits for a GPU
    return time.perf_counter() - start


def expected_ratio(trainer: Trainer[Batch]) -> float:
    """Forward passes of a VAO step over those of a uniform one, averaged over the refresh period."""
    plan, config = trainer.sources.plan, trainer.config
    windows = plan.n_refreshed * (plan.n_validation + plan.n_aligned * plan.n_samples)
    return 1 + windows / config.train.batch_size / config.weighting.refresh_every


def default_rows(quick: bool) -> Iterator[Row]:
    """A step of the default models against their flops at half the machine's speed, and VAO's share in it."""
    peak = peak_flops(torch.device("cpu"), torch.float32, 1024, 9)
    for name, settings in DEFAULTS.items():
        trainers = {method: make_trainer(4, *settings, f"train.method={method}") for method in ("uniform", "vao")}
        seconds = step_seconds(trainers, 1 if quick else 7)
        uniform = trainers["uniform"]
        flops = flops_of(uniform.step)
        n = sum(p.numel() for p in uniform.parameters.values())
        yield Row(
            name=f"{name}_step_ms",
            value=1e3 * statistics.median(seconds["uniform"]),
            unit="ms",
            reference=f"{n:,} parameters, {uniform.config.train.batch_size} windows of {uniform.config.model.window} "
            f"ticks, K = 4, uniform sharing, {torch.get_num_threads()} threads",
            bound=f"{2e3 * flops / peak:.2f} ms: {flops / 1e6:,.0f} MFLOP at half of {peak / 1e9:,.0f} GFLOP/s, the "
            "speed of a large matrix product",
            bound_value=2e3 * flops / peak,
        )
        expected = expected_ratio(trainers["vao"])
        yield Row(
            name=f"{name}_vao_vs_uniform",
            value=ratio(seconds, "vao", "uniform"),
            unit="x",
            reference="a step with integral weights, refreshes included, over the uniform step",
            bound=f"{expected:.2f}: {3 * expected:.2f} forward passes against 3",
            bound_value=expected,
        )


def peak_flops(device: torch.device, dtype: torch.dtype, n: int, n_rounds: int) -> float:
    """Operations a second of a product of two n x n matrices."""
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return 2 * n**3 / median_seconds(lambda: (a @ b).sum().item(), n_rounds)


def flops_of(step: Callable[[], object]) -> float:
    """Operations of the matrix products of a step."""
    counter = FlopCounterMode(display=False)
    with counter:
        step()
    return float(counter.get_total_flops())


def sharing_rows(quick: bool) -> Iterator[Row]:
    """VAO against uniform sharing for several numbers of targets."""
    sizes = (4, 64)
    trainers = {
        f"{method} {k}": make_trainer(k, *MILLION, f"train.method={method}")
        for k in sizes
        for method in ("uniform", "vao")
    }
    seconds = step_seconds(trainers, 7)
    n = sum(p.numel() for p in trainers["vao 4"].parameters.values())
    config = trainers["vao 4"].config
    yield Row(
        name="uniform_step_ms",
        value=1e3 * statistics.median(seconds["uniform 4"]),
        unit="ms",
        reference=f"{n:,} parameters, {config.train.batch_size} windows of {config.model.window} ticks, K = 4",
        bound="3 forward passes",
    )
    for k in sizes:
        expected = expected_ratio(trainers[f"vao {k}"])
        yield Row(
            name=f"vao_vs_uniform_step_k{k}",
            value=ratio(seconds, f"vao {k}", f"uniform {k}"),
            unit="x",
            reference=f"uniform step on the same batch: {1e3 * statistics.median(seconds[f'uniform {k}']):.0f} ms",
            bound=f"{expected:.2f}: {3 * expected:.2f} forward passes against 3",
            bound_value=expected,
        )
    yield Row(
        name="vao_step_k64_vs_k4",
        value=ratio(seconds, "vao 64", "vao 4"),
        unit="x",
        reference=f"VAO step with K = 4 on the same batch: {1e3 * statistics.median(seconds['vao 4']):.0f} ms",
        bound="1: equal batches, equal refresh budgets",
        bound_value=1.0,
    )


def multitask_rows(quick: bool) -> Iterator[Row]:
    """torchjd's optimisers against VAO at K = 16, as it documents them and in their fast form."""
    k = 16
    vao = make_trainer(k, *MILLION)
    trainers = {"vao": vao}
    forms = ("autojac", "split")
    for method in _MULTITASK:
        for form in forms:
            trainers[f"{method} {form}"] = trainer = make_trainer(k, *MILLION, f"train.method={method}")
            if form == "autojac":
                trainer.backward = Autojac(trainer, method)
    seconds = step_seconds(trainers, 3)
    expected = 3 * expected_ratio(vao)
    for method in _MULTITASK:
        for form in forms:
            passes = 1 + 2 * k if form == "autojac" else 3
            suffix = "" if form == "autojac" else "_split"
            how = "torchjd's own backward pass" if form == "autojac" else "each target's part of the batch alone"
            yield Row(
                name=f"{method}{suffix}_vs_vao_step_k{k}",
                value=ratio(seconds, f"{method} {form}", "vao"),
                unit="x",
                reference=f"VAO step on the same batch: {1e3 * statistics.median(seconds['vao']):.0f} ms; {how}",
                bound=f"{passes / expected:.2f}: {passes} forward passes against {expected:.2f}, and the solver",
                bound_value=passes / expected,
            )


def memory_rows(quick: bool) -> Iterator[Row]:
    """Growth of the process's peak memory over the steps, each method in a process of its own."""
    if not Path("/proc/self/status").exists():  # not Linux
        return
    uniform, vao = (_peak_megabytes(method) for method in ("uniform", "vao"))
    yield Row(
        name="vao_vs_uniform_memory",
        value=vao / uniform,
        unit="x",
        reference=f"growth of the peak resident memory over uniform steps: {uniform:.0f} MB; VAO: {vao:.0f} MB, K = 64",
        bound="1: a refresh holds no more than a step",
        bound_value=1.0,
    )


def _peak_megabytes(method: str) -> float:
    arguments = ", ".join(repr(text) for text in (f"train.method={method}", *MILLION))
    code = f"from benchmarks.speed.training import measure_memory; measure_memory({arguments})"
    # large tensors in mappings of their own: what is resident is what is alive, without the heap's holes
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**16)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    found = re.search(r"grew by ([\d.]+) MB", result.stdout)
    assert found is not None, result.stdout
    return float(found[1])


def measure_memory(*assignments: str) -> None:
    """Prints by how much the peak resident memory of this process grows in 6 steps at K = 64."""
    trainer = make_trainer(64, *assignments)
    before = peak_memory_mb()
    for _ in range(6):
        trainer.step()
    print(f"grew by {peak_memory_mb() - before:.1f} MB")


MEASUREMENTS = (
    Measurement(what="default models", rows=default_rows),
    Measurement(what="sharing", rows=sharing_rows, is_quick=False),
    Measurement(what="torchjd", rows=multitask_rows, is_quick=False),
    Measurement(what="memory", rows=memory_rows, is_quick=False),
)
