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
from tests.processes import run

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


def test_no_kernel_that_python_calls_returns_a_record() -> None:
    trees = {
        path: ast.parse(path.read_text(encoding="utf-8"))
        for package in PACKAGES[:4]
        for path in ROOT.glob(f"{package}/**/*.py")
    }
    classes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    records = {node.name for node in classes if any(ast.unparse(base).endswith("NamedTuple") for base in node.bases)}
    assert "Items" in records
    n_kernels = 0
    for path, tree in trees.items():
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            if any("njit" in ast.unparse(decorator) for decorator in function.decorator_list):
                n_kernels += 1
                returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return)]
                called = {ast.unparse(value.func) for value in returned if isinstance(value, ast.Call)}
                assert not called & records, f"{path}: {function.name} must return the parts of {called & records}"
    assert n_kernels > 20


_INTERRUPTED = """
import signal
import numpy as np
from auction_env.kernels.tick import lay_out

n, kind = np.array([200]), np.zeros(1, np.int64)
lay_out(n, kind)
n_interrupted, n_left = 0, 100_000

def work():
    global n_left
    while n_left:
        n_left -= 1
        lay_out(n, kind)

def interrupt(number, frame):
    global n_interrupted
    inside = frame
    while inside is not None and inside.f_code is not work.__code__:
        inside = inside.f_back
    if inside is not None:
        n_interrupted += 1
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0001)
while n_left:
    try:
        work()
    except KeyboardInterrupt:
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
assert n_interrupted > 100, n_interrupted
"""


def test_an_interrupt_at_any_time_does_not_crash_a_kernel(tmp_path: Path) -> None:
    done = run(_INTERRUPTED, folder=ROOT, work=tmp_path / "work")
    assert done.returncode == 0, done.stderr
