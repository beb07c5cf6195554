"""`shift/v2`: train on days 1..8, validate on day 9, test on later, drifting days, with other competitors."""

from __future__ import annotations

from dataclasses import replace

from auction_env.market.params import Drift
from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.families import FEW_SEEDS, protocol
from benchmarks.suites.spec import Condition, Contrast, MarketData, Size, Suite, Variant

ID = "shift/v2"

DRIFT = Drift(value=-0.02, volume=0.02, value_walk=0.05, volume_walk=0.05, seed=9)
CONDITIONS = (
    Condition(name="day 9", days=(9,)),
    Condition(name="days 10-12", days=(10, 11, 12)),
    Condition(name="days 18-20", days=(18, 19, 20)),
    Condition(name="days 28-30", days=(28, 29, 30)),
    Condition(name="days 28-30, other competitors", days=(28, 29, 30), competitors="mixed"),
)


def _data(size: Size) -> MarketData:
    n_train, n_validation, n_impressions = {
        "full": ((2000, 200, 40), 96, 50_000),
        "cpu": ((600, 96, 24), 48, 4_800),
        "testing": ((24, 12, 6), 6, 480),
    }[size]
    return MarketData(
        tasks=("MaxConversions", "TargetCPA", "TargetROAS"),
        n_train=n_train,
        n_validation=n_validation,
        n_impressions=n_impressions,
        policy="noisy-pid=2,random=1",
        log_seed=2**41,
        drift=DRIFT,
        n_days=31,
        train_days=tuple(range(1, 9)),
        validation_days=(9,),
        conditions=CONDITIONS if size != "testing" else (CONDITIONS[0], CONDITIONS[-1]),
    )


def make(size: Size) -> Suite:
    """The suite at a size."""
    next_day = _data(size)
    return Suite(
        id=ID,
        size=size,
        title="Drift and changing competitors",
        question="Do the weights, and the ranking, hold when days drift and competitors change? Which days validate?",
        variants=(
            Variant(name="next-day", label="validation on the day after the logs", data=next_day),
            Variant(
                name="same-days",
                label="validation on the days of the logs",
                data=replace(next_day, validation_days=next_day.train_days),
            ),
        ),
        arms=(
            arms.PID,
            arms.MPC,
            arms.SINGLE,
            arms.POOLED,
            arms.UNIFORM,
            arms.VAO_TRAINING,
            arms.VAO,
            arms.INTEGRAL,
            arms.DEFAULT,
        ),
        **protocol(size, FEW_SEEDS),
        n_viewed=0 if size == "testing" else 1,
        baseline="single",
        ours=("default", "integral", "vao"),
        contrasts=(
            Contrast(name="default-against-mpc", first="default", second="mpc"),
            Contrast(name="default-against-single", first="default", second="single"),
            Contrast(name="default-against-pooled", first="default", second="pooled"),
        ),
    )
