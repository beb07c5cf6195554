"""The command that lists the agents. They import what they need only when they run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from benchmarks.commands import Commands
from benchmarks.console import console

if TYPE_CHECKING:
    pass


def add(commands: Commands) -> None:
    """Adds the commands."""
    _add_agents(commands)


def _add_agents(commands: Commands) -> None:
    lister = commands.add_parser(
        "agents",
        help="list the agents: what each does, which tasks it serves, its paper",
        description="Lists this package's agents and those of installed entry points (`vamo_bidding.agents`).",
    )
    lister.set_defaults(run=_run_agents)


def _run_agents(arguments: argparse.Namespace) -> None:
    from benchmarks.commands.agent_entries import agents_table

    console.print(agents_table())
