"""Variant data of a family of data-scarce tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents import Member, TaskFamily, collect_family, make_task_family, parse_harms, sound_episodes
from agents.families.storage import load_family_parts
from auction_env.data import TrajectoryData
from benchmarks.suites.data.episodes import TaskEpisodes
from benchmarks.suites.data.variant import Logs, VariantData
from benchmarks.suites.spec import FamilyData, Seeds, Suite


def family_of(data: FamilyData) -> TaskFamily:
    """The family that the data are of."""
    return make_task_family(
        data.n_tasks,
        data.seed,
        data.shift,
        (data.most, data.fewest),
        n_groups=data.n_groups,
        harms=parse_harms(data.harms),
        n_impressions=data.n_impressions,
    )


def make(data: FamilyData, suite: Suite, logs: Path, n_workers: int | None) -> VariantData:
    """Collects the logs where they are not there yet.

    Raises:
        ValueError: More tasks are to be played than have a sound log.
    """
    family = family_of(data)
    n_sound = sum(not member.is_harmful for member in family.members)
    if data.n_scored > n_sound:
        raise ValueError(f"`n_scored` must be at most the number of sound tasks, {n_sound}, found {data.n_scored}")
    collect_family(family, logs, n_validation=data.n_collected, n_test=1, n_workers=n_workers)
    sound = [member for member in family.members if not member.is_harmful]

    def is_sound(name: str, log: TrajectoryData) -> NDArray[np.bool_]:
        return sound_episodes(logs, {name: log})[name]

    evenly = np.linspace(0, len(sound) - 1, data.n_scored).round().astype(int)
    scored = [sound[k] for k in evenly]
    names = [member.name for member in sound]

    def load_logs() -> tuple[Logs, Logs]:
        training, held_out = load_family_parts(logs, ("train", "validation"))
        first = np.arange(data.n_validation)
        return training, {name: held_out[name].select(first) for name in names}

    tests = {member.name: _episodes(member, suite.test) for member in scored}
    return VariantData(
        targets={member.name: _episodes(member, suite.validation) for member in scored},
        tests=tests,
        target_of={name: name for name in tests},
        load_logs=load_logs,
        n_train={member.name: member.n_trajectories for member in family.members},
        n_validation=dict.fromkeys(names, data.n_validation),
        is_sound=is_sound,
    )


def _episodes(member: Member, seeds: Seeds) -> TaskEpisodes:
    drawn, advertisers = seeds.draw(np.asarray(member.advertisers))
    return TaskEpisodes(
        task=member.task,
        params=member.params,
        population=member.population,
        seeds=drawn,
        advertisers=advertisers,
    )
