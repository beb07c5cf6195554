"""Suites on AuctionNet's periods: a user's files and synthetic ones, protocols, stress, refusals."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents import FixedBidder, rollout
from agents.logging.impressions import log_impressions
from agents.logging.periods import play_period
from auction_env import FixedPriceMarket, data, load_replay
from auction_env.control.bidder import Campaigns, TickView
from auction_env.control.stress import Stress
from auction_env.data.formats.trajectory_export import export_auctionnet_trajectories
from benchmarks.commands.suites import run as run_command
from benchmarks.suites.catalogue import auctionnet, get_suite
from benchmarks.suites.data.opening import log_key, open_variant
from benchmarks.suites.data.periods import TASK
from benchmarks.suites.data.references import references
from benchmarks.suites.data.variant import VariantData
from benchmarks.suites.period_files import describe
from benchmarks.suites.periods import PROTOCOLS, Kind, PeriodFiles, PeriodsData, SyntheticPeriods, name_of_test
from benchmarks.suites.running.identity import config_hash
from benchmarks.suites.running.run import Job, execute
from benchmarks.suites.spec import Suite, Variant

SYNTHETIC = PeriodsData(
    source=SyntheticPeriods(preset="dense", n_impressions=240, seed=50),
    train=(7, 8), validation=(13,), test=(14, 15), protocols=tuple(PROTOCOLS), n_stressed=1, n_tested=3,
)  # fmt: skip


class Repeated:
    """Bids given multipliers, (n_ticks,), of one campaign."""

    name = "repeated"

    def __init__(self, multipliers: np.ndarray) -> None:
        self._multipliers = multipliers

    def reset(self, campaigns: Campaigns) -> None:
        pass

    def act(self, view: TickView) -> np.ndarray:
        return self._multipliers[view.tick : view.tick + 1]


def of(setting: PeriodsData) -> Suite:
    suite = get_suite(auctionnet.SYNTHETIC_ID, "testing")
    return replace(suite, variants=(Variant(name="v", label="v", data=setting),))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def synthetic(cache: Path) -> VariantData:
    suite = of(SYNTHETIC)
    return open_variant(suite.variants[0], suite, cache)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two periods as a user has them."""
    folder = tmp_path_factory.mktemp("user")
    params, population = SyntheticPeriods(preset="sparse", n_impressions=240, seed=0).market()
    log_impressions(
        FixedBidder(0.8), folder, seeds=[3, 4], task=TASK, params=params, population=population, is_compressed=True
    )
    return folder


def test_synthetic_periods_are_learned_from_and_tested_under_every_protocol(
    synthetic: VariantData, cache: Path
) -> None:
    train, validation = (part[TASK.name] for part in synthetic.load_logs())
    assert np.unique(train.period).tolist() == [7, 8] and np.unique(validation.period).tolist() == [13]
    assert (train.n_episodes, validation.n_episodes) == (96, 48)
    assert list(synthetic.tests)[::6][:2] == ["fixed-prices", "logged-bids"]
    assert name_of_test("market", "rivals' budgets x 1.1") in synthetic.tests
    assert name_of_test("fixed-prices", "rivals' budgets x 1.1") not in synthetic.tests
    for name in PROTOCOLS:
        days = synthetic.tests[name].days
        assert (days is None) == (name == "market") and (days is None or days.tolist() == [14] * 3 + [15] * 3)
        assert synthetic.tests[name].seeds.tolist() == [64] * 3 + [65] * 3
        assert synthetic.tests[name].advertisers.tolist() == [0, 24, 47] * 2
    log = load_replay(cache / log_key(SYNTHETIC) / "market")
    assert log.periods.tolist() == [7, 8, 13, 14, 15] and not (cache / log_key(SYNTHETIC) / "written").exists()
    assert synthetic.price_log is not None and synthetic.price_log().periods.tolist() == [7, 8]
    np.testing.assert_array_equal(synthetic.price_log().log.value, log.log.value[:, : log.n_impressions[:2].sum()])
    bidder, tested = FixedBidder(1.0), synthetic.tests["fixed-prices"]
    by_hand = rollout(
        bidder, seeds=tested.seeds, advertisers=tested.advertisers, days=tested.days, task=TASK,
        market=FixedPriceMarket(market=log),
    )  # fmt: skip
    np.testing.assert_array_equal(tested.play(bidder).score(), by_hand.score())
    found = references(synthetic, cache)
    assert all((scores > 0).any() for scores in found.values())
    np.testing.assert_array_equal(found["fixed-prices"], found["market"])  # one unit for all protocols


