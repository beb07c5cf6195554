"""`vamo bench fidelity`: how scores and the ranking of methods move with the impressions of an episode.

The same episodes (market seed, advertiser) are played at every size, budgets scaled along, so that sizes are compared
pair by pair. Scores are of predicted conversions, the expectation of the sampled ones. How many an episode has stands
beside them: with c expected conversions, one episode's sampled score is off by about 1 / sqrt(c).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.table import Table

from agents import Bidder, FixedBidder, HindsightBidder, PidBidder, rollout
from auction_env import TASKS, MarketParams, PacingGains, Task, auctionnet_population
from auction_env.files import write_atomically
from auction_env.market.params import REFERENCE_IMPRESSIONS
from benchmarks.console import Advance, console, progress_bar
from benchmarks.suites.methods.tuning import choose
from benchmarks.suites.storage.rows import Rows, concatenate, result_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Float = NDArray[np.float64]

FIXED, PID, TUNED, HINDSIGHT = "fixed", "PID", "PID (tuned)", "hindsight"
METHODS = (FIXED, PID, TUNED, HINDSIGHT)
PID_STARTS, PID_INTEGRAL_GAINS = (0.7, 1.0), (0.02, 0.15)
N_COARSE, N_FINE = 6, 3  # constants that the reference in hindsight tries
COLUMNS = ("suite", "method", "task", "seed", "advertiser", "score_sampled", "score_expected", "cost")


@dataclass(frozen=True, slots=True, kw_only=True)
class FidelitySettings:
    """Sizes of the study.

    Attributes:
        sizes: Impressions per episode, ascending; the last is what the others are compared with.
        n_episodes: Test episodes a size.
        n_validation: Episodes on which the PID is tuned, a size; their seeds are others.
        tasks: Names of tasks.
    """

    sizes: tuple[int, ...] = (2_000, 5_000, 20_000, 100_000, REFERENCE_IMPRESSIONS)
    n_episodes: int = 12
    n_validation: int = 6
    tasks: tuple[str, ...] = ("MaxConversions", "TargetCPA")

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or list(self.sizes) != sorted(set(self.sizes)):
            raise ValueError(f"`sizes` must be at least two ascending numbers, found {self.sizes}")
        if self.n_episodes < 2 or self.n_validation < 1:
            raise ValueError(
                "`n_episodes` must be at least 2 and `n_validation` at least 1,"
                f" found {self.n_episodes} and {self.n_validation}"
            )
        for name in self.tasks:
            if name not in TASKS:
                raise ValueError(f"`tasks` must hold names from {sorted(TASKS)}, found {name!r}")

    @property
    def episodes_per_size(self) -> int:
        """Episodes simulated for one task at one size."""
        tuning = len(PID_STARTS) * len(PID_INTEGRAL_GAINS) * self.n_validation
        return self.n_episodes * (len(METHODS) + N_COARSE + N_FINE) + tuning


QUICK = FidelitySettings(sizes=(1_000, 4_000), n_episodes=6, n_validation=2)


class Point(NamedTuple):
    """What one method scores at one size; the intervals cover 95 % of a bootstrap over episodes.

    Attributes:
        task, n_impressions, method: Which.
        per_budget: Score per 1,000 currency of budget, mean over episodes.
        relative, relative_low, relative_high: `per_budget` over that at the largest size.
        rank, rank_low, rank_high: Place among the methods (1: best), mean over the resamples.
        per_episode: Mean score of an episode, in conversions.
        n_episodes: Episodes at each size.
    """

    task: str
    n_impressions: int
    method: str
    per_budget: float
    relative: float
    relative_low: float
    relative_high: float
    rank: float
    rank_low: float
    rank_high: float
    per_episode: float
    n_episodes: int


def run(settings: FidelitySettings | None = None, *, out: Path) -> list[Point]:
    """Plays, prints the table, and writes `fidelity.parquet` (rows) and `fidelity.png` below `out`."""
    settings = settings or FidelitySettings()
    total = len(settings.sizes) * len(settings.tasks) * settings.episodes_per_size
    with progress_bar("episodes", total, "episodes") as bar:
        rows = measure(settings, bar.advance)
    points = analyse(rows)
    _print(points)
    out.mkdir(parents=True, exist_ok=True)
    table = io.BytesIO()
    pq.write_table(pa.table(rows), table, compression="zstd")
    write_atomically(out / "fidelity.parquet", table.getvalue())
    write_atomically(out / "fidelity.png", draw(points))
    console.print(f"rows and picture: {out}")
    return points


def measure(settings: FidelitySettings, advance: Advance) -> Rows:
    """Result rows of all methods, tasks and sizes, with the columns `n_impressions` and `budget` added."""
    parts = []
    for n_impressions, name in product(settings.sizes, settings.tasks):
        of_size = _measure_size(settings, TASKS[name], MarketParams(n_impressions=n_impressions), advance)
        of_size["n_impressions"] = np.full(len(of_size["seed"]), n_impressions)
        parts.append(of_size)
    return concatenate(parts)


def _measure_size(settings: FidelitySettings, task: Task, params: MarketParams, advance: Advance) -> Rows:
    n_advertisers = auctionnet_population().n_advertisers
    seeds = np.arange(settings.n_episodes)
    # spread over the categories, from another one on for the validation
    advertisers = seeds * n_advertisers // settings.n_episodes % n_advertisers
    validation = np.arange(settings.n_validation)
    candidates: list[Bidder] = [
        PidBidder(start, PacingGains(p=0.0, i=gain), name=TUNED)
        for start, gain in product(PID_STARTS, PID_INTEGRAL_GAINS)
    ]
    tuned = choose(
        candidates,
        seeds=validation + 10_000,
        advertisers=(validation * n_advertisers // settings.n_validation + 3) % n_advertisers,
        task=task,
        params=params,
        progress=advance,
    ).bidder
    reference = HindsightBidder(lowest=0.3, highest=3.0, n_coarse=N_COARSE, n_fine=N_FINE)
    bidders: dict[str, Bidder] = {FIXED: FixedBidder(), PID: PidBidder(), TUNED: tuned, HINDSIGHT: reference}
    played = {}
    for label, bidder in bidders.items():
        played[label] = rollout(bidder, seeds=seeds, advertisers=advertisers, task=task, params=params)
        advance(settings.n_episodes * (1 + N_COARSE + N_FINE if label == HINDSIGHT else 1))
    rows = result_rows(played, played[HINDSIGHT], suite="fidelity-v1")
    return {name: rows[name] for name in COLUMNS} | {"budget": np.tile(played[FIXED].budget, len(played))}


def analyse(rows: Rows, *, n_resamples: int = 4000, seed: int = 0) -> list[Point]:
    """Points by task, size and method; the same resamples of the episodes for all of them."""
    points = []
    for task in dict.fromkeys(rows["task"].tolist()):
        sizes = sorted(set(rows["n_impressions"][rows["task"] == task].tolist()))
        scores, per_episode = _by_size(rows, task, sizes)  # (n_sizes, n_methods, n_episodes), (n_sizes, n_methods)
        n = scores.shape[2]
        weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_resamples) / n
        resampled = scores @ weights.T  # (n_sizes, n_methods, n_resamples)
        relative = resampled / resampled[-1]
        mean = scores.mean(axis=2)
        rank = (-resampled).argsort(axis=1).argsort(axis=1) + 1
        for (s, size), (m, method) in product(enumerate(sizes), enumerate(METHODS)):
            low, high = np.quantile(relative[s, m], (0.025, 0.975))
            rank_low, rank_high = np.quantile(rank[s, m], (0.025, 0.975))
            points.append(
                Point(
                    task=task,
                    n_impressions=size,
                    method=method,
                    per_budget=float(mean[s, m]),
                    relative=float(mean[s, m] / mean[-1, m]),
                    relative_low=float(low),
                    relative_high=float(high),
                    rank=float(rank[s, m].mean()),
                    rank_low=float(rank_low),
                    rank_high=float(rank_high),
                    per_episode=float(per_episode[s, m]),
                    n_episodes=n,
                )
            )
    return points


def _by_size(rows: Rows, task: str, sizes: Sequence[int]) -> tuple[Float, Float]:
    scores, per_episode = [], []
    for size, method in product(sizes, METHODS):
        pick = (rows["task"] == task) & (rows["n_impressions"] == size) & (rows["method"] == method)
        expected = rows["score_expected"][pick]
        scores.append(1000 * expected / rows["budget"][pick])
        per_episode.append(expected.mean())
    shape = (len(sizes), len(METHODS))
    return np.stack(scores).reshape(*shape, -1), np.reshape(per_episode, shape)


def _print(points: Sequence[Point]) -> None:
    for task in dict.fromkeys(p.task for p in points):
        table = Table(title=f"{task}: score per 1,000 currency of budget", title_justify="left")
        table.add_column("method", no_wrap=True)
        for name in ("impressions", "score", "% of full size (95 %)", "rank", "conv."):
            table.add_column(name, justify="right", no_wrap=True)
        for p in (p for p in points if p.task == task):
            share = f"{100 * p.relative:.1f} ({100 * p.relative_low:.1f} to {100 * p.relative_high:.1f})"
            numbers = (f"{p.n_impressions:,}", f"{p.per_budget:.2f}", share, f"{p.rank:.1f}", f"{p.per_episode:.2f}")
            table.add_row(p.method, *numbers)
        console.print(table)
    console.print("rank: mean over the bootstrap; conv.: mean score of one episode, in conversions")


def draw(points: Sequence[Point]) -> bytes:
    """PNG: score over that of the largest size, and rank, against impressions; a row of panels a task."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("pictures need matplotlib: install the extra `report`") from error
    from benchmarks.pages.pictures import INK, MUTED, PAPER, RULE

    tasks = list(dict.fromkeys(p.task for p in points))
    style: Any = {  # the names are literal types in some releases only
        "font.size": 10.0, "text.color": INK, "axes.edgecolor": RULE, "axes.labelcolor": MUTED,
        "xtick.color": MUTED, "ytick.color": INK,
    }  # fmt: skip
    with rc_context(style):
        figure = Figure(figsize=(10, 2.9 * len(tasks) + 1.0), facecolor=PAPER, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(len(tasks), 2, squeeze=False, sharex=True)
        for row, task in enumerate(tasks):
            of_task = [p for p in points if p.task == task]
            _draw_panel(panels[row, 0], of_task, "relative", 100.0)
            _draw_panel(panels[row, 1], of_task, "rank", 1.0)
            panels[row, 0].set_title(f"{task}: score per budget, % of full size", loc="left", fontsize=10)
            panels[row, 0].axhline(100, color=MUTED, linestyle=":", linewidth=1.2, zorder=0)
            panels[row, 1].set_title(f"{task}: rank (1 is best)", loc="left", fontsize=10)
            panels[row, 1].set_ylim(len(METHODS) + 0.4, 0.6)
            panels[row, 1].set_yticks(range(1, len(METHODS) + 1))
        caption = f"impressions per episode; bars: 95 % of a bootstrap over {points[0].n_episodes} paired episodes"
        figure.supxlabel(caption, fontsize=10, color=MUTED)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(METHODS), frameon=False)
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=130, metadata={"Software": None})
    return out.getvalue()


def _draw_panel(axes: Axes, points: Sequence[Point], measure_name: str, scale: float) -> None:
    from benchmarks.pages.pictures import MARKERS, PAPER, RULE
    from benchmarks.pages.plots import METHOD_COLOURS

    sizes = sorted({p.n_impressions for p in points})
    for m, method in enumerate(METHODS):
        of_method = sorted((p for p in points if p.method == method), key=lambda p: p.n_impressions)
        value, low, high = (
            scale * np.array([getattr(p, measure_name + end) for p in of_method]) for end in ("", "_low", "_high")
        )
        shift = 1.06 ** (m - (len(METHODS) - 1) / 2)  # side by side, so that equal ones stay visible
        x = shift * np.array([p.n_impressions for p in of_method])
        colour = METHOD_COLOURS["light"][m]
        axes.plot(x, value, color=colour, marker=MARKERS[m], markersize=5, linewidth=1.4, label=method)
        axes.vlines(x, low, high, color=colour, linewidth=1.4)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_facecolor(PAPER)
    axes.grid(color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
