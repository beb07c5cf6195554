"""A market rebuilt from impression logs: one advertiser bids against what the others bid on the logged day.

`auction_env.replay.env` plays episodes in it. The competitors do not react: whatever the replaced advertiser does,
they bid what they bid.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auction_env.data.formats.auctionnet_csv import find_logs
from auction_env.data.manifest import code_version
from auction_env.files import staged_directory
from auction_env.kernels import replay as kernel
from auction_env.kernels.clearing import MECHANISMS
from auction_env.kernels.logs.cells import N_TICKS
from auction_env.kernels.replay import ReplayLog, ReplayRules
from auction_env.market.params import MAX_SLOTS

Float = NDArray[np.float64]
Int = NDArray[np.int64]
_Path = str | os.PathLike[str]

Assumption = Literal["full_ladder", "least_winning_cost"]
FULL_LADDER: Final = "full_ladder"
LEAST_WINNING_COST: Final = "least_winning_cost"

FORMAT_VERSION = 1
MANIFEST, ARRAYS = "replay.json", "replay.npz"
BLOCK_BYTES = 2 << 20
_MAX_FLOAT32 = float(np.finfo(np.float32).max)
_MAX_ADVERTISERS = int(np.iinfo(np.int16).max)  # the ladder holds their indices


class ReplayError(ValueError):
    """A directory that is not a sound replay market; names the file, the rule and the value."""


class LoggedClearing(NamedTuple):
    """A period cleared for given own bids; one entry an impression, in arrival order.

    Attributes:
        slot: int32: 0 = lost, 1..n_slots from the top.
        price: float32: price of the slot won, 0 elsewhere.
        exposed: bool: whether the slot won is seen; only then is the price paid.
        least_winning_cost: float32: the best losing bid, at least the reserve.
    """

    slot: NDArray[np.int32]
    price: NDArray[np.float32]
    exposed: NDArray[np.bool_]
    least_winning_cost: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayParams:
    """Rules by which a replay clears; see `MarketParams` for the first four.

    Attributes:
        n_slots: Slots of an impression.
        exposure: Probability that a slot is seen, given that the one above is: for slots of which the log does
            not tell. Logged exposures are used as they are.
        reserve: Reserve price, currency per impression.
        mechanism: `gsp` or `first_price`.
        is_unsold_at_reserve: Whether a slot whose price would be the reserve stays unsold: AuctionNet's rule.
    """

    n_slots: int = 3
    exposure: tuple[float, ...] = (1.0, 0.8, 0.6)
    reserve: float = 0.01  # currency per impression
    mechanism: str = "gsp"
    is_unsold_at_reserve: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.n_slots, bool) or not 1 <= self.n_slots <= MAX_SLOTS:
            raise ValueError(f"`n_slots` must lie in 1..{MAX_SLOTS}, found {self.n_slots}")
        if len(self.exposure) != self.n_slots or not all(0 <= p <= 1 for p in self.exposure):
            raise ValueError(f"`exposure` must hold {self.n_slots} probabilities, one a slot, found {self.exposure}")
        if not (np.isfinite(self.reserve) and self.reserve >= 0):
            raise ValueError(f"`reserve` must be finite and not negative, found {self.reserve}")
        if self.mechanism not in MECHANISMS:
            raise ValueError(f"`mechanism` must be one of {sorted(MECHANISMS)}, found {self.mechanism!r}")

    def for_kernel(self, *, is_expected: bool = False) -> ReplayRules:
        """The rules as the kernels take them."""
        return ReplayRules(
            reserve=np.float32(self.reserve),
            mechanism=MECHANISMS[self.mechanism],
            is_unsold_at_reserve=self.is_unsold_at_reserve and self.mechanism == "gsp",
            exposure=np.asarray(self.exposure, np.float32),
            is_expected=is_expected,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReplayMarket:
    """Logged periods in which any one advertiser can be replaced.

    Build one with `from_auctionnet` or `from_bids`, put several together with `concat`. The ladder keeps the
    highest `n_slots` + 2 bids of all advertisers, so that without any one of them the highest `n_slots` + 1
    competing bids are left: enough for the slot, the price and the least winning cost of any own bid.

    Attributes:
        rules: How the market clears.
        assumption: `full_ladder`: the log has every bid. `least_winning_cost`: the log has one price an
            impression only, and the market takes it for a one-slot second-price auction (see `from_auctionnet`).
        log: The impressions, as the kernels take them.
        periods: (n_periods,) numbers of the periods.
        advertisers: (n_advertisers,) numbers of the advertisers, ascending.
        budget, cpa_target: (n_periods, n_advertisers) currency; NaN where the advertiser is not in the period.
        category: (n_advertisers,).
    """

    rules: ReplayParams
    assumption: Assumption
    log: ReplayLog = field(repr=False)
    periods: Int
    advertisers: Int
    budget: Float = field(repr=False)
    cpa_target: Float = field(repr=False)
    category: Int = field(repr=False)

    def __post_init__(self) -> None:
        n_ladder, n = self.log.ladder_bid.shape
        shapes: dict[str, tuple[NDArray[Any], tuple[int, ...]]] = {
            "ladder_bid": (self.log.ladder_bid, (self.rules.n_slots + 2, n)),
            "ladder_advertiser": (self.log.ladder_advertiser, (n_ladder, n)),
            "value": (self.log.value, (self.n_advertisers, n)),
            "sigma": (self.log.sigma, (self.n_advertisers, n)),
            "exposed": (self.log.exposed, (n,)),
            "known": (self.log.known, (n,)),
            "tick_start": (self.log.tick_start, (self.n_periods, self.n_ticks + 1)),
            "value_sum": (self.log.value_sum, (self.n_advertisers, self.n_periods, self.n_ticks)),
            "budget": (self.budget, (self.n_periods, self.n_advertisers)),
            "cpa_target": (self.cpa_target, (self.n_periods, self.n_advertisers)),
            "category": (self.category, (self.n_advertisers,)),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise ValueError(f"`{name}` must have shape {shape}, found {array.shape}")
        for name, numbers in (("periods", self.periods), ("advertisers", self.advertisers)):
            if len(np.unique(numbers)) != len(numbers):
                raise ValueError(f"`{name}` must be distinct, found {numbers.tolist()}")
        start = self.log.tick_start
        if start[0, 0] != 0 or start[-1, -1] != n or np.any(np.diff(start.ravel()) < 0):
            raise ValueError(f"`tick_start` must rise from 0 to the number of impressions, {n}, period by period")
        if not np.isfinite(self.budget).any():
            raise ValueError("`budget` must be finite for at least one advertiser of one period, found none")

    def __deepcopy__(self, memo: dict[int, Any]) -> ReplayMarket:
        return self  # nothing changes it; Gymnasium copies the arguments of every environment

    @property
    def n_periods(self) -> int:
        return len(self.periods)

    @property
    def n_advertisers(self) -> int:
        return len(self.advertisers)

    @property
    def n_ticks(self) -> int:
        return int(self.log.tick_start.shape[1]) - 1

    @property
    def n_impressions(self) -> Int:
        """(n_periods,) impressions of each period."""
        return self.log.tick_start[:, -1] - self.log.tick_start[:, 0]

    @property
    def nbytes(self) -> int:
        """Size of the arrays of impressions."""
        return sum(array.nbytes for array in self.log)

    @property
    def episodes(self) -> Int:
        """(n_episodes, 2) index of the period and of the advertiser, for all that can be played."""
        return np.argwhere(np.isfinite(self.budget))

    def index(self, period: int, advertiser: int) -> tuple[int, int]:
        """The indices of a period and an advertiser given by their numbers.

        Raises:
            ValueError: The log does not have them.
        """
        rows = np.flatnonzero(self.periods == period)
        columns = np.flatnonzero(self.advertisers == advertiser)
        if not len(rows):
            raise ValueError(f"`period` must be one of {self.periods.tolist()}, found {period}")
        if not len(columns) or not np.isfinite(self.budget[rows[0], columns[0]]):
            known = self.advertisers[np.isfinite(self.budget[rows[0]])].tolist()
            raise ValueError(f"`advertiser` must be one of {known} in period {period}, found {advertiser}")
        return int(rows[0]), int(columns[0])

    def clear(self, period: int, advertiser: int, bids: ArrayLike, *, seed: int = 0) -> LoggedClearing:
        """Clears every impression of a period for given own bids, without a budget.

        Args:
            period, advertiser: Their numbers.
            bids: (n_impressions,) own bids in arrival order, finite and not negative.
            seed: Of the exposures that the log does not tell.
        """
        row, column = self.index(period, advertiser)
        n = int(self.n_impressions[row])
        given = np.asarray(bids, np.float64)
        if given.shape != (n,):
            raise ValueError(f"`bids` must have shape ({n},), found {given.shape}")
        _check_not_negative("bids", given)
        if seed < 0:
            raise ValueError(f"`seed` must not be negative, found {seed}")
        slot, exposed = np.empty(n, np.int32), np.empty(n, np.bool_)
        price, lwc = np.empty(n, np.float32), np.empty(n, np.float32)
        kernel.clear_period(
            self.log, self.rules.for_kernel(), row, column, given.astype(np.float32), np.uint64(seed),
            kernel.new_scratch(), slot, price, lwc, exposed,
        )  # fmt: skip
        return LoggedClearing(slot, price, exposed, lwc)

    @classmethod
    def from_bids(
        cls,
        *,
        tick: ArrayLike,
        bids: ArrayLike,
        values: ArrayLike,
        budget: ArrayLike,
        cpa_target: ArrayLike,
        sigmas: ArrayLike | None = None,
        exposed: ArrayLike | None = None,
        rules: ReplayParams | None = None,
        n_ticks: int = N_TICKS,
        period: int = 0,
        advertisers: ArrayLike | None = None,
        category: ArrayLike | None = None,
    ) -> ReplayMarket:
        """One period from a user's own log of every bid.

        Args:
            tick: (n,) tick of each impression, not falling: impressions come in arrival order.
            bids: (n, n_advertisers) currency per impression; 0 where an advertiser did not bid.
            values: (n, n_advertisers) predicted values, in [0, 1].
            budget, cpa_target: (n_advertisers,) positive.
            sigmas: (n, n_advertisers) standard deviation of the predictions; 0 by default.
            exposed: (n, n_slots) 1 if the slot was seen, 0 if not, negative if unknown; unknown by default.
            rules: How the market clears; a slot at the reserve counts as sold unless they say otherwise.
            n_ticks: Ticks of the period.
            period: Its number.
            advertisers: (n_advertisers,) their numbers, ascending; 0, 1, ... by default.
            category: (n_advertisers,); 0 by default.

        Raises:
            ValueError: Naming the argument, the rule and the value.
        """
        rules = rules or ReplayParams(is_unsold_at_reserve=False)
        matrix = np.asarray(bids, np.float64)
        if matrix.ndim != 2 or matrix.shape[1] == 0:
            raise ValueError(f"`bids` must have shape (n_impressions, n_advertisers), found {matrix.shape}")
        n, n_advertisers = matrix.shape
        ticks = np.asarray(tick)
        if ticks.shape != (n,) or not np.issubdtype(ticks.dtype, np.integer):
            raise ValueError(f"`tick` must be {n} integers, found {ticks.dtype} of shape {ticks.shape}")
        if n and not (ticks.min() >= 0 and ticks.max() < n_ticks and np.all(np.diff(ticks) >= 0)):
            raise ValueError(f"`tick` must not fall and lie in 0..{n_ticks - 1}")
        value = _matrix("values", values, matrix.shape)
        sigma = _matrix("sigmas", np.zeros(matrix.shape) if sigmas is None else sigmas, matrix.shape)
        for name, array in (("values", value), ("sigmas", sigma)):
            _check_not_negative(name, array)
        if value.size and value.max() > 1:
            raise ValueError(f"`values` must be at most 1, found {value.max()}")
        seen = np.full((n, rules.n_slots), -1) if exposed is None else np.asarray(exposed)
        if seen.shape != (n, rules.n_slots):
            raise ValueError(f"`exposed` must have shape ({n}, {rules.n_slots}), found {seen.shape}")
        numbers = np.arange(n_advertisers) if advertisers is None else np.asarray(advertisers, np.int64)
        if numbers.shape != (n_advertisers,) or np.any(np.diff(numbers) <= 0):
            raise ValueError(f"`advertisers` must be {n_advertisers} ascending numbers, found {numbers.tolist()}")
        money = {"budget": np.asarray(budget, np.float64), "cpa_target": np.asarray(cpa_target, np.float64)}
        for name, array in money.items():
            if array.shape != (n_advertisers,) or not np.all(np.isfinite(array) & (array > 0)):
                raise ValueError(f"`{name}` must be {n_advertisers} positive numbers, found {array}")
        weights = 1 << np.arange(rules.n_slots)
        ladder = rank_bids(matrix, rules.n_slots)
        return one_period(
            rules=rules, assumption=FULL_LADDER, period=period, numbers=numbers, ladder=ladder,
            value=np.ascontiguousarray(value.T, np.float32), sigma=np.ascontiguousarray(sigma.T, np.float32),
            exposed=((seen > 0) @ weights).astype(np.uint8), known=((seen >= 0) @ weights).astype(np.uint8),
            tick_counts=np.bincount(ticks, minlength=n_ticks), budget=money["budget"],
            cpa_target=money["cpa_target"],
            category=np.zeros(n_advertisers, np.int64) if category is None else np.asarray(category, np.int64),
        )  # fmt: skip

    @classmethod
    def from_auctionnet(
        cls,
        paths: _Path | Iterable[_Path],
        *,
        assumption: Assumption | None = None,
        rules: ReplayParams | None = None,
        block_bytes: int = BLOCK_BYTES,
    ) -> ReplayMarket:
        """Reads impression logs in AuctionNet's 18-column CSV schema.

        Rows may come in any order within a period; the files of a period must follow each other. A period of 24
        million rows needs about 4 GB while it is read. Arrival order is that of `pvIndex`.

        Args:
            paths: Files that end in `.csv` or `.csv.gz`, or directories of them.
            assumption: `full_ladder` demands every advertiser's bid. `least_winning_cost` is for logs of one
                or some advertisers: an own bid above the logged least winning cost wins the only slot at that
                price, and is seen as often as the log's won slots are on average. That price counts the own
                logged bid and is one rank too low where the advertiser lost; it is the best that such a log
                says. By default the log must have every bid, and an error names this argument where it does not.
            rules: How the market clears; AuctionNet's rules by default.
            block_bytes: Size of the blocks in which the logs are read.

        Raises:
            AuctionNetLogError: A log breaks the schema.
            FileNotFoundError: A path does not exist.
            ValueError: The log does not have every bid and `assumption` does not say what to do about it.
        """
        from auction_env.replay import from_logs as replay_import  # which needs this module

        if assumption not in (None, FULL_LADDER, LEAST_WINNING_COST):
            raise ValueError(
                f"`assumption` must be {FULL_LADDER!r}, {LEAST_WINNING_COST!r} or None, found {assumption!r}"
            )
        rules = rules or ReplayParams()
        days = replay_import.read_days(find_logs(paths), block_bytes)
        if assumption == LEAST_WINNING_COST:
            return replay_import.from_least_winning_costs(list(days))
        return cls.concat([replay_import.from_day(day, rules, is_forced=assumption is not None) for day in days])

    @classmethod
    def concat(cls, markets: Sequence[ReplayMarket]) -> ReplayMarket:
        """Puts the periods of several markets behind each other; rules, assumption and ticks must agree."""
        if not markets:
            raise ValueError("`markets` must hold at least one market, found none")
        first = markets[0]
        for market in markets[1:]:
            for name in ("rules", "assumption", "n_ticks"):
                if getattr(market, name) != getattr(first, name):
                    raise ValueError(f"`{name}` must agree, found {getattr(first, name)} and {getattr(market, name)}")
        if len(markets) == 1:
            return first
        advertisers = np.unique(np.concatenate([market.advertisers for market in markets]))
        columns = [np.searchsorted(advertisers, market.advertisers) for market in markets]
        n, n_periods = sum(m.log.exposed.size for m in markets), sum(m.n_periods for m in markets)
        value = np.zeros((len(advertisers), n), np.float32)
        sigma = np.zeros_like(value)
        value_sum = np.zeros((len(advertisers), n_periods, first.n_ticks))
        budget = np.full((n_periods, len(advertisers)), np.nan)
        cpa_target, category = np.full_like(budget, np.nan), np.zeros(len(advertisers), np.int64)
        holders, starts, at, row = [], [], 0, 0
        for market, column in zip(markets, columns, strict=True):
            stop, last = at + market.log.exposed.size, row + market.n_periods
            value[column, at:stop], sigma[column, at:stop] = market.log.value, market.log.sigma
            value_sum[column, row:last] = market.log.value_sum
            budget[row:last, column], cpa_target[row:last, column] = market.budget, market.cpa_target
            category[column] = market.category
            holders.append(np.append(column, -1)[market.log.ladder_advertiser].astype(np.int16))  # -1 stays -1
            starts.append(market.log.tick_start + at)
            at, row = stop, last
        log = ReplayLog(
            ladder_bid=np.concatenate([market.log.ladder_bid for market in markets], axis=1),
            ladder_advertiser=np.concatenate(holders, axis=1),
            value=value,
            sigma=sigma,
            exposed=np.concatenate([market.log.exposed for market in markets]),
            known=np.concatenate([market.log.known for market in markets]),
            tick_start=np.concatenate(starts),
            value_sum=value_sum,
        )
        return cls(
            rules=first.rules, assumption=first.assumption, log=log, advertisers=advertisers,
            periods=np.concatenate([market.periods for market in markets]), budget=budget, cpa_target=cpa_target,
            category=category,
        )  # fmt: skip

    def save(self, directory: _Path, *, force: bool = False) -> None:
        """Writes the market to a directory: `replay.npz` (no pickles) and `replay.json`; renamed when complete.

        Raises:
            FileExistsError: The directory holds files and `force` is False, or files of something else.
        """
        target = Path(directory).resolve()
        names = sorted(path.name for path in target.iterdir()) if target.is_dir() else []
        if target.exists() and not target.is_dir():
            raise FileExistsError(f"{target} must be a directory, found a file")
        if names and not force:
            raise FileExistsError(f"{target} must be empty unless `force` is set, found {names[0]!r}")
        foreign = [name for name in names if name not in (MANIFEST, ARRAYS)]
        if foreign:
            raise FileExistsError(f"{target} must hold nothing but a replay market, found {foreign[0]!r}")
        arrays = {name: array for name, array in self.log._asdict().items() if name != "value_sum"}
        for name in ("periods", "advertisers", "budget", "cpa_target", "category"):
            arrays[name] = getattr(self, name)
        with staged_directory(target) as stage:
            np.savez(stage / ARRAYS, **arrays)
            manifest = {
                "format_version": FORMAT_VERSION,
                "code_version": code_version(),
                "assumption": self.assumption,
                "rules": {name: getattr(self.rules, name) for name in ReplayParams.__slots__},
                "sha256": _sha256(stage / ARRAYS),
            }
            (stage / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: _Path) -> ReplayMarket:
        """Reads what `save` wrote and checks it against its manifest.

        Raises:
            FileNotFoundError: The directory has no manifest.
            ReplayError: The files are of a newer version, changed, truncated or not of this format.
        """
        path = Path(directory)
        if not (path / MANIFEST).is_file():
            raise FileNotFoundError(f"{path} must be a replay market: it has no {MANIFEST}")
        rules, assumption, digest = _read_manifest(path / MANIFEST)
        try:
            if _sha256(path / ARRAYS) != digest:
                raise ReplayError(f"{path / ARRAYS}: changed: its SHA-256 must be {digest}")
            with np.load(path / ARRAYS, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            log_names = [name for name in ReplayLog._fields if name != "value_sum"]
            fields = {name: arrays.pop(name) for name in log_names}
            log = ReplayLog(**fields, value_sum=_value_sum(fields["value"], fields["tick_start"]))
            return cls(rules=rules, assumption=assumption, log=log, **arrays)
        except FileNotFoundError as error:
            raise ReplayError(f"{path / ARRAYS}: must exist, as {MANIFEST} names it") from error
        except (KeyError, TypeError, zipfile.BadZipFile) as error:
            raise ReplayError(f"{path / ARRAYS}: must hold the arrays of a replay market: {error!r}") from error


def rank_bids(bids: Float, n_slots: int) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Ladder of a (n, n_advertisers) matrix of bids: the highest bids and their advertisers."""
    if bids.shape[1] > _MAX_ADVERTISERS:
        raise ValueError(f"there must be at most {_MAX_ADVERTISERS} advertisers, found {bids.shape[1]}")
    _check_not_negative("bids", bids)
    top_bid = np.empty((n_slots + 2, len(bids)), np.float32)
    top_advertiser = np.empty(top_bid.shape, np.int16)
    kernel.rank_ladder(bids, top_bid, top_advertiser)
    return top_bid, top_advertiser


