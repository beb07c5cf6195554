"""Rules on the source that no type checker sees: who imports whom, and what nobody may call."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("auction_env", "agents", "vamo", "benchmarks")  # each may import itself and those before it
OUTSIDE = ("tests", "docs", "examples")  # these may import the packages, never the reverse
MARKET_DEPENDENCIES = {"gymnasium", "matplotlib", "minari", "numba", "numpy", "pettingzoo", "pyarrow"}
ONLY_IN_BENCHMARKS = {"pandas"}
PICKLING = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
FORBIDDEN_NAMES = {
    "torch.load": "may unpickle; use safetensors",
    "torch.save": "pickles; use safetensors",
}
NUMPY_RANDOM_ALLOWED = {"BitGenerator", "Generator", "PCG64", "Philox", "SeedSequence", "default_rng"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b")


def find_violations(source: str, package: str) -> list[str]:
    """The broken rules of a module of `package`, each as "line N: what"."""
    tree = ast.parse(source)
    found = [(line, text) for line, name in imports(tree) for text in check_import(name, package)]
    aliases = import_aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            found.extend((node.lineno, text) for text in check_name(dotted_name(node, aliases)))
        elif isinstance(node, ast.Call):
            found.extend((node.lineno, text) for text in check_call(node))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        is_note = token.type == tokenize.COMMENT and UNFINISHED.search(token.string)
        if is_note and "issue" not in token.string:
            found.append((token.start[0], f"{token.string!r} names no issue"))
    return [f"line {line}: {text}" for line, text in sorted(set(found))]


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every absolute import, `import_module("...")` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in {"import_module", "__import__"}:
                yield node.lineno, str(node.args[0].value)


def check_import(name: str, package: str) -> Iterator[str]:
    top = name.partition(".")[0]
    lower = PACKAGES[: PACKAGES.index(package) + 1]
    if top in OUTSIDE or (top in PACKAGES and top not in lower):
        yield f"{package} must not import {name}: the order is {' <- '.join(PACKAGES)}"
    elif top in PICKLING:
        yield f"imports {name}: no pickles, they run code on loading"
    elif top == "random":
        yield "imports random: global random state; pass a numpy.random.Generator"
    elif top in ONLY_IN_BENCHMARKS and package != "benchmarks":
        yield f"imports {name}, which only benchmarks may need"
    elif package == "auction_env" and top not in {*lower, *MARKET_DEPENDENCIES, *sys.stdlib_module_names}:
        yield f"auction_env imports {name}; it may need only {', '.join(sorted(MARKET_DEPENDENCIES))}"


def check_name(name: str) -> Iterator[str]:
    if name in FORBIDDEN_NAMES:
        yield f"uses {name}: {FORBIDDEN_NAMES[name]}"
    head, _, function = name.rpartition(".")
    if head == "numpy.random" and function not in NUMPY_RANDOM_ALLOWED:
        yield f"uses {name}: global random state; pass a numpy.random.Generator"


def check_call(node: ast.Call) -> Iterator[str]:
    if isinstance(node.func, ast.Name) and node.func.id == "hash":
        yield "calls hash: differs between processes; derive seeds with numpy.random.SeedSequence"
    for keyword in node.keywords:
        if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False":
            yield "passes allow_pickle: unpickling runs code of the file"


def import_aliases(tree: ast.Module) -> dict[str, str]:
    """What the names that imports bind stand for: {"np": "numpy", "load": "torch.load"}."""
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                aliases[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return aliases


def dotted_name(node: ast.expr, aliases: dict[str, str]) -> str:
    """`np.random.seed` -> "numpy.random.seed"; "" for anything but names and attributes."""
    if isinstance(node, ast.Name):
        return aliases.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        base = dotted_name(node.value, aliases)
        return f"{base}.{node.attr}" if base else ""
    return ""


@pytest.mark.parametrize("package", PACKAGES)
def test_package_keeps_the_rules(package: str) -> None:
    modules = sorted((ROOT / package).rglob("*.py"))
    assert modules, f"no module found in {package}"
    violations = [
        f"{module.relative_to(ROOT)}, {violation}"
        for module in modules
        for violation in find_violations(module.read_text(encoding="utf-8"), package)
    ]
    assert not violations, "\n".join(violations)


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("auction_env", "import agents"),
        ("auction_env", "from agents.bidder import Bidder"),
        ("auction_env", "def f():\n    import benchmarks.suites.storage.rows as r"),
        ("auction_env", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from vamo import model"),
        ("agents", "import importlib\nimportlib.import_module('vamo.agent')"),
        ("vamo", "from benchmarks import suites"),
        ("benchmarks", "from tests.reference import market"),
        ("auction_env", "import torch"),
        ("auction_env", "from torch import nn"),
        ("auction_env", "import pandas as pd"),
        ("auction_env", "from stable_baselines3.common import env_checker"),
        ("agents", "import pandas"),
        ("vamo", "import pickle"),
        ("agents", "from cloudpickle import dumps"),
        ("benchmarks", "import joblib"),
        ("vamo", "import torch\ntorch.load('model.pt')"),
        ("vamo", "import torch as th\nth.load('model.pt')"),
        ("vamo", "from torch import load\nload('model.pt')"),
        ("vamo", "import torch.nn\nread = torch.load"),
        ("agents", "import numpy as np\nnp.load('a.npy', allow_pickle=True)"),
        ("agents", "import random\nrandom.seed(0)"),
        ("agents", "import numpy as np\nnp.random.seed(0)"),
        ("agents", "from numpy import random\nrandom.seed(0)"),
        ("agents", "from numpy.random import rand\nrand()"),
        ("benchmarks", "seed = hash('suite')"),
        ("benchmarks", "x = 1  # TODO: later"),
    ],
)
def test_violation_is_found(package: str, source: str) -> None:
    assert find_violations(source, package)


@pytest.mark.parametrize(
    ("package", "source"),
    [
        (
            "auction_env",
            "import json\nimport numpy as np\nfrom numba import njit\nimport pyarrow.parquet as pq",
        ),
        ("auction_env", "from auction_env.tasks import Task\nfrom . import agents"),
        ("agents", "import auction_env\nimport torch"),
        ("benchmarks", "import agents, auction_env, pandas, vamo"),
        ("vamo", "import json\njson.load(open('a.json'))\nfrom safetensors.torch import load_file"),
        ("vamo", "import numpy as np\nnp.load('a.npy', allow_pickle=False)"),
        ("agents", "import numpy as np\nrng: np.random.Generator = np.random.default_rng(0)\nrng.random()"),
        ("agents", "class A:\n    def __hash__(self) -> int:\n        return self.hash()"),
        ("benchmarks", "text = 'TODO'  # TODO (issue 12): a second page"),
    ],
)
def test_allowed_source_passes(package: str, source: str) -> None:
    assert find_violations(source, package) == []


def test_violation_names_line_and_rule() -> None:
    (violation,) = find_violations("import numpy as np\n\nnp.random.seed(3)\n", "agents")
    assert violation.startswith("line 3: uses numpy.random.seed")


def test_compiled_code_lies_in_kernel_modules() -> None:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            is_compiled = re.search(r"^\s*@.*\b(njit|jit|vectorize|guvectorize)\b", path.read_text(), re.MULTILINE)
            is_kernel = "kernels" in path.parts or path.name == "kernels.py"
            assert is_kernel or not is_compiled, f"{path}: compiled code must lie in a module of kernels"
