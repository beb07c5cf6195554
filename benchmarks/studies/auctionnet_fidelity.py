"""How near a preset comes to AuctionNet: `python -m benchmarks.studies.auctionnet_fidelity FILE...`.

FILE is a trajectory file (`*-rlData.csv`) of AuctionNet's simulator at full size with its 48 shipped agents; for
`--preset dense` with the budgets, targets and predicted values of that preset. The table sets the periods that the
preset was not fitted on beside the preset, and beside the default market, whose money is that of `sparse`: means, and
Kolmogorov-Smirnov distances. The last column is the distance between AuctionNet's own two sets of periods: what one
cannot expect to get below.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from scipy.stats import ks_2samp

from auction_env import MarketParams, Population, auctionnet_population
from auction_env.control.simulation import Simulation
from auction_env.market.competitors.presets import PRESETS, preset
from benchmarks.console import Advance, console, progress_bar
from benchmarks.studies.auctionnet_agents import CONSTANTS, AgentLog, fit_population, read_agents

Float = NDArray[np.float64]

REPORTED = (8, 9, 10, 11)
"""Periods of the shared log that `auction_env.market.competitors.shipped` was not fitted on."""

SPARSE = "sparse"
_AT_ONCE = 8  # episodes side by side: a step of the progress bar


def play(
    params: MarketParams, population: Population, seeds: Sequence[int], advance: Advance | None = None
) -> AgentLog:
    """What the scripted advertisers do in episodes, with money at full size."""
    parts = []
    for first in range(0, len(seeds), _AT_ONCE):
        chunk = seeds[first : first + _AT_ONCE]
        parts.append(_play(params, population, chunk))
        if advance is not None:
            advance(len(chunk))
    by_day = [name for name in AgentLog._fields if name not in CONSTANTS]
    return parts[0]._replace(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in by_day})


def _play(params: MarketParams, population: Population, seeds: Sequence[int]) -> AgentLog:
    simulation = Simulation(params, population, controlled_market=[], controlled_advertiser=[], n_markets=len(seeds))
    simulation.reset(seeds)
    market, ticks = simulation.market, []
    while True:
        opening = market.opening
        result = simulation.play(simulation.decide([]))[1]
        ticks.append((opening, result))
        if result.done:
            break
    n = np.stack([opening.n_impressions for opening, _ in ticks], axis=1).astype(np.float64)
    value = np.stack([opening.value_mean for opening, _ in ticks], axis=1)
    offered = value * n[..., None]

    def of_all(name: str) -> Float:
        return np.stack([getattr(result, name) for _, result in ticks], axis=1)

    size = 1.0 / params.budget_scale
    return AgentLog(
        budget=market.budget * size,
        cpa_target=market.cpa_target,
        least_winning_cost=of_all("least_winning_cost"),
        n_impressions=n * size,
        multiplier=np.divide(of_all("bid"), offered, out=np.zeros_like(offered), where=offered > 0),
        value=value,
        cost=of_all("cost") * size,
        wins=of_all("wins") * size,
        expected_conversions=of_all("expected_conversions") * size,
        budget_left=np.stack([opening.budget_left for opening, _ in ticks], axis=1) * size,
    )


def samples(log: AgentLog) -> dict[str, Float]:
    """What is compared, a vector each. The last tick is left out: of AuctionNet's, the files tell no cost."""
    cost, conversions, wins = (part[:, :-1] for part in (log.cost, log.expected_conversions, log.wins))
    spent, gained = log.budget - log.budget_left[:, -1], conversions.sum(axis=1)
    is_bidding = (log.budget_left[:, :-1] > 1.0) & (log.multiplier[:, :-1] > 0)
    has_won = gained > 0
    return {
        "predicted value of a tick, x 1e-4": 1e4 * log.value[:, :-1].ravel(),
        "least winning cost of a tick": log.least_winning_cost[:, :-1].ravel(),
        "wins over impressions of a day, %": 100
        * (wins.sum(axis=1) / log.n_impressions[:, :-1].sum(1)[:, None]).ravel(),
        "multiplier over target CPA": (log.multiplier / log.cpa_target)[:, :-1][is_bidding],
        "cost of a day": cost.sum(axis=1).ravel(),
        "predicted conversions of a day": gained.ravel(),
        "CPA over target": (spent / np.where(has_won, gained, 1.0) / log.cpa_target)[has_won],
        "budget used, whole %": np.floor(100 * spent / log.budget + 1e-9).ravel(),
    }


