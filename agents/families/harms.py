"""Which sources of a family are harmed, and how: dealt by hand, in turn, or as the world `harm/v1` has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from agents.logging.harm import DELAY, FIRST_PRICE, MISCALIBRATION, RESERVE, SCALED_BID, STALE, VOLUME, Harm

HARM_V1 = "harm/v1"
"""Name of the world in which a third of the sources have one of `HARM_V1_KINDS` each."""

HARM_V1_KINDS = (
    Harm(kind=STALE, strength=0.25),
    Harm(kind=FIRST_PRICE, strength=0.5),
    Harm(kind=SCALED_BID, strength=0.5, share=0.3),
    Harm(kind=DELAY, strength=0.5),
    Harm(kind=RESERVE, strength=0.8),
    Harm(kind=MISCALIBRATION, strength=0.5),
    Harm(kind=VOLUME, strength=0.5),
)
"""The harms of `harm/v1`. Their strengths keep the marginals of the logs near those of sound logs: the
Kolmogorov-Smirnov distances of cost, price and action, measured by `benchmarks.studies.harm_truth`, are small."""

Harms = str | Sequence[Harm] | Mapping[int, Harm]
"""Harms of a family as `make_task_family` takes them."""


def deal_harms(harms: Harms, n_tasks: int, n_groups: int, seed: int) -> dict[int, Harm]:
    """The harm of each harmed source, by its position in the family.

    Args:
        harms: "harm/v1"; or harms by position; or harms in a row, which are spread over the sizes from the second
            largest task on; () for none.
        n_tasks, n_groups, seed: Of the family.

    Raises:
        ValueError: Another name, a position outside of the family, or more harms than the tasks but the largest.
    """
    if isinstance(harms, str):
        if harms != HARM_V1:
            raise ValueError(f"`harms` must be {HARM_V1!r}, or harms themselves, found {harms!r}")
        return _harm_v1(n_tasks, n_groups, seed)
    if isinstance(harms, Mapping):
        for position in harms:
            if not 0 <= position < n_tasks:
                raise ValueError(f"`harms` must be of positions 0..{n_tasks - 1}, found {position}")
        return dict(harms)
    if len(harms) >= n_tasks:
        raise ValueError(f"`harms` must be at most {n_tasks - 1}, one task being sound, found {len(harms)}")
    return dict(zip(_positions(len(harms), n_tasks), harms, strict=True))


def parse_harms(text: str) -> Harms:
    """Harms of a command line: "none", "harm/v1", or "scaled_bid=1,delay=0.5@0.3" (kind=strength@share).

    Raises:
        ValueError: An unknown kind, or a number out of range; it is named.
    """
    if text == "none":
        return ()
    return text if text == HARM_V1 else [Harm.parse(part) for part in text.split(",")]


def _positions(n: int, n_tasks: int) -> list[int]:
    """Positions of n harmed sources: spread evenly over the sizes, never the largest."""
    return [1 + (k * (n_tasks - 1)) // n for k in range(n)]


def _harm_v1(n_tasks: int, n_groups: int, seed: int) -> dict[int, Harm]:
    """A third of the sources, at least one; the kinds go round from one that the seed draws, a stale source first.

    The stale source is one whose group has a sound member: the nearest task of that member.
    """
    positions = _positions(max(1, n_tasks // 3), n_tasks)
    stale, *others = HARM_V1_KINDS
    turn = int(np.random.default_rng([seed, 3]).integers(len(others)))
    kinds = [others[(turn + k) % len(others)] for k in range(len(positions) - 1)]
    sound = set(range(n_tasks)).difference(positions)
    near = [p for p in positions if any(q % n_groups == p % n_groups for q in sound)]
    if not near:  # every task of a group of its own, or whole groups are harmed: nobody is near a stale source
        kinds.append(others[(turn + len(kinds)) % len(others)])
        return dict(zip(positions, kinds, strict=True))
    rest = [p for p in positions if p != near[0]]
    return {near[0]: stale, **dict(zip(rest, kinds, strict=True))}
