"""Compares rules in BAT's market: `python -m benchmarks.studies.bat.comparison --out DIR`.

Every rule is tuned on the same tuning campaigns for each mechanism, with as many candidates of its search space
(`benchmarks/suites/methods/search_spaces.toml`). The chosen ones play the same other campaigns. The score is BAT's SCR,
the sum of clicks. Intervals are over campaigns, which are drawn independently. With `--campaigns` and `--stats`, BAT's
own files are played instead of the recipe's, and every fifth campaign is for tuning.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from rich.table import Table

from agents import make, rollout
from auction_env.control.bidder import Bidder
from auction_env.data.formats.table.frames import to_arrow
from auction_env.files import write_atomically
from auction_env.replay.bat.market import MECHANISMS, BatMarket, read_bat, sum_of_clicks
from auction_env.tasks import Task
from benchmarks.console import print_table, progress_bar
from benchmarks.evaluation.episodes import in_log
from benchmarks.evaluation.evaluate import evaluate
from benchmarks.evaluation.result import METRIC
from benchmarks.statistics.bootstrap import Estimate
from benchmarks.studies.bat.recipe import made_up_bat
from benchmarks.suites.methods.tuning import candidates_of, read_spaces

RULES = ("mpid", "ta-pid", "mystique", "broi", "mpc", "fixed")
"""Those of BAT, model-predictive control and a constant. Without a cost limit M-PID is a PID."""
AGAINST = "mpid"
N_CANDIDATES = 17  # of each rule: its defaults and 16 Sobol points of its search space
TASK = Task(name="clicks", objective="clicks")
TEST_SEEDS, TUNING_SEEDS = (1, 2, 3, 4), (11, 12)
PER_SEED = 60  # campaigns
_TUNED_SHARE = 5  # of own files, every fifth campaign


class Result(NamedTuple):
    """A rule in a mechanism."""

    mechanism: str
    rule: str
    chosen: dict[str, float]  # arguments; empty: the defaults
    scr: float
    share: tuple[float, float, float]  # of the best constant in hindsight: value, 95 % interval
    difference: tuple[float, float, float] | None  # of clicks a campaign, against `AGAINST`
    p_holm: float | None


def bidder_of(rule: str, arguments: Mapping[str, float]) -> Bidder:
    """The rule with these arguments; Mystique's day has 24 ticks."""
    return make(rule, **arguments, **({"ticks_a_day": 24} if rule == "mystique" else {}))


def made_up_market(seeds: Sequence[int], mechanism: str, n_campaigns: int = PER_SEED) -> BatMarket:
    """The recipe's campaigns of several seeds as one market."""
    campaigns, stats = zip(*(made_up_bat(n_campaigns, seed) for seed in seeds), strict=True)
    return read_bat(pa.concat_tables(campaigns), pa.concat_tables(stats), mechanism=mechanism)


def own_markets(campaigns: Path, stats: Path, mechanism: str) -> tuple[BatMarket, BatMarket]:
    """BAT's own files as a market for tuning, every fifth campaign, and one of the other campaigns."""
    table, rows = to_arrow(campaigns), to_arrow(stats)
    is_tuned = np.arange(table.num_rows) % _TUNED_SHARE == 0
    if table.num_rows < 2:
        raise ValueError(f"{campaigns} must hold at least 2 campaigns, one to tune on, found {table.num_rows}")
    tuning, test = (read_bat(table.filter(pa.array(mask)), rows, mechanism=mechanism) for mask in (is_tuned, ~is_tuned))
    return tuning, test


def tuned(market: BatMarket, n_candidates: int = N_CANDIDATES) -> dict[str, dict[str, float]]:
    """By rule, the candidate with the most clicks in all campaigns of a market."""
    spaces, out = read_spaces(), {}
    for rule in RULES:
        candidates = candidates_of(spaces[rule], n_candidates, 0)
        scores = [_scr(bidder_of(rule, candidate), market) for candidate in candidates]
        out[rule] = candidates[int(np.argmax(scores))]
    return out


