"""How noisy alignments are with few validation trajectories: `python -m benchmarks.studies.validation_noise --out DIR`.

The smallest useful validation set is the first question that arXiv 2510.07760 leaves open. An alignment
m_ik = <g_k, g_ik> is linear in the validation gradient g_k, hence the mean over validation trajectories of their
own alignments with g_ik. These are computed once, for many trajectories, on a model trained for a while; samples of
20 to 400 of them, with replacement, then show how m_ik and the weights made from it vary from one validation set to
another. The
gradients g_ik come from one large fixed batch, so that all variance shown is the validation set's.

Writes validation_noise.json and validation_noise.png into DIR.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from agents import Bidder, FixedBidder, NoisyBidder, PidBidder, collect
from auction_env import TASKS, MarketParams, auctionnet_population
from auction_env.data import TrajectoryData
from auction_env.files import write_atomically
from vamo.alignment.estimators import Alignment
from vamo.alignment.ghost import Ghost
from vamo.alignment.weighting import Evidence, Scaler, Shrunken, Softmax, Weighting
from vamo.config import Config, override
from vamo.examples.batch import Batch
from vamo.examples.episodes import Episodes
from vamo.examples.sampler import WindowSampler
from vamo.model.losses import losses
from vamo.model.policy import Policy
from vamo.training.train import train

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Float = NDArray[np.float64]

SIZES = (20, 50, 100, 200, 400)
N_DRAWS = 500  # validation sets of each size
SOURCE_WINDOWS = 512  # behind each g_ik
CHUNK = 64  # validation trajectories at a time

COLOURS = ("#0242bb", "#f16005", "#00a675", "#7c1574", "#5e5500", "#13798f")
INK, MUTED, RULE, PAPER = "#1c2126", "#5b6570", "#dcd8cf", "#fbfaf7"

TARGETS = ("MaxConversions", "TargetCPA")


class Noise(NamedTuple):
    """Alignments and weights over validation sets of several sizes."""

    targets: tuple[str, ...]  # K
    sources: tuple[str, ...]  # I
    sizes: tuple[int, ...]  # N numbers of trajectories
    alignment: Float  # (N, D, K, I) m_ik of D sets, divided by the root mean square over sources of all data's
    weights: Float  # (N, D, K, I) softmax of them at lambda = 1, scaled per target as in training
    shrunken: Float  # (N, D, K, I) the same after shrinkage by the standard error over trajectories

    @property
    def deviation(self) -> Float:
        """Standard deviation of m_ik from set to set, (N, K, I)."""
        return np.asarray(self.alignment.std(axis=1))

    @property
    def changes(self) -> Float:
        """Share of the sets whose best source is not that of the largest sets on average, (N, K)."""
        best = self.alignment.argmax(axis=3)
        truth = self.alignment[-1].mean(axis=0).argmax(axis=1)
        return np.asarray((best != truth).mean(axis=1))


def measure(
    sources: Mapping[str, TrajectoryData],
    validation: Mapping[str, TrajectoryData],
    *,
    config: Config | None = None,
    sizes: Sequence[int] = SIZES,
    n_draws: int = N_DRAWS,
    seed: int = 0,
) -> Noise:
    """The noise of the alignments on a model trained with uniform sharing.

    Args:
        sources: Training trajectories by name.
        validation: Trajectories of each target, at least as many as the largest size.
        config: Of the model and its training.
        sizes: Numbers of validation trajectories.
        n_draws: Validation sets of each size, drawn with replacement.
        seed: Of these draws.

    Raises:
        ValueError: A target without enough trajectories.
    """
    for name, data in validation.items():
        if data.n_episodes < max(sizes):
            raise ValueError(f"`validation` of {name!r} must hold {max(sizes)} trajectories, found {data.n_episodes}")
    config = override(Config() if config is None else config, ["train.method=uniform"])
    model = train(sources, validation, config).bidder.model
    training = [Episodes(name, data, config) for name, data in sources.items()]
    held_out = [Episodes(name, data, config) for name, data in validation.items()]
    per_trajectory = [_by_trajectory(model, config, training, held_out, k) for k in range(len(held_out))]
    rng = np.random.default_rng(seed)
    shape = (len(sizes), n_draws, len(held_out), len(training))
    alignment, weights, shrunken = (np.empty(shape) for _ in range(3))
    for k, values in enumerate(per_trajectory):  # (E, I)
        scale = np.sqrt(np.square(values.mean(axis=0)).mean())
        for row, n in enumerate(sizes):
            drawn = np.stack([values[rng.integers(len(values), size=n)] for _ in range(n_draws)])  # (D, n, I)
            alignment[row, :, k] = drawn.mean(axis=1) / scale
            errors = drawn.std(axis=1, ddof=1) / np.sqrt(n)
            weights[row, :, k] = _weights(Softmax(1.0), drawn.mean(axis=1), errors)
            shrunken[row, :, k] = _weights(Shrunken(Softmax(1.0)), drawn.mean(axis=1), errors)
    return Noise(tuple(validation), tuple(sources), tuple(sizes), alignment, weights, shrunken)


def _by_trajectory(
    model: Policy, config: Config, training: Sequence[Episodes], held_out: Sequence[Episodes], k: int
) -> Float:
    """<gradient of a validation trajectory of target k, g_ik>, (E, I).

    The roles are swapped: g_ik is the direction, validation windows are the samples.
    """
    context = config.model.window
    pairs = [(k, i) for i in range(len(training))]
    sampler = WindowSampler(training, held_out, pairs, config)
    directions = sampler.alignment(0, pairs, SOURCE_WINDOWS)
    ghost: Ghost[Batch] = Ghost(partial(losses, model), model, sampler.groups)
    episodes = held_out[k]
    starts = torch.arange(0, int(episodes.length.max()), context)
    rows = []
    for first in range(0, len(episodes.length), CHUNK):
        index = torch.arange(first, min(first + CHUNK, len(episodes.length)))
        last = torch.from_numpy(episodes.length)[index] - context
        start = torch.minimum(starts[None], last[:, None].clamp_min(0))  # (e, S): windows that cover the episode
        batch = episodes.windows(episodes.task, index.repeat_interleave(len(starts)), start.flatten(), context)
        for i in range(len(training)):
            found: Alignment = ghost(batch, sampler.groups(directions, i, i + 1))
            rows.append(found.per_sample.view(len(index), len(starts)).mean(dim=1).double().numpy())
    chunks = [np.stack(rows[j : j + len(training)], axis=1) for j in range(0, len(rows), len(training))]
    return np.concatenate(chunks)


def _weights(weighting: Weighting, alignments: Float, errors: Float) -> Float:
    """Weights (D, I) of D sets, each scaled by its own root mean square."""
    scaler = Scaler("rms", 0.0, len(alignments))
    m = torch.from_numpy(alignments).float()
    scaler.update(m, torch.arange(len(m)))
    scale = scaler.scale()[:, None]
    evidence = Evidence(m / scale, torch.from_numpy(errors).float() / scale, torch.ones(m.shape[1]))
    return weighting(evidence).double().numpy()


def draw(noise: Noise) -> bytes:
    """PNG: the deviation of the alignments, and the weights with the middle 90 % of the sets."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context({"font.family": "sans-serif", "font.size": 10.0, "axes.edgecolor": RULE, "text.color": INK}):
        n_targets = len(noise.targets)
        figure = Figure(figsize=(10, 1.2 + 3.1 * n_targets), facecolor=PAPER, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle("Noise of the alignments by number of validation trajectories", x=0.012, ha="left", fontsize=14)
        grid = figure.subplots(n_targets, 2, squeeze=False, sharex=True)
        for k, target in enumerate(noise.targets):
            _draw_deviation(grid[k, 0], noise, k)
            _draw_weights(grid[k, 1], noise, k)
            grid[k, 0].set_title(f"target {target}: standard deviation of $m_{{ik}}$", loc="left", fontsize=10)
            grid[k, 1].set_title("weights, middle 90 % of the validation sets", loc="left", fontsize=10)
        for axes in grid[-1]:
            axes.set_xlabel("validation trajectories", color=MUTED)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5), frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=160)
    return buffer.getvalue()


