"""The paper's figures as pictures: weights over training (figure 4), lambda against score and entropy (figure 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.pages.paper.sources import PAPER_BACKBONE, Source
from benchmarks.pages.paper.tables import VAO
from benchmarks.pages.pictures import INK, MARKERS, MUTED, draw, method_colour, quiet
from benchmarks.statistics.bootstrap import Estimate, share_of_reference
from benchmarks.suites.storage.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Float = NDArray[np.float64]

TEMPERATURE, RAW = "weighting.temperature=", "weighting.scaling=none"
N_COLUMNS = 3


class Weights:
    """Weights of one run over training, (steps, targets, sources).

    Attributes:
        steps: Of training.
        targets, sources: Names of tasks.
        weight: Of each source in the training of each target.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]]) -> None:
        self.steps = sorted({record["step"] for record in records})
        self.targets = tuple(dict.fromkeys(record["target"] for record in records))
        self.sources = tuple(dict.fromkeys(record["source"] for record in records))
        self.weight: Float = np.full((len(self.steps), len(self.targets), len(self.sources)), np.nan)
        for record in records:
            place = (self.steps.index(record["step"]), self.targets.index(record["target"]))
            self.weight[(*place, self.sources.index(record["source"]))] = record["weight"]

    def entropy(self) -> Float:
        """Entropy over that of equal weights, (steps, targets): 0 is one source, 1 all equally."""
        w = self.weight
        terms = np.where(w > 0, w * np.log(np.where(w > 0, w, 1.0)), 0.0)
        result: Float = -terms.sum(axis=2) / np.log(len(self.sources))
        return result


def weights_of(source: Source, method: str) -> Weights | None:
    """Of the method's first training seed, which is published whole; None where no weights are."""
    runs = [run for run in source.runs if run["method"] == method and run["variant"] == source.first.variant]
    if not runs:
        return None
    first = min(runs, key=lambda run: source.record.train_seeds.index(run["train_seed"]))["run_id"]
    records = [record for record in Store(source.directory).weights().to_pylist() if record["run_id"] == first]
    return Weights(records) if records else None


def weights_over_training(found: Mapping[str, Source]) -> bytes | None:
    """Figure 4: a panel a target, a line a source; None without rows."""
    source = found.get("data-scarce")
    method = None if source is None else source.method(VAO)
    weights = None if source is None or method is None else weights_of(source, method)
    if weights is None or len(weights.sources) < 2:
        return None
    n_rows = -(-len(weights.targets) // N_COLUMNS)

    def fill(figure: Figure) -> None:
        grid = figure.subplots(n_rows, N_COLUMNS, sharex=True, sharey=True, squeeze=False)
        for place, axes in enumerate(grid.ravel()):
            quiet(axes)
            if place >= len(weights.targets):
                axes.set_visible(False)
                continue
            axes.set_title(f"target {weights.targets[place]}", loc="left", fontsize=10)
            for k, name in enumerate(weights.sources):
                is_own = name == weights.targets[place]
                axes.plot(
                    weights.steps, weights.weight[:, place, k], color=method_colour(k),
                    linewidth=2.4 if is_own else 1.3, label=name,
                )  # fmt: skip
            axes.axhline(1 / len(weights.sources), color=MUTED, linestyle=":", linewidth=1)
        grid[0, 0].set_ylim(0, 1.05 * float(np.nanmax(weights.weight)))
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, title="source", loc="outside right center", frameon=False, fontsize=9)
        figure.supxlabel("training step; dotted: equal weights; thick: the target's own logs", fontsize=10, color=MUTED)
        figure.supylabel("weight", fontsize=10, color=MUTED)

    return draw((10.0, 2.4 * n_rows + 0.6), fill)


def lambdas(source: Source, *, is_raw: bool) -> dict[float, str]:
    """Lambda -> method, ascending, of VAO with alignments scaled or raw and nothing else changed."""
    rest = {VAO, RAW} if is_raw else {VAO}
    out = {}
    for method, settings in source.settings.items():
        temperatures = [setting for setting in settings if setting.startswith(TEMPERATURE)]
        is_plain = settings - PAPER_BACKBONE - set(temperatures) == rest
        if len(temperatures) == 1 and is_plain and method in source.first.methods:
            out[float(temperatures[0].removeprefix(TEMPERATURE))] = method
    return dict(sorted(out.items()))


def lambda_against_score(found: Mapping[str, Source]) -> bytes | None:
    """Figure 5: score of all tasks, of the largest and of the smallest, below it the entropy; None without rows."""
    source = found.get("temperature")
    if source is None or not lambdas(source, is_raw=False):
        return None
    sizes = {task["name"]: task["n_train"] for task in source.record.tasks[source.first.variant]}
    largest, smallest = max(sizes, key=lambda name: sizes[name]), min(sizes, key=lambda name: sizes[name])
    series = {
        "mean of all tasks": None,
        f"{largest}: {sizes[largest]} trajectories": largest,
        f"{smallest}: {sizes[smallest]} trajectories": smallest,
    }

    def fill(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        for axes in (upper, lower):
            quiet(axes)
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
            axes.xaxis.set_minor_formatter(lambda *_: "")
        for is_raw, style in ((False, "-"), (True, ":")):
            grid = lambdas(source, is_raw=is_raw)
            kind = "raw products" if is_raw else "scaled"
            for k, (label, task) in enumerate(series.items()):
                shares = [share_of_reference(source.first.paired, m, source.first.draws, task) for m in grid.values()]
                _line(upper, list(grid), shares, k, style, f"{label}, {kind}")
            entropy = {x: weights_of(source, method) for x, method in grid.items()}
            medians = {x: _middle(weights.entropy()) for x, weights in entropy.items() if weights is not None}
            if medians:
                middle, low, high = (np.array(part) for part in zip(*medians.values(), strict=True))
                lower.errorbar(
                    list(medians), middle, [middle - low, high - middle], color=INK, linestyle=style, marker="o",
                    markersize=5, linewidth=1.6, label=kind,
                )  # fmt: skip
        upper.set_ylabel("share of the best constant in hindsight")
        lower.set_ylabel("entropy of the weights")
        lower.set_ylim(-0.03, 1.05)
        lower.set_xlabel("lambda")
        for axes in (upper, lower):
            axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))

    return draw((10.0, 6.2), fill)


def _line(axes: Axes, x: Sequence[float], shares: Sequence[Estimate], k: int, style: str, label: str) -> None:
    if not x:
        return
    y = np.array([share.value for share in shares])
    ends = [y - [share.low for share in shares], np.array([share.high for share in shares]) - y]
    axes.errorbar(
        list(x), y, np.maximum(ends, 0.0), color=method_colour(k), linestyle=style, marker=MARKERS[k], markersize=5,
        linewidth=1.6, label=label,
    )  # fmt: skip


def _middle(entropy: Float) -> tuple[float, float, float]:
    """Median and quartiles over steps and targets."""
    low, middle, high = np.quantile(entropy, [0.25, 0.5, 0.75])
    return float(middle), float(low), float(high)
