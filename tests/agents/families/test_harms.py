"""Harmed families: who is harmed, the truth on disk, and measured harm."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.families.family import TaskFamily, make_task_family
from agents.families.harms import HARM_V1, HARM_V1_KINDS, deal_harms, parse_harms
from agents.families.measurement import FIRST_SEED, Marginals, MeasuredHarm, marginal_distance, measure_harm
from agents.families.storage import (
    FAMILY_FILE,
    HARM_FILE,
    collect_family,
    load_family,
    read_family,
    read_harm,
    save_harm,
    sound_episodes,
)
from agents.logging.harm import Harm


def make(n_tasks: int, **kwargs: object) -> TaskFamily:
    return make_task_family(n_tasks, **({"n_impressions": 480, "imbalance": (40, 8)} | kwargs))  # type: ignore[arg-type]


@pytest.mark.parametrize(("n_tasks", "n_groups"), [(2, 1), (6, 3), (12, 6), (24, 6), (6, 6)])
def test_harm_v1_harms_a_third_and_the_nearest_task_is_stale(n_tasks: int, n_groups: int) -> None:
    dealt = [deal_harms(HARM_V1, n_tasks, n_groups, seed) for seed in range(30)]
    seen = set()
    for harms in dealt:
        assert len(harms) == max(1, n_tasks // 3) and 0 not in harms
        seen |= set(harms.values())
        stale = [k for k, harm in harms.items() if harm.kind == "stale"]
        if n_groups < n_tasks:
            mates = [k for k in range(n_tasks) if k % n_groups == stale[0] % n_groups and k not in harms]
            assert mates, "a sound target is of the stale source's group"
    if n_tasks >= 6 and n_groups < n_tasks:
        assert seen == set(HARM_V1_KINDS)
    assert deal_harms(HARM_V1, n_tasks, n_groups, 5) == dealt[5]


def test_a_default_family_is_sound() -> None:
    assert not any(member.is_harmful for member in make_task_family(16).members)


def test_harms_in_a_row_are_spread_over_the_sizes() -> None:
    assert deal_harms((), 3, 1, 0) == {}
    assert deal_harms([Harm(kind="scaled_bid")] * 2, 16, 8, 0).keys() == {1, 8}
    assert deal_harms([Harm(kind="scaled_bid")] * 4, 12, 6, 3).keys() == {1, 3, 6, 9}  # as negative-transfer/v1 has it


def test_harms_of_a_command_line() -> None:
    assert parse_harms("none") == () and parse_harms(HARM_V1) == HARM_V1
    assert parse_harms("scaled_bid=1@0.3,delay=0.5") == [
        Harm(kind="scaled_bid", share=0.3),
        Harm(kind="delay", strength=0.5),
    ]


def test_relations_follow_what_a_harm_touches() -> None:
    family = make(12, n_groups=6, harms={7: Harm(kind="delay"), 3: Harm(kind="stale"), 9: Harm(kind="stale")})
    truth = family.relations  # groups: conversions, target CPA, ROAS, clicks, several constraints, add-to-carts
    assert truth[1, 7] == -1 and truth[0, 7] == -1 and truth[2, 7] == -1
    assert not family.members[7].harm.affects(family.members[5].task)  # type: ignore[union-attr]
    assert truth[5, 7] == 0  # add-to-carts are right
    assert truth[3, 9] == 1 and truth[0, 9] == -1
    assert np.all(np.diag(truth) == 1)


def test_the_truth_of_logs_on_disk_is_by_trajectory_of_a_split(tmp_path: Path) -> None:
    harms = {1: Harm(kind="scaled_bid", share=0.5), 2: Harm(kind="miscalibration"), 3: Harm(kind="volume")}
    families = [make(4, n_groups=2, imbalance=(60, 40), harms=given) for given in (harms, ())]
    for family, name in zip(families, ("harmed", "sound"), strict=True):
        collect_family(family, tmp_path / name, n_validation=6, n_test=6)
    record = read_family(tmp_path / "harmed")
    np.testing.assert_array_equal(record.relations, families[0].relations)
    assert [member["harm"] for member in json.loads(families[0].to_json())["members"]] == [
        None, *(harm.to_json() for harm in harms.values()),
    ]  # fmt: skip
    for split in ("train", "validation"):
        logs, plain = (load_family(tmp_path / name, split) for name in ("harmed", "sound"))
        truth = sound_episodes(tmp_path / "harmed", logs)
        assert list(truth) == list(logs)
        for name, log in logs.items():
            assert truth[name].shape == (log.n_episodes,)
            both = [np.column_stack((data.action, data.cost, data.expected_conversions)) for data in (log, plain[name])]
            is_same = np.logical_and.reduceat((both[0] == both[1]).all(axis=1), log.episode_starts[:-1])
            np.testing.assert_array_equal(truth[name], is_same, err_msg=name)
        if split == "train":
            assert [0 < truth[name].mean() < 1 for name in logs] == [False, True, True, True]
    name = families[0].names[1]
    assert families[0].sound_episodes(name).shape == (families[0].members[1].n_trajectories,)
    whole = families[0].sound_episodes(name, 12)
    parts = (load_family(tmp_path / "harmed", split) for split in ("train", "validation", "test"))
    assert whole.sum() == sum(sound_episodes(tmp_path / "harmed", logs)[name].sum() for logs in parts)
    with pytest.raises(ValueError, match=r"`name` must be one of .* found 'other'"):
        families[0].sound_episodes("other")


def test_measured_harm_of_a_known_one() -> None:
    """Bids recorded three times too high cost much, sound sources nothing, and clicks do not depend on delays."""
    family = make(
        6, n_groups=6, n_impressions=960, harms={1: Harm(kind="scaled_bid", share=0.5), 4: Harm(kind="delay")}
    )
    told: list[int] = []
    measured = measure_harm(family, n_episodes=4, n_constants=7, progress=told.append)
    assert measured.loss.shape == (6, 6) and sum(told) % 28 == 0
    assert (measured.loss[:, [0, 2, 3, 5]] == 0).all() and (measured.share[:, [0, 2, 3, 5]] == 0).all()
    assert (measured.loss[:, 1] > 0.3).all() and (measured.loss <= 1).all()
    assert 0.3 < measured.share[0, 1] < 0.7
    np.testing.assert_array_equal(measured.mean, measured.loss * measured.share)
    assert measured.loss[3, 4] == 0 and measured.loss[5, 4] == 0  # clicks, add-to-carts
    again = measure_harm(family, n_episodes=4, n_constants=7)
    np.testing.assert_array_equal(again.loss, measured.loss)
    assert min(member.first_seed for member in make(2, seed=0).members) > FIRST_SEED + 2**20
    with pytest.raises(ValueError, match="`n_episodes` must be at least 1 and `n_constants` at least 3, found 0, 7"):
        measure_harm(family, n_episodes=0, n_constants=7)


def test_marginals_are_kolmogorov_smirnov_distances(tmp_path: Path) -> None:
    family = make(2, n_groups=1, harms={1: Harm(kind="scaled_bid")})
    collect_family(family, tmp_path, n_validation=4, n_test=2)
    log = load_family(tmp_path)[family.names[1]]
    assert marginal_distance(log, log) == Marginals(0, 0, 0)
    sound = replace(log, action=log.action / 3)
    found = marginal_distance(log, sound)
    assert found.cost == found.price == 0 and found.action > 0.5
    a, b = (np.sort((data.action / data.base)[data.action > 0]) for data in (log, sound))
    grid = np.concatenate((a, b))
    by_hand = np.abs(np.searchsorted(a, grid, "right") / len(a) - np.searchsorted(b, grid, "right") / len(b)).max()
    assert found.action == pytest.approx(by_hand)
    with pytest.raises(ValueError, match="`second` must hold trajectories, found none"):
        marginal_distance(log, log.select([]))


def test_measured_harm_is_kept_for_its_family(tmp_path: Path) -> None:
    family = make(2, imbalance=(2, 2), harms=[Harm(kind="scaled_bid")])
    collect_family(family, tmp_path, n_validation=1, n_test=1)
    assert read_harm(tmp_path) is None
    found = MeasuredHarm(np.array([[0.0, 0.5], [0.0, 0.25]]), np.array([[0.0, 1.0], [0.0, 1.0]]))
    save_harm(tmp_path, found)
    for mine, read in zip(found, read_harm(tmp_path) or (), strict=True):
        np.testing.assert_array_equal(mine, read)
    with pytest.raises(ValueError, match=r"must be of the 2 tasks of .*, found shape \(3, 3\)"):
        save_harm(tmp_path, MeasuredHarm(np.zeros((3, 3)), np.zeros((3, 3))))
    record = tmp_path / FAMILY_FILE
    record.write_text(record.read_text().replace('"seed": 0', '"seed": 1'))
    assert read_harm(tmp_path) is None  # it was measured of another family
    (tmp_path / HARM_FILE).write_text("{}")
    with pytest.raises(ValueError, match="must hold family, loss and share of a measured harm"):
        read_harm(tmp_path)