def _draw_deviation(axes: Axes, noise: Noise, k: int) -> None:
    sizes = np.asarray(noise.sizes)
    for i, source in enumerate(noise.sources):
        axes.plot(sizes, noise.deviation[:, k, i], "o-", color=COLOURS[i % len(COLOURS)], label=source, ms=4)
    guide = noise.deviation[0, k].mean() * np.sqrt(sizes[0] / sizes)
    axes.plot(sizes, guide, ":", color=MUTED, label="falls as 1 / sqrt(n)")
    axes.set(xscale="log", yscale="log", facecolor=PAPER, ylabel="share of the alignments' root mean square")
    _number_axis(axes, noise.sizes)


def _draw_weights(axes: Axes, noise: Noise, k: int) -> None:
    for i in range(len(noise.sources)):
        colour = COLOURS[i % len(COLOURS)]
        low, middle, high = np.quantile(noise.weights[:, :, k, i], (0.05, 0.5, 0.95), axis=1)
        axes.fill_between(noise.sizes, low, high, color=colour, alpha=0.15, lw=0)
        axes.plot(noise.sizes, middle, "o-", color=colour, ms=4)
    axes.axhline(1 / len(noise.sources), color=MUTED, ls=":", lw=1)
    axes.set(xscale="log", ylim=(0, None), facecolor=PAPER)
    _number_axis(axes, noise.sizes)


