"""The record of a watched episode: tick by tick, by bidder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from agents.rollouts import Episodes
from auction_env.tasks import QUANTITIES, Task
from benchmarks.evaluation.watching.ladder import QUANTILES
from benchmarks.pages.tables.cells import Cells

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

Float = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class WatchedEpisode:
    """One episode as far as it is played, by several bidders, each in a market of its own.

    Attributes:
        played: One episode by the name of the bidder, of the ticks so far.
        ladder: (n_ticks so far, n_bidders, n_slots, 3) bids to beat for each slot, currency per impression: the
            quantiles `benchmarks.evaluation.watching.ladder.QUANTILES` over the impressions of the tick.
        plan: (n_ticks of the whole episode,) share of the budget that is spent after each tick where the spend follows
            the expected traffic.
        description: What is played: `benchmarks.evaluation.episodes.EpisodeSet.description`.
    """

    played: Mapping[str, Episodes]
    ladder: Float
    plan: Float
    description: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """The bidders."""
        return tuple(self.played)

    @property
    def task(self) -> Task:
        """The task of all bidders."""
        return next(iter(self.played.values())).task

    @property
    def n_ticks(self) -> int:
        """Ticks of the whole episode."""
        return len(self.plan)

    @property
    def n_played(self) -> int:
        """Ticks so far, at least 1."""
        return len(self.ladder)

    @property
    def title(self) -> str:
        """Task, seed and advertiser, and the period of a log."""
        first = next(iter(self.played.values()))
        days = self.description.get("days")
        period = "" if days is None else f"period {days[0]}, "
        return f"{self.task.name}: {period}market seed {first.seed[0]}, advertiser {first.advertiser[0]}"

    @cached_property
    def ticks(self) -> dict[str, dict[str, Float]]:
        """By bidder, columns of (n_ticks so far,).

        `multiplier` is over the worth of a unit of the objective; `bid` and `least_winning_cost` are means over the
        impressions, currency; `won` is the share of the impressions; `spent` and `plan` are shares of the budget so
        far; `objective`, `score` and the ratios (realised over limit) are of the episode so far, the ones called
        expected of predicted amounts; `slot_1` and so on are the quantiles of the bids to beat.
        """
        return {name: self._columns(name, index) for index, name in enumerate(self.names)}

    def _columns(self, name: str, index: int) -> dict[str, Float]:
        episode = self.played[name]
        ticks, so_far = episode.ticks, episode.so_far()
        targets = episode.targets.at(np.zeros(self.n_played, np.int64))
        seen = np.maximum(ticks.n_impressions[:, 0], 1.0)
        columns = {
            "impressions": ticks.n_impressions[:, 0],
            "multiplier": ticks.multiplier[:, 0] / episode.task.unit_worth(episode.targets)[0],
            "bid": ticks.bid[:, 0] / seen,
            "least_winning_cost": ticks.least_winning_cost[:, 0],
            "won": ticks.wins[:, 0] / seen,
            "spent": so_far.cost / episode.budget[0],
            "plan": self.plan[: self.n_played],
        }
        for kind, expected in (("", False), ("_expected", True)):
            columns[f"objective{kind}"] = episode.task.reward(so_far, expected=expected)
            columns[f"score{kind}"] = episode.task.score(so_far, targets, expected=expected)
        ratios = episode.task.ratios(so_far, targets, expected=True)
        columns |= {f"{kind}_ratio_expected": ratio for kind, ratio in ratios.items() if kind != "budget"}
        for slot in range(self.ladder.shape[2]):
            for k, quantile in enumerate(QUANTILES):
                columns[f"slot_{slot + 1}_{100 * quantile:.0f}"] = self.ladder[:, index, slot, k]
        return columns

    @property
    def limits(self) -> tuple[str, ...]:
        """The kinds of the task's constraints beside the budget."""
        return tuple(constraint.kind for constraint in self.task.constraints)

    @property
    def counted(self) -> str:
        """What the objective counts, for people."""
        counted = self.task.objective if self.task.is_surplus else QUANTITIES[self.task.basis].sampled
        return counted.replace("_", "-")

    def cells(self) -> Cells:
        """The state after the last tick that is played, a row a bidder."""
        rows = []
        for name, columns in self.ticks.items():
            now = {key: float(column[-1]) for key, column in columns.items()}
            rows.append(
                (
                    name,
                    f"{100 * now['spent']:.1f} %",
                    f"{now['objective']:.4g}",
                    f"{now['objective_expected']:.4g}",
                    *(f"{now[f'{kind}_ratio_expected']:.2f}" for kind in self.limits),
                    f"{now['score_expected']:.4g}",
                )
            )
        limits = tuple(f"{kind.replace('_', ' ')} / limit" for kind in self.limits)
        header = ("bidder", "spent", self.counted, "expected", *limits, "score")
        note = "expected: predicted amounts, as in the ratios and the score; a ratio of at most 1 keeps the limit"
        title = f"{self.title}, after tick {self.n_played} of {self.n_ticks}"
        return Cells(kind="watched", title=title, header=header, rows=tuple(rows), notes=(note,))

    def table(self) -> Table:
        """`cells` for the terminal."""
        return self.cells().to_rich()

    def to_pandas(self) -> pd.DataFrame:
        """A row a bidder and tick, with the columns of `ticks`; ModuleNotFoundError without pandas."""
        import pandas as pd

        frames = [
            pd.DataFrame({"bidder": name, "tick": np.arange(self.n_played), **columns})
            for name, columns in self.ticks.items()
        ]
        return pd.concat(frames, ignore_index=True)

    def plot(self) -> go.Figure:
        """The ticks as `benchmarks.figures.plot_episode` draws them; ModuleNotFoundError without plotly."""
        from benchmarks.figures import plot_episode

        return plot_episode(self.played)

    def __repr__(self) -> str:
        return f"<WatchedEpisode of {', '.join(self.names)}, {self.title}, {self.n_played} of {self.n_ticks} ticks>"
