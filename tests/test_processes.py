"""The forked processes of tests: output, arguments, errors and the end of one that hangs."""

from __future__ import annotations

import time
from pathlib import Path

from tests import processes


def test_a_script_runs_as_the_main_module(tmp_path: Path) -> None:
    code = "import os, sys\nassert __name__ == '__main__'\nprint(sys.argv[1:], os.environ['NAME'], os.getcwd())"
    done = processes.run(code, "a", "b", folder=tmp_path, work=tmp_path / "new", variables={"NAME": "value"})
    assert (done.returncode, done.stdout, done.stderr) == (0, f"['a', 'b'] value {tmp_path}\n", "")


def test_an_error_is_the_return_code_and_a_traceback(tmp_path: Path) -> None:
    done = processes.run("print('before')\nraise OSError('disk full')", folder=tmp_path, work=tmp_path / "new")
    assert done.returncode == 1 and done.stdout == "before\n"
    assert "line 2" in done.stderr and "OSError: disk full" in done.stderr
    assert processes.run("raise SystemExit(3)", folder=tmp_path, work=tmp_path / "other").returncode == 3


def test_one_that_hangs_is_killed(tmp_path: Path) -> None:
    begun = time.monotonic()
    done = processes.Run("import time\ntime.sleep(60)", folder=tmp_path, work=tmp_path / "new").finish(timeout=0.2)
    assert done.returncode == -9 and time.monotonic() - begun < 50