def _number_axis(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.minorticks_off()
    axes.grid(color=RULE, lw=0.5)


def collected(n_train: int, n_validation: int, n_impressions: int) -> tuple[dict[str, TrajectoryData], ...]:
    """Sources (two tasks, each logged by a pacing and by a fixed policy) and validation sets of both."""
    params = MarketParams(n_impressions=n_impressions)
    policies: dict[str, Bidder] = {"PID": NoisyBidder(PidBidder()), "fixed": NoisyBidder(FixedBidder(0.9))}
    sources, validation, seed = {}, {}, 0

    def log(bidder: Bidder, name: str, n: int) -> TrajectoryData:
        nonlocal seed
        seeds = np.arange(seed, seed + -(-n // auctionnet_population().n_advertisers))
        seed += len(seeds)
        data = TrajectoryData.concat(list(collect(bidder, seeds=seeds, task=TASKS[name], params=params)))
        return data.select(np.arange(n))

    for name in TARGETS:
        for label, bidder in policies.items():
            sources[f"{name}, {label}"] = log(bidder, name, n_train)
        validation[name] = log(policies["PID"], name, n_validation)
    return sources, validation


def to_json(noise: Noise) -> str:
    """The figures behind the picture, one row a size, target and source."""
    rows = []
    for row, n in enumerate(noise.sizes):
        for k, target in enumerate(noise.targets):
            for i, source in enumerate(noise.sources):
                at = (row, slice(None), k, i)
                rows.append(
                    {
                        "trajectories": n,
                        "target": target,
                        "source": source,
                        "alignment": noise.alignment[at].mean(),
                        "alignment_std": noise.alignment[at].std(),
                        "weight": noise.weights[at].mean(),
                        "weight_std": noise.weights[at].std(),
                        "shrunken_weight": noise.shrunken[at].mean(),
                        "shrunken_weight_std": noise.shrunken[at].std(),
                        "best_source_changes": noise.changes[row, k],
                    }
                )
    return json.dumps(rows, indent=1) + "\n"


def main() -> int:
    """Logs, trains, measures and writes; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--impressions", type=int, default=5000, help="of an episode; default: %(default)s")
    parser.add_argument("--steps", type=int, default=150, help="training steps before; default: %(default)s")
    arguments = parser.parse_args()
    sources, validation = collected(400, 960, arguments.impressions)
    config = override(Config(), [f"train.steps={arguments.steps}", "train.select=last"])
    noise = measure(sources, validation, config=config)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_atomically(arguments.out / "validation_noise.json", to_json(noise).encode())
    write_atomically(arguments.out / "validation_noise.png", draw(noise))
    for row, n in enumerate(noise.sizes):
        deviation, change = noise.deviation[row].mean(), noise.changes[row].mean()
        print(f"{n:4d} trajectories: deviation {deviation:.3f}, best source changes in {100 * change:.0f} % of sets")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
