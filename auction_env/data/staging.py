"""Data sets that are made block by block: a kill at any point loses the blocks in work, nothing else.

The work lies in a hidden directory beside the target, together with the plan that it follows. Whoever starts again
with the same plan finds the finished blocks there and goes on; the data set takes its place when it is whole.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from auction_env.data.dataset import TrajectoryData
from auction_env.data.manifest import Manifest, Shard, json_values, write_manifest, write_shard
from auction_env.data.storage import check_target, to_table
from auction_env.files import replace_directory, unfinished_work, write_atomically

_DATA, _BLOCKS = "data", "blocks"


class Block(NamedTuple):
    """A finished block: its shard and the number of its episodes."""

    shard: Shard
    n_episodes: int


class Stage:
    """The directory in which a data set is made; see `open_stage`."""

    def __init__(self, target: Path, path: Path) -> None:
        self.target, self.path = target, path

    @property
    def data(self) -> Path:
        """Where the shards lie."""
        return self.path / _DATA

    def finished(self, index: int) -> Block | None:
        """The block if it is there and its file is what was written; None otherwise."""
        try:
            record = json.loads((self.path / _BLOCKS / f"{index:05d}.json").read_text(encoding="utf-8"))
            block = Block(Shard(**record["shard"]), record["n_episodes"])
            raw = (self.data / block.shard.file).read_bytes()
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return block if hashlib.sha256(raw).hexdigest() == block.shard.sha256 else None

    def discard(self) -> None:
        """Removes the work so far; for work that can never be finished."""
        shutil.rmtree(self.path, ignore_errors=True)

    def publish(self, blocks: list[Block], *, metadata: Mapping[str, Any], parameters: Mapping[str, Any]) -> Manifest:
        """Writes the manifest over all blocks and puts the data set in its place."""
        data = self.data
        manifest = Manifest(
            shards=tuple(block.shard for block in blocks),
            n_episodes=sum(block.n_episodes for block in blocks),
            metadata=json_values("metadata", metadata),
            parameters=json_values("parameters", parameters),
        )
        known = {block.shard.file for block in blocks}
        for entry in list(data.iterdir()):
            if entry.name not in known:  # what a killed writer left
                entry.unlink()
        write_manifest(data, manifest)
        replace_directory(data, self.target)
        return manifest


def write_block(path: Path, index: int, data: TrajectoryData) -> Block:
    """Writes a block's shard and then its record, each whole; for the process that made the block.

    Args:
        path: `Stage.path`.
        index: Index of the block, which is that of its shard.
        data: Its episodes.
    """
    shard = write_shard(path / _DATA, index, to_table(data))
    block = Block(shard, data.n_episodes)
    record = {"shard": dataclasses.asdict(shard), "n_episodes": data.n_episodes}
    write_atomically(path / _BLOCKS / f"{index:05d}.json", json.dumps(record).encode())
    return block


@contextmanager
def open_stage(
    directory: str | os.PathLike[str],
    plan: Mapping[str, Any],
    *,
    force: bool,
    hopeless: tuple[type[Exception], ...] = (),
) -> Iterator[Stage]:
    """The stage of a data set; its directory goes when the data set is in its place and stays until then.

    Args:
        directory: Where the data set will be.
        plan: All that its bytes depend on, as JSON values.
        force: Whether a data set that is there, or unfinished work of another plan, is replaced.
        hopeless: Errors after which the work can never be finished: they remove it.

    Raises:
        FileExistsError: The target may not be filled (`check_target`), or unfinished work of another plan is there
            and `force` is False, or another process works in the stage.
    """
    target = check_target(directory, force=force)
    with unfinished_work(target, json_values("plan", plan), force=force) as path:
        for name in (_DATA, _BLOCKS):
            (path / name).mkdir(exist_ok=True)
        stage = Stage(target, path)
        try:
            yield stage
        except hopeless:
            stage.discard()
            raise