def test_the_market_that_wrote_a_log_is_played_again_with_its_rivals(synthetic: VariantData, cache: Path) -> None:
    """A bidder that does what an advertiser's script did gets what the log has: traffic, rivals, noise are the same."""
    log, tested = data.load(cache / log_key(SYNTHETIC) / "logs"), synthetic.tests["market"]
    n_won = 0.0
    for which, (seed, advertiser) in enumerate(zip(tested.seeds, tested.advertisers, strict=True)):
        rows = np.flatnonzero((log.period == seed - 50) & (log.advertiser == advertiser))
        played = tested.one(which).play(Repeated(log.action[rows]))
        # while there is money for whatever is won: later the script's multiplier is not in the log
        rows = rows[: np.argmin(np.append(log.budget_left[rows][1:], 0.0) > 0.6 * log.budget[rows])]
        np.testing.assert_allclose(played.ticks.cost[: len(rows), 0], log.cost[rows], rtol=1e-5)
        np.testing.assert_array_equal(played.ticks.wins[: len(rows), 0], log.wins[rows])
        n_won += log.wins[rows].sum()
    assert n_won > 20


@pytest.mark.parametrize(("kind", "cost", "conversions"), [("sparse", 110.286, 1.09258), ("dense", 27.5716, 3.27774)])
def test_synthetic_periods_are_those_of_the_published_rows(kind: Kind, cost: float, conversions: float) -> None:
    """A preset that changes needs another version of the suite: its hash names the preset only."""
    params, population = SyntheticPeriods(preset=kind, n_impressions=480, seed=0).market()
    log, _ = play_period(7, 7, task=TASK, params=params, population=population)
    assert (log.cost.sum(), log.expected_conversions.sum()) == pytest.approx((cost, conversions), rel=1e-4)


def test_stress_changes_the_tested_advertiser_or_its_rivals(synthetic: VariantData) -> None:
    def budgets_and_targets(test: str) -> tuple[np.ndarray, np.ndarray]:
        episodes = synthetic.tests[test].one(1)
        market = episodes.where["market"]
        simulation = market.one_each(TASK, episodes.advertisers)
        simulation.reset(episodes.seeds, market.days_of(episodes.seeds) if episodes.days is None else episodes.days)
        assert simulation.campaigns().targets.budget == simulation.market.episode_targets.budget[0, 24]
        return simulation.market.episode_targets.budget[0], simulation.market.episode_targets.cpa[0]

    others = np.arange(48) != 24
    for protocol in ("live-rivals", "market"):
        budget, cpa = budgets_and_targets(protocol)
        for stress, of_budget, of_cpa, of_others in (
            ("budget x 0.5", 0.5, 1.0, 1.0), ("CPA x 0.8", 1.0, 0.8, 1.0), ("rivals' budgets x 1.1", 1.0, 1.0, 1.1),
        ):  # fmt: skip
            changed = budgets_and_targets(name_of_test(protocol, stress))
            np.testing.assert_allclose(changed[0], budget * np.where(others, of_others, of_budget))
            np.testing.assert_allclose(changed[1], cpa * np.where(others, 1.0, of_cpa))
        assert (
            synthetic.tests[protocol]
            .where["market"]
            .difference(synthetic.tests[name_of_test(protocol, "CPA x 0.8")].where["market"])
        )
    for protocol in ("fixed-prices", "logged-bids"):
        plain, half = (synthetic.tests[name].one(0) for name in (protocol, name_of_test(protocol, "budget x 0.5")))
        played, stressed = (episodes.play(FixedBidder(1.0)) for episodes in (plain, half))
        assert stressed.targets.budget == pytest.approx(0.5 * played.targets.budget)
        assert half.seeds.tolist() == [64]
    with pytest.raises(ValueError, match="`rival_budget` must be positive, found 0"):
        Stress(rival_budget=0)


