"""`other-targets/v1`: a policy under budgets and target CPAs that its logs do not have.

Written down, with its contrasts, before a run of it was made, and run once. In `auctionnet-synthetic/v3` a policy that
learned from trajectories with the advertisers' own budgets earns less than every rule once half of the budget is left.
With `data.dagger_spread` a round of DAgger plays half of the logged episodes under other budgets and targets. Here are
eight sets of periods of the preset `sparse` that no other suite has; the settings were chosen on a ninth. On each there
are two variants: `logged` is played under the advertisers' own budgets and targets; `other` under these and five more,
budgets x 0.5, 0.75, 1.25 and 1.5 and target CPA x 0.8. Training is the same in both.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.families import protocol
from benchmarks.suites.catalogue.shared.periods import synthetic
from benchmarks.suites.periods import STRESSES, TEST_PERIODS, StressTest
from benchmarks.suites.spec import Contrast, Size, Suite, Variant

ID = "other-targets/v1"

FIRST_SEED, APART = 7_100_000, 100
"""Of the first set of periods, and how far those of the next lie from it; no other suite has one of them."""
N_SETS: dict[Size, int] = {"full": 8, "cpu": 8, "testing": 2}
N_TEST: dict[Size, int] = {"full": len(TEST_PERIODS), "cpu": 3, "testing": 2}
"""Test periods of a set, all of which are played under each stress."""
N_SEEDS: dict[Size, int] = {"full": 10, "cpu": 2, "testing": 2}
"""Training seeds. Scores differ more between sets of periods."""
OTHER = tuple(test for test in STRESSES if not test.is_of_rivals)
WORLDS: dict[str, tuple[str, tuple[StressTest, ...]]] = {
    "logged": ("logged budgets and targets", ()),
    "other": ("these and others", OTHER),
}
"""Label, and under what the test periods are played beside the logged ones, by the name of the variants."""

ONCE = ("data.dagger_rounds=1", "data.dagger_episodes=288")
"""A round in all 288 training trajectories."""
VAMO = replace(arms.SINGLE, name="vamo", label="VAMO, logged states")
DAGGER = replace(arms.SINGLE, name="dagger", label="DAgger", settings=(*arms.SINGLE.settings, *ONCE))
SPREAD = replace(
    DAGGER,
    name="spread",
    label="DAgger, other budgets and targets",
    settings=(*DAGGER.settings, "data.dagger_spread=2"),
)


def _variants(size: Size) -> tuple[Variant, ...]:
    n = N_TEST[size]
    return tuple(
        Variant(
            name=f"{world}-{number}",
            label=f"periods {number}, {label}",
            group=world,
            data=synthetic(
                "sparse",
                size,
                seed=FIRST_SEED + APART * number,
                n_test=n,
                n_stressed=n,
                protocols=("market",),
                stresses=stresses,
            ),
        )
        for world, (label, stresses) in WORLDS.items()
        for number in range(N_SETS[size])
    )


def make(size: Size) -> Suite:
    """The suite at a size."""
    variants = _variants(size)

    def contrast(name: str, second: str, world: str) -> Contrast:
        where = tuple(variant.name for variant in variants if variant.group == world)
        return Contrast(name=name, first=SPREAD.name, second=second, variants=where)

    return Suite(
        id=ID,
        size=size,
        title="Other budgets and targets",
        question="What does a policy earn under budgets and targets that its logs do not have, and can it learn them?",
        variants=variants,
        arms=(
            arms.PID, arms.MPC, arms.ONLINE_LP, arms.AUCTIONNET_LP, VAMO, DAGGER, SPREAD,
        ),
        **protocol(size, N_SEEDS),
        n_viewed=0,
        ours=(SPREAD.name,),
        contrasts=(
            contrast("other-against-logged-states", VAMO.name, "other"),
            contrast("other-against-dagger", DAGGER.name, "other"),
            contrast("other-against-online-lp", arms.ONLINE_LP.name, "other"),
            contrast("logged-against-dagger", DAGGER.name, "logged"),
        ),
    )  # fmt: skip