def one_period(
    *,
    rules: ReplayParams,
    assumption: Assumption,
    period: int,
    numbers: Int,
    ladder: tuple[NDArray[np.float32], NDArray[np.int16]],
    value: NDArray[np.float32],
    sigma: NDArray[np.float32],
    exposed: NDArray[np.uint8],
    known: NDArray[np.uint8],
    tick_counts: Int,
    budget: Float,
    cpa_target: Float,
    category: Int,
) -> ReplayMarket:
    """A market of one period; `tick_counts` (n_ticks,) impressions of each tick, otherwise see `ReplayMarket`."""
    tick_start = np.concatenate(([0], np.cumsum(tick_counts)))[None]
    return ReplayMarket(
        rules=rules,
        assumption=assumption,
        log=ReplayLog(*ladder, value, sigma, exposed, known, tick_start, _value_sum(value, tick_start)),
        periods=np.array([period], np.int64),
        advertisers=np.asarray(numbers, np.int64),
        budget=budget[None],
        cpa_target=cpa_target[None],
        category=np.asarray(category, np.int64),
    )


def _value_sum(value: NDArray[np.float32], tick_start: Int) -> Float:
    """(n_advertisers, n_periods, n_ticks) sums over the impressions of each tick."""
    total = np.empty((len(value), len(tick_start), tick_start.shape[1] - 1))
    kernel.sum_values(value, tick_start, total)
    return total


