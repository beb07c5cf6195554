"""The table of offline estimates, made for 80 columns, and their JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.labels.off_policy.estimate import PolicyEstimate
from benchmarks.pages.plots import one_line
from benchmarks.pages.tables.cells import Cells

Estimates = Mapping[str, Sequence[PolicyEstimate]]
"""By the policy's label, one a method."""

_NAME = 24  # characters of a label


def estimate_cells(found: Estimates) -> Cells:
    """A row a policy and method, within a method the best first."""
    pairs = [(label, one) for label, estimates in found.items() for one in estimates]
    methods = list(dict.fromkeys(one.method for _, one in pairs))
    pairs.sort(key=lambda pair: (methods.index(pair[1].method), -pair[1].score))
    first = pairs[0][1]
    rows = tuple(
        (one_line(label, _NAME), one.method, f"{one.score:.4g}", f"{one.low:.4g} to {one.high:.4g}",
         f"{one.effective_n:.0f}")
        for label, one in pairs
    )  # fmt: skip
    return Cells(
        kind="estimates",
        title=f"{first.task}: estimated score of an episode, from {first.n_episodes:,} logged ones",
        header=("policy", "method", "score", f"{100 * first.level:g} %", "effective n"),
        rows=rows,
        notes=(
            f"the logged policy scored {first.logged_score:.4g};"
            " effective n: episodes whose outcomes speak for the policy",
        ),
        text_columns=frozenset({0, 1}),
    )


def warning_lines(found: Estimates, *, n_left_out: int) -> list[str]:
    """Why not to trust the estimates: each reason once, with those that it holds for."""
    reasons: dict[str, list[str]] = {}
    for label, estimates in found.items():
        for one in estimates:
            for text in one.warnings:
                whom = f"{label}, {one.method}" if len(estimates) > 1 else label
                reasons.setdefault(text, []).append(whom)
    n = sum(map(len, found.values()))
    lines = [f"warning: {text}" if len(whom) == n else f"warning ({'; '.join(whom)}): {text}"
             for text, whom in reasons.items()]  # fmt: skip
    if n_left_out:
        lines.insert(0, f"warning: {n_left_out:,} episodes without all ticks are left out")
    return lines


def records(found: Estimates) -> list[dict[str, Any]]:
    """All numbers as JSON values, one object a policy and method."""
    return [
        {
            "policy": label,
            "method": one.method,
            "task": one.task,
            "score": one.score,
            "low": one.low,
            "high": one.high,
            "level": one.level,
            "effective_n": one.effective_n,
            "n_episodes": one.n_episodes,
            "logged_score": one.logged_score,
            "warnings": list(one.warnings),
        }
        for label, estimates in found.items()
        for one in estimates
    ]
