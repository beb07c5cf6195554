"""Variant data on periods of AuctionNet's kind: logs to learn from, and test episodes of several protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents import Bidder
from agents.logging.periods import write_periods
from auction_env import (
    TASKS,
    FixedPriceMarket,
    ReplayMarket,
    data,
    import_replay,
    load_replay,
    logged_values,
)
from auction_env.control.controlled_market import PlayableMarket
from auction_env.control.simulation import LiveMarket
from auction_env.control.stress import Stress, stressed
from auction_env.data import TrajectoryData
from auction_env.data.manifest import MANIFEST
from auction_env.replay.simulation import LoggedMarket
from auction_env.replay.storage import MANIFEST as MARKET_MANIFEST
from benchmarks.suites.data.episodes import TaskEpisodes
from benchmarks.suites.data.variant import Logs, VariantData
from benchmarks.suites.period_files import TRAJECTORIES, found_periods
from benchmarks.suites.periods import (
    LIVE,
    PeriodFiles,
    PeriodsData,
    Protocol,
    SyntheticPeriods,
    name_of_test,
)
from benchmarks.suites.spec import Suite

Int = NDArray[np.int64]

TASK = TASKS["TargetCPA"]
_FIRST_SEED = 7_000_000  # of the draws on a user's periods; period p has this + p
_HELD_OUT = 6  # one trajectory in so many validates where no period does
_CHECKED: Protocol = "logged-bids"  # what is tuned on, and what the unit is of: kernels that need milliseconds


def make(setting: PeriodsData, suite: Suite, folder: Path, note: Callable[[str], None] | None = None) -> VariantData:
    """The data of a variant; logs are imported below `folder` where they are not there yet, and `note` gets how far.

    Raises:
        ValueError: The directory holds other files than those that were described.
    """
    _import(setting, folder, note or (lambda _: None))
    log = load_replay(folder / "market", mmap=True)
    tested = _Tested(setting, log, folder.name)
    tuned = setting.validation or setting.train[-1:]
    tests = {}
    for protocol in setting.protocols:
        tests[name_of_test(protocol)] = tested.episodes(protocol, setting.test, Stress())
        for test in setting.stresses:
            if protocol in LIVE or not test.is_of_rivals:
                periods = setting.test[: setting.n_stressed]
                tests[name_of_test(protocol, test.name)] = tested.episodes(protocol, periods, test.stress)
    split = _Split(setting, folder / "logs")
    n_train, n_validation = split.counts()
    return VariantData(
        targets={TASK.name: tested.episodes(_CHECKED, tuned, Stress())},
        tests=tests,
        target_of=dict.fromkeys(tests, TASK.name),
        load_logs=split.load,
        n_train={TASK.name: n_train},
        n_validation={TASK.name: n_validation},
        price_log=lambda: _of_periods(log, setting.train),
    )


def _import(setting: PeriodsData, folder: Path, note: Callable[[str], None]) -> None:
    """Writes the trajectories and the replay market of the periods, unless they are there."""
    source, trajectories, market = setting.source, folder / "logs", folder / "market"
    is_imported = (trajectories / MANIFEST).is_file(), (market / MARKET_MANIFEST).is_file()
    if all(is_imported):
        return
    wanted = (*setting.train, *setting.validation, *setting.test)
    if isinstance(source, SyntheticPeriods):
        params, population = source.market()
        write_periods(
            {period: source.seed + period for period in wanted}, trajectories=trajectories, market=market, task=TASK,
            params=params, population=population, force=True, note=note,
        )  # fmt: skip
        return
    by_period = found_periods(Path(source.directory))
    paths = list(dict.fromkeys(path for period in sorted(wanted) for path in by_period[period]))

    def importing(what: str) -> Callable[[int, int], None]:
        return lambda done, total: note(f"importing {what}, {done / total:.0%}")

    if not is_imported[0] and source.has_trajectories:
        data.import_auctionnet_trajectories(
            Path(source.directory) / TRAJECTORIES, trajectories, progress=importing("trajectories")
        )
    elif not is_imported[0]:
        data.import_auctionnet_impressions(paths, trajectories, progress=importing("trajectories"))
    if not is_imported[1]:
        import_replay(paths, market, progress=importing("impressions"))


class _Split:
    """Which trajectories train and which validate; mapped, as AuctionNet's files hold hundreds of thousands."""

    def __init__(self, setting: PeriodsData, directory: Path) -> None:
        self._setting, self._directory = setting, directory

    def _parts(self, log: TrajectoryData) -> tuple[Int, Int]:
        """Episodes to train on and to validate on."""
        setting, period = self._setting, np.asarray(log.period[log.episode_starts[:-1]])
        is_free = isinstance(setting.source, PeriodFiles) and setting.source.has_trajectories
        if setting.validation and not is_free:
            return np.flatnonzero(np.isin(period, setting.train)), np.flatnonzero(np.isin(period, setting.validation))
        chosen = np.arange(len(period)) if is_free else np.flatnonzero(np.isin(period, setting.train))
        held_out = np.arange(len(chosen)) % _HELD_OUT == _HELD_OUT - 1
        return chosen[~held_out], chosen[held_out]

    def counts(self) -> tuple[int, int]:
        train, validation = self._parts(data.load(self._directory, mmap=True))
        return len(train), len(validation)

    def load(self) -> tuple[Logs, Logs]:
        """The training and the validation trajectories."""
        log = data.load(self._directory, mmap=True)
        train, validation = (log.select(episodes).with_task(TASK) for episodes in self._parts(log))
        return {TASK.name: train}, {TASK.name: validation}


