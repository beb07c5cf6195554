"""A suite and a method of your own: `vamo bench run examples/extend_suite.py:SUITE`, in a minute."""

from __future__ import annotations

from pathlib import Path

from agents import FixedBidder
from benchmarks.suites.catalogue.shared.arms import PID, shared
from benchmarks.suites.methods.fitting import Fitted, Setting
from benchmarks.suites.running.suite import run_suite
from benchmarks.suites.spec import Arm, MarketData, Seeds, Suite, Variant

DATA = MarketData(
    tasks=("MaxConversions", "TargetCPA"), n_train=(48, 8), n_validation=8, n_impressions=1_000,
    policy="noisy-pid=2,random=1", log_seed=10_000,
)  # fmt: skip


def fit_worth(setting: Setting) -> Fitted:
    """Bids `ratio` times what a unit is worth, whatever the logs say."""
    return Fitted(bidders={task: FixedBidder(float(setting.option("ratio"))) for task in setting.targets})


OWN = Arm(name="worth", label="half the worth", method="extend_suite:fit_worth", settings=("ratio=0.5",))
VAO = shared("vao-above-mean", "VAO, my weighting", "train.method=vao", "weighting.kind=extend_weighting:AboveMean")
SUITE = Suite(
    id="own/v1", size="testing", title="A suite of my own", question="Is half the worth a better bid than PID's?",
    variants=(Variant(name="market", label="standard market", data=DATA),), arms=(PID, OWN, VAO),
    validation=Seeds(first=20_000, n=4), test=Seeds(first=30_000, n=8), train_seeds=(11,), training=("train.steps=20",),
)  # fmt: skip


def main() -> None:
    outcome = run_suite(SUITE, Path("runs/own"), n_workers=1)
    print(f"{outcome.n_runs} runs, failed: {outcome.failed}")


if __name__ == "__main__":
    main()
