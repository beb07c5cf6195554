"""What the rest of an episode may bring, from logs: logged days, played again at any multiplier by a fitted response.

`record_scenarios` fits the response of labels (`agents.labels.response`) to logs, as the learners of hindsight-optimal
actions do, and keeps what each of many multipliers brings from each tick of a logged day to its end. `Forecast` moves
these days to a campaign that is being played: its volume, its price level and its predicted amounts, as seen so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.labels.hindsight import LOG_GRID
from agents.labels.response import Response
from auction_env.control.bidder import Campaigns, NamedBidder, TickView
from auction_env.control.observation import FEATURE_NAMES
from auction_env.data import TrajectoryData
from auction_env.tasks import BASES, QUANTITIES, Targets, Task, Totals

Float = NDArray[np.float64]

_STEP = float(LOG_GRID[1] - LOG_GRID[0])
_REACH = 50  # points of the tables beyond `LOG_GRID` on each side: levels may differ by e^5
_TINY = 1e-12


class Scenarios(NamedTuple):
    """S logged days of T ticks.

    Attributes:
        task: What the multipliers are of, and what is counted.
        log_worth: (S,) log of the worth of a unit of the objective, of the day's advertiser.
        volume: (S, T) impressions.
        price: (S, T) mean least winning cost, currency.
        offered: (S, T, 4) predicted amounts of all impressions, for each of `tasks.BASES`.
        to_go: By column of a log, "cost" and what the task counts: (S, T, G) what the multipliers of a grid, which
            reaches beyond `LOG_GRID`, bring from a tick to the day's end if there is no budget.
    """

    task: Task
    log_worth: Float
    volume: Float
    price: Float
    offered: Float
    to_go: dict[str, Float]


def record_scenarios(
    logs: TrajectoryData | Sequence[TrajectoryData], task: Task, *, n_scenarios: int = 64
) -> Scenarios:
    """Scenarios from logs of any tasks.

    Args:
        logs: One log or several of the market that will be played.
        task: The task that will be played.
        n_scenarios: The most days that are kept, evenly spaced over the logs; a decision costs as much as they are.

    Raises:
        ValueError: No bids to fit a response to, no complete day, or `n_scenarios` below 1.
    """
    if n_scenarios < 1:
        raise ValueError(f"`n_scenarios` must be at least 1, found {n_scenarios}")
    data_sets = [logs] if isinstance(logs, TrajectoryData) else list(logs)
    response = Response.fit(data_sets)
    data = data_sets[0] if len(data_sets) == 1 else TrajectoryData.concat(data_sets)
    length = np.diff(data.episode_starts)
    whole = np.flatnonzero(length == data.tick.max() + 1)
    if not len(whole):
        raise ValueError(f"`logs` must hold a day with all its {data.tick.max() + 1} ticks, found none")
    chosen = whole[np.unique(np.linspace(0, len(whole) - 1, min(n_scenarios, len(whole))).astype(np.int64))]
    days = data.select(chosen)
    shape = (len(chosen), int(length[chosen[0]]))
    log_worth = np.log(task.unit_worth(days.targets))
    grid = LOG_GRID[0] + _STEP * np.arange(-_REACH, len(LOG_GRID) + _REACH)
    brings = response.outcomes(days, task, log_worth[:, None] + grid)
    return Scenarios(
        task=task,
        log_worth=log_worth[days.episode_starts[:-1]],
        volume=days.n_impressions.astype(float).reshape(shape),
        price=days.least_winning_cost.reshape(shape),
        offered=np.stack([days[QUANTITIES[basis].offered].reshape(shape) for basis in BASES], axis=2),
        to_go={
            name: np.ascontiguousarray(np.cumsum(part.reshape(*shape, -1)[:, ::-1], axis=1)[:, ::-1])
            for name, part in brings.items()
        },
    )


class Forecast:
    """What the multipliers of `LOG_GRID` bring n campaigns until the episode's end, in each scenario.

    A scenario's volume and price are multiplied by what the campaign saw so far over what the scenario had by then; at
    first the scenario's own level counts as `prior_ticks` ticks. Predicted amounts per impression differ more between
    advertisers than between days, so that their level is the campaign's from the first tick on: its mean so far, over
    what all scenarios together had by that tick as a share of the whole day's.

    Args:
        scenarios: From `record_scenarios`.
        prior_ticks: Positive.
    """

    def __init__(self, scenarios: Scenarios, prior_ticks: float) -> None:
        if not (np.isfinite(prior_ticks) and prior_ticks > 0):
            raise ValueError(f"`prior_ticks` must be positive, found {prior_ticks}")
        self._scenarios, self._prior_ticks = scenarios, prior_ticks
        self._columns = {
            QUANTITIES[basis].expected: BASES.index(basis) for basis in BASES if basis in scenarios.task.needs
        }

        volume = np.maximum(np.cumsum(scenarios.volume, axis=1), _TINY)[..., None]
        mean = np.maximum(np.cumsum(scenarios.offered, axis=1) / volume, _TINY)  # (S, T, 4) an impression's, until tick
        self._day_mean = mean[:, -1]
        self._day_mean_by = (mean * volume).sum(axis=0) / (self._day_mean[:, None] * volume).sum(axis=0)  # (T, 4)

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes; ValueError for another task or number of ticks than the scenarios'."""
        task, (_, n_ticks) = self._scenarios.task, self._scenarios.volume.shape
        if campaigns.n_ticks != n_ticks:
            raise ValueError(f"`scenarios` must have the {campaigns.n_ticks} ticks that are played, found {n_ticks}")
        if not np.allclose(task.requirements(campaigns.targets), campaigns.requirements):
            raise ValueError(f"`scenarios` must be of the task that is played, found those of {task.name!r}")
        n = len(campaigns.base)
        self.targets, self._log_worth = campaigns.targets, np.log(campaigns.base)
        self._volume, self._offered = np.zeros(n), np.zeros((n, len(BASES)))
        self._so_far = {name: np.zeros(n) for name in ("cost", *self._columns)}

    def see(self, view: TickView) -> None:
        """Takes in what the last tick brought and what this one offers; once a tick, in order."""
        for name, total in self._so_far.items():
            total += getattr(view, f"last_{name}")
        volume = view.features[:, FEATURE_NAMES.index("volume_now")]
        self._volume = self._volume + volume
        self._offered = self._offered + volume[:, None] * view.predicted_mean

    def to_go(self, view: TickView) -> dict[str, Float]:
        """By column, "cost" and what the task counts, from this tick on as if there were no budget: (n, S, m)."""
        s, tick, prior = self._scenarios, view.tick, self._prior_ticks
        their_volume = s.volume[:, : tick + 1].sum(axis=1)
        usual = prior * s.volume.mean(axis=1)
        more_volume = (self._volume[:, None] + usual) / (their_volume + usual)  # (n, S)
        higher_price = self._price_ratio(view)
        own_mean = self._offered / np.maximum(self._volume, _TINY)[:, None] / self._day_mean_by[tick]
        better = np.maximum(own_mean, _TINY)[:, None] / self._day_mean  # (n, S, 4)
        own_basis = better[:, :, BASES.index(s.task.basis)]
        # the same bid over the price, and so the same share of the impressions
        shift = self._log_worth[:, None] - s.log_worth + np.log(own_basis) - np.log(higher_price)
        out = _at(s.to_go["cost"][:, tick], shift) * (more_volume * higher_price)[..., None]
        return {"cost": out} | {
            name: _at(s.to_go[name][:, tick], shift) * (more_volume * better[:, :, basis])[..., None]
            for name, basis in self._columns.items()
        }

    def _price_ratio(self, view: TickView) -> Float:
        """(n, S) price level of the campaigns over that of the scenarios."""
        if view.tick == 0:
            return np.ones((len(self._volume), len(self._scenarios.volume)))
        seen = np.maximum(view.features[:, FEATURE_NAMES.index("least_winning_cost_all")], _TINY)
        theirs = np.maximum(self._scenarios.price[:, : view.tick].mean(axis=1), _TINY)
        known = view.tick / (view.tick + self._prior_ticks)
        return np.asarray(np.exp(known * (np.log(seen)[:, None] - np.log(theirs))))

    def totals(self, to_come: Mapping[str, Float]) -> Totals:
        """Of whole episodes: what there was, (n,), and what is to come, (n, ...)."""
        shape = to_come["cost"].shape
        axes = (slice(None), *[None] * (len(shape) - 1))
        nothing = np.zeros(shape)
        whole = {name: total[axes] + to_come[name] for name, total in self._so_far.items()}
        return Totals(**{name: whole.get(name, nothing) for name in Totals._fields})

    def targets_like(self, to_come: Float) -> Targets:
        """The campaigns' targets, to compare with amounts (n, ...)."""
        axes = (slice(None), *[None] * (to_come.ndim - 1))
        return Targets(*(part[axes] for part in self.targets))


