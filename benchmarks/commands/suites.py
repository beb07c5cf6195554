"""`vamo bench run` and `vamo bench list`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from agents import registry
from auction_env.names import nearest
from benchmarks.commands.warm_up import LABELS, MARKET, prepare
from benchmarks.console import console, progress_bar
from benchmarks.suites.catalogue import SUITES, auctionnet, get_suite
from benchmarks.suites.catalogue.shared.arms import rule
from benchmarks.suites.running.provenance import command_line
from benchmarks.suites.running.suite import run_suite
from benchmarks.suites.spec import SIZES, Arm, Size, Suite


def run(
    name: str,
    *,
    size: Size | None = None,
    n_seeds: int | None = None,
    agents: Sequence[str] | None = None,
    variants: Sequence[str] | None = None,
    n_workers: int | None = None,
    ray: str | None = None,
    device: str = "cpu",
    out: Path | None = None,
    reuse: Sequence[Path] = (),
    one_commit: bool = False,
    data: Path | None = None,
    is_synthetic: bool = False,
) -> None:
    """Runs a suite; exits with 1 where a run failed."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ValueError(f"`--device` must be one that this machine has, found {device!r}")
    suite = _with_periods(name, size, data) if data is not None or is_synthetic else get_suite(name, size)
    arms = None if agents is None else chosen_arms(suite, agents)
    suite = suite.only(n_seeds=n_seeds, arms=arms, variants=variants)
    out = _out(out, suite.full_id)
    prepare((*MARKET, LABELS))
    outcome = run_suite(
        suite,
        out,
        n_workers=n_workers,
        ray=ray,
        device=device,
        command=command_line(),
        reuse=reuse,
        one_commit=one_commit,
    )
    taken = f", {outcome.n_taken} taken over" if reuse else ""
    counts = f"{outcome.n_runs} runs, {outcome.n_found} found finished{taken}, {len(outcome.failed)} failed"
    console.print(f"{suite.full_id}: {counts}: {out}", soft_wrap=True)
    if outcome.failed:
        sys.exit(1)
    console.print(f"tables: vamo bench table {out}", soft_wrap=True)


def _with_periods(name: str, size: Size | None, directory: Path | None) -> Suite:
    """AuctionNet's suite on a user's periods, or on synthetic ones; ValueError for another suite."""
    head, _, tail = name.rpartition("/")
    if tail in SIZES:
        name, size = head, tail
    if name != auctionnet.ID:
        option = "--synthetic" if directory is None else "--data"
        raise ValueError(f"`{option}` must be given with {auctionnet.ID!r} only, found {name!r}")
    if size is not None and size not in SIZES:
        raise ValueError(f"`size` must be one of {list(SIZES)}, found {size!r}")
    if directory is None:
        return get_suite(auctionnet.SYNTHETIC_ID, size)
    with progress_bar("reading what the periods hold", None, "bytes") as bar:
        return auctionnet.on_data(directory, "full" if size is None else size, bar.update)


def _out(out: Path | None, full_id: str) -> Path:
    return Path("runs/bench") / full_id.replace("/", "-") if out is None else out


def chosen_arms(suite: Suite, names: Sequence[str]) -> tuple[Arm, ...]:
    """Methods of the suite by name, and agents of the registry that it does not have.

    Raises:
        ValueError: Neither; names the nearest.
    """
    own, others = {arm.name: arm for arm in suite.arms}, registry.entries()
    for name in names:
        if name not in own and name not in others:
            hint = nearest(name, [*own, *others])
            raise ValueError(
                f"`--agents` must be methods of {suite.id} ({', '.join(own)}) or agents, found {name!r}{hint}"
            )
    return tuple(own[name] if name in own else rule(name, f"{name} (tuned)") for name in dict.fromkeys(names))


def suites_table() -> Table:
    """A line a suite, so that the list fits on a screen: ids stay whole, the question gives way."""
    table = Table(box=None, pad_edge=False)
    table.add_column("suite", no_wrap=True, min_width=max(map(len, SUITES)))
    for name in ("methods", "seeds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("question", no_wrap=True, overflow="ellipsis", ratio=1)
    for name in SUITES:
        suite = get_suite(name, "full")
        table.add_row(suite.id, str(len(suite.arms)), str(len(suite.train_seeds)), suite.question)
    table.add_row(auctionnet.ID, "", "", "The same on your copy of AuctionNet's periods: --data DIR.")
    return table


def suite_tables(name: str) -> list[Table]:
    """All about a suite: question, methods and sizes, or the size in its name.

    Raises:
        ValueError: No such suite; the nearest is named.
    """
    about = Table(title=name, show_header=False)
    named = get_suite(name)
    suites = [named] if name.rpartition("/")[2] in SIZES else [get_suite(name, size) for size in SIZES]
    about.add_row("title", named.title)
    about.add_row("question", named.question)
    about.add_row("methods", ", ".join(arm.name for arm in named.arms))
    meaning = "\n".join(f"{suite.size}: {SIZES[suite.size]}" for suite in suites)
    sizes = Table(title="sizes", title_justify="left", caption=meaning, caption_justify="left", box=box.SIMPLE)
    sizes.add_column("id", no_wrap=True)
    for column in ("variants", "methods", "seeds", "runs"):
        sizes.add_column(column, justify="right", no_wrap=True)
    for suite in suites:
        counts = (len(suite.variants), len(suite.arms), len(suite.train_seeds), len(suite.runs()))
        sizes.add_row(suite.full_id, *(f"{n:,}" for n in counts))
    return [about, sizes]
