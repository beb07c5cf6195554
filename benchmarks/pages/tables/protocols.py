"""Tables of suites on AuctionNet's periods: protocols beside each other, their agreement, and stress."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.pages.tables.cells import Cells, estimate
from benchmarks.statistics.agreement import Agreement, agreement
from benchmarks.statistics.analysis import SAMPLED, VariantAnalysis
from benchmarks.statistics.bootstrap import Estimate, mean
from benchmarks.statistics.pairing import Paired, pair
from benchmarks.suites.catalogue.auctionnet import ID
from benchmarks.suites.periods import PROTOCOLS, STRESSES, name_of_test
from benchmarks.suites.storage.store import SuiteRecord

BUDGETS = ("budget x 0.5", "budget x 0.75", "", "budget x 1.25", "budget x 1.5")
PUBLISHED: dict[str, tuple[float, ...]] = {
    "DiffBid": (9.9, 15.4, 19.5, 25.3, 30.8),
    "CQL": (12.8, 16.7, 22.2, 28.6, 35.8),
    "IQL": (16.5, 22.1, 30.0, 37.1, 43.1),
    "DT": (14.8, 22.9, 29.6, 34.3, 44.5),
    "GAS": (18.4, 27.5, 36.1, 40.0, 46.5),
    "GAVE": (19.6, 28.3, 37.2, 42.7, 47.4),
    "GRAD": (20.0, 28.5, 37.4, 43.2, 47.5),
    "DBM-Bid": (20.0, 28.1, 36.8, 42.6, 48.5),
}
"""Scores at `BUDGETS` of sparse periods as the README of DBM-Bid has them, several of them copied from papers."""


def protocol_cells(record: SuiteRecord, analysis: VariantAnalysis, variant: str) -> Iterator[Cells]:
    """The tables of a variant; none where its tests are of no protocol."""
    tests = [name for name in PROTOCOLS if name in analysis.tasks]
    truth = next((name for name in ("market", "live-rivals") if name in tests), None)
    if truth is None or len(tests) < 2 or len(analysis.methods) < 2:
        return
    found = [agreement(analysis.paired, analysis.draws, name, truth) for name in tests if name != truth]
    yield _scores(record, analysis, variant, truth, found)
    yield _agreement(record, analysis, variant, truth, found)
    for protocol in ("fixed-prices", truth):
        yield from _stress(record, analysis, variant, protocol)


def _scores(record: SuiteRecord, analysis: VariantAnalysis, variant: str, truth: str, found: list[Agreement]) -> Cells:
    rows, tests = [], analysis.tasks
    for method in analysis.methods:
        cells = [estimate(mean(analysis.paired, method, analysis.draws, truth), 3)]
        for of_protocol in found:
            score = mean(analysis.paired, method, analysis.draws, of_protocol.protocol).value
            cells.append(f"{score:.3f} ({_percent(of_protocol.bias[method])})")
        rows.append((record.labels.get(method, method), *cells))
    return Cells(
        kind="protocols",
        title=f"{record.title} ({record.id}): {variant}, scores by protocol",
        header=("method", truth, *(f"{part.protocol} (over {truth})" for part in found)),
        rows=tuple(rows),
        notes=(
            _basis(analysis, truth),
            *(f"{name}: {what}." for name, what in PROTOCOLS.items() if name in tests),
        ),
    )


def _agreement(
    record: SuiteRecord, analysis: VariantAnalysis, variant: str, truth: str, found: list[Agreement]
) -> Cells:
    rows = tuple(
        (
            part.protocol,
            _percent(part.mean_bias),
            estimate(part.rank_correlation, 2),
            estimate(part.ordered_alike, 2),
            record.labels.get(part.first, part.first),
            _percent(part.loss, sign=""),
        )
        for part in found
    )
    return Cells(
        kind="protocols",
        title=f"{record.title} ({record.id}): {variant}, agreement with {truth}",
        header=("protocol", "bias", "rank correlation", "pairs ordered alike", "first method", "loss of choosing it"),
        rows=rows,
        notes=(
            f"Over {len(analysis.methods)} methods, with 95 % intervals over periods, advertisers, training seeds.",
        ),
    )


def _stress(record: SuiteRecord, analysis: VariantAnalysis, variant: str, protocol: str) -> Iterator[Cells]:
    """Scores under a protocol by stress, on the episodes that are played under stress.

    On a user's periods sampled scores, as published ones are; elsewhere those of the other tables.
    """
    columns = [stress for stress in (*BUDGETS, *(test.name for test in STRESSES if test.name not in BUDGETS))]
    columns = [stress for stress in columns if name_of_test(protocol, stress) in analysis.tasks]
    if len(columns) < 2:
        return
    is_of_user = record.id.startswith(ID) and record.size != "testing"
    paired = pair(analysis.rows, SAMPLED) if is_of_user else analysis.paired
    stressed = paired.units[paired.task_indices(name_of_test(protocol, columns[0]))[0]]
    rows = [
        (record.labels.get(method, method), *(f"{_score(paired, method, protocol, s, stressed):.3f}" for s in columns))
        for method in analysis.methods
    ]
    notes = [f"Means of {len(stressed)} episodes an entry; the plain column is of the same episodes."]
    if is_of_user and protocol == "fixed-prices" and columns[: len(BUDGETS)] == list(BUDGETS):
        blank = ("-",) * (len(columns) - len(BUDGETS))
        rows += [(f"published: {name}", *(f"{x:.1f}" for x in scores), *blank) for name, scores in PUBLISHED.items()]
        notes.append("Published: the README of DBM-Bid, sparse periods of full size; no intervals, no seeds.")
    yield Cells(
        kind="protocols",
        title=f"{record.title} ({record.id}): {variant}, {paired.metric.replace('_', ' ')} under stress, {protocol}",
        header=("method", *(stress or "plain" for stress in columns)),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _score(paired: Paired, method: str, protocol: str, stress: str, episodes: np.ndarray) -> float:
    """Mean over some of the episodes of a test."""
    k = paired.task_indices(name_of_test(protocol, stress))[0]
    wanted = {tuple(episode) for episode in episodes.tolist()}
    columns = [i for i, episode in enumerate(paired.units[k].tolist()) if tuple(episode) in wanted]
    return float(paired.of(method)[k][:, columns].mean())


def _basis(analysis: VariantAnalysis, truth: str) -> str:
    episodes = analysis.paired.units[analysis.paired.task_indices(truth)[0]]
    n_periods, n_advertisers = (len(np.unique(column)) for column in episodes.T)
    return (
        f"Mean expected scores, with 95 % intervals, of {n_advertisers} advertisers in {n_periods} period(s); in"
        f" brackets how far a protocol is above {truth}."
    )


def _percent(found: Estimate, sign: str = "+") -> str:
    return f"{found.value:{sign}.0%} [{found.low:{sign}.0%}, {found.high:{sign}.0%}]"