def _at(table: Float, shift: Float) -> Float:
    """(n, S, m) a table (S, G) at the points of `LOG_GRID` moved by `shift` (n, S), by lines between its points."""
    place = np.clip(shift / _STEP + _REACH, 0.0, table.shape[1] - len(LOG_GRID) - 1.0)
    first = place.astype(np.int64)
    part = (place - first)[..., None]
    column = first[..., None] + np.arange(len(LOG_GRID) + 1)
    found = table[np.arange(len(table))[None, :, None], column]
    return np.asarray((1.0 - part) * found[..., :-1] + part * found[..., 1:])


class ScenarioBidder(NamedBidder):
    """What the rules on a response share: the forecast of what each multiplier brings, and the unit they bid in.

    Args:
        history: Logs of the market as scenarios (`record_scenarios`).
        scale: Factor on the multiplier.
        prior_ticks: How many ticks the scenarios' own level of volume and price counts as.
        name: Label in tables.
    """

    def __init__(self, history: Scenarios, scale: float, prior_ticks: float, name: str) -> None:
        if not (np.isfinite(scale) and scale > 0):
            raise ValueError(f"`scale` must be positive, found {scale}")
        self.name, self._scale, self._task = name, scale, history.task
        self._forecast = Forecast(history, prior_ticks)

    def reset(self, campaigns: Campaigns) -> None:
        """Starts n fresh episodes; ValueError for another task or number of ticks than the history's."""
        self._forecast.reset(campaigns)
        self._base = campaigns.base
