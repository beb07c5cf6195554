"""Task families: counts, knobs that move what they name and nothing else, the truth, and the logs on disk."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.families.distances import Distance, data_distance
from agents.families.family import Member, TaskFamily, make_task_family
from agents.families.shift import Shift
from agents.families.storage import (
    collect_family,
    load_family,
    load_family_parts,
    member_collection,
    read_family,
)
from agents.logging.collection import collect_data_set
from agents.logging.harm import Harm
from auction_env import (
    TASKS,
    Funnel,
    MarketParams,
    TrafficParams,
    auctionnet_population,
    preset,
    random_population,
)
from auction_env.data import COLUMN_NAMES, TrajectoryData, load, read_manifest

KNOBS = tuple(field.name for field in dataclasses.fields(Shift))


def make(n_tasks: int = 6, **kwargs: object) -> TaskFamily:
    return make_task_family(n_tasks, **({"n_impressions": 960, "imbalance": (40, 8)} | kwargs))  # type: ignore[arg-type]


@pytest.mark.parametrize("n_tasks", [2, 3, 7, 128])
def test_a_family_has_distinct_tasks_and_a_long_tail(n_tasks: int) -> None:
    family = make_task_family(n_tasks, seed=4)
    assert len(family) == len(set(family.names)) == n_tasks
    sizes = [member.n_trajectories for member in family.members]
    assert (sizes[0], sizes[-1]) == (5000, 20) and sizes == sorted(sizes, reverse=True)
    ratio = np.divide(sizes[1:], sizes[:-1])
    assert np.ptp(ratio[: n_tasks // 2]) < 0.02  # geometric
    seeds = [member.first_seed for member in family.members]
    assert np.diff(seeds).min(initial=2**32) >= 2**32 and max(seeds) < 2**62


def test_the_same_arguments_give_the_same_family_and_another_seed_another() -> None:
    assert make(seed=1) == make(seed=1)
    assert make(seed=1).members[0].population != make(seed=2).members[0].population


def test_a_family_of_other_advertisers() -> None:
    base = dataclasses.replace(random_population(12, 3), budget_swing=0.2, behaviour=("steps",) * 12)
    family = make_task_family(3, seed=1, shift=0.0, population=base)
    assert {member.population for member in family.members} == {base}
    assert all(len(member.advertisers) == 4 for member in family.members)
    with pytest.raises(ValueError, match="`population` must have at least 3 advertisers, found 2"):
        make_task_family(3, population=random_population(2, 0))


def test_a_family_in_a_market_like_auctionnets() -> None:
    chosen = preset("dense", n_impressions=480)
    first, *others = make_task_family(3, shift=0.0, harms=(), **chosen._asdict()).members
    assert first.params == replace(chosen.params, funnel=Funnel()) and first.population == chosen.population
    assert {other.params for other in others} == {first.params}
    assert make_task_family(2, n_impressions=96, params=chosen.params).members[0].params.n_impressions == 96
    with pytest.raises(
        ValueError, match=r"`harms` must suit the market, found first_price=0.5 .*`is_unsold_at_reserve`"
    ):
        make_task_family(3, harms={1: Harm(kind="first_price", strength=0.5)}, **chosen._asdict())


def test_seasons_move_every_curve_of_the_week() -> None:
    week = tuple(tuple(1.0 + (hour + day) % 24 for hour in range(24)) for day in range(7))
    params = MarketParams(n_impressions=480, traffic=TrafficParams(weekly_curve=week))
    moved = [m.params.traffic.weekly_curve for m in make(4, params=params, shift=Shift(season=1.0)).members]
    early, late = (min(moved, key=lambda rows: rows[0][0]), max(moved, key=lambda rows: rows[0][0]))
    assert len(set(moved)) == 4 and all(len(row) == 24 for row in early)
    np.testing.assert_allclose([sum(row) for row in late], [300.0] * 7, rtol=1e-9)  # moved, not scaled


def test_without_shift_all_members_are_alike() -> None:
    first, *others = make(shift=0.0, harms=()).members
    for other in others:
        for name in ("params", "population", "policy", "advertisers"):
            assert getattr(other, name) == getattr(first, name), name
    assert len(first.advertisers) == 16


def level_of(member: Member) -> float:
    """log of the factor on the controlled advertisers' budgets."""
    first = member.advertisers[0]
    return float(np.log(member.population.budget[first] / auctionnet_population().budget[first]))


def test_more_shift_is_the_same_family_further_apart() -> None:
    near, far = make(shift=0.2, seed=3), make(shift=0.8, seed=3)
    for a, b in zip(near.members, far.members, strict=True):
        assert (a.task, a.group, a.harm, a.n_trajectories) == (b.task, b.group, b.harm, b.n_trajectories)
        assert level_of(b) == pytest.approx(4 * level_of(a))


def test_the_truth_follows_from_groups_and_policies() -> None:
    family = make(8, n_groups=2, harms=[Harm(kind="scaled_bid")] * 2)
    truth = family.relations
    harmful = np.array([member.is_harmful for member in family.members])
    group = np.arange(8) % 2
    assert harmful.sum() == 2 and not harmful[0]
    assert np.all(np.diag(truth) == 1)
    for k in range(8):
        for i in range(8):
            if harmful[k] != harmful[i]:
                assert truth[k, i] == -1
            else:
                assert truth[k, i] == (group[k] == group[i])


