"""Rules on the source that no type checker sees: who imports whom, what nobody may call, what a folder holds."""

from __future__ import annotations

import ast
import functools
import io
import re
import sys
import tokenize
from collections.abc import Collection, Iterator, Mapping
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
MOST_ENTRIES = 14  # of a folder: what a newcomer still takes in
EXEMPT = ("benchmarks/results",)  # published rows, one folder a suite
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b")


def find_violations(source: str, package: str, *, is_kernel: bool = False) -> list[str]:
    """The broken rules of a module of `package`, each as "line N: what"; kernels may be compiled."""
    tree = ast.parse(source)
    found = [(line, text) for line, name in imports(tree) for text in check_import(name, package)]
    aliases = import_aliases(tree)
    safe = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call) and loads_weights_only(node, aliases)}
    for node in ast.walk(tree):
        if node in safe:
            continue
        if isinstance(node, ast.Attribute | ast.Name):
            found.extend((node.lineno, text) for text in check_name(dotted_name(node, aliases)))
        elif isinstance(node, ast.Call):
            found.extend((node.lineno, text) for text in check_call(node))
        elif isinstance(node, ast.FunctionDef) and not is_kernel:
            found.extend((node.lineno, text) for text in check_decorators(node, aliases))
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


def loads_weights_only(node: ast.Call, aliases: dict[str, str]) -> bool:
    """Whether a call reads tensors by torch's restricted reader, which builds tensors and runs no code of the file."""
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    return dotted_name(node.func, aliases) == "torch.load" and given.get("weights_only") == "True"


def check_decorators(node: ast.FunctionDef, aliases: dict[str, str]) -> Iterator[str]:
    for decorator in node.decorator_list:
        call = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = dotted_name(call, aliases)
        if name.startswith("numba.") or name.endswith((".njit", ".cuda.jit")) or name == "njit":
            yield f"compiles {node.name}: kernels stand in a folder `kernels` or a module `kernels.py`"


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


def holds_kernels(module: Path) -> bool:
    return "kernels" in module.relative_to(ROOT).parts or module.name == "kernels.py"


@pytest.mark.parametrize("package", PACKAGES)
def test_package_keeps_the_rules(package: str) -> None:
    modules = sorted((ROOT / package).rglob("*.py"))
    assert modules, f"no module found in {package}"
    violations = [
        f"{module.relative_to(ROOT)}, {violation}"
        for module in modules
        for violation in find_violations(module.read_text(encoding="utf-8"), package, is_kernel=holds_kernels(module))
    ]
    assert not violations, "\n".join(violations)


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("auction_env", "import agents"),
        ("auction_env", "from agents.rollouts import rollout"),
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
        ("vamo", "import torch\ntorch.load('model.pt', weights_only=False)"),
        ("vamo", "import torch\ntorch.load('model.pt', weights_only=is_safe)"),
        ("agents", "import numpy as np\nnp.load('a.npy', allow_pickle=True)"),
        ("agents", "import random\nrandom.seed(0)"),
        ("agents", "import numpy as np\nnp.random.seed(0)"),
        ("agents", "from numpy import random\nrandom.seed(0)"),
        ("agents", "from numpy.random import rand\nrand()"),
        ("benchmarks", "seed = hash('suite')"),
        ("benchmarks", "x = 1  # TODO: later"),
        ("vamo", "from numba import njit\n@njit(cache=True)\ndef f(x):\n    return x"),
        ("vamo", "import numba\n@numba.njit\ndef f(x):\n    return x"),
        ("auction_env", "from numba import cuda\n@cuda.jit\ndef f(x):\n    return x"),
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
        ("agents", "import torch\ntorch.load('foreign.pth', weights_only=True)"),
        ("agents", "import numpy as np\nrng: np.random.Generator = np.random.default_rng(0)\nrng.random()"),
        ("agents", "class A:\n    def __hash__(self) -> int:\n        return self.hash()"),
        ("benchmarks", "text = 'TODO'  # TODO (issue 12): a second page"),
    ],
)
def test_allowed_source_passes(package: str, source: str) -> None:
    assert find_violations(source, package) == []