def _matrix(name: str, given: ArrayLike, shape: tuple[int, ...]) -> Float:
    array = np.asarray(given, np.float64)
    if array.shape != shape:
        raise ValueError(f"`{name}` must have shape {shape} as `bids`, found {array.shape}")
    return array


def _check_not_negative(name: str, values: Float) -> None:
    bad = ~(np.isfinite(values) & (values >= 0) & (values <= _MAX_FLOAT32))
    if bad.any():
        where = tuple(int(k) for k in np.argwhere(bad)[0])
        rule = "must be finite and not negative" + (f", at most {_MAX_FLOAT32:.3g}" if values[where] > 1 else "")
        raise ValueError(f"`{name}` {rule}, found {values[where]} at {where}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(path: Path) -> tuple[ReplayParams, Assumption, str]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReplayError(f"{path}: must be JSON: {error}") from error
    version = record.get("format_version") if isinstance(record, dict) else None
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ReplayError(f"{path}: `format_version` must be an integer from 1 to {FORMAT_VERSION}, found {version!r}")
    try:
        rules = record["rules"] | {"exposure": tuple(record["rules"]["exposure"])}
        assumption = record["assumption"]
        if assumption not in (FULL_LADDER, LEAST_WINNING_COST):
            raise ValueError(f"`assumption` must be {FULL_LADDER!r} or {LEAST_WINNING_COST!r}, found {assumption!r}")
        return ReplayParams(**rules), assumption, record["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise ReplayError(f"{path}: must hold `rules`, `assumption` and `sha256`: {error!r}") from error
