"""The suites by id: one module a suite; `benchmarks.suites.spec` says what a suite is."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from benchmarks.suites.catalogue import (
    auctionnet,
    data_scarce,
    demo,
    from_logs,
    many_tasks,
    online,
    scarce,
    shift,
)
from benchmarks.suites.catalogue.harm import (
    checked,
    confirm,
    hidden_harm,
    negative_transfer,
    own_states,
    published_size,
    validation_harm,
)
from benchmarks.suites.catalogue.method import ablation, optimisers, other_targets, temperature, validation_size
from benchmarks.suites.spec import SIZES, Size, Suite
from benchmarks.suites.user_file import is_in_a_file, load_suite

SUITES: dict[str, Callable[[Size], Suite]] = {
    module.ID: module.make
    for module in (
        data_scarce,
        ablation,
        temperature,
        validation_size,
        many_tasks,
        shift,
        online,
        from_logs,
        optimisers,
        negative_transfer,
        confirm,
        hidden_harm,
        published_size,
        checked,
        own_states,
        validation_harm,
        other_targets,
        scarce,
        demo,
    )
} | {auctionnet.SYNTHETIC_ID: auctionnet.make_synthetic}
"""What makes each suite at a size."""


def get_suite(name: str, size: Size | None = None) -> Suite:
    """A suite by id; the size may be given with it ("data-scarce/v2/testing"), and is "full" by default.

    A suite of a user's own is "FILE.py:NAME" (`benchmarks.suites.user_file`).

    Raises:
        FileNotFoundError: No such file.
        ValueError: No such suite (names the nearest) or size.
    """
    if is_in_a_file(name):
        return load_suite(name, size)
    head, _, tail = name.rpartition("/")
    if tail in SIZES and head:
        name, size = head, tail
    size = "full" if size is None else size
    if size not in SIZES:
        raise ValueError(f"`size` must be one of {list(SIZES)}, found {size!r}")
    if name == auctionnet.ID:
        raise ValueError(
            f"`SUITE` {name!r} needs periods: `vamo bench run {name} --data DIR` takes yours (docs/auctionnet-papers.md"
            f" says where from), `--synthetic` those that our market writes ({auctionnet.SYNTHETIC_ID!r})"
        )
    if name not in SUITES:
        near = difflib.get_close_matches(name, [*SUITES, auctionnet.ID], n=1, cutoff=0.3)
        hint = f", nearest: {near[0]}" if near else ""
        raise ValueError(f"`SUITE` must be one of {[*SUITES, auctionnet.ID]}, found {name!r}{hint}")
    return SUITES[name](size)
