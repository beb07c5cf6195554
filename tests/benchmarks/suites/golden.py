"""Golden rows: a tiny market, log, training and rollout of every package, compared with the committed `golden.json`.

`python -m tests.benchmarks.suites.golden` writes the file anew. It refuses where numbers of a package moved and its
version in `benchmarks.suites.numbers` did not.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agents import FixedBidder, HindsightBidder, make, parse_harms, rollout
from agents.registry import BUILT_IN
from auction_env import TASKS, MarketParams
from auction_env.files import write_atomically
from auction_env.market.funnel import Funnel
from benchmarks.suites.catalogue.shared.arms import PID, shared
from benchmarks.suites.data.family import family_of
from benchmarks.suites.data.opening import open_variant
from benchmarks.suites.numbers import NUMBERS, Package
from benchmarks.suites.running.run import Tables, execute
from benchmarks.suites.spec import Arm, FamilyData, Seeds, Suite, Variant
from tests.benchmarks.suites.tiny import jobs_of

FILE = Path(__file__).with_name("golden.json")
VERSIONS = "versions"

EXACT, TRAINED, PLAYED = "exact", "trained", "played"
TOLERANCE = {EXACT: 1e-6, TRAINED: 2e-3, PLAYED: 1e-2}
"""Relative, by what a number is: what is counted in double precision differs between processors by the last digits of
exp and log; what is trained in single precision by the order of sums; what a trained policy plays by an auction that is
won in one place and lost in the other."""

Numbers = dict[str, dict[str, list[float]]]
"""Package -> "kind: what" -> numbers."""

DATA = FamilyData(
    n_tasks=3, seed=3, shift=0.5, most=12, fewest=8, n_groups=2, n_impressions=240, n_collected=3, n_validation=3,
    n_scored=2, harms="delay=0.5@0.5",
)  # fmt: skip
TRAINING = (
    "train.steps=6",
    "train.log_every=3",
    "train.batch_size=32",
    "train.warmup_steps=1",
    "train.evaluation_windows=8",
)
LEARNERS: dict[str, tuple[Package, Arm]] = {
    "bc": ("agents", Arm(name="bc", label="", method="offline", settings=("algo=bc", "steps=6"))),
    "vao": ("vamo", shared("vao", "", "train.method=vao", "weighting.refresh_every=2")),
    "uniform": ("vamo", shared("uniform", "", "train.method=uniform")),
    "dt": ("vamo", Arm(name="dt", label="", method="generative", settings=("algo=dt",))),
    "pid": ("benchmarks", PID),
}
"""What is trained or tuned, and the package whose part it is first of all."""


def suite() -> Suite:
    """A suite of these learners with the packaged defaults."""
    return Suite(
        id="golden/v1",
        size="testing",
        title="Golden rows",
        question="Did the numbers move?",
        variants=(Variant(name="family", label="", data=DATA),),
        arms=tuple(arm for _, arm in LEARNERS.values()),
        validation=Seeds(first=100, n=2),
        test=Seeds(first=200, n=2),
        train_seeds=(7,),
        training=TRAINING,
        n_candidates=2,
        n_viewed=0,
    )


def measure(cache: Path) -> Numbers:
    """All numbers, of every package."""
    found: Numbers = {package: {} for package in NUMBERS}
    found["auction_env"] = _market()
    found["agents"] = _agents(cache)
    for job in jobs_of(suite(), cache):
        package, _ = LEARNERS[job.run.arm.name]
        tables = execute(job)
        error = tables["runs"]["failed"][0].as_py()
        if error:
            raise RuntimeError(f"{job.run.arm.name}: {error}")
        found[package] |= _of_run(job.run.arm.name, tables)
    return found


def _market() -> dict[str, list[float]]:
    """Episodes of a constant, by task: what was won, paid and converted."""
    out = {}
    for name in ("MaxConversions", "TargetROAS"):
        played = rollout(FixedBidder(0.8), seeds=[1, 2], advertisers=[0, 5], task=TASKS[name], params=_params())
        columns = ("cost", "wins", "exposures", "conversions", "expected_conversions", "gmv")
        out |= {f"{EXACT}: {name} {column}": played.total(column).tolist() for column in columns}
    return out


def _params() -> MarketParams:
    return MarketParams(n_impressions=9_600, funnel=Funnel())


def _agents(cache: Path) -> dict[str, list[float]]:
    """Rules with their defaults, the best constant multiplier, the logs of a family and their truth."""
    task, out = TASKS["TargetCPA"], {}
    episodes: dict[str, Any] = {"seeds": [1, 2], "advertisers": [0, 5], "task": task, "params": _params()}
    bidders = {entry.name: make(entry.name) for entry in BUILT_IN if entry.kind == "rule"}
    bidders["hindsight"] = HindsightBidder()
    for name, bidder in bidders.items():
        out[f"{EXACT}: {name}"] = rollout(bidder, **episodes).score(expected=True).tolist()
    data = open_variant(suite().variants[0], suite(), cache)
    for part, logs in zip(("training", "validation"), data.load_logs(), strict=True):
        for name, log in logs.items():
            out[f"{EXACT}: {part} {name}"] = [float(log[column].sum()) for column in ("cost", "action", "conversions")]
    for name in family_of(DATA).names:
        log = data.load_logs()[0][name]
        assert data.is_sound is not None and parse_harms(DATA.harms)
        out[f"{EXACT}: sound {name}"] = data.is_sound(name, log).astype(float).tolist()
    return out


def _of_run(name: str, tables: Tables) -> dict[str, list[float]]:
    rows = tables["rows"]
    kind = EXACT if name == "pid" else PLAYED
    out = {f"{kind}: {name} score": rows["score_expected"].to_pylist()}
    if "losses" in tables:
        out[f"{TRAINED}: {name} loss"] = tables["losses"]["validation_loss"].to_pylist()
        out[f"{TRAINED}: {name} weight"] = tables["weights"]["weight"].to_pylist()
    return out


def moved(old: Mapping[str, Mapping[str, list[float]]], new: Numbers) -> dict[str, list[str]]:
    """By package, what is absent on one side, of another length, or differs by more than the tolerance of its kind."""
    out: dict[str, list[str]] = {}
    for package in new:
        before, after = old.get(package, {}), new[package]
        for what in sorted(before.keys() | after.keys()):
            tolerance = TOLERANCE[what.partition(":")[0]]
            a, b = (np.asarray(part.get(what, []), np.float64) for part in (before, after))
            if a.shape != b.shape or not np.allclose(a, b, rtol=tolerance, atol=tolerance * 1e-3, equal_nan=True):
                out.setdefault(package, []).append(what)
    return out


def read() -> dict[str, Any]:
    """The committed file: the numbers of each package, and under "versions" what they were made with."""
    record: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return record


def write(new: Numbers) -> None:
    """Writes the file; ValueError where numbers moved and the version of their package did not.

    Numbers that are new, such as those of another rule, have not moved.
    """
    if FILE.exists():
        old = read()
        for package, found in moved(old, new).items():
            names = [name for name in found if name in old.get(package, {})]
            if names and old[VERSIONS][package] == NUMBERS[package]:  # type: ignore[index]  # a package's name
                raise ValueError(
                    f"the version of {package!r} in benchmarks/suites/numbers.py must be above"
                    f" {old[VERSIONS][package]}, since these moved: {names}"
                )
    write_atomically(FILE, (json.dumps({VERSIONS: NUMBERS, **new}, indent=1) + "\n").encode())


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(measure(Path(folder)))
    sys.stdout.write(f"{FILE}\n")


if __name__ == "__main__":
    main()
