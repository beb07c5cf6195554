"""The message about kernels that are compiled: where there is something to wait for, and only there."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from auction_env import kernels


def test_the_first_process_says_it_and_the_second_does_not(tmp_path: Path) -> None:
    code = """
import logging, sys
logging.getLogger("auction_env.kernels").setLevel("INFO")
import numpy as np
from numba import njit
from auction_env.kernels.rng import make_key
njit(lambda x: x + 1)(1)  # a function of the user's own: not a word
print("own done", file=sys.stderr, flush=True)
make_key(np.uint64(7), 1, 2, 3)
make_key(np.uint64(7), 1, np.int32(2), 3)
"""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    said = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stderr
        for _ in range(2)
    ]
    assert said == [f"own done\n{kernels.COMPILING}\n", "own done\n"]


def test_a_program_with_handlers_of_its_own_gets_a_record(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, kernels.logger.name):
        kernels.logger.info(kernels.COMPILING)
    assert caplog.messages == [kernels.COMPILING]
    assert capsys.readouterr().err == ""  # pytest's handler has it
