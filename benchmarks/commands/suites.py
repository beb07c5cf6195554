"""`vamo bench run` and `vamo bench list`."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from agents import registry
from benchmarks.console import console
from benchmarks.speed import suite as speed_suite
from benchmarks.suites.catalogue import SPEED, SUITES, get_suite
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
    n_workers: int | None = None,
    ray: str | None = None,
    device: str = "cpu",
    out: Path | None = None,
    reuse: Sequence[Path] = (),
) -> None:
    """Runs a suite; exits with 1 where a run failed."""
    if name.removesuffix(f"/{size}") == SPEED:
        size = "full" if size is None else size
        speed_suite.run(_out(out, SPEED if size == "full" else f"{SPEED}/{size}"), size, command_line())
        return
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ValueError(f"`--device` must be one that this machine has, found {device!r}")
    suite = get_suite(name, size)
    if n_seeds is not None or agents is not None:
        suite = suite.only(n_seeds=n_seeds, arms=None if agents is None else chosen_arms(suite, agents))
    out = _out(out, suite.full_id)
    outcome = run_suite(suite, out, n_workers=n_workers, ray=ray, device=device, command=command_line(), reuse=reuse)
    taken = f", {outcome.n_taken} taken over" if reuse else ""
    counts = f"{outcome.n_runs} runs, {outcome.n_found} found finished{taken}, {len(outcome.failed)} failed"
    console.print(f"{suite.full_id}: {counts}: {out}", soft_wrap=True)
    if outcome.failed:
        sys.exit(1)
    console.print(f"tables: vamo bench table {out}", soft_wrap=True)


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
            near = difflib.get_close_matches(name, [*own, *others], n=1, cutoff=0.3)
            hint = f", nearest: {near[0]}" if near else ""
            raise ValueError(
                f"`--agents` must be methods of {suite.id} ({', '.join(own)}) or agents, found {name!r}{hint}"
            )
    return tuple(own[name] if name in own else rule(name, f"{name} (tuned)") for name in dict.fromkeys(names))


def suites_table() -> Table:
    """A row a suite and size."""
    table = Table("suite", "size", "variants", "methods", "seeds", "runs", "question", title="suites")
    for name in SUITES:
        for size in SIZES:
            suite = get_suite(name, size)
            counts = (len(suite.variants), len(suite.arms), len(suite.train_seeds), len(suite.runs()))
            table.add_row(suite.id, size, *(str(n) for n in counts), suite.question if size == "full" else "")
    table.add_row(SPEED, "", "", "", "", "", "How fast is each part, and how far from its physical bound?")
    for size, text in SIZES.items():
        table.caption = f"{table.caption}\n{size}: {text}" if table.caption else f"{size}: {text}"
    return table
