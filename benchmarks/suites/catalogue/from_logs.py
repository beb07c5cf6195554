"""`from-logs/v2`: learners from logs of one task, with many and with few of them, against tuned rules."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.families import FEW_SEEDS, protocol
from benchmarks.suites.spec import Contrast, MarketData, Size, Suite, Variant

ID = "from-logs/v2"


def make(size: Size) -> Suite:
    """The suite at a size."""
    tasks = ("MaxConversions", "TargetCPA")
    many, few, n_validation, n_impressions = {
        "full": (2000, 24, 96, 50_000),
        "cpu": (480, 24, 48, 4_800),
        "testing": (24, 10, 6, 480),
    }[size]
    data = MarketData(
        tasks=tasks,
        n_train=(many,) * len(tasks),
        n_validation=n_validation,
        n_impressions=n_impressions,
        policy="noisy-pid=2,random=1",
        log_seed=2**43,
    )
    return Suite(
        id=ID,
        size=size,
        title="Learning from logs",
        question="What do offline and generative learners make of one task's logs, and do they beat tuned rules?",
        variants=(
            Variant(name="many", label=f"{many} trajectories", data=data, x=float(many)),
            Variant(
                name="few",
                label=f"{few} trajectories",
                data=replace(data, n_train=(few,) * len(tasks)),
                x=float(few),
                arms=tuple(arm.name for arm in (*arms.offline(size), *arms.generative(), *_VAMO)),
            ),
        ),
        arms=(arms.FIXED, arms.PID, arms.MPC, arms.ONLINE_LP, *arms.offline(size), *arms.generative(), *_VAMO),
        **protocol(size, FEW_SEEDS),
        axis="logged trajectories",
        baseline="single",
        ours=("single",),
        contrasts=(
            Contrast(name="hindsight-optimal-actions", first="single", second="single-logged"),
            Contrast(name="against-cql", first="single", second="cql"),
            Contrast(name="cql-against-pid", first="cql", second="pid", variants=("many",)),
        ),
    )


_VAMO = (arms.SINGLE, arms.SINGLE_LOGGED)
