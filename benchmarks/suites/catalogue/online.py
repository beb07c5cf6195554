"""`online/v2`: rules and learned agents on one leaderboard: against scripts, against rules, against themselves."""

from __future__ import annotations

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.families import FEW_SEEDS, protocol
from benchmarks.suites.spec import Condition, Contrast, MarketData, Size, Suite, Variant

ID = "online/v2"


def make(size: Size) -> Suite:
    """The suite at a size."""
    n_train, n_validation, n_impressions = {
        "full": ((2000, 500, 100), 96, 50_000),
        "cpu": ((480, 144, 48), 48, 4_800),
        "testing": ((24, 12, 8), 6, 480),
    }[size]
    data = MarketData(
        tasks=("MaxConversions", "TargetCPA", "TargetROAS"),
        n_train=n_train,
        n_validation=n_validation,
        n_impressions=n_impressions,
        policy="noisy-pid=2,random=1",
        log_seed=2**42,
        conditions=(
            Condition(name="scripts"),
            Condition(name="rules", competitors="rules"),
            Condition(name="self-play", competitors="self"),
        ),
    )
    return Suite(
        id=ID,
        size=size,
        title="Live leaderboard",
        question="Who wins against live competitors, against rules, and against copies of itself?",
        variants=(Variant(name="market", label="standard market", data=data),),
        arms=(
            *arms.RULES,
            *arms.sb3(size),
            *arms.offline(size, "bc", "iql", "cql"),
            *arms.generative(*arms.ONE_PASS),
            arms.SINGLE,
            arms.UNIFORM,
            arms.VAO,
            arms.INTEGRAL,
            arms.DEFAULT,
        ),
        **protocol(size, FEW_SEEDS),
        ours=("default", "integral", "vao"),
        contrasts=(
            Contrast(name="default-against-online-lp", first="default", second="online-lp"),
            Contrast(name="default-against-sac", first="default", second="sac"),
        ),
    )
