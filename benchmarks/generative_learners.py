"""Compares the generative baselines, `vamo` and rules on small logs of single tasks.

    python -m benchmarks.generative_learners --out runs/generative [--methods dt gas] [--tasks TargetCPA] [--seeds 3]

Every policy has six candidates on the same validation episodes: points of `generative_spaces.toml`, drawn by the
shared tuner and recorded, or the grids of `benchmarks.experiment` (PID and `vamo`). Test episodes are fresh and the
same for all. Each run is a file under --out, and what is there is not computed again.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents import Bidder, Episodes, HindsightBidder, NoisyBidder, PidBidder, collect, rollout
from agents.bidder import Campaigns, TickView
from auction_env import MarketParams, auctionnet_population
from auction_env.data import TrajectoryData
from auction_env.files import write_atomically
from auction_env.tasks import TASKS, Task
from benchmarks.console import console, progress_bar
from benchmarks.experiment import PID, EpisodeSet, asked_candidates, pid_candidates
from benchmarks.runner import Rows, concatenate, result_rows
from benchmarks.statistics import as_table, compare, summarise
from benchmarks.tuning import choose, read_spaces, tune
from vamo import Config, Record, override, split, train
from vamo.baselines import ALGORITHMS, read, save_baseline, train_baseline

SPACES = Path(__file__).with_name("generative_spaces.toml")
N_CANDIDATES = 6
LOGS, VAMO = "logging policy", "vamo (hindsight)"
RULES = (PID, LOGS)
LABELS = (*RULES, *ALGORITHMS, VAMO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is computed."""

    periods: int  # logged, of 48 trajectories each
    impressions: int
    episodes: int  # for tuning, and again for the test
    steps: int
    batch: int  # windows of a step

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"`{field.name}` must be at least 1, found {getattr(self, field.name)}")


class Timed:
    """A bidder that measures its decisions."""

    def __init__(self, bidder: Bidder) -> None:
        self._bidder, self.name = bidder, bidder.name
        self.seconds: list[float] = []

    def reset(self, campaigns: Campaigns) -> None:
        """As the bidder."""
        self._bidder.reset(campaigns)

    def act(self, view: TickView) -> NDArray[np.float64]:
        """As the bidder, on the clock."""
        start = time.perf_counter()
        out = self._bidder.act(view)
        self.seconds.append(time.perf_counter() - start)
        return out


class Ground:
    """Market, logs and episodes of one task; logs and reference are computed when they are first needed."""

    def __init__(self, task: Task, sizes: Sizes) -> None:
        self.task, self.sizes = task, sizes
        self.market: dict[str, Any] = {
            "task": task,
            "params": dataclasses.replace(MarketParams.for_task(task), n_impressions=sizes.impressions),
            "population": auctionnet_population(),
        }
        n = self.market["population"].n_advertisers
        self.validation, self.test = (
            EpisodeSet.draw(sizes.episodes, first_seed=first, n_advertisers=n) for first in (100_000, 200_000)
        )

    @functools.cached_property
    def logs(self) -> TrajectoryData:
        """What all policies learn from."""
        return TrajectoryData.concat(list(collect(logging_policy(), seeds=range(self.sizes.periods), **self.market)))

    @functools.cached_property
    def reference(self) -> Episodes:
        """The test episodes with the best constant in hindsight."""
        market = {key: value for key, value in self.market.items() if key != "task"}
        return self.play(HindsightBidder(self.task, expected=True, **market))

    def play(self, bidder: Bidder) -> Episodes:
        """The test episodes."""
        return rollout(bidder, seeds=self.test.seeds, advertisers=self.test.advertisers, **self.market)

    def choose(self, candidates: list[Bidder]) -> tuple[Bidder, dict[str, Any]]:
        """The best candidate on the validation episodes, and the record of the choice."""
        choice = choose(candidates, seeds=self.validation.seeds, advertisers=self.validation.advertisers, **self.market)
        scores = choice.scores.mean(axis=1).tolist()
        return choice.bidder, {"chosen": choice.position, "scores": scores, "stability": choice.stability}


def logging_policy() -> Bidder:
    """Who made the logs."""
    return NoisyBidder(PidBidder(), name=LOGS)


