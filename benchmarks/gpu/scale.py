"""Does what sharing brings change with the size of model, market and logs? `python -m benchmarks.gpu.scale --out DIR`.

The open question of the findings. Transformers of about 130,000, 1 M and 10 M parameters are trained by uniform
sharing, by softmax and by integral VAO, and by the oracle that knows which logs are sound. The families have twelve
tasks, four harmful logs and 7,168 trajectories, in markets of 50,000 and 500,000 impressions. These are 24 runs of one
training seed, sized for half an hour on one GPU with 16 cores; logs and episodes are the processors' work. It has not
run on a GPU yet.

The results are a suite's: `vamo bench table DIR`, `vamo bench report DIR`. Killed and started again, it goes on.
`--tiny` runs everything at sizes that mean nothing, on a CPU if there is no GPU: that is how it is tested.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.families import HARM_V1, protocol
from benchmarks.suites.running.suite import run_suite
from benchmarks.suites.spec import Arm, Contrast, FamilyData, Seeds, Size, Suite, Variant

IMPRESSIONS: dict[Size, tuple[int, ...]] = {"full": (50_000, 500_000), "testing": (480,)}
MODELS: dict[Size, dict[str, tuple[int, int, int]]] = {
    "full": {"130k": (64, 2, 4), "1m": (128, 4, 4), "10m": (320, 7, 8)},
    "testing": {"tiny": (8, 1, 1)},
}
"""By name: width, blocks and heads of the transformer."""
METHODS = (arms.UNIFORM, arms.VAO, arms.INTEGRAL, arms.ORACLE)
TRAINING: dict[Size, tuple[str, ...]] = {
    "full": ("train.steps=1000", "train.batch_size=2048", "train.precision=bfloat16", "weighting.eta=0.1"),
    "testing": protocol("testing")["training"],
}


def make(size: Size) -> Suite:
    """The suite: "full" for a GPU, "testing" for a CPU."""
    models = MODELS[size]
    return Suite(
        id="gpu-scale/v1",
        size=size,
        title="Scale",
        question="Does what sharing brings change with the size of the model and of the market?",
        variants=tuple(_variant(size, n) for n in IMPRESSIONS[size]),
        arms=tuple(_arm(method, name) for name in models for method in METHODS),
        validation=Seeds(first=5_000_000, n=16 if size == "full" else 2),
        test=Seeds(first=6_000_000, n=48 if size == "full" else 3),
        train_seeds=(11,),
        training=TRAINING[size],
        n_candidates=6 if size == "full" else 1,
        ours=tuple(f"integral-{name}" for name in models),
        contrasts=tuple(
            Contrast(
                name=f"integral-against-{other.name}-{name}", first=f"integral-{name}", second=f"{other.name}-{name}"
            )
            for name in models
            for other in METHODS
            if other is not arms.INTEGRAL
        ),
    )


def _variant(size: Size, n_impressions: int) -> Variant:
    """A family in markets of a size; a third of its logs harm under conditions."""
    amounts = {"most": 2_000, "fewest": 60} if size == "full" else {"most": 24, "fewest": 8}
    n_validation = 64 if size == "full" else 6
    data = FamilyData(
        n_tasks=12 if size == "full" else 4, seed=3, shift=0.5, n_groups=6 if size == "full" else 2,
        n_impressions=n_impressions, n_collected=n_validation, n_validation=n_validation,
        n_scored=2 if size == "full" else 1, harms=HARM_V1, **amounts,
    )  # fmt: skip
    return Variant(name=f"n={n_impressions}", label=f"{n_impressions:,} impressions", data=data, x=float(n_impressions))


def _arm(method: Arm, model: str) -> Arm:
    """A way of sharing with a transformer of a size."""
    width, n_blocks, n_heads = next(sizes[model] for sizes in MODELS.values() if model in sizes)
    settings = (
        "model.backbone=transformer",
        "model.conditioning=film",
        f"model.d_model={width}",
        f"model.n_blocks={n_blocks}",
        f"model.n_heads={n_heads}",
    )
    label = f"{method.label}, {model}"
    return replace(method, name=f"{method.name}-{model}", label=label, settings=(*settings, *method.settings))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the suite; returns 1 where there is no device or a run failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="gets the results; may hold some of them"
    )
    parser.add_argument("--tiny", action="store_true", help="sizes that mean nothing, on a CPU if need be")
    parser.add_argument(
        "--workers", type=int, default=4, metavar="N", help="runs that share the GPU; default: %(default)s"
    )
    options = parser.parse_args(arguments)
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not options.tiny:
        print("no CUDA device that torch can use: nothing to measure")
        return 1
    suite = make("testing" if options.tiny else "full")
    outcome = run_suite(suite, options.out, n_workers=options.workers, device=device)
    print(f"{outcome.n_runs} runs, failed: {outcome.failed}; vamo bench table {options.out}")
    return int(bool(outcome.failed))


if __name__ == "__main__":
    raise SystemExit(main())
