"""Suites and methods from a user's own file: "FILE.py:NAME" and "module:function"."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from benchmarks.suites.spec import SIZES, Size, Suite


def is_in_a_file(name: str) -> bool:
    """Whether a suite's name is "FILE.py:NAME"."""
    return name.partition(":")[0].endswith(".py")


def load_suite(name: str, size: Size | None = None) -> Suite:
    """The suite that a file defines.

    The file is imported under its own name, with its folder on the path of modules, as `python FILE.py` does. So what
    it defines can be named in settings too, and the processes that execute the runs find it.

    Args:
        name: "FILE.py:NAME"; NAME is a `Suite`, or a function that makes one of a size.
        size: For the function, "full" by default; a `Suite` has its own.

    Raises:
        FileNotFoundError: No such file.
        ValueError: It does not import, it has no such name, that is no suite, or it is of another size.
    """
    path_text, _, attribute = name.partition(":")
    module = _import_file(Path(path_text))
    known = [key for key, value in vars(module).items() if isinstance(value, Suite)]
    found: Any = getattr(module, attribute, None)
    if callable(found):
        found = found("full" if size is None else size)
    elif isinstance(found, Suite) and size not in (None, found.size):
        raise ValueError(f"`--size` must be {found.size!r}, the size of {name!r}, found {size!r}: leave it out")
    if not isinstance(found, Suite):
        raise ValueError(
            f"`SUITE` {name!r} must name a `benchmarks.suites.spec.Suite` or a function of a size"
            f" ({', '.join(SIZES)}) that makes one, found {found!r}; suites of the file: {known}"
        )
    return found


def _import_file(path: Path) -> Any:
    """The file as a module with the file's name."""
    path = path.resolve()
    if not path.is_file():
        raise FileNotFoundError(f"`SUITE` must be in a file that exists, found {str(path)!r}")
    if not path.stem.isidentifier():
        raise ValueError(f"the file of a suite must have a name that Python can import, found {path.name!r}")
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
        importlib.invalidate_caches()
    try:
        module = importlib.import_module(path.stem)
    except Exception as error:  # the user's own code: any error
        raise ValueError(f"{str(path)!r} must import, found {type(error).__name__}: {error}") from error
    if getattr(module, "__file__", None) is None or Path(str(module.__file__)).resolve() != path:
        raise ValueError(f"the file of a suite must have a name of its own, found {path.name!r}, which {module} has")
    return module


def find_function(name: str) -> Any:
    """What "module:function" names, as the `method` of an arm; ValueError if there is none."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"`method` {name!r} must load, found {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ValueError(f"`method` {name!r} must name a function, found {found!r}")
    return found
