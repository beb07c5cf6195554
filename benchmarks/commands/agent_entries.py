"""The registry of agents as a table, and the generative agent in it; an entry point names it, as it would a user's."""

from __future__ import annotations

from rich.table import Table

from agents.registry import ANY_OBJECTIVE, COST_LIMITS, AgentEntry, entries
from auction_env.tasks import CONSTRAINT_KINDS

VAMO = AgentEntry(
    name="vamo",
    summary="the generative agent of a checkpoint: make('vamo', path=...)",
    factory="vamo:load",
    kind="offline",
    constraints=(*COST_LIMITS, "min_delivery", "smoothness"),
    paper="arXiv 2510.07760",
)

DT = AgentEntry(
    name="dt",
    summary="decision transformer of a checkpoint: make('dt', path=...)",
    factory="vamo.baselines:load_dt",
    kind="offline",
    paper="arXiv 2106.01345",
)

CDT = AgentEntry(
    name="cdt",
    summary="constrained decision transformer of a checkpoint: make('cdt', path=...)",
    factory="vamo.baselines:load_cdt",
    kind="offline",
    constraints=COST_LIMITS,
    paper="arXiv 2302.07351",
)

DIFFBID = AgentEntry(
    name="diffbid",
    summary="diffusion planner of a checkpoint: make('diffbid', path=...)",
    factory="vamo.baselines:load_diffbid",
    kind="offline",
    constraints=COST_LIMITS,
    paper="arXiv 2405.16141",
)

GAVE = AgentEntry(
    name="gave",
    summary="value-guided decision transformer of a checkpoint: make('gave', path=...)",
    factory="vamo.baselines:load_gave",
    kind="offline",
    constraints=COST_LIMITS,
    paper="arXiv 2504.14587",
)

GAS = AgentEntry(
    name="gas",
    summary="decision transformer with critics' search of a checkpoint: make('gas', path=...)",
    factory="vamo.baselines:load_gas",
    kind="offline",
    constraints=COST_LIMITS,
    paper="arXiv 2412.17018",
)


def agents_table() -> Table:
    """A row an agent; every one keeps the budget, which the market enforces."""
    table = Table(title="agents")
    table.add_column("agent", no_wrap=True)  # what `make` takes
    for heading in ("kind", "what it does", "objectives", "limits it heeds", "paper"):
        table.add_column(heading)
    for entry in entries().values():
        objectives = "all" if set(entry.objectives) == set(ANY_OBJECTIVE) else ", ".join(entry.objectives)
        limits = "all" if set(entry.constraints) == set(CONSTRAINT_KINDS) else ", ".join(("budget", *entry.constraints))
        table.add_row(entry.name, entry.kind, entry.summary, objectives, limits, entry.paper or "-")
    return table
