"""The logs of a task family on disk: a data set a task, each split, and the truth beside them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.families.family import Member, TaskFamily
from agents.families.measurement import MeasuredHarm
from agents.families.shift import Shift
from agents.learning.bars import Count, counted
from agents.logging.collection import Collection, collect_data_set
from agents.logging.harm import Harm, sound_trajectories
from agents.parallel import worker_count
from auction_env.data import TrajectoryData, load, read_manifest, write_splits
from auction_env.data.manifest import MANIFEST
from auction_env.data.storage import load_parts
from auction_env.files import already_there, write_atomically
from auction_env.market.params import MarketParams
from auction_env.market.population import Population
from auction_env.tasks import Task

FAMILY_FILE = "family.json"
HARM_FILE = "harm.json"
_PER_WORKER = 2_000  # trajectories that take as long as starting a worker and making its policy


def member_collection(member: Member, n_held_out: int) -> Collection:
    """What is collected for a member: its trajectories to train on, and `n_held_out` more."""
    n = member.n_trajectories + n_held_out
    return Collection(
        task=member.task,
        n_episodes=-(-n // len(member.advertisers)),
        n_trajectories=n,
        seed=member.first_seed,
        policy=member.policy,
        harm=member.harm,
        advertisers=member.advertisers,
        control="all",  # a third of the market: the others stay as they are when the tasks are played
        params=member.params,
        population=member.population,
    )


def collect_family(
    family: TaskFamily,
    out: str | os.PathLike[str],
    *,
    n_validation: int = 50,
    n_test: int = 50,
    n_workers: int | None = 1,
    ray: str | None = None,
    force: bool = False,
    progress: Count | bool | None = None,
) -> None:
    """Collects the logs of all tasks; what an interrupted call has finished is kept.

    Args:
        family: The tasks.
        out: Directory; every task gets a folder of its name, a data set with the splits train, validation and test.
        n_validation, n_test: Held-out trajectories of each task, beyond those to train on: every task has as many,
            however scarce its data are.
        n_workers, ray: Who makes the logs of a task (`collect_data_set`); a small task gets fewer workers.
        force: Whether data sets of other members at `out` are replaced.
        progress: Told the number of trajectories as they are finished; True, False and None are those of
            `agents.rollouts.rollout`.

    Raises:
        FileExistsError: `out` holds another family, or a data set that is not the member's, and `force` is False.
        ValueError: A negative number of held-out trajectories, or none for validation.
    """
    if n_validation < 1 or n_test < 1:
        raise ValueError(f"`n_validation` and `n_test` must be at least 1, found {n_validation} and {n_test}")
    root, text = Path(out), _to_text(family)
    root.mkdir(parents=True, exist_ok=True)
    record = root / FAMILY_FILE
    if record.exists() and record.read_text(encoding="utf-8") != text and not force:
        raise already_there(root, "another family", "must be empty or hold this family")
    n_held_out = n_validation + n_test
    n_all = sum(member.n_trajectories + n_held_out for member in family.members)
    with counted(progress, f"collecting {len(family)} tasks", n_all) as tell:
        for member in family.members:
            path, collection = root / member.name, member_collection(member, n_held_out)
            if not _is_collected(path, collection):
                worth = 1 + collection.n_episodes * collection.n_at_once // _PER_WORKER
                n = min(worker_count(n_workers), worth) if ray is None else n_workers
                collect_data_set(collection, path, n_workers=n, ray=ray, force=force, progress=tell or False)
            elif tell is not None:
                tell(member.n_trajectories + n_held_out)
            splits = read_manifest(path).splits
            if splits is None or (splits["validation"], splits["test"]) != (n_validation, n_test):
                write_splits(path, seed=family.seed, validation=n_validation, test=n_test, force=force)
    write_atomically(record, text.encode())


def _is_collected(directory: Path, collection: Collection) -> bool:
    """Whether the data set is there and is that of the collection."""
    if not (directory / MANIFEST).is_file():
        return False
    return bool(json.loads(json.dumps(collection.parameters)) == read_manifest(directory).parameters)


def _to_text(family: TaskFamily) -> str:
    """What `family.json` says: the family, its truth, and the market of every member."""
    record = json.loads(family.to_json())
    for entry, member in zip(record["members"], family.members, strict=True):
        entry["params"] = json.loads(member.params.to_json())
        entry["population"] = json.loads(member.population.to_json())
    return json.dumps(record, sort_keys=True) + "\n"


def read_family(directory: str | os.PathLike[str]) -> TaskFamily:
    """The family whose logs are in a directory: equal to the one that was given to `collect_family`.

    Raises:
        FileNotFoundError: There is no `family.json`: no family was collected there, or not to its end.
        ValueError: It is not what `collect_family` writes.
    """
    path = _family_file(Path(directory))
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        members = tuple(_to_member(entry) for entry in record["members"])
        family = TaskFamily(members=members, seed=record["seed"], shift=Shift(**record["shift"]))
        relations = record["relations"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} must hold members, relations and shift of a family: {error!r}") from error
    if relations != family.relations.tolist():
        raise ValueError(f"{path}: `relations` must be those of its members, found {relations}")
    return family


def _to_member(entry: dict[str, Any]) -> Member:
    return Member(
        **{
            **entry,
            "task": Task.from_json(json.dumps(entry["task"])),
            "harm": Harm.from_json(entry["harm"]),
            "advertisers": tuple(entry["advertisers"]),
            "params": MarketParams.from_json(json.dumps(entry["params"])),
            "population": Population.from_json(json.dumps(entry["population"])),
        }
    )


def save_harm(directory: str | os.PathLike[str], measured: MeasuredHarm) -> None:
    """Writes what `measure_harm` found beside the family in a directory.

    Raises:
        FileNotFoundError: No family was collected there.
        ValueError: It was measured of a family of another size.
    """
    family, root = read_family(directory), Path(directory)
    if measured.loss.shape != (len(family), len(family)):
        raise ValueError(f"`measured` must be of the {len(family)} tasks of {root}, found shape {measured.loss.shape}")
    record = {"family": _digest(root), "loss": measured.loss.tolist(), "share": measured.share.tolist()}
    write_atomically(root / HARM_FILE, (json.dumps(record) + "\n").encode())


def read_harm(directory: str | os.PathLike[str]) -> MeasuredHarm | None:
    """What `save_harm` wrote; None where nothing was measured of the family that is there now.

    Raises:
        FileNotFoundError: No family was collected there.
        ValueError: The file is not what `save_harm` writes.
    """
    root = Path(directory)
    path, digest = root / HARM_FILE, _digest(root)
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        found = MeasuredHarm(np.asarray(record["loss"], np.float64), np.asarray(record["share"], np.float64))
        is_of_family = record["family"] == digest
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} must hold family, loss and share of a measured harm: {error!r}") from error
    return found if is_of_family else None


def _digest(root: Path) -> str:
    """Tells families apart."""
    return hashlib.sha256(_family_file(root).read_bytes()).hexdigest()


def _family_file(root: Path) -> Path:
    path = root / FAMILY_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} must exist: no family was collected there, or its collection is not finished")
    return path


def load_family(directory: str | os.PathLike[str], split: str = "train") -> dict[str, TrajectoryData]:
    """One part of the logs of every task, by name: "train", "validation" or "test"."""
    return {name: load(Path(directory) / name, split=split) for name in read_family(directory).names}


def load_family_parts(directory: str | os.PathLike[str], splits: Sequence[str]) -> list[dict[str, TrajectoryData]]:
    """Several parts of the logs, each as `load_family` gives it; every data set is read once."""
    names = read_family(directory).names
    found = [load_parts(Path(directory) / name, splits) for name in names]
    return [dict(zip(names, part, strict=True)) for part in zip(*found, strict=True)]


def sound_episodes(
    directory: str | os.PathLike[str], logs: Mapping[str, TrajectoryData]
) -> dict[str, NDArray[np.bool_]]:
    """Which trajectories of a family's logs are sound, by task: (n_episodes,) each, in the order of `logs`.

    Args:
        directory: Where the family was collected.
        logs: Any trajectories of it by the name of their task, for example what `load_family` gave.

    Raises:
        DataSetError: There is no data set of a task.
        ValueError: A data set was not collected from a simulated market.
    """
    return {name: _sound(Path(directory) / name, log) for name, log in logs.items()}


def _sound(directory: Path, log: TrajectoryData) -> NDArray[np.bool_]:
    made = read_manifest(directory).parameters
    if "harm" not in made:
        raise ValueError(f"{directory} must be collected by `collect_family`, found no `harm` in its manifest")
    first = log.episode_starts[:-1]
    return sound_trajectories(
        Harm.from_json(made["harm"]),
        log.period[first],
        log.advertiser[first],
        n_episodes=made["n_episodes"],
        controlled=made["advertisers"],
        population=Population.from_json(made["population"]),
    )
