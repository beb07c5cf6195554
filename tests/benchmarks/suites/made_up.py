"""Results of suites that never ran, written through `Store`: all kinds of tables, with numbers that can be foretold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.suites.storage.store import EPISODES, LOSSES, RATIOS, ROWS, RUNS, WEIGHTS, Store, SuiteRecord

METHODS = {"pid": 0.8, "single": 0.85, "uniform": 0.9, "vao": 0.95}  # name -> mean share of the reference
TASKS = ("MaxConversions", "TargetCPA", "MaxClicks")
SEEDS = (11, 23)
N_TICKS = 12
STEPS = (10, 20, 30, 40)
ERROR = "ValueError: the <market> burnt down"


def write_results(
    out: Path,
    *,
    methods: Mapping[str, float] = METHODS,
    labels: Mapping[str, str] | None = None,
    variants: Mapping[str, float | None] | None = None,
    method_x: Mapping[str, float] | None = None,
    axis: str = "",
    tasks: Sequence[str] = TASKS,
    n_test: int = 8,
    n_viewed: int = 2,
    with_weights: bool = True,
    with_failure: bool = True,
    contrasts: Sequence[Mapping[str, Any]] = (),
    group: str = "",
    title: str = "Made up",
) -> Path:
    """Writes a suite's directory; the first two methods are not trained and trained, the last one is `ours`."""
    variants = {"family": None} if variants is None else variants
    names, labels = list(methods), labels or {}
    record = SuiteRecord(
        id="made-up/v1/testing",
        version=1,
        size="testing",
        title=title,
        question="Does the page show what was written?",
        tasks={name: [_task(task, k, n_test) for k, task in enumerate(tasks)] for name in variants},
        variants=[{"name": name, "label": f"variant {name}", "x": x, "group": group} for name, x in variants.items()],
        methods=[
            {
                "name": n,
                "label": labels.get(n, n.upper()),
                "kind": "vamo",
                "is_trained": k > 0,
                "x": (method_x or {}).get(n),
            }
            for k, n in enumerate(names)
        ],
        axis=axis,
        baseline=names[1],
        ours=names[-1:],
        contrasts=[dict(contrast) for contrast in contrasts],
        train_seeds=list(SEEDS),
        commit="0123abc",
        command="vamo bench run made-up/v1 --size testing",
        versions={"python": "3.11"},
    )
    store = Store(out)
    store.write_suite(record)
    for v, variant in enumerate(variants):
        for k, (method, share) in enumerate(methods.items()):
            for seed in SEEDS if k else (-1,):
                run = _Run(variant, method, seed, share + 0.01 * v, tasks, n_test)
                tables = {"rows": run.rows(), "losses": run.losses(), "episodes": run.episodes(n_viewed)}
                if with_weights and k > 1:
                    tables["weights"] = run.weights()
                store.write_run(run.id, {**tables, "runs": run.run()})
    if with_failure:
        failed = _Run(next(iter(variants)), names[-1], 97, 0.0, tasks, n_test)
        store.write_run(failed.id, {"runs": failed.run(ERROR)})
    return out


def _task(name: str, k: int, n_test: int) -> dict[str, Any]:
    return {"name": name, "n_train": 2 ** (k + 2), "n_validation": 5, "n_test": n_test}