def _scr(bidder: Bidder, market: BatMarket) -> float:
    everyone = np.arange(market.n_campaigns)
    return sum_of_clicks(rollout(bidder, seeds=everyone, advertisers=everyone, task=TASK, market=market).totals)


def compare(market: BatMarket, chosen: Mapping[str, dict[str, float]]) -> list[Result]:
    """All rules on all campaigns of a market, the best first."""
    found = evaluate(
        {rule: bidder_of(rule, chosen[rule]) for rule in RULES}, in_log(market, TASK), against=AGAINST, progress=False
    )
    shares = {summary.method: summary.share for summary in found.summaries}
    against = {comparison.method: comparison for comparison in found.comparisons}
    out = []
    for rule in RULES:
        scr = float(found.rows[METRIC][found.rows["method"] == rule].sum())
        other = against.get(rule)
        difference = None if other is None else _bounds(other.difference)
        p_holm = None if other is None else other.p_holm
        out.append(Result(market.mechanism, rule, chosen[rule], scr, _bounds(shares[rule]), difference, p_holm))
    return sorted(out, key=lambda result: -result.scr)


def _bounds(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def table(results: Sequence[Result], n_campaigns: int) -> Table:
    """A row a mechanism and rule."""
    out = Table(title=f"{n_campaigns} campaigns; 95 % intervals over campaigns")
    for name in ("mechanism", "rule", "SCR", "share of the best constant"):
        out.add_column(name, justify="left" if name in ("mechanism", "rule") else "right")
    out.add_column(f"clicks a campaign, minus {AGAINST}", justify="right")
    out.add_column("p (Holm)", justify="right")
    for result in results:
        out.add_row(
            result.mechanism,
            result.rule,
            f"{result.scr:,.0f}",
            _text(result.share, ".3f"),
            "" if result.difference is None else _text(result.difference, "+.2f"),
            "" if result.p_holm is None else f"{result.p_holm:.3f}",
        )
    return out


def _text(bounds: tuple[float, float, float], form: str) -> str:
    value, low, high = (format(number, form) for number in bounds)
    return f"{value} [{low}, {high}]"


def main(argv: Sequence[str] | None = None) -> None:
    """Tunes, plays, prints the table and writes bat.json into DIR."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--per-seed", type=int, default=PER_SEED, help="made-up campaigns of a seed; default: %(default)s"
    )
    parser.add_argument("--candidates", type=int, default=N_CANDIDATES, help="of each rule; default: %(default)s")
    parser.add_argument("--campaigns", type=Path, help="BAT's campaigns.csv, in place of made-up ones")
    parser.add_argument("--stats", type=Path, help="BAT's stats.csv")
    parser.add_argument("--mechanisms", nargs="+", default=list(MECHANISMS), metavar="NAME")
    arguments = parser.parse_args(argv)
    if (arguments.campaigns is None) != (arguments.stats is None):
        parser.error("give both `--campaigns` and `--stats`, or neither")
    results, n_campaigns = list[Result](), 0
    with progress_bar("comparing", 2 * len(arguments.mechanisms), None) as bar:
        for mechanism in arguments.mechanisms:
            if arguments.campaigns is not None:
                tuning, test = own_markets(arguments.campaigns, arguments.stats, mechanism)
            else:
                tuning, test = (
                    made_up_market(seeds, mechanism, arguments.per_seed) for seeds in (TUNING_SEEDS, TEST_SEEDS)
                )
            chosen = tuned(tuning, arguments.candidates)
            bar.advance(1)
            results += compare(test, chosen)
            n_campaigns = test.n_campaigns
            bar.advance(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    record = {"n_campaigns": n_campaigns, "results": [result._asdict() for result in results]}
    write_atomically(arguments.out / "bat.json", (json.dumps(record, indent=1) + "\n").encode())
    print_table(table(results, n_campaigns))


if __name__ == "__main__":
    main()
