"""`demo/v2`: a task with many logs and one with few, in minutes; `vamo demo` runs it, on request with logs of yours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.families import protocol
from benchmarks.suites.spec import TRAIN_SEEDS, LogsData, MarketData, Size, Suite, Variant

ID = "demo/v2"
LOGS_ID = "demo-logs/v2"
"""The same comparison on logs in a directory. It is in no table of suites, since it needs that directory."""

MAJORITY, SCARCE = "MaxConversions", "TargetCPA"
N_SCARCE: dict[Size, int] = {"full": 24, "cpu": 24, "testing": 6}
N_HELD_OUT: dict[Size, int] = {"full": 48, "cpu": 24, "testing": 4}
"""Trajectories of the data-scarce task to train on, and validation trajectories of each task."""


def make(size: Size) -> Suite:
    """The suite at a size; "cpu" is the demo."""
    n_majority, n_impressions = {"full": (960, 50_000), "cpu": (288, 6_000), "testing": (16, 480)}[size]
    data = MarketData(
        tasks=(MAJORITY, SCARCE),
        n_train=(n_majority, N_SCARCE[size]),
        n_validation=N_HELD_OUT[size],
        n_impressions=n_impressions,
        policy="noisy-pid=2,random=1",
        log_seed=2**44,
    )
    return Suite(
        id=ID,
        title="Demo: a task with many logs and one with few",
        variants=(Variant(name="market", label="standard market", data=data),),
        **_shared(size),
    )


def from_logs(data: LogsData, size: Size) -> Suite:
    """The suite on logs of a directory."""
    return Suite(
        id=LOGS_ID,
        title="Demo on your logs: a task with many and one with few",
        variants=(Variant(name="logs", label="logs from a directory", data=data),),
        **_shared(size),
    )


def _shared(size: Size) -> dict[str, Any]:
    """What both suites have in common: methods, episodes, training."""
    settings = protocol(size)
    if size == "cpu":  # three minutes in all on 2 cores
        settings |= {
            "train_seeds": TRAIN_SEEDS[:3],
            "test": replace(settings["test"], n=48),
            "n_candidates": 6,  # as many as a policy has conditions
        }
    if size == "testing":  # the tests run it whole
        settings |= {"train_seeds": TRAIN_SEEDS[:1]}
    return {
        **settings,
        "size": size,
        "question": (
            "Does a task with few logs gain from the logs of another task, and do learned policies beat tuned rules?"
        ),
        "arms": (*arms.RULES, arms.SINGLE, arms.POOLED, arms.UNIFORM, arms.VAO, arms.DEFAULT),
        "n_viewed": 1,
        "baseline": "single",
        "ours": ("default", "vao"),
    }