class _Run:
    """One run's tables."""

    def __init__(self, variant: str, method: str, seed: int, share: float, tasks: Sequence[str], n_test: int) -> None:
        self.variant, self.method, self.seed, self.share = variant, method, seed, share
        self.tasks, self.n_test = list(tasks), n_test
        self.id = f"{variant}--{method}" + (f"--s{seed}" if seed >= 0 else "")
        self.rng = np.random.default_rng([ord(c) for c in self.id])

    def rows(self) -> pa.Table:
        n = len(self.tasks) * self.n_test
        unit = np.tile(np.arange(self.n_test), len(self.tasks))
        score = 2.0 * self.share * (1 + 0.1 * np.sin(unit)) * (1 + 0.02 * self.rng.normal(size=n))
        columns = {
            "suite": "made-up/v1/testing", "variant": self.variant, "method": self.method,
            "task": np.repeat(self.tasks, self.n_test), "train_seed": self.seed, "seed": 1000 + unit,
            "advertiser": unit % 3, "score_sampled": score, "score_expected": score, "objective": score, "cost": 1.0,
            **dict.fromkeys(RATIOS, np.nan), "budget_ratio": self.rng.uniform(0.9, 1.0, n), "reference": 2.0,
        }  # fmt: skip
        cpa = np.repeat([task == "TargetCPA" for task in self.tasks], self.n_test)
        columns["cpa_ratio"] = np.where(cpa, self.rng.uniform(0.8, 1.2, n), np.nan)
        return _table(ROWS, n, columns)

    def run(self, failed: str = "") -> pa.Table:
        usual = {"commit": "0123abc", "machine": "a made-up machine, 2 cores", "started": "2026-01-01T00:00:00+00:00"}
        text = {"config_hash": "0" * 16, "config": "{}", "chosen": json.dumps({}), "failed": failed}
        own = {"run_id": self.id, "suite": "made-up/v1/testing", "variant": self.variant, "method": self.method}
        numbers = {name: 1.5 for name in RUNS.names if RUNS.field(name).type == pa.float64()}
        return _table(RUNS, 1, {**own, **usual, **text, **numbers, "train_seed": self.seed, "n_steps": STEPS[-1]})

    def weights(self) -> pa.Table:
        """The weight of the own task grows with the step; it is the same for all targets."""
        n = len(self.tasks)
        parts = []
        for step in STEPS:
            own = (step / STEPS[-1]) * np.eye(n)
            weight = own + (1 - step / STEPS[-1]) / n
            columns = {
                "run_id": self.id, "step": step, "target": np.repeat(self.tasks, n), "source": np.tile(self.tasks, n),
                "weight": weight.ravel(), "alignment": (10 * own - 3).ravel(), "alignment_error": 1.0,
            }  # fmt: skip
            parts.append(_table(WEIGHTS, n * n, columns))
        return pa.concat_tables(parts)

    def losses(self) -> pa.Table:
        columns = {"run_id": self.id, "step": STEPS[0], "target": self.tasks, "validation_loss": 0.5}
        return _table(LOSSES, len(self.tasks), {**columns, "effective_sources": 2.0})

    def episodes(self, n_viewed: int) -> pa.Table:
        """Of the first training seed, like a real suite's."""
        if self.seed not in (-1, SEEDS[0]):
            return EPISODES.empty_table()
        parts = []
        for task in self.tasks:
            for unit in range(n_viewed):
                spend = self.rng.uniform(0.5, 1.5, N_TICKS)
                numbers = {name: self.rng.uniform(1, 2, N_TICKS) for name in EPISODES.names[9:]}
                columns = {
                    **numbers, **dict.fromkeys(RATIOS, np.nan), "run_id": self.id, "method": self.method,
                    "variant": self.variant, "task": task, "train_seed": self.seed, "seed": 1000 + unit,
                    "advertiser": unit % 3, "tick": np.arange(N_TICKS), "multiplier": 50.0 * spend, "base": 50.0,
                    "cost": spend, "planned_spend_share": np.arange(1, N_TICKS + 1) / N_TICKS,
                    "budget_ratio": np.cumsum(spend) / 20.0,
                }  # fmt: skip
                if task == "TargetCPA":
                    columns["cpa_ratio"] = np.concatenate([[np.inf], np.linspace(1.5, 0.9, N_TICKS - 1)])
                parts.append(_table(EPISODES, N_TICKS, columns))
        return pa.concat_tables(parts) if parts else EPISODES.empty_table()


def _table(schema: pa.Schema, n: int, columns: Mapping[str, Any]) -> pa.Table:
    """Columns in the schema's order; single values are repeated."""
    return pa.table({name: np.broadcast_to(columns[name], n) for name in schema.names}, schema=schema)
