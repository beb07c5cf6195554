"""Data of suites on periods of AuctionNet's kind: where they come from, how they are split, what is played on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from auction_env import Preset, preset
from auction_env.control.stress import Stress

TRAIN_PERIODS = tuple(range(7, 13))
VALIDATION_PERIODS = (13,)
TEST_PERIODS = tuple(range(14, 21))
"""Of most papers: periods 7 to 13 to learn from, the last of which validates here, and 14 to 20 to test on."""

Kind: TypeAlias = Literal["sparse", "dense"]
Protocol: TypeAlias = Literal["fixed-prices", "logged-bids", "live-rivals", "market"]
PROTOCOLS: dict[Protocol, str] = {
    "fixed-prices": "P1, AuctionNet's offline evaluation: the logged least winning costs alone",
    "logged-bids": "all others bid what they bid in the log",
    "live-rivals": "P2: rules bid live for all others, on the logged values",
    "market": "the market that wrote the log, with the rivals that wrote it, who react",
}
"""What a tested advertiser meets. The last one is known of synthetic periods only: it is what a policy really earns."""
LIVE: tuple[Protocol, ...] = ("live-rivals", "market")
"""Protocols in which the rivals' budgets matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodFiles:
    """A directory of AuctionNet's files.

    Attributes:
        directory: Holds logs of impressions and, perhaps, the folder `trajectories` to train on in their place.
        digest: First 16 digits of the SHA-256 of what the files of these periods hold: rows are of these logs, wherever
            they lie.
        has_trajectories: Whether there is that folder.
    """

    directory: str
    digest: str
    has_trajectories: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticPeriods:
    """Periods that our market writes in AuctionNet's format: its advertisers and agents bid (`auction_env.preset`).

    Attributes:
        preset: Name of the market.
        n_impressions: Of a period.
        seed: Period p is market `seed` + p.
    """

    preset: Kind
    n_impressions: int
    seed: int

    def __post_init__(self) -> None:
        if self.preset not in get_args(Kind):
            raise ValueError(f"`preset` must be one of {get_args(Kind)}, found {self.preset!r}")
        if self.n_impressions < 1:
            raise ValueError(f"`n_impressions` must be at least 1, found {self.n_impressions}")

    def market(self) -> Preset:
        """The market that writes them: the preset, but that budgets end within a tick, as they do in every protocol."""
        return preset(self.preset, n_impressions=self.n_impressions, budget_rule="in_order")


@dataclass(frozen=True, slots=True, kw_only=True)
class StressTest:
    """A stress under which the test periods are played once more."""

    name: str
    stress: Stress

    @property
    def is_of_rivals(self) -> bool:
        """Whether only rivals that bid live notice it."""
        return self.stress.rival_budget != 1


STRESSES = (
    *(StressTest(name=f"budget x {share:g}", stress=Stress(budget=share)) for share in (0.5, 0.75, 1.25, 1.5)),
    StressTest(name="CPA x 0.8", stress=Stress(cpa=0.8)),
    StressTest(name="rivals' budgets x 1.1", stress=Stress(rival_budget=1.1)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodsData:
    """One task, TargetCPA, on logged periods.

    Attributes:
        source: Where the periods come from.
        train, validation, test: Numbers of the periods. Without validation periods, every sixth trajectory validates
            and the last training period is what is tuned on. Every sixth validates of trajectory files, too.
        protocols: What is tested.
        stresses: With each protocol, beside the plain periods.
        n_stressed: Test periods that are played under each stress.
        n_tested: Advertisers of a period that are tested, spread evenly; all where there are no more.
    """

    source: PeriodFiles | SyntheticPeriods
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    protocols: tuple[Protocol, ...]
    stresses: tuple[StressTest, ...] = STRESSES
    n_stressed: int = len(TEST_PERIODS)
    n_tested: int = 48

    def __post_init__(self) -> None:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        for name in ("train", "test"):
            if not parts[name]:
                raise ValueError(f"`{name}` must hold at least one period, found none")
        together = [period for periods in parts.values() for period in periods]
        if len(set(together)) != len(together):
            raise ValueError(f"`train`, `validation` and `test` must share no period, found {together}")
        unknown = [name for name in self.protocols if name not in PROTOCOLS]
        if unknown or ("market" in self.protocols and isinstance(self.source, PeriodFiles)):
            rule = f"of {list(PROTOCOLS)}, and 'market' for synthetic periods only"
            raise ValueError(f"`protocols` must be {rule}, found {list(self.protocols)}")
        for name in ("n_stressed", "n_tested"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, found {getattr(self, name)}")


def name_of_test(protocol: str, stress: str = "") -> str:
    """What the rows of a test are called."""
    return f"{protocol}, {stress}" if stress else protocol
