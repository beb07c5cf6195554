"""Files and directories that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BY_FORCE = "replace what is there with `force=True` (--force on the command line)"
"""What an error says of files that are there already, beside taking another path."""

_PLAN, _LOCK, _STAGE = "plan.json", "lock", ".stage-"
_LOCKED_AFTER = 5.0  # seconds that a process gets from the file of its lock to the lock
_FULL = (errno.ENOSPC, errno.EDQUOT)


def already_there(path: Path, found: str, rule: str = "must be empty") -> FileExistsError:
    """The error where files are in the way that `force` would replace."""
    return FileExistsError(f"{path} {rule}, found {found}: take another path, or {BY_FORCE}")


def own_directory(directory: str | os.PathLike[str], what: str, is_own: Callable[[str], bool], *, force: bool) -> Path:
    """The absolute path of a directory that may be written: absent, empty, or, with `force`, with files of ours alone.

    Args:
        directory: The directory.
        what: It may hold: "a data set".
        is_own: Whether a file or folder of this name belongs to that.
        force: Whether what is there may be replaced.

    Raises:
        FileExistsError: It is a file, holds something and `force` is False, or holds something of others.
    """
    target = Path(directory).resolve()
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} must be a directory, found a file")
    names = sorted(entry.name for entry in target.iterdir()) if target.exists() else []
    if names and not force:
        raise already_there(target, repr(names[0]))
    foreign = [name for name in names if not is_own(name)]
    if foreign:
        raise FileExistsError(f"{target} must hold nothing but {what}, found {foreign[0]!r}")
    return target


@contextmanager
def naming_errors(path: Path) -> Iterator[None]:
    """Within the block, an error of the system that names no file gets this path, and a full disk says what to do.

    A failed `write` raises OSError without a path: [Errno 28] alone does not say which disk is full.
    """
    try:
        yield
    except OSError as error:
        number = error.errno
        if number is None and "No space left on device" in str(error):  # pyarrow's errors may have no number
            number = errno.ENOSPC
        if number is None or (error.filename is not None and number not in _FULL):
            raise
        reason = os.strerror(number)
        if number in _FULL:
            reason += "; free some space or take another disk"
        raise OSError(number, reason, error.filename or str(path)) from error


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Writes next to the path and renames, so that a reader, or a kill, never meets half a file."""
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A file to write beside the path, which takes its place when the block ends well and vanishes otherwise."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with naming_errors(path):
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of what a file holds."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace_directory(made: Path, target: Path) -> None:
    """Renames a finished directory into its place; one that is there already goes once the new one is in place."""
    if not target.exists():
        made.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent)) / "old"
    target.rename(old)
    try:
        made.rename(target)
    except BaseException:
        old.rename(target)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)


@contextmanager
def staged_directory(target: Path) -> Iterator[Path]:
    """A hidden directory that takes the place of `target` on success and vanishes on failure.

    What a killed process has left goes at the next call for the same target.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(target)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}{_STAGE}", dir=target.parent))
    try:
        with (scratch / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            stage = scratch / "new"
            stage.mkdir()
            with naming_errors(target):
                yield stage
                replace_directory(stage, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _remove_left(target: Path) -> None:
    """Removes stages of the target that no process holds any more."""
    for path in target.parent.glob(f".{glob.escape(target.name)}{_STAGE}*/{_LOCK}"):
        with contextlib.suppress(OSError), path.open("rb+") as lock:  # gone, or held by a process that works
            if time.time() - path.stat().st_mtime > _LOCKED_AFTER:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent, ignore_errors=True)


@contextmanager
def unfinished_work(target: Path, plan: Mapping[str, Any], *, force: bool) -> Iterator[Path]:
    """A hidden directory beside `target` that keeps finished parts of the work for the next call with the same plan.

    It goes when the block ends well, and stays when the block is left by an exception or the process is killed.

    Args:
        target: What the work makes.
        plan: All that the result depends on, as JSON values.
        force: Whether unfinished work of another plan is replaced.

    Raises:
        FileExistsError: Unfinished work of another plan is there and `force` is False, or another process works there.
    """
    path = target.parent / f".{target.name}.unfinished"
    path.mkdir(parents=True, exist_ok=True)
    with (path / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FileExistsError(f"{target} is being made by another process, which works in {path}") from error
        _follow(path, json.dumps(plan, sort_keys=True, indent=1), force=force)
        yield path
        shutil.rmtree(path, ignore_errors=True)


def _follow(path: Path, plan: str, *, force: bool) -> None:
    """Takes up the plan in the directory, or puts this one there."""
    file = path / _PLAN
    if file.exists() and file.read_text(encoding="utf-8") != plan:
        if not force:
            raise FileExistsError(
                f"{path} holds unfinished work with other arguments ({_difference(file, plan)}): finish it with those,"
                f" or {BY_FORCE}"
            )
        for entry in path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != _LOCK:
                entry.unlink()
    write_atomically(file, plan.encode())


def _difference(file: Path, plan: str) -> str:
    """The first key on which the plans differ."""
    try:
        old = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return f"{file.name} is not JSON"
    new = json.loads(plan)
    name = next(key for key in sorted({*old, *new}) if old.get(key) != new.get(key))
    return f"`{name}` differs"
