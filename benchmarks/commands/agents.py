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
    lister.add_argument("names", nargs="*", metavar="NAME", help="show everything about these agents")
    lister.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    if not arguments.names:
        console.print(agents_table())
        console.print("vamo agents NAME: objectives, limits, how it is made, paper")
    for name in arguments.names:
        console.print(agent_table(name))


def agents_table() -> Table:
    """A line an agent, so that the list fits on a screen."""
    from agents.registry import KINDS, entries

    found = entries()
    names, kinds = max(map(len, found)), max(map(len, KINDS))
    table = Table(box=None, pad_edge=False)
    # names stay whole, they are what `make` and `train` take; the summary gives way
    table.add_column("agent", no_wrap=True, min_width=names)
    table.add_column("kind", no_wrap=True, min_width=kinds)
    rest = max(console.width - names - kinds - 6, 20)
    table.add_column("what it does", no_wrap=True, overflow="ellipsis", max_width=rest)
    for entry in found.values():
        table.add_row(entry.name, entry.kind, entry.summary)
    return table


def agent_table(name: str) -> Table:
    """All that the registry says of an agent; every one keeps the budget, which the market enforces.

    Raises:
        ValueError: No such agent; the nearest is named.
    """
    from agents.registry import KINDS, get
    from auction_env.tasks import CONSTRAINT_KINDS

    entry = get(name)
    limits = "all" if set(entry.constraints) == set(CONSTRAINT_KINDS) else ", ".join(("budget", *entry.constraints))
    made = f"vamo train --agent {name}, agents.load(FILE)" if entry.learner else f"agents.make({name!r})"
    table = Table(title=name, show_header=False)
    for label, text in (
        ("what it does", entry.summary),
        ("kind", f"{entry.kind}: {KINDS[entry.kind]}"),
        ("objectives", entry.objectives_text),
        ("limits it heeds", limits),
        ("made by", made),
        ("paper", entry.paper or "-"),
    ):
        table.add_row(label, text)
    return table
