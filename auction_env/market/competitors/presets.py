"""Markets and populations by name: AuctionNet's rules, its agents, and its two kinds of data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from auction_env.market.competitors.shipped import shipped_population
from auction_env.market.funnel import Funnel
from auction_env.market.params import MarketParams, TrafficParams
from auction_env.market.population import STEPS, Population, auctionnet_population
from auction_env.names import check_name
from auction_env.tasks import Task, get_task

POPULATIONS: dict[str, Callable[[], Population]] = {
    "auctionnet": auctionnet_population,
    "auctionnet-agents": shipped_population,
}
"""Populations by name: the 48 advertisers that pace and guard their CPA (the default), or with AuctionNet's agents."""

_BUDGETS, _TARGETS = 1 / 4, 1 / 12  # of the dense preset, over those of the sparse one
_PID_START = 15.0  # currency per conversion: `base_action` of AuctionNet's PidBiddingStrategy


class Preset(NamedTuple):
    """A market by name."""

    params: MarketParams
    population: Population


def auctionnet_rules(**fields: Any) -> MarketParams:
    """Parameters with the rules of AuctionNet's simulator, as its shipped configuration sets them.

    Reserve 0.0001; a slot whose price is the reserve stays unsold; three slots, seen with probabilities 1, 0.8 and 0.6;
    who overspends in a tick loses random wins, and the tick is cleared again; who has less than 0.1 currency left bids
    no more; bidders see each prediction's own uncertainty. `fields` replaces any of them.
    """
    rules: dict[str, Any] = {
        "exposure": (1.0, 0.8, 0.6),
        "reserve": 0.0001,
        "is_unsold_at_reserve": True,
        "budget_rule": "auctionnet",
        "least_budget": 0.1,
        "traffic": TrafficParams(sigma_by_impression=True),
    }
    return MarketParams(**(rules | fields))


def sparse() -> Preset:
    """AuctionNet's simulator: its rules, its advertisers (budgets 2000 to 4850, target CPAs 60 to 130), its agents."""
    return Preset(auctionnet_rules(), shipped_population())


def dense() -> Preset:
    """Many conversions for little money, as in AuctionNet's dense data: budgets 500 to 1212, target CPAs 5 to 11.

    Of the market behind those data only the order of budgets and targets is known. This one is `sparse` with a quarter
    of the money, the reserve included, and three times the predicted values: shares of budgets, CPAs over their targets
    and who wins what are those of `sparse`.
    """
    params, population = sparse()
    traffic = replace(params.traffic, value_mean=params.traffic.value_mean * _BUDGETS / _TARGETS)
    money = {name: getattr(params, name) * _BUDGETS for name in ("reserve", "least_budget")}
    return Preset(
        replace(params, traffic=traffic, **money),
        replace(
            population,
            budget=tuple(_BUDGETS * budget for budget in population.budget),
            cpa_target=tuple(_TARGETS * cpa for cpa in population.cpa_target),
        ),
    )


def dense_pid() -> Preset:
    """`dense` with AuctionNet's PID for all 48 advertisers, who spend their money whatever their target is.

    Its first multiplier is the same number of currency per conversion for everybody, above the targets of these data.
    """
    params, population = dense()
    start = tuple(_PID_START / cpa for cpa in population.cpa_target)
    return Preset(params, replace(population, start=start, behaviour=(STEPS,) * population.n_advertisers, schedules=()))


PRESETS: dict[str, Callable[[], Preset]] = {"sparse": sparse, "dense": dense, "dense-pid": dense_pid}
"""Markets by name."""


def preset(name: str, *, task: str | Task | None = None, **fields: Any) -> Preset:
    """A market by name.

    Args:
        name: One of `PRESETS`.
        task: What it has to count: a task of clicks, add-to-carts or GMV gets a funnel.
        fields: Of `MarketParams`, in place of the preset's: `n_impressions`, say.

    Raises:
        ValueError: An unknown name, or a parameter that breaks a rule.
    """
    check_name("preset", name, PRESETS)
    params, population = PRESETS[name]()
    if task is not None and get_task(task).needs_funnel:
        fields = {"funnel": Funnel()} | fields
    return Preset(replace(params, **fields), population)


def read_population(text: str) -> Population:
    """A population by name, or of a JSON file as `Population.to_json` writes it.

    Raises:
        ValueError: No such name, with the nearest; or a file that holds no population, with its path.
        OSError: The file cannot be read.
    """
    if not text.endswith(".json"):
        check_name("population", text, POPULATIONS, rule="must be a file that ends in .json or one of")
        return POPULATIONS[text]()
    try:
        return Population.from_json(Path(text).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from error
