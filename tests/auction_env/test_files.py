"""Files that appear whole, and errors of the system that name the file."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from auction_env import files


def test_a_full_disk_names_the_file_and_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "x.json"
    with pytest.raises(OSError, match=r"No space left on device; free some space or take another disk: '.*x\.json'"):
        files.write_atomically(path, b"content")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_under_a_directory_names_it(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match=r"free some space .*: '.*target'") as caught,
        files.staged_directory(tmp_path / "target"),
    ):
        raise OSError("Error writing bytes to file. Detail: [errno 28] No space left on device")  # as pyarrow says it
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_at_the_next_call(tmp_path: Path) -> None:
    target = tmp_path / "target"
    code = """
import os, signal, sys
from pathlib import Path
from auction_env.files import staged_directory

with staged_directory(Path(sys.argv[1])) as stage:
    (stage / "half").write_text("written")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(files.__file__).parents[1]
    killed = subprocess.run([sys.executable, "-c", code, str(target)], cwd=root, check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    with files.staged_directory(tmp_path / "other"):
        assert left.exists()
    with files.staged_directory(target):
        assert left.exists()  # it may be at work still, about to lock
    os.utime(left / "lock", (0, 0))
    with files.staged_directory(target), files.staged_directory(target) as stage:
        assert not left.exists()
        (held,) = (path for path in tmp_path.glob(".target.stage-*") if stage.parent != path)
        os.utime(held / "lock", (0, 0))
        with files.staged_directory(target):
            assert held.exists()  # a process holds it
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "target"]


@pytest.mark.parametrize(
    "error", [FileExistsError("must be empty"), PermissionError(errno.EACCES, "Permission denied", "other")]
)
def test_errors_that_say_what_is_wrong_stay(error: OSError, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as caught, files.naming_errors(tmp_path):
        raise error
    assert caught.value is error


def test_a_directory_may_be_written_where_nothing_of_others_is(tmp_path: Path) -> None:
    def checked(name: str, *, force: bool = False) -> Path:
        return files.own_directory(tmp_path / name, "a market", {"own.npy"}.__contains__, force=force)

    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "own.npy").touch()
    assert checked("absent") == tmp_path / "absent" and checked("empty") == tmp_path / "empty"
    with pytest.raises(FileExistsError, match=r"must be empty, found 'own\.npy': .*`force=True`"):
        checked("full")
    assert checked("full", force=True) == tmp_path / "full"
    (tmp_path / "full" / "thesis.pdf").touch()
    with pytest.raises(FileExistsError, match=r"must hold nothing but a market, found 'thesis\.pdf'"):
        checked("full", force=True)
    with pytest.raises(FileExistsError, match="must be a directory, found a file"):
        checked("full/own.npy", force=True)
