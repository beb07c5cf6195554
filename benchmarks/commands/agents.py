"""`vamo agents`: the registry of agents as a table. It imports what it needs only when it runs."""

from __future__ import annotations

import argparse

from rich.table import Table

from benchmarks.commands import Commands
from benchmarks.console import console


def add(commands: Commands) -> None:
    """Adds the command."""
    lister = commands.add_parser(
        "agents",
        help="list the agents: what each does, which tasks it serves, its paper",
        description="Lists this package's agents and those of installed entry points (`vamo_bidding.agents`).",
    )
    lister.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    console.print(agents_table())


def agents_table() -> Table:
    """A row an agent; every one keeps the budget, which the market enforces."""
    from agents.registry import ANY_OBJECTIVE, entries
    from auction_env.tasks import CONSTRAINT_KINDS

    table = Table(title="agents")
    table.add_column("agent", no_wrap=True)  # what `make` and `train` take
    for heading in ("kind", "what it does", "objectives", "limits it heeds", "paper"):
        table.add_column(heading)
    for entry in entries().values():
        objectives = "all" if set(entry.objectives) == set(ANY_OBJECTIVE) else ", ".join(entry.objectives)
        limits = "all" if set(entry.constraints) == set(CONSTRAINT_KINDS) else ", ".join(("budget", *entry.constraints))
        table.add_row(entry.name, entry.kind, entry.summary, objectives, limits, entry.paper or "-")
    return table
