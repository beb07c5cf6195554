"""Holds the weights that VAO gives to sources against the truth of a task family.

A family records which sources are helpful and which are harmful for each target (`TaskFamily.relations`). This trains
on it, for both labels of actions, and prints where the weight went and what it did to the validation loss of the sound
targets: `python -m benchmarks.studies.family_truth`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table

from agents import Harm, collect_family, make_task_family
from agents.families.family import TaskFamily
from agents.families.storage import load_family_parts
from benchmarks.console import console, progress_bar
from benchmarks.pages.data_set.family.describing import CLASSES, weight_by_class
from vamo import Config, TrainResult, override, train


class Finding(NamedTuple):
    """One training run."""

    label: str  # `data.action_label`
    method: str  # `train.method`
    seed: int
    weight: dict[str, float]  # of a source of each class over that of uniform sharing, mean over sound targets
    loss: float  # validation loss at the end, mean over sound targets


def run(family: TaskFamily, logs: Path, *, steps: int, seeds: Sequence[int]) -> list[Finding]:
    """Trains every label, method and seed on the family's logs."""
    sources, validation = load_family_parts(logs, ("train", "validation"))
    sound = [k for k, member in enumerate(family.members) if not member.is_harmful]
    runs = [
        (label, method, seed) for label in ("logged", "hindsight") for method in ("vao", "uniform") for seed in seeds
    ]
    found = []
    with progress_bar("training", len(runs) * steps, "steps") as bar:
        for label, method, seed in runs:
            settings = (
                f"data.action_label={label}",
                f"train.method={method}",
                f"train.seed={seed}",
                f"train.steps={steps}",
            )
            result: TrainResult = train(sources, validation, override(Config(), settings))
            last = result.history[-1]
            tail = result.history[len(result.history) // 2 :]  # weights once the model knows something
            weights = np.mean([record.weights for record in tail], axis=0)
            loss = float(np.mean([last.validation_loss[k] for k in sound]))
            found.append(Finding(label, method, seed, weight_by_class(weights, family), loss))
            bar.advance(steps)
    return found


def table(found: Sequence[Finding]) -> Table:
    """A row a label and method, means over seeds."""
    out = Table(title=f"weight of a source over that of uniform sharing; {len({f.seed for f in found})} training seeds")
    for name in ("actions", "method", *CLASSES, "validation loss"):
        out.add_column(name, justify="left" if name in ("actions", "method") else "right")
    for key in dict.fromkeys((finding.label, finding.method) for finding in found):
        mine = [finding for finding in found if (finding.label, finding.method) == key]
        means = [np.mean([finding.weight[name] for finding in mine]) for name in CLASSES]
        losses = [finding.loss for finding in mine]
        bounds = f" ({min(losses):.3f} .. {max(losses):.3f})" if len(losses) > 1 else ""
        out.add_row(*key, *(f"{mean:.2f}" for mean in means), f"{np.mean(losses):.3f}{bounds}")
    return out


def main(argv: Sequence[str] | None = None) -> None:
    """Collects the family, trains, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=6)
    parser.add_argument("--harmful", type=int, default=2)
    parser.add_argument("--most", type=int, default=300)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3, help="number of training seeds")
    parser.add_argument("--impressions", type=int, default=4_800)
    arguments = parser.parse_args(argv)
    family = make_task_family(
        arguments.tasks,
        shift=0.5,
        imbalance=(arguments.most, 20),
        harms=[Harm(kind="scaled_bid")] * arguments.harmful,
        n_impressions=arguments.impressions,
    )
    with tempfile.TemporaryDirectory() as folder:
        collect_family(family, folder, n_validation=50, n_test=1)
        found = run(family, Path(folder), steps=arguments.steps, seeds=range(arguments.seeds))
    console.print(table(found))


if __name__ == "__main__":
    main()