def test_kernels_may_be_compiled() -> None:
    source = "from numba import njit\n@njit\ndef f(x):\n    return x"
    assert find_violations(source, "auction_env", is_kernel=True) == []
    assert holds_kernels(ROOT / "auction_env" / "kernels" / "logs" / "cells.py")
    assert holds_kernels(ROOT / "agents" / "labels" / "kernels.py") and not holds_kernels(ROOT / "vamo" / "agent.py")


def test_violation_names_line_and_rule() -> None:
    (violation,) = find_violations("import numpy as np\n\nnp.random.seed(3)\n", "agents")
    assert violation.startswith("line 3: uses numpy.random.seed")


# --- rooms: order, circles, sizes --------------------------------------------------------------------------


def modules() -> dict[str, Path]:
    """Every module of the packages by its dotted name."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imported_modules(tree: ast.Module, known: Collection[str]) -> dict[str, int]:
    """The modules of `known` that a module imports, each with a line; `from a import b` is of a.b where that is one."""
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.setdefault(name if name in known else node.module, node.lineno)
    for line, name in imports(tree):
        is_module = name in known and not any(other.startswith(f"{name}.") for other in found)
        if is_module:
            found.setdefault(name, line)
    return {name: line for name, line in found.items() if name in known}


@functools.cache
def import_graph() -> dict[str, dict[str, int]]:
    """Who imports whom, inside functions and under TYPE_CHECKING too."""
    known = modules()
    return {name: imported_modules(ast.parse(path.read_text("utf-8")), known) for name, path in known.items()}


def circles(graph: Mapping[str, Collection[str]]) -> list[list[str]]:
    """The sets of nodes that reach each other, each sorted, and nodes that name themselves."""
    reached = {node: reachable(graph, node) for node in graph}
    found = {frozenset({node} | {n for n in reached[node] if node in reached.get(n, ())}) for node in graph}
    return sorted(sorted(nodes) for nodes in found if len(nodes) > 1 or next(iter(nodes)) in reached[next(iter(nodes))])


def reachable(graph: Mapping[str, Collection[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = set(graph.get(waiting.pop(), ())) - seen
        seen |= fresh
        waiting.extend(fresh)
    return seen


def layout(text: str = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")) -> list[str]:
    """The rooms in their order of imports, as the table of the section Layout lists them: "vamo/model"."""
    section = text.partition("\n## Layout\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([\w/]+?)/?(?:\.py)?` \|", section, re.M)


def room_of(module: str, rooms: Collection[str]) -> str:
    """The room that a module belongs to: the longest path of the layout that begins its own."""
    path = module.replace(".", "/")
    return max((room for room in rooms if f"{path}/".startswith(f"{room}/")), key=len, default="")


def upward_imports(graph: Mapping[str, Mapping[str, int]], rooms: list[str]) -> list[str]:
    """Imports of a folder that the layout lists later.

    A folder and those below it are one room here, and modules at the top of a package may import all;
    `test_entries_of_a_folder_import_one_way` holds both to one direction.
    """
    rooms = [room for room in rooms if "/" in room]
    found = []
    for module, names in graph.items():
        here = room_of(module, rooms)
        for name, line in names.items():
            there = room_of(name, rooms)
            is_one_room = f"{here}/".startswith(f"{there}/") or f"{there}/".startswith(f"{here}/")
            if here and there and not is_one_room and rooms.index(there) > rooms.index(here):
                found.append(f"{module}, line {line}: imports {name}, but {there} comes after {here}")
    return found


def entry_graph(graph: Mapping[str, Collection[str]], folder: str) -> dict[str, set[str]]:
    """Which entry of a folder (dotted name) imports which other one; a folder below it counts as a whole."""
    found: dict[str, set[str]] = {}
    for module, names in graph.items():
        if module.startswith(f"{folder}."):
            own = module.removeprefix(f"{folder}.").partition(".")[0]
            others = {
                name.removeprefix(f"{folder}.").partition(".")[0] for name in names if name.startswith(f"{folder}.")
            }
            found.setdefault(own, set()).update(others - {own})
    return found


def folders() -> list[Path]:
    """Every folder of the packages but the exempt ones."""
    below = [path for package in PACKAGES for path in [ROOT / package, *(ROOT / package).rglob("*")] if path.is_dir()]
    names = {path: path.relative_to(ROOT).as_posix() for path in below if "__pycache__" not in path.parts}
    return [path for path, name in names.items() if not any(f"{name}/".startswith(f"{exempt}/") for exempt in EXEMPT)]


def entries(folder: Path) -> list[str]:
    return sorted(
        path.name for path in folder.iterdir() if path.name != "__pycache__" and not path.name.startswith(".")
    )


def test_no_modules_import_each_other_in_a_circle() -> None:
    found = circles(import_graph())
    assert not found, "\n".join(" <-> ".join(circle) for circle in found)


@pytest.mark.parametrize("folder", folders(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_entries_of_a_folder_import_one_way(folder: Path) -> None:
    """Of two entries, folders among them, at most one imports from the other, directly or not."""
    found = circles(entry_graph(import_graph(), ".".join(folder.relative_to(ROOT).parts)))
    assert not found, "\n".join(" <-> ".join(circle) for circle in found)


def test_imports_follow_the_layout() -> None:
    found = upward_imports(import_graph(), layout())
    assert not found, "\n".join(found)


def test_the_layout_names_every_folder() -> None:
    """A folder without Python files (defaults, assets) belongs to the one above it."""
    named = layout()
    paths = [path.relative_to(ROOT).as_posix() for path in folders() if any(path.glob("*.py"))]
    assert set(paths) - set(named) == set(), "CONTRIBUTING.md, section Layout, must have a row for each folder"
    gone = [room for room in named if not (ROOT / room).is_dir() and not (ROOT / f"{room}.py").is_file()]
    assert not gone, "CONTRIBUTING.md, section Layout, names what does not exist"
    assert len(set(named)) == len(named)


@pytest.mark.parametrize("folder", folders(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_folder_is_small_and_says_what_it_holds(folder: Path) -> None:
    assert len(entries(folder)) <= MOST_ENTRIES, entries(folder)
    if any(folder.glob("*.py")):
        tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{folder / '__init__.py'} must say in a docstring what the folder holds"


def test_tests_mirror_the_packages() -> None:
    below = [path for package in PACKAGES for path in (ROOT / "tests" / package).rglob("*") if any(path.glob("*.py"))]
    rooms = [path.relative_to(ROOT / "tests") for path in below]
    assert rooms
    assert [str(room) for room in rooms if not (ROOT / room).is_dir()] == []


def test_circles_of_folders_are_found() -> None:
    graph = {
        "vamo.examples.a": ["vamo.model.b"],
        "vamo.model.c": ["vamo.examples.d", "vamo.model.b"],
        "vamo.config": [],
    }
    assert circles(graph) == []
    assert circles(entry_graph(graph, "vamo")) == [["examples", "model"]]
    assert circles(entry_graph(graph, "vamo.model")) == []


def test_circles_are_found() -> None:
    graph = {"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": ["e"], "e": [], "f": ["f"]}
    assert circles(graph) == [["a", "b", "c"], ["f"]]


def test_all_kinds_of_imports_are_edges() -> None:
    source = (
        "import a.b\nfrom a import c\nfrom a.c import name\nimport json\n"
        "if TYPE_CHECKING:\n    from a.d import Name\ndef f():\n    import_module('a.e')\n"
    )
    known = {"a", "a.b", "a.c", "a.d", "a.e"}
    assert sorted(imported_modules(ast.parse(source), known)) == ["a.b", "a.c", "a.d", "a.e"]


def test_upward_imports_are_found() -> None:
    rooms = ["vamo/config", "vamo/labels", "vamo/model", "vamo/model/parts", "vamo"]
    graph = {
        "vamo.labels.a": {"vamo.model.b": 3},
        "vamo.model.b": {"vamo.labels.a": 1, "vamo.model.parts": 2, "vamo.agent": 4},
        "vamo.agent": {"vamo.labels.a": 1},
    }
    assert upward_imports(graph, rooms) == [
        "vamo.labels.a, line 3: imports vamo.model.b, but vamo/model comes after vamo/labels",
    ]
    assert room_of("vamo.config", rooms) == "vamo/config" and room_of("vamo.agent", rooms) == "vamo"


def test_rows_of_the_layout_are_rooms() -> None:
    rows = "| room | holds |\n| --- | --- |\n| `vamo/config.py` | a |\n| `vamo/model` | b |\n"
    assert layout(f"\n## Layout\n\n{rows}\n## Style\n| `c` |") == ["vamo/config", "vamo/model"]
