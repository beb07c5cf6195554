"""`auctionnet/v3`: the field's protocols, on AuctionNet's periods or on periods that our market writes as it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.families import FEW_SEEDS, protocol
from benchmarks.suites.catalogue.shared.periods import synthetic
from benchmarks.suites.period_files import describe
from benchmarks.suites.periods import PROTOCOLS, TEST_PERIODS, Kind
from benchmarks.suites.spec import Arm, Size, Suite, Variant

ID = "auctionnet/v3"
"""On a user's periods: `vamo bench run auctionnet/v3 --data DIR`."""
SYNTHETIC_ID = "auctionnet-synthetic/v3"
"""On periods that our market writes: `vamo bench run auctionnet/v3 --synthetic`."""

KINDS: tuple[Kind, ...] = ("sparse", "dense")
N_TEST: dict[Size, int] = {"full": len(TEST_PERIODS), "cpu": len(TEST_PERIODS), "testing": 2}
"""Test periods."""
_FIRST_SEED = 7_000_000
_LABELS = {"sparse": "few conversions (sparse)", "dense": "many conversions (dense)", "periods": "periods"}


def make_synthetic(size: Size) -> Suite:
    """The suite on synthetic periods."""
    variants = tuple(
        Variant(
            name=kind,
            label=_LABELS[kind],
            data=synthetic(kind, size, seed=_FIRST_SEED, n_test=N_TEST[size], n_stressed=1, protocols=tuple(PROTOCOLS)),
        )
        for kind in KINDS
    )
    question = (
        "How far is AuctionNet's offline score from what a policy earns in the market that wrote the log, and does it"
        " put methods in the right order?"
    )
    return Suite(id=SYNTHETIC_ID, title="AuctionNet's protocols on synthetic periods", question=question,
                 variants=variants, **_shared(size))  # fmt: skip


def on_data(directory: Path, size: Size, progress: Callable[[int, int], None] | None = None) -> Suite:
    """The suite on a user's periods: of a directory, or of its folders `sparse` and `dense`, whichever are there.

    `progress` gets how many bytes of a folder have been read, of how many.

    Raises:
        ValueError: The directory lacks periods of the protocol.
        FileNotFoundError: It is not there or holds no files.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"`--data` must be a directory of AuctionNet's periods, found {str(directory)!r}")
    folders: dict[str, Path] = {name: directory / name for name in KINDS if (directory / name).is_dir()}
    folders = folders or {"periods": directory}
    return Suite(
        id=ID,
        title="AuctionNet's protocols",
        question="What do methods score under AuctionNet's offline evaluation, and what against live rivals?",
        variants=tuple(
            Variant(name=name, label=_LABELS[name], data=describe(folder, size, progress))
            for name, folder in folders.items()
        ),
        **_shared(size),
    )


_GENERATIVE_STEPS: dict[Size, tuple[str, ...]] = {"full": (), "cpu": ("train.steps=250",), "testing": ()}
"""A step of theirs takes ten times that of the others."""


VAMO = replace(arms.SINGLE, name="vamo", label="VAMO", settings=(*arms.SINGLE.settings, "data.dagger_rounds=1"))
"""With a round of DAgger, as `vamo.train` has it by default."""
SPREAD = replace(
    VAMO,
    name="vamo-spread",
    label="VAMO, other budgets and targets",
    settings=(*VAMO.settings, "data.dagger_spread=2", "data.dagger_episodes=288"),
)
"""The round plays half of the logged episodes under others: for the stress tests (`other-targets/v1`)."""
LOGGED_STATES = replace(arms.SINGLE, name="logged-states", label="VAMO, logged states")
LOGGED_ACTIONS = replace(arms.SINGLE_LOGGED, label="VAMO, logged actions")


def methods(size: Size) -> Sequence[Arm]:
    """Rules, offline learners, generative baselines and ours."""
    generative = [replace(arm, settings=(*arm.settings, *_GENERATIVE_STEPS[size])) for arm in arms.generative()]
    ours = (VAMO, SPREAD, LOGGED_STATES, LOGGED_ACTIONS)
    return (*arms.RULES, arms.AUCTIONNET_LP, *arms.offline(size), *generative, *ours)


def _shared(size: Size) -> dict[str, Any]:
    """What both suites have in common: methods, training, tuning. Episodes are those of the periods, not of seeds."""
    return {
        **protocol(size, FEW_SEEDS),
        "size": size,
        "arms": tuple(methods(size)),
        "n_viewed": 0,
        "ours": (VAMO.name, SPREAD.name),
    }