def correlations(log: AgentLog) -> dict[str, float]:
    """Correlations between what an advertiser has and what it gets, and of prices from tick to tick."""
    spent, gained = log.budget - log.budget_left[:, -1], log.expected_conversions[:, :-1].sum(axis=1)
    target, has_won = np.broadcast_to(log.cpa_target, spent.shape), gained > 0
    ratio = spent / np.where(has_won, gained, 1.0) / log.cpa_target
    price = log.least_winning_cost[:, :-1]
    pairs = {
        "target CPA and CPA over target": (target[has_won], ratio[has_won]),
        "target CPA and budget used": (target, spent / log.budget),
        "mean value and conversions of a day": (log.value.mean(axis=1), gained),
        "least winning cost of two ticks": (price[:, :-1], price[:, 1:]),
        "least winning cost and impressions": (price, log.n_impressions[:, :-1]),
    }
    return {name: float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]) for name, (a, b) in pairs.items()}


def distances(log: AgentLog, other: AgentLog) -> dict[str, float]:
    """Kolmogorov-Smirnov distance of each of `samples`."""
    mine, theirs = samples(log), samples(other)
    return {name: float(ks_2samp(mine[name], theirs[name]).statistic) for name in mine}


def tables(reported: AgentLog, fitted: AgentLog, played: Mapping[str, AgentLog]) -> list[Table]:
    """Distances with means and deciles, prices by sixth of the day, and correlations; `played` is by market."""
    logs = {"AuctionNet": reported, **played}
    apart = [distances(log, reported) for log in (*played.values(), fitted)]
    first = Table(title="mean (10th to 90th percentile); KS: distance to AuctionNet", title_justify="left")
    first.add_column("", overflow="fold")
    for column in (*logs, *(f"KS {name}" for name in played), "KS AuctionNet's other periods"):
        first.add_column(column, justify="right")
    described = [samples(log) for log in logs.values()]
    for quantity in described[0]:
        cells = []
        for part in described:
            low, high = np.quantile(part[quantity], (0.1, 0.9))
            cells.append(f"{part[quantity].mean():.3g} ({low:.3g} to {high:.3g})")
        ks = (f"{part[quantity]:.3f}" for part in apart)
        first.add_row(quantity, *cells, *ks)
    second = Table(title="least winning cost by sixth of the day; correlations", title_justify="left")
    second.add_column("")
    for column in logs:
        second.add_column(column, justify="right")
    for a, b in pairwise(np.linspace(0, reported.least_winning_cost.shape[1], 7).astype(int)):
        of_sixth = (np.nanmean(log.least_winning_cost[:, a : min(b, 47)]) for log in logs.values())
        second.add_row(f"ticks {a} to {min(b, 47) - 1}", *(f"{price:.3f}" for price in of_sixth))
    found = [correlations(log) for log in logs.values()]
    for pair in found[0]:
        second.add_row(f"correlation of {pair}", *(f"{part[pair]:.2f}" for part in found))
    return [first, second]


def main(argv: Sequence[str] | None = None) -> None:
    """Plays the preset, and beside `sparse` the default market, and prints the tables; or fits a population."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="trajectories of AuctionNet's simulator")
    parser.add_argument("--preset", choices=PRESETS, default=SPARSE, help="default: %(default)s")
    periods = "positions of the periods to compare with; the others are those of the fit; default: 8 9 10 11"
    parser.add_argument("--periods", nargs="+", type=int, default=REPORTED, metavar="P", help=periods)
    parser.add_argument("--episodes", type=int, default=24, metavar="N", help="default: %(default)s")
    parser.add_argument("--impressions", type=int, default=20_000, metavar="N", help="default: %(default)s")
    parser.add_argument("--fit", action="store_true", help="print a population fitted on the other periods, as JSON")
    arguments = parser.parse_args(argv)
    log = read_agents(arguments.files)
    n_days = len(log.n_impressions)
    rest = sorted(set(range(n_days)) - set(arguments.periods))
    if not rest or not set(arguments.periods) <= set(range(n_days)):
        parser.error(f"`--periods` must be some of 0..{n_days - 1}, not all, found {list(arguments.periods)}")
    chosen = preset(arguments.preset, n_impressions=arguments.impressions)
    if arguments.fit:
        found = fit_population(log.days(rest), chosen.params.traffic.value_mean)
        console.print(found.to_json(), soft_wrap=True, highlight=False)
        return
    if not np.allclose(log.budget, chosen.population.budget):
        parser.error(f"FILE must have the budgets of `--preset {arguments.preset}`, found {log.budget.tolist()}")
    markets: dict[str, tuple[MarketParams, Population]] = {arguments.preset: chosen}
    if arguments.preset == SPARSE:
        markets["default"] = MarketParams(n_impressions=arguments.impressions), auctionnet_population()
    with progress_bar("playing", len(markets) * arguments.episodes, "episodes") as bar:
        played = {name: play(*market, range(arguments.episodes), bar.advance) for name, market in markets.items()}
    for table in tables(log.days(arguments.periods), log.days(rest), played):
        console.print(table)


if __name__ == "__main__":
    main()
