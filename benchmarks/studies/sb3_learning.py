"""Do the Stable-Baselines3 agents learn? Trains each with several seeds and compares with the best fixed multiplier.

    python -m benchmarks.studies.sb3_learning --out runs/sb3_learning [--algos ppo sac] [--plot
    docs/images/sb3_learning.png] python -m benchmarks.studies.sb3_learning --out runs/sb3_target_cpa --task TargetCPA
    --algos ppo

The multiplier is tuned on the episodes on which the policies are validated; all are compared on test episodes that
neither saw. Rows are written after each training, and what is there is not trained again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents import Bidder, FixedBidder, HindsightBidder
from agents.learning.learner import MarketExperience
from agents.sb3.settings import ALGORITHMS
from agents.sb3.training import VALIDATION_SEED, Sb3Learner, TrainingJob
from auction_env import TASKS, MarketParams
from auction_env.files import write_atomically
from benchmarks.console import console, progress_bar

TEST_SEED, N_TEST = 2_000_000, 192
STEPS = {"ppo": 36_864, "recurrent_ppo": 36_864, "sac": 24_576, "td3": 24_576, "tqc": 24_576}
SEEDS = {"ppo": 5}  # the others 3
LABELS = {"ppo": "PPO", "recurrent_ppo": "RecurrentPPO", "sac": "SAC", "td3": "TD3", "tqc": "TQC"}
VALIDATE_EVERY = {"ppo": 6_144, "recurrent_ppo": 6_144, "sac": 3_072, "td3": 3_072, "tqc": 3_072}
RATIOS = np.geomspace(0.5, 2.5, 33)


def job_of(algo: str, seed: int, task: str) -> TrainingJob:
    """A training of this comparison, in a market of 4,800 impressions."""
    return TrainingJob(
        settings=Sb3Learner(algo).settings(
            assignments=[f"run.validate_every={VALIDATE_EVERY[algo]}", f"run.steps={STEPS[algo]}"]
        ),
        task=TASKS[task],
        seed=seed,
        experience=MarketExperience(params=MarketParams.for_task(TASKS[task], n_impressions=4_800)),
    )


def references(task: str) -> dict[str, Any]:
    """Best fixed multiplier by its mean validation score; its test score and hindsight's."""
    job = job_of("ppo", 0, task)
    n = job.settings.run.validation_episodes
    scores = [score_of(job, FixedBidder(ratio), VALIDATION_SEED, n) for ratio in RATIOS]
    best = int(np.argmax(scores))
    hindsight = HindsightBidder(job.task, params=job.spec.params, population=job.spec.population, expected=True)
    return {
        "task": task,
        "ratio": float(RATIOS[best]),
        "fixed_validation": scores[best],
        "fixed_test": score_of(job, FixedBidder(RATIOS[best]), TEST_SEED, N_TEST),
        "hindsight_test": score_of(job, hindsight, TEST_SEED, N_TEST),
    }


def score_of(job: TrainingJob, bidder: Bidder, first_seed: int, n: int) -> float:
    """Mean score of predicted amounts."""
    return float(job.play(bidder, first_seed, n).score(expected=True).mean())


def row_of(algo: str, seed: int, task: str) -> dict[str, Any]:
    """Trains once: the validations, and the test score of the policy that validated best."""
    job = job_of(algo, seed, task)
    with progress_bar(f"{algo}, seed {seed}", STEPS[algo], "steps") as bar:
        result = Sb3Learner(algo).train(
            job.experience,
            task=job.task,
            settings=job.settings,
            seed=seed,
            progress=lambda step, n_steps, _: bar.update(step, n_steps),
        )
    test = score_of(job, result.bidder, TEST_SEED, N_TEST)
    history = [[line.step, line.numbers["score"], line.numbers["share"]] for line in result.history]
    return {"algo": algo, "seed": seed, "history": history, "test": test}


