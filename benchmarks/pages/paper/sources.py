"""Finds the published suites and the methods in them that the paper's tables are made of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.statistics.analysis import VariantAnalysis, analyse
from benchmarks.statistics.bootstrap import Bootstrap
from benchmarks.suites.catalogue import SUITES
from benchmarks.suites.spec import SIZES
from benchmarks.suites.storage.store import SUITE_FILE, Store, SuiteRecord

Settings = frozenset[str]
"""What distinguishes a method: "key=value" of `vamo.Config`, each key once, and "logs=..." where it has other logs."""
PAPER_BACKBONE = frozenset({"model.backbone=transformer", "model.conditioning=film"})
"""Settings that a method of the paper may have or leave out, as the defaults are."""
LOGGED = "data.action_label=logged"
"""Setting of the methods that learn logged actions; without it they learn hindsight-optimal ones."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A published suite.

    Attributes:
        directory: Of its results.
        record: What was run.
        bootstrap: How intervals are computed.
    """

    directory: Path
    record: SuiteRecord
    bootstrap: Bootstrap | None = None

    @cached_property
    def variants(self) -> dict[str, VariantAnalysis]:
        """Statistics by variant, each computed when it is first read."""
        return analyse(Store(self.directory), bootstrap=self.bootstrap)

    @property
    def first(self) -> VariantAnalysis:
        """The first variant."""
        return next(iter(self.variants.values()))

    @cached_property
    def runs(self) -> list[dict[str, Any]]:
        """Runs that did not fail."""
        found: list[dict[str, Any]] = Store(self.directory).runs().to_pylist()
        return [run for run in found if not run["failed"]]

    @cached_property
    def settings(self) -> dict[str, Settings]:
        """By method of this library's, its settings."""
        out = {}
        for run in self.runs:
            arm = json.loads(run["config"]).get("arm", {})
            if arm.get("method") in ("vamo", "vamo-each"):
                own = dict(setting.split("=", 1) for setting in arm["settings"])  # of a key twice the last counts
                own |= {"logs": arm["logs"]} if arm.get("logs", "training") != "training" else {}
                out[run["method"]] = frozenset(f"{key}={value}" for key, value in own.items())
        return out

    def method(self, *settings: str) -> str | None:
        """Name of the method with these settings and no others but the paper's backbone; None without rows of it."""
        wanted, present = frozenset(settings), [name for name in self.settings if name in self.first.methods]
        exact = [name for name in present if self.settings[name] == wanted]
        others = [name for name in present if self.settings[name] - PAPER_BACKBONE == wanted]
        return next(iter([*exact, *others]), None)

    def label(self, method: str) -> str:
        """Of a method, for people."""
        return self.record.labels.get(method, method)

    @property
    def origin(self) -> str:
        """A sentence: suite with a link to its page where it has one, training seeds, commit."""
        commits = sorted({run["commit"] for run in self.runs})
        code = f"commit {commits[0]}" if len(commits) == 1 else f"made by {len(commits)} commits"
        suite, n = self.record.id.removesuffix(f"/{self.record.size}"), len(self.record.train_seeds)
        name = f"`{self.record.id}`"
        if suite in SUITES:
            name = f"[{name}](suites/{suite.replace('/', '-')}.md)"
        return f"Rows: {name}, {n} training seeds, {code}."


def sources(results: Path, bootstrap: Bootstrap | None = None) -> dict[str, Source]:
    """By name without version ("data-scarce"), the published suite of the highest version.

    Of its sizes the one with most methods, which the paper's tables compare; of those with as many the largest.
    """
    found: dict[str, tuple[tuple[int, int, int], Source]] = {}
    for directory, record in _published(results):
        name = record.id.split("/")[0]
        source = Source(directory=directory, record=record, bootstrap=bootstrap)
        size = list(SIZES).index(record.size)  # type: ignore[arg-type]  # read from a file
        rank = (record.version, len({run["method"] for run in source.runs}), -size)
        if name not in found or rank > found[name][0]:
            found[name] = (rank, source)
    return {name: source for name, (_, source) in found.items()}


def _published(results: Path) -> Iterator[tuple[Path, SuiteRecord]]:
    for path in sorted(results.glob(f"*/{SUITE_FILE}")):
        yield path.parent, Store(path.parent).suite()