class _Tested:
    """Test episodes on a log."""

    def __init__(self, setting: PeriodsData, log: ReplayMarket, key: str) -> None:
        self._setting, self._log, self._key = setting, log, key
        self._first_seed = setting.source.seed if isinstance(setting.source, SyntheticPeriods) else _FIRST_SEED
        live = logged_values(log)
        self._params, self._population = live.params, live.population

    def episodes(self, protocol: Protocol, periods: tuple[int, ...], stress: Stress) -> TaskEpisodes:
        """The tested advertisers of the periods under a protocol and a stress."""
        rows, columns = self._log.index(*self._who(periods))
        seeds = self._first_seed + self._log.periods[rows]
        log = self._scaled(stress)
        unit = None if protocol == _CHECKED else self.episodes(_CHECKED, periods, replace(stress, rival_budget=1.0))
        arguments: dict[str, Any] = {
            "task": TASK,
            "params": self._params,
            "population": self._population,
            "seeds": seeds,
            "advertisers": self._log.advertisers[columns],
            "days": self._log.periods[rows],
            "key": f"{self._key} {protocol} {stress}",
            "unit": unit,
        }
        if protocol == "fixed-prices":
            return TaskEpisodes(**arguments, make_market=lambda _: FixedPriceMarket(market=log))
        if protocol == "logged-bids":
            return TaskEpisodes(**arguments, make_market=lambda _: LoggedMarket(market=log))
        if protocol == "live-rivals":

            def with_rivals(rivals: Mapping[int, Bidder] | None) -> PlayableMarket:
                return stressed(logged_values(self._log, competitors=rivals), stress)

            return TaskEpisodes(**arguments, competitors="rules", make_market=with_rivals)
        source = self._setting.source
        assert isinstance(source, SyntheticPeriods)
        params, population = source.market()

        def as_written(_: Mapping[int, Bidder] | None) -> PlayableMarket:
            return stressed(LiveMarket(params=params, population=population), stress)

        own = {"params": params, "population": population, "days": None}
        return TaskEpisodes(**arguments | own, make_market=as_written)

    def _who(self, periods: tuple[int, ...]) -> tuple[Int, Int]:
        """(n,) periods and advertisers of the episodes."""
        numbers, advertisers = [], []
        for period in periods:
            present = self._log.advertisers[np.isfinite(self._log.budget[self._log.rows([period])[0]])]
            n = min(self._setting.n_tested, len(present))
            chosen = present[np.linspace(0, len(present) - 1, n).round().astype(int)]
            advertisers.append(chosen)
            numbers.append(np.full(n, period))
        return np.concatenate(numbers), np.concatenate(advertisers)

    def _scaled(self, stress: Stress) -> ReplayMarket:
        """The log with other budgets and targets: of the tested advertiser alone, as nobody else has any in it."""
        if (stress.budget, stress.cpa) == (1, 1):
            return self._log
        return replace(self._log, budget=self._log.budget * stress.budget, cpa_target=self._log.cpa_target * stress.cpa)


def _of_periods(log: ReplayMarket, periods: tuple[int, ...]) -> ReplayMarket:
    """Some periods of a log, which stand next to each other in it."""
    rows = np.sort(log.rows(periods))
    if rows[-1] - rows[0] + 1 != len(rows):
        raise ValueError(f"the periods {periods} must stand next to each other in the log, found {log.periods}")
    start = log.log.tick_start[rows]
    columns = slice(int(start[0, 0]), int(start[-1, -1]))
    part = {name: getattr(log.log, name)[..., columns] for name in ("ladder_bid", "ladder_advertiser", "value", "sigma",
                                                                   "exposed", "known")}  # fmt: skip
    return replace(
        log,
        log=log.log._replace(**part, tick_start=start - start[0, 0], value_sum=log.log.value_sum[:, rows]),
        periods=log.periods[rows],
        budget=log.budget[rows],
        cpa_target=log.cpa_target[rows],
    )
