"""`vamo warm-up`: compiles kernels ahead of their first use; commands that need them do it behind a bar, too.

All in this process: three quarters of it is one kernel, and the others would gain little from a process of their own.
What is compiled stays on the machine, also after a kill; workers that start afterwards read it.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.commands import Commands
from benchmarks.console import Bar, console, progress_bar

MARKET, LABELS = ("market", "funnel"), "labels"
"""Works that commands need which play in markets, and which label logs."""


@dataclass(frozen=True, slots=True)
class Work:
    """A small piece of work and the kernels that Python calls in it.

    Attributes:
        kernels: The numba dispatchers, not those that they call.
        play: Does it.
    """

    kernels: tuple[Any, ...]
    play: Callable[[], object]


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "warm-up",
        help="compile the kernels now, so that no later command waits for it",
        description="Compiles what is compiled at its first use otherwise, for an image or a cluster's machines, say."
        " It is kept beside the sources, or in NUMBA_CACHE_DIR. Killed and started again, it goes on.",
    )
    parser.set_defaults(run=_run, kept="the kernels that are compiled")


def _run(arguments: argparse.Namespace) -> None:
    n_kernels = compile_ahead(works())
    console.print(f"{n_kernels} kernels are compiled" if n_kernels else "all kernels are compiled already")


def works() -> dict[str, Work]:
    """What may be compiled ahead, by name."""
    from agents import FixedBidder, PidBidder, rollout
    from agents.labels import kernels as labels
    from agents.labels.hindsight import best_log_multipliers
    from agents.labels.response import Response
    from agents.logging.collection import collect
    from agents.logging.noisy import NoisyBidder
    from auction_env.kernels.step import controlled, opening, pacing, playing, traffic
    from auction_env.market.funnel import Funnel
    from auction_env.market.params import MarketParams, TrafficParams
    from auction_env.market.shapes.value_distribution import ValueDistribution
    from auction_env.tasks import TASKS

    task, small = TASKS["TargetCPA"], MarketParams(n_impressions=480)
    shaped, shared = TrafficParams(values=ValueDistribution.lognormal(1.0)), TrafficParams(value_correlation=0.5)
    played = (
        playing.play_tick, controlled.observe_tick, pacing.pace, pacing.scale_and_cap,
        traffic.spawn_states, traffic.shape_values, traffic.shape_uncertainties, traffic.shape_volumes,
    )  # fmt: skip

    def play(params: MarketParams) -> None:
        rollout(PidBidder(), seeds=[0], advertisers=[0], task=task, params=params, progress=False)

    def label() -> None:
        log = next(iter(collect(NoisyBidder(FixedBidder()), seeds=[0], task=task, params=small)))
        best_log_multipliers(log, task, Response.fit([log]))

    return {
        "market": Work((*played, opening.open_plain), lambda: play(small)),
        "funnel": Work((*played, opening.open_funnel), lambda: play(replace(small, funnel=Funnel()))),
        "own-values": Work((*played, opening.open_shaped), lambda: play(replace(small, traffic=shaped))),
        "shared-values": Work((*played, opening.open_correlated), lambda: play(replace(small, traffic=shared))),
        LABELS: Work((labels.find_best_places,), label),
    }


def compile_ahead(wanted: dict[str, Work]) -> int:
    """Compiles what this machine has not compiled yet, behind a bar; returns how many kernels that were."""
    from numba import config

    from auction_env import kernels
    from auction_env.kernels.running.ahead import is_compiled, kernels_of, note_compiled, watching

    settings: Any = config  # filled in at run time
    if settings.DISABLE_JIT or os.environ.get("RANK", "0") != "0":  # one of the processes of torchrun compiles
        return 0
    of = {name: kernels_of(work.kernels) for name, work in wanted.items()}
    missing = [name for name in wanted if not is_compiled(name, of[name])]
    if not missing:
        return 0
    needed = set().union(*(of[name] for name in missing))
    level = kernels.logger.level
    with ExitStack() as stack:
        shown = _Shown(stack, len(needed))
        kernels.logger.setLevel(logging.WARNING)  # the bar says it
        stack.callback(kernels.logger.setLevel, level)
        with watching(needed, shown.at_work, shown.ended):
            for name in missing:
                wanted[name].play()
                note_compiled(name, of[name])
        shown.all_ended()
    return shown.n_compiled


class _Shown:
    """A bar that appears with the first kernel that is compiled: all may be there, and the note of it be lost."""

    def __init__(self, stack: ExitStack, n_kernels: int) -> None:
        self._stack, self._n_kernels = stack, n_kernels
        self._bar: Bar | None = None
        self.n_compiled = 0

    def at_work(self, name: str) -> None:
        """Names the kernel that is being compiled."""
        if self._bar is None:
            self._bar = self._stack.enter_context(progress_bar("compiling kernels, once", self._n_kernels, None))
        self._bar.note(name)

    def ended(self) -> None:
        """Counts a kernel."""
        self.n_compiled += 1
        if self._bar is not None:
            self._bar.advance(1)

    def all_ended(self) -> None:
        """Fills the bar: some of the kernels may have been there."""
        if self._bar is not None:
            self._bar.update(self._n_kernels, self._n_kernels)


def prepare(names: Iterable[str]) -> None:
    """`compile_ahead` of these works: what a command calls before its own."""
    known = works()
    compile_ahead({name: known[name] for name in names})
