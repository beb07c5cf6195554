"""A kernel is compiled anew when a kernel that it calls, in another file, has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from auction_env.kernels.running.stale import drop_stale

INNER = "from numba import njit\n\n\n@njit(cache=True)\ndef inner(x):\n    return x + {}\n"
OUTER = (
    "from numba import njit\n\nfrom inner import inner\n\n\n"
    "@njit(cache=True)\ndef outer(x):\n    return inner(x)\n\n\nprint(outer(1))\n"
)


def test_a_changed_source_removes_what_was_compiled_from_all(tmp_path: Path) -> None:
    (tmp_path / "part" / "__pycache__").mkdir(parents=True)
    source, compiled = tmp_path / "part" / "kernel.py", tmp_path / "part" / "__pycache__" / "kernel.1.nbc"
    source.write_text("a = 1\n")
    assert drop_stale(tmp_path) and not drop_stale(tmp_path)
    compiled.write_bytes(b"")
    assert not drop_stale(tmp_path) and compiled.exists()
    source.write_text("a = 12\n")
    assert drop_stale(tmp_path) and not compiled.exists()


def test_a_caller_in_another_file_gives_the_new_result(tmp_path: Path) -> None:
    """What numba does by itself is the reason: the second run still has the first formula."""
    (tmp_path / "inner.py").write_text(INNER.format(1))
    (tmp_path / "outer.py").write_text(OUTER)

    def run() -> int:
        environment = os.environ | {"NUMBA_DISABLE_JIT": "0"}
        environment.pop("NUMBA_CACHE_DIR", None)
        command = [sys.executable, "outer.py"]
        return int(subprocess.check_output(command, cwd=tmp_path, env=environment, text=True))

    drop_stale(tmp_path)
    assert run() == 2
    (tmp_path / "inner.py").write_text(INNER.format(10))
    if run() != 2:
        pytest.skip("this numba looks at the sources of callees")
    assert drop_stale(tmp_path)
    assert run() == 11
