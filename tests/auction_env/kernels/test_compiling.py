"""The message about kernels that are compiled: where there is something to wait for, and only there; inner kernels."""

from __future__ import annotations

import ast
import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher

from auction_env import kernels

ROOT = Path(__file__).parents[3]
KERNELS = ROOT / "auction_env" / "kernels"
PACKAGES = ("auction_env", "agents", "vamo", "benchmarks", "tests", "examples")


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


def used_of(module: str, tree: ast.AST) -> Iterator[str]:
    """The names of a module that a file imports, or takes from the module."""
    package, _, last = module.rpartition(".")
    aliases = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == module:
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            aliases |= {name.asname or name.name for name in node.names if name.name == last}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            yield node.attr


def test_python_uses_no_kernel_that_is_compiled_for_kernels_only() -> None:
    inner: dict[str, set[str]] = {}
    for path in KERNELS.rglob("*.py"):
        if "inner" in path.read_text(encoding="utf-8"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found = vars(importlib.import_module(module)).items()
            inner[module] = {
                name
                for name, value in found
                if isinstance(value, Dispatcher) and "no_cpython_wrapper" in value.targetoptions
            }
    assert sum(map(len, inner.values())) > 20
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if KERNELS not in path.parents and "auction_env.kernels" in text:
            tree = ast.parse(text)
            for module, names in inner.items():
                used = names & set(used_of(module, tree))
                assert not used, f"{path}: {sorted(used)} of {module} must be called by kernels only"
