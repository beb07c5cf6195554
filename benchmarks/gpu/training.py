"""Training speed on a GPU in one go: `python -m benchmarks.gpu.training --out FILE`. It has not run on a GPU yet.

For the default model and one of about 100 million parameters, in bfloat16: the VAO step against the uniform step for
K = 4 and K = 64, trajectories per second, the memory beyond the uniform step, and the share of the device's matrix
throughput (model flops utilisation), beside what a plain transformer of the same width, depth and number of tokens
reaches in a training step of the same run. The peak is measured too, with a large matrix product.

`--tiny` runs everything at sizes that mean nothing, on a CPU if there is no GPU: that is how it is tested.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from auction_env.files import write_atomically
from benchmarks.speed.measure import Row, median_seconds
from benchmarks.speed.training import expected_ratio, flops_of, make_trainer, peak_flops, ratio, step_seconds
from vamo.examples.batch import Batch
from vamo.model.transformer import N_TOKENS
from vamo.training.loop import Trainer

TARGETS = (4, 64)


class Size(NamedTuple):
    """A model and its batch."""

    label: str
    d_model: int
    n_blocks: int
    n_heads: int
    n_windows: int

    @property
    def assignments(self) -> tuple[str, ...]:
        """The settings; a refresh may look at as many windows as in the default settings, for this batch."""
        return (
            "model.backbone=transformer",
            "model.conditioning=film",
            f"model.d_model={self.d_model}",
            f"model.n_blocks={self.n_blocks}",
            f"model.n_heads={self.n_heads}",
            f"train.batch_size={self.n_windows}",
            "train.precision=bfloat16",
            f"weighting.validation_batch_size={self.n_windows // 2}",
            f"weighting.alignment_batch_size={self.n_windows // 2}",
        )


SIZES = (Size("default", 64, 2, 4, 8192), Size("100M", 768, 12, 12, 512))
TINY = (Size("tiny", 16, 1, 2, 64),)


class PlainTransformer(nn.Module):
    """Causal transformer from the library's layers on ready embeddings, with one output a token."""

    def __init__(self, size: Size, length: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            size.d_model, size.n_heads, 4 * size.d_model, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, size.n_blocks, enable_nested_tensor=False)
        self.head = nn.Linear(size.d_model, 1)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.layers(x, mask=self.get_buffer("mask"), is_causal=True))[..., 0]
        return out


def rows(sizes: Sequence[Size], device: torch.device, n_rounds: int) -> Iterator[Row]:
    """All figures."""
    peak = peak_flops(device, torch.bfloat16, 8192 if device.type == "cuda" else 256, n_rounds)
    yield Row(
        name="matmul_peak",
        value=peak / 1e12,
        unit="TFLOP/s",
        reference=f"bfloat16 matrix product on {_name(device)}",
        bound="the data sheet",
    )
    for size in sizes:
        yield from _size_rows(size, device, peak, n_rounds)


def _size_rows(size: Size, device: torch.device, peak: float, n_rounds: int) -> Iterator[Row]:
    trainers = {
        f"{method} {k}": make_trainer(k, *size.assignments, f"train.method={method}", device=device)
        for k in TARGETS
        for method in ("uniform", "vao")
    }
    seconds = step_seconds(trainers, n_rounds)
    for k in TARGETS:
        yield Row(
            name=f"{size.label}_vao_vs_uniform_step_k{k}",
            value=ratio(seconds, f"vao {k}", f"uniform {k}"),
            unit="x",
            reference=f"uniform step on the same batch: {1e3 * statistics.median(seconds[f'uniform {k}']):.2f} ms",
            bound=f"{expected_ratio(trainers[f'vao {k}']):.2f} by forward passes",
        )
    vao = trainers["vao 4"]
    model = vao.config.model
    tokens = N_TOKENS * model.context
    n_parameters = sum(p.numel() for p in vao.parameters.values())
    yield Row(
        name=f"{size.label}_trajectories_per_s",
        value=size.n_windows * model.context / model.n_ticks / statistics.median(seconds["vao 4"]),
        unit="trajectories/s",
        reference=f"{n_parameters:,} parameters, batches of {size.n_windows} windows, K = 4",
        bound="the flops below",
    )
    plain = _plain_step(size, tokens, device)
    plain_seconds = median_seconds(plain, n_rounds)
    plain_utilisation = flops_of(plain) / plain_seconds / peak
    uniform = trainers["uniform 4"]
    utilisation = flops_of(uniform.step) / statistics.median(seconds["uniform 4"]) / peak
    yield Row(
        name=f"{size.label}_utilisation_vs_plain",
        value=utilisation / plain_utilisation,
        unit="x",
        reference=f"plain transformer of that size: {100 * plain_utilisation:.1f} % of the peak; uniform step: "
        f"{100 * utilisation:.1f} %",
        bound="1",
    )
    if device.type == "cuda":
        yield _memory_row(size, trainers)


def _memory_row(size: Size, trainers: dict[str, Trainer[Batch]]) -> Row:
    grown = {}
    for method in ("uniform", "vao"):
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        for _ in range(trainers[f"{method} 64"].config.weighting.refresh_every):
            trainers[f"{method} 64"].step()
        grown[method] = torch.cuda.max_memory_allocated() - before
    return Row(
        name=f"{size.label}_vao_vs_uniform_memory",
        value=grown["vao"] / grown["uniform"],
        unit="x",
        reference=f"growth of the allocated memory in uniform steps, K = 64: {grown['uniform'] / 2**20:.0f} MB",
        bound="1: a refresh holds less than a step",
    )


def _plain_step(size: Size, tokens: int, device: torch.device) -> Callable[[], None]:
    """A training step of the plain transformer on as many tokens as the policy's."""
    model = PlainTransformer(size, tokens).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    x = torch.randn(size.n_windows, tokens, size.d_model, device=device)
    y = torch.randn(size.n_windows, tokens, device=device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            prediction = model(x)
        optimizer.zero_grad()
        (prediction.float() - y).square().mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()  # waits for a GPU, as the trainer's step does
        optimizer.step()

    return step


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints and writes; returns 1 where there is no device."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the rows as JSON")
    parser.add_argument("--tiny", action="store_true", help="sizes that mean nothing, on a CPU if need be")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args(arguments)
    if not options.tiny and not torch.cuda.is_available():
        print("no CUDA device that torch can use: nothing to measure")
        return 1
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = []
    for row in rows(TINY if options.tiny else SIZES, device, options.rounds):
        print(f"{row.name}: {row.value:.4g} {row.unit} ({row.reference}; bound {row.bound})")
        found.append(asdict(row))
    if options.out is not None:
        write_atomically(options.out, (json.dumps(found, indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
