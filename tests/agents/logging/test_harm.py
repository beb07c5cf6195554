"""Harm in logs: strength 0 is the sound log, each kind changes what it says and only that, the truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.logging.collection import Collection, collect_data_set
from agents.logging.harm import HARM_KINDS, OF_RECORD, Harm
from agents.rollouts import rollout
from agents.rules.fixed import FixedBidder
from auction_env import TASKS, MarketParams
from auction_env.control.observation import FEATURE_NAMES
from auction_env.data import TrajectoryData, load
from auction_env.market.funnel import Funnel

CONTROLLED = (0, 3, 9, 17, 30)  # categories 0, 0, 1, 2, 3
SOUND = Collection(
    task=TASKS["TargetCPA"],
    n_episodes=6,
    seed=2**41,
    policy="noisy-pid",
    advertisers=CONTROLLED,
    control="all",
    params=MarketParams(n_impressions=4_800, funnel=Funnel()),
)
COLUMNS = (
    "action", "bid", "cost", "wins", "exposures", "conversions", "expected_conversions", "clicks", "expected_clicks",
    "add_to_carts", "expected_add_to_carts", "gmv", "expected_gmv", "offered_conversions", "offered_clicks",
    "offered_add_to_carts", "offered_gmv", "reward", "reward_expected", "features", "requirements", "budget",
    "budget_left", "n_impressions", "least_winning_cost", "done", "policy", "seed", "period", "advertiser", "category",
)  # fmt: skip
VALUE = {"value_all", "value_last_3", "value_now"}


def collected(path: Path, harm: Harm | None, collection: Collection = SOUND) -> TrajectoryData:
    collect_data_set(replace(collection, harm=harm), path)
    return load(path)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> TrajectoryData:
    return collected(tmp_path_factory.mktemp("sound") / "log", None)


def changed_rows(sound: TrajectoryData, harmed: TrajectoryData, name: str) -> np.ndarray:
    a, b = np.asarray(sound[name], float), np.asarray(harmed[name], float)
    return (a != b).reshape(len(a), -1).any(axis=1)


@pytest.mark.parametrize("kind", HARM_KINDS)
@pytest.mark.parametrize("levels", [(0.0, 1.0), (1.0, 0.0)])
def test_no_strength_or_no_share_is_the_sound_log_bit_for_bit(
    tmp_path: Path, sound: TrajectoryData, kind: str, levels: tuple[float, float]
) -> None:
    harm = Harm(kind=kind, strength=levels[0], share=levels[1])
    assert not harm
    same = collected(tmp_path / "log", harm)
    for name in COLUMNS:
        np.testing.assert_array_equal(same[name], sound[name], err_msg=name)
    assert replace(SOUND, harm=harm).sound_trajectories.all()


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("scaled_bid", {"action", "bid"}),
        ("dayparting", {"action", "bid"}),
        ("delay", {"conversions", "expected_conversions", "gmv", "expected_gmv", "reward", "reward_expected"}),
        (
            "miscalibration",
            {"action", "offered_conversions", "expected_conversions", "offered_gmv", "expected_gmv", "features"}
            | {"reward_expected"},
        ),
    ],
)
def test_kinds_of_the_record_change_their_columns_only(
    tmp_path: Path, sound: TrajectoryData, kind: str, changes: set[str]
) -> None:
    harmed = collected(tmp_path / "log", Harm(kind=kind, strength=0.5))
    assert kind in OF_RECORD
    assert {name for name in COLUMNS if changed_rows(sound, harmed, name).any()} == changes


@pytest.mark.parametrize("kind", sorted(set(HARM_KINDS) - set(OF_RECORD)))
def test_kinds_of_the_market_leave_the_campaigns_alone(tmp_path: Path, sound: TrajectoryData, kind: str) -> None:
    """Another market is played by the same policy on the same seeds: who, with what budget, and what it is worth."""
    harmed = collected(tmp_path / "log", Harm(kind=kind))
    assert changed_rows(sound, harmed, "cost").any()
    same = ["requirements", "budget", "policy", "seed", "period", "advertiser", "category"]
    for name in same + ([] if kind == "volume" else ["n_impressions", "offered_conversions"]):
        assert not changed_rows(sound, harmed, name).any(), name


def test_scaled_bids_are_a_factor(tmp_path: Path, sound: TrajectoryData) -> None:
    full = collected(tmp_path / "full", Harm(kind="scaled_bid"))
    half = collected(tmp_path / "half", Harm(kind="scaled_bid", strength=0.5))
    np.testing.assert_array_equal(full.action, 3.0 * sound.action)
    np.testing.assert_allclose(half.bid, 3.0**0.5 * sound.bid)


def test_dayparting_divides_the_bids_of_each_tick_by_its_adjustment(tmp_path: Path, sound: TrajectoryData) -> None:
    harm = Harm(kind="dayparting", strength=0.5)
    harmed = collected(tmp_path / "log", harm)
    bids = sound.action > 0
    ratio = (sound.action[bids] / harmed.action[bids], sound.tick[bids])
    np.testing.assert_allclose(ratio[0], harm.bid_adjustment(48)[ratio[1]])
    np.testing.assert_allclose(harm.bid_adjustment(48)[[0, -1]], [3**0.5, 3**-0.5])
    assert np.log(harm.bid_adjustment(48)).sum() == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_array_equal(Harm(kind="scaled_bid").bid_adjustment(3), 1.0)


def test_first_price_moves_payments_towards_the_bid(tmp_path: Path) -> None:
    """A constant bid of everybody: the same impressions are won, and strength interpolates what they cost."""
    cost = {}
    for strength in (0.0, 0.5, 1.0):
        harm = Harm(kind="first_price", strength=strength)
        population = replace(SOUND.population, behaviour=("fixed",) * 48, budget=(1e9,) * 48)
        params, population = harm.market(SOUND.params, population, CONTROLLED)
        played = rollout(
            FixedBidder(), seeds=[1, 2], advertisers=[0, 3], task=SOUND.task, params=params, population=population
        )
        cost[strength] = played.ticks.cost
    assert (cost[1.0] >= cost[0.0]).all() and cost[1.0].sum() > 1.05 * cost[0.0].sum()
    np.testing.assert_allclose(cost[0.5], (cost[0.0] + cost[1.0]) / 2, rtol=1e-5)


@pytest.mark.parametrize("kind", ["reserve", "volume"])
def test_late_kinds_begin_in_the_middle_of_the_log(tmp_path: Path, sound: TrajectoryData, kind: str) -> None:
    harmed = collected(tmp_path / "log", Harm(kind=kind))
    late = sound.period >= 3
    for name in COLUMNS:
        assert not changed_rows(sound, harmed, name)[~late].any(), name
    if kind == "reserve":
        assert harmed.least_winning_cost[late].min() >= 0.1 > sound.least_winning_cost[late].min()
    else:
        ratio = harmed.n_impressions[late].sum() / sound.n_impressions[late].sum()
        assert ratio == pytest.approx(0.5, abs=0.01)
    expected = np.repeat(np.arange(6) < 3, len(CONTROLLED))
    np.testing.assert_array_equal(replace(SOUND, harm=Harm(kind=kind)).sound_trajectories, expected)


def test_delays_lose_the_conversions_of_late_ticks(tmp_path: Path, sound: TrajectoryData) -> None:
    """A geometric delay with a mean of 12 ticks, by hand."""
    harmed = collected(tmp_path / "log", Harm(kind="delay", strength=0.5))
    reported = np.array([1 - (12 / 13) ** (48 - tick) for tick in range(48)])
    np.testing.assert_allclose(harmed.expected_conversions, reported[sound.tick] * sound.expected_conversions)
    np.testing.assert_array_equal(harmed.reward_expected, harmed.expected_conversions)
    assert (harmed.conversions <= sound.conversions).all()
    many = replace(sound, conversions=np.full(len(sound), 400.0))
    drawn = Harm(kind="delay", strength=0.5).record(many, CONTROLLED, SOUND.population)
    for tick in (0, 24, 47):
        rows = drawn.tick == tick
        error = np.sqrt(reported[tick] * (1 - reported[tick]) / (400 * rows.sum()))
        assert drawn.conversions[rows].mean() / 400 == pytest.approx(reported[tick], abs=4 * error)


def test_miscalibration_is_of_every_other_category(tmp_path: Path, sound: TrajectoryData) -> None:
    harm = Harm(kind="miscalibration", strength=0.5)
    harmed = collected(tmp_path / "log", harm)
    wrong = np.isin(sound.advertiser, (0, 3, 17))
    np.testing.assert_array_equal(sound.category[wrong] % 2, 0)
    factor = np.where(wrong, 2.0**0.5, 1.0)
    np.testing.assert_allclose(harmed.expected_conversions, factor * sound.expected_conversions)
    np.testing.assert_allclose(harmed.action * factor, sound.action)
    for k, column in enumerate(harmed.features.T):
        rate = factor if FEATURE_NAMES[k] in VALUE else 1.0
        np.testing.assert_allclose(column, rate * sound.features[:, k], err_msg=FEATURE_NAMES[k])
    truth = replace(SOUND, harm=harm).sound_trajectories
    np.testing.assert_array_equal(truth, ~wrong[sound.episode_starts[:-1]])
    clicks = replace(SOUND, task=TASKS["MaxClicks"])
    of_clicks = [collected(tmp_path / str(given), given, clicks) for given in (None, harm)]
    assert not changed_rows(*of_clicks, "action").any() and not harm.affects(TASKS["MaxClicks"])


@pytest.mark.parametrize("kind", HARM_KINDS)
def test_a_share_of_the_episodes_is_harmed_and_the_truth_says_which(
    tmp_path: Path, sound: TrajectoryData, kind: str
) -> None:
    """Mixed logs: what is called sound is the sound log bit for bit, everything else is that of the harmed log."""
    harm = Harm(kind=kind, share=0.5)
    mixed, harmed = collected(tmp_path / "mixed", harm), collected(tmp_path / "harmed", replace(harm, share=1.0))
    truth = replace(SOUND, harm=harm).sound_trajectories
    assert 0 < truth.sum() < len(truth)
    rows = np.repeat(truth, 48)
    for name in COLUMNS:
        if name != "policy":  # a code
            np.testing.assert_array_equal(mixed[name][rows], sound[name][rows], err_msg=name)
            np.testing.assert_array_equal(mixed[name][~rows], harmed[name][~rows], err_msg=name)
    differs = np.add.reduceat(
        np.any([changed_rows(sound, mixed, name) for name in ("action", "cost", "expected_conversions")], axis=0),
        sound.episode_starts[:-1],
    )
    np.testing.assert_array_equal(differs > 0, ~truth)


def test_a_stale_log_has_the_prices_of_cheaper_competitors(tmp_path: Path, sound: TrajectoryData) -> None:
    harmed = collected(tmp_path / "log", Harm(kind="stale"))
    ratio = harmed.least_winning_cost.mean() / sound.least_winning_cost.mean()
    assert 0.4 < ratio < 0.85


def test_workers_and_interruptions_do_not_change_a_byte_of_a_mixed_log(tmp_path: Path) -> None:
    collection = replace(SOUND, harm=Harm(kind="first_price", share=0.4), n_episodes=9, n_trajectories=43)

    def stop(n: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect_data_set(collection, tmp_path / "cut", progress=stop)
    collect_data_set(collection, tmp_path / "cut")
    collect_data_set(collection, tmp_path / "two", n_workers=2)
    shards = [{path.name: path.read_bytes() for path in (tmp_path / name).glob("*.parquet")} for name in ("cut", "two")]
    assert shards[0] == shards[1] and len(shards[0]) == 9
    assert load(tmp_path / "two").n_episodes == 43 == len(collection.sound_trajectories)


def test_text_and_json_of_a_harm() -> None:
    for harm in (Harm(kind="delay", strength=0.25), Harm(kind="scaled_bid", share=0.3)):
        assert Harm.parse(str(harm)) == harm == Harm.from_json(harm.to_json())
    assert Harm.parse("stale") == Harm(kind="stale") and Harm.from_json(None) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("theft", r"`harm.kind` must be one of \('scaled_bid', .* found 'theft'"),
        ("delay=1.5", r"`harm.strength` must lie in \[0, 1\], found 1.5"),
        ("delay=0.5@2", r"`harm.share` must lie in \[0, 1\], found 2.0"),
        ("delay=much", r"`harm` must be kind=strength or kind=strength@share, found 'delay=much'"),
    ],
)
def test_bad_harms_are_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Harm.parse(text)