def report(rows: Sequence[dict[str, Any]], known: dict[str, Any]) -> None:
    """Prints a Markdown table."""
    print(
        f"best fixed multiplier {known['ratio']:.3f} x the target CPA: test score {known['fixed_test']:.4f};"
        f" hindsight {known['hindsight_test']:.4f}"
    )
    print("| algorithm | seeds | passes after | test score, mean (min to max) | over fixed | of hindsight |")
    print("| --- | ---: | ---: | --- | ---: | ---: |")
    for algo in ALGORITHMS:
        own = [row for row in rows if row["algo"] == algo]
        if not own:
            continue
        test = np.array([row["test"] for row in own])
        steps, curves = curves_of(own)
        above = curves.mean(axis=0) > known["fixed_validation"]
        # the mean stays above from there on
        last_below = -1 if above.all() else int(np.flatnonzero(~above)[-1])
        passes = f"{steps[last_below + 1]:,}" if last_below + 1 < len(steps) else "not"
        print(
            f"| {algo} | {len(own)} | {passes} | {test.mean():.4f} ({test.min():.4f} to {test.max():.4f})"
            f" | {test.mean() / known['fixed_test'] - 1:+.1%} | {test.mean() / known['hindsight_test']:.1%} |"
        )


def curves_of(rows: Sequence[dict[str, Any]]) -> tuple[Any, Any]:
    """(n_validations,) environment steps and (n_seeds, n_validations) validation scores."""
    return np.array([line[0] for line in rows[0]["history"]]), np.array(
        [[line[1] for line in row["history"]] for row in rows]
    )


def plot(rows: Sequence[dict[str, Any]], known: dict[str, Any], path: Path) -> None:
    """Validation score by training step: a thin line a seed, a thick one for the mean."""
    from matplotlib.figure import Figure

    algos = [algo for algo in ALGORITHMS if any(row["algo"] == algo for row in rows)]
    if not algos:
        raise ValueError("`rows` must hold at least one training to plot, found none")
    n_columns = min(len(algos), 3)
    n_rows = -(-len(algos) // n_columns)
    figure = Figure(figsize=(3.4 * n_columns, 2.6 * n_rows + 0.4), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False).ravel()
    for panel in panels[len(algos) :]:
        panel.remove()
    for panel, algo in zip(panels[: len(algos)], algos, strict=True):
        own = [row for row in rows if row["algo"] == algo]
        panel.axhline(known["fixed_validation"], color="#303436", linestyle="--", label="best fixed multiplier")
        steps, curves = curves_of(own)
        each = panel.plot(steps / 1000, curves.T, color="#0242bb", alpha=0.35, linewidth=0.8)
        each[0].set_label("one seed")
        panel.plot(steps / 1000, curves.mean(axis=0), color="#0242bb", linewidth=2, label="mean of the seeds")
        panel.set_title(f"{LABELS[algo]}, {len(own)} seed{'s' if len(own) > 1 else ''}")
        panel.grid(color="#e4e6e9", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[max(len(algos) - n_columns, 0) : len(algos)]:  # the lowest of each column
        panel.tick_params(labelbottom=True)
    figure.supxlabel("thousand environment steps", fontsize="medium")
    figure.supylabel("validation score", fontsize="medium")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path, dpi=130)


def main(argv: Sequence[str] | None = None) -> None:
    """Trains what is missing, then reports and plots."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.sb3_learning", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory of the rows")
    parser.add_argument("--task", choices=list(TASKS), default="MaxConversions")
    parser.add_argument("--algos", nargs="*", choices=ALGORITHMS, default=list(ALGORITHMS))
    parser.add_argument("--plot", type=Path, help="picture to write")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    task = arguments.task
    known = _stored(arguments.out / "references.json", lambda: references(task))
    if known["task"] != task:
        parser.error(f"`out` must hold rows of task {task!r}, found those of {known['task']!r}")
    for algo in arguments.algos:
        for seed in range(SEEDS.get(algo, 3)):
            _stored(arguments.out / f"{algo}_{seed}.json", lambda algo=algo, seed=seed: row_of(algo, seed, task))
    files = sorted(path for path in arguments.out.glob("*.json") if path.name != "references.json")
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    report(rows, known)
    if arguments.plot is not None:
        plot(rows, known, arguments.plot)
        console.print(f"plot: {arguments.plot}")


def _stored(path: Path, compute: Any) -> dict[str, Any]:
    if not path.exists():
        write_atomically(path, json.dumps(compute(), indent=1).encode())
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


if __name__ == "__main__":
    main()
