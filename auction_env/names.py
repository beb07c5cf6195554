"""Names: unknown ones are an error that says which is nearest; those of a package are imported at their first use."""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Callable, Collection
from importlib import import_module
from pathlib import Path
from typing import Any

_LEAST_LIKENESS = 0.4  # of 1, below which a name is another word, not a slip


def nearest(name: object, known: Collection[str]) -> str:
    """The end of a message, `, nearest: NAME`; empty where no known name is like `name`."""
    by_lower = {other.lower(): other for other in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=_LEAST_LIKENESS)
    return f", nearest: {by_lower[close[0]]}" if close else ""


def check_name(label: str, name: object, known: Collection[str], *, rule: str = "must be one of") -> None:
    """Raises ValueError, which names the nearest, where `name` is not one of `known`."""
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"`{label}` {rule} {tuple(known)}, found {name!r}{nearest(name, known)}")


def lazy_names(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package, for the names that its `__init__.py` imports below `if TYPE_CHECKING:`.

    So importing a package takes no longer than what is used of it, and its names stand once, where type checkers and
    readers look for them.

    Args:
        package: Its `__name__`.
        file: Its `__file__`.
    """
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    module_of = {alias.asname or alias.name: str(node.module) for node in imports for alias in node.names}

    def find(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = module_of[name]
        found = import_module(f"{package}.{name}") if module == package else getattr(import_module(module), name)
        vars(sys.modules[package])[name] = found  # the next use finds it at once
        return found

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *module_of})

    return find, names
