"""Files that appear whole, and errors of the system that name the file."""

from __future__ import annotations

import errno
import os
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


@pytest.mark.parametrize(
    "error", [FileExistsError("must be empty"), PermissionError(errno.EACCES, "Permission denied", "other")]
)
def test_errors_that_say_what_is_wrong_stay(error: OSError, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as caught, files.naming_errors(tmp_path):
        raise error
    assert caught.value is error