def learned(
    ground: Ground, label: str, seed: int, path: Path, tell: Callable[[Record], None]
) -> tuple[Bidder, dict[str, Any], float]:
    """A trained and tuned policy, the record of its tuning, and the seconds that the training took."""
    training, validation = split({ground.task.name: ground.logs})
    sizes = ground.sizes
    common = [f"train.seed={seed}", f"train.steps={sizes.steps}"]
    start = time.perf_counter()
    if label == VAMO:
        config = override(Config(), ["train.method=single", f"train.batch_size={sizes.batch}", *common])
        agent = train(training, validation, config, name=label, callback=tell).bidder
        seconds = time.perf_counter() - start
        return *ground.choose(asked_candidates(agent)), seconds
    # the planner's windows are whole days, six times as long as the others'
    batch = max(sizes.batch // 2, 1) if label == "diffbid" else sizes.batch
    settings = read(label, [f"train.batch_size={batch}", *common])
    name = ground.task.name
    bidder = train_baseline(training[name], validation[name], settings, callback=tell)
    seconds = time.perf_counter() - start
    save_baseline(path, bidder)
    best, tuning = tune(
        label,
        read_spaces(SPACES)[label],
        n_candidates=N_CANDIDATES,
        seed=0,
        seeds=ground.validation.seeds,
        advertisers=ground.validation.advertisers,
        fixed={"path": str(path)},
        **ground.market,
    )
    return best, dataclasses.asdict(tuning), seconds


def run(ground: Ground, label: str, seed: int, stem: Path, tell: Callable[[Record], None]) -> dict[str, Any]:
    """Trains, tunes and tests one policy; rows, cost and tuning as JSON values."""
    seconds, bidder = 0.0, logging_policy()
    tuning: dict[str, Any] = {}
    if label == PID:
        bidder, tuning = ground.choose(pid_candidates())
    elif label != LOGS:
        bidder, tuning, seconds = learned(ground, label, seed, stem.with_suffix(".safetensors"), tell)
    timed = Timed(bidder)
    played = ground.play(timed)
    rows = result_rows({label: played}, ground.reference, suite="generative", train_seed=seed)
    return {
        "sizes": dataclasses.asdict(ground.sizes),
        "task": ground.task.name,
        "method": label,
        "train_s": seconds,
        "tick_ms": 1000 * float(np.median(timed.seconds)),
        "tuning": tuning,
        "rows": {name: column.tolist() for name, column in rows.items()},
    }


def compute(tasks: Sequence[str], labels: Sequence[str], n_seeds: int, sizes: Sizes, out: Path) -> list[dict[str, Any]]:
    """The records of all runs; those that are under `out` are read.

    Raises:
        ValueError: A record there is of other sizes.
    """
    out.mkdir(parents=True, exist_ok=True)
    runs = [(task, label, seed) for task in tasks for label in labels for seed in _seeds(label, n_seeds)]
    grounds = {name: Ground(TASKS[name], sizes) for name in tasks}
    records = []
    with progress_bar("runs", len(runs), None, label_width=5) as bar:
        for task, label, seed in runs:
            stem = out / f"{task}-{label.split()[0]}-{max(seed, 0)}"
            path = stem.with_suffix(".json")
            if not path.exists():
                bar.note(f"{task} {label} {seed}")

                def tell(record: Record, what: str = f"{task} {label} {seed}") -> None:
                    bar.note(f"{what}: step {record.step} of {sizes.steps}")

                found = run(grounds[task], label, seed, stem, tell)
                write_atomically(path, json.dumps(found).encode())
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["sizes"] != dataclasses.asdict(sizes):
                raise ValueError(f"{path} must be of sizes {dataclasses.asdict(sizes)}, found {record['sizes']}")
            records.append(record)
            share = np.sum(record["rows"]["score_expected"]) / np.sum(record["rows"]["reference"])
            console.print(f"{task} {label} seed {seed}: share {share:.3f}, training {record['train_s']:.0f} s")
            bar.advance(1)
    return records


def _seeds(label: str, n_seeds: int) -> range:
    return range(-1, 0) if label in RULES else range(n_seeds)  # -1: not trained


def report(records: Sequence[dict[str, Any]], out: Path) -> None:
    """Prints shares of the hindsight constant with 95 % intervals and costs; writes them to `summary.json`."""
    parts: list[Rows] = [{name: np.array(c) for name, c in record["rows"].items()} for record in records]
    rows = concatenate(parts)
    summaries = summarise(rows, "score_expected")
    comparisons = compare(rows, [PID], "score_expected") if PID in rows["method"] else ()
    for line in summaries:
        mine = [r for r in records if r["method"] == line.method and line.task in (None, r["task"])]
        train_s, tick_ms = (np.mean([r[key] for r in mine]) for key in ("train_s", "tick_ms"))
        share = line.share
        console.print(
            f"{line.task or 'all':16} {line.method:18} share {share.value:.3f} [{share.low:.3f}, {share.high:.3f}] "
            f"training {train_s:5.1f} s  decision of 16 campaigns {tick_ms:6.2f} ms",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    record = {"summaries": as_table(summaries), "comparisons": as_table(comparisons)}
    write_atomically(out / "summary.json", json.dumps(record, indent=1).encode())


def main(argv: Sequence[str] | None = None) -> None:
    """Computes what is missing and prints the comparison."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generative_learners", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a file for each run")
    parser.add_argument("--tasks", nargs="+", default=["MaxConversions", "TargetCPA"], choices=sorted(TASKS))
    parser.add_argument("--methods", nargs="+", default=list(LABELS), choices=LABELS)
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="training seeds; default: %(default)s")
    defaults = Sizes(periods=10, impressions=5_000, episodes=32, steps=300, batch=64)
    for field in dataclasses.fields(Sizes):
        value = getattr(defaults, field.name)
        parser.add_argument(f"--{field.name}", type=int, default=value, metavar="N", help="default: %(default)s")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)  # models this small are slower with more
    sizes = Sizes(**{field.name: getattr(given, field.name) for field in dataclasses.fields(Sizes)})
    report(compute(given.tasks, given.methods, given.seeds, sizes, given.out), given.out)


if __name__ == "__main__":
    main()