def collected(member: Member, path: Path, n: int = 160) -> TrajectoryData:
    collection = dataclasses.replace(
        member_collection(member, 0), n_episodes=-(-n // len(member.advertisers)), n_trajectories=n
    )
    collect_data_set(collection, path)
    return load(path)


def distance(shift: Shift, path: Path) -> Distance:
    """Between the logs of two groups of one task each."""
    family = make(2, seed=11, shift=shift, n_groups=2, harms=())
    one, two = (dataclasses.replace(member, task=TASKS["MaxConversions"]) for member in family.members)
    return data_distance(collected(one, path / "0"), collected(two, path / "1"))


@pytest.fixture(scope="module")
def unshifted(tmp_path_factory: pytest.TempPathFactory) -> Distance:
    return distance(Shift(**dict.fromkeys(KNOBS, 0.0)), tmp_path_factory.mktemp("unshifted"))


@pytest.mark.parametrize("knob", KNOBS)
def test_a_knob_moves_the_distance_that_it_names(tmp_path: Path, knob: str, unshifted: Distance) -> None:
    """The measured distance grows with the knob, the others hardly move."""
    none = unshifted
    half, full = (distance(Shift(**{knob: level}), tmp_path / str(level)) for level in (0.5, 1.0))
    assert getattr(none, knob) < getattr(half, knob) < getattr(full, knob)
    # prices follow who bids how much, a PID answers prices, and other advertisers have other budgets and targets
    follows = {"market", "policy"} | ({"budget", "target"} if knob == "category" else set())
    for other in set(KNOBS) - {knob} - follows:
        assert getattr(full, other) < getattr(none, other) + 0.02, other


def test_distances_are_zero_to_oneself_and_symmetric(tmp_path: Path) -> None:
    one, two = (collected(member, tmp_path / member.name, 48) for member in make(2, shift=1.0, n_groups=2).members)
    assert data_distance(one, one) == Distance(0, 0, 0, 0, 0, 0)
    np.testing.assert_allclose(data_distance(one, two), data_distance(two, one))


def test_a_family_on_disk(tmp_path: Path) -> None:
    family, told = make(4, imbalance=(40, 5)), []
    collect_family(family, tmp_path / "logs", n_validation=6, n_test=4, progress=told.append)
    assert sum(told) == sum(member.n_trajectories + 10 for member in family.members)
    assert read_family(tmp_path / "logs") == family  # with market and population of every member
    train, validation = load_family(tmp_path / "logs"), load_family(tmp_path / "logs", "validation")
    for member in family.members:
        data = train[member.name]
        assert data.n_episodes == member.n_trajectories and validation[member.name].n_episodes == 6
        assert data.tasks == (member.task,)
        assert set(data.advertiser) <= set(member.advertisers)
        assert data.cpc_target.min() > 0  # can be relabelled for every task
    parts = load_family_parts(tmp_path / "logs", ("validation", "train"))  # each read as when it is read alone
    for found, alone in zip(parts, (validation, train), strict=True):
        assert list(found) == list(family.names)
        for name, data in found.items():
            assert data.tasks == alone[name].tasks and data.metadata == alone[name].metadata
            for column in COLUMN_NAMES:
                np.testing.assert_array_equal(data[column], alone[name][column], err_msg=column)
    with pytest.raises(ValueError, match=r"`split` must be one of .*, found 'training'"):
        load_family_parts(tmp_path / "logs", ("train", "training"))


def test_an_interrupted_family_goes_on(tmp_path: Path) -> None:
    family = make(3)

    def stop(n: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect_family(family, tmp_path / "logs", n_validation=2, n_test=2, progress=stop)
    with pytest.raises(FileNotFoundError, match="its collection is not finished"):
        read_family(tmp_path / "logs")
    collect_family(family, tmp_path / "logs", n_validation=2, n_test=2)
    collect_family(family, tmp_path / "whole", n_validation=2, n_test=2)
    for name in family.names:
        again, whole = (read_manifest(tmp_path / part / name) for part in ("logs", "whole"))
        assert [shard.sha256 for shard in again.shards] == [shard.sha256 for shard in whole.shards]
    with pytest.raises(FileExistsError, match="found another family"):
        collect_family(make(3, seed=9), tmp_path / "logs")


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "family.json").write_text(json.dumps({"members": []}))
    with pytest.raises(ValueError, match=r"family.json must hold members, relations and shift"):
        read_family(tmp_path)
    collect_family(make(2, imbalance=(3, 2)), tmp_path / "logs", n_validation=1, n_test=1)
    path = tmp_path / "logs" / "family.json"
    record = json.loads(path.read_text())
    record["relations"][0][1] = -1
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="`relations` must be those of its members"):
        read_family(tmp_path / "logs")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_tasks": 1}, r"`n_tasks` must lie in 2..128, found 1"),
        ({"n_tasks": 129}, r"`n_tasks` must lie in 2..128, found 129"),
        ({"seed": -1}, "`seed` must not be negative, found -1"),
        ({"shift": 1.5}, r"`shift.category` must lie in \[0, 1\], found 1.5"),
        ({"imbalance": (5, 20)}, r"`imbalance` must be \(most, fewest\) .* found \(5, 20\)"),
        ({"n_groups": 0}, r"`n_groups` must lie in 1..4, found 0"),
        ({"harms": [Harm(kind="delay")] * 4}, r"`harms` must be at most 3, one task being sound, found 4"),
        ({"harms": {4: Harm(kind="delay")}}, r"`harms` must be of positions 0..3, found 4"),
        ({"harms": "harm/v0"}, r"`harms` must be 'harm/v1', or harms themselves, found 'harm/v0'"),
    ],
)
def test_bad_families_are_named(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task_family(**({"n_tasks": 4} | kwargs))  # type: ignore[arg-type]