def test_a_users_periods_with_and_without_trajectories(files: Path, tmp_path: Path) -> None:
    setting = describe(files, "testing")
    assert isinstance(setting.source, PeriodFiles)
    assert (setting.train, setting.validation, setting.test) == ((0,), (), (1,))
    suite = of(setting)
    of_user = open_variant(suite.variants[0], suite, tmp_path)
    train, validation = (part[TASK.name] for part in of_user.load_logs())
    assert (
        (train.n_episodes, validation.n_episodes)
        == (40, 8)
        == tuple(counts[TASK.name] for counts in (of_user.n_train, of_user.n_validation))
    )
    tuned = of_user.targets[TASK.name].days
    assert "market" not in of_user.tests and tuned is not None and tuned.tolist() == [0, 0, 0]
    arms = {arm.name: arm for arm in suite.arms}
    for name in ("auctionnet-lp", "online-lp"):
        run = replace(suite, train_seeds=suite.train_seeds[:1]).only(arms=(arms[name],)).runs()[0]
        tables = execute(Job(run=run, cache=str(tmp_path), commit=""))
        assert tables["runs"]["failed"].to_pylist() == [""], name
        assert set(tables["rows"]["task"].to_pylist()) == set(of_user.tests)
    (files / "trajectories").mkdir()
    export_auctionnet_trajectories(files / "trajectories" / "t.csv", train)
    again = describe(files, "testing")
    assert again.source != setting.source and again.source.has_trajectories  # type: ignore[union-attr]
    of_trajectories = open_variant(Variant(name="v", label="v", data=again), of(again), tmp_path)
    assert (of_trajectories.n_train[TASK.name], of_trajectories.n_validation[TASK.name]) == (34, 6)


def test_the_same_files_elsewhere_are_the_same_runs_and_others_are_not(files: Path, tmp_path: Path) -> None:
    moved, told = tmp_path / "moved", list[tuple[int, int]]()
    shutil.copytree(files, moved)
    here, there = describe(files, "testing"), describe(moved, "testing", lambda *n: told.append(n))
    assert here.source != there.source  # the place that the data are read from
    runs = [of(setting).runs()[0] for setting in (here, there)]
    assert config_hash(runs[0]) == config_hash(runs[1]) and log_key(here) == log_key(there)
    assert of(here).hash() == of(there).hash() and told[-1] == (told[-1][1],) * 2
    name = next(moved.glob("period-1*"))
    raw = bytearray(name.read_bytes())
    raw[-1] ^= 1  # of the same size
    name.write_bytes(raw)
    changed = describe(moved, "testing")
    assert config_hash(of(changed).runs()[0]) != config_hash(runs[0]) and log_key(changed) != log_key(here)


def test_refusals_say_what_to_do(files: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`SUITE` 'auctionnet/v3' needs periods: .*--data DIR.*--synthetic"):
        run_command("auctionnet/v3")
    with pytest.raises(ValueError, match="`--data` must be given with 'auctionnet/v3' only, found 'demo/v2'"):
        run_command("demo/v2", data=files)
    with pytest.raises(ValueError, match="`--synthetic` must be given with 'auctionnet/v3' only"):
        run_command("demo/v2/cpu", is_synthetic=True)
    with pytest.raises(FileNotFoundError, match="`--data` must be a directory"):
        run_command("auctionnet/v3", data=tmp_path / "none")
    with pytest.raises(ValueError, match=r"periods of 7\.\.12 .*found \[0, 1\]; size `testing` takes any two"):
        run_command("auctionnet/v3/cpu", data=files)
    (tmp_path / "data.csv").touch()
    with pytest.raises(ValueError, match=r"files named period-N\.csv .*found .*data\.csv: rename it"):
        run_command("auctionnet/v3", data=tmp_path)
    for changed, message in (
        ({"train": ()}, "`train` must hold at least one period"),
        ({"validation": (14,)}, "must share no period"),
        ({"source": PeriodFiles(directory="d", digest="d", has_trajectories=False)}, "'market' for synthetic periods"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(SYNTHETIC, **changed)
