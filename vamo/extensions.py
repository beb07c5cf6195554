"""Parts that a user adds by name: "module:attribute", or an entry point of another package.

A name is looked up only when a training needs it, so that the file of a trained agent is read without the package that
its weighting came from, and reading a file imports nothing.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any

from agents.learning.settings import nearest

WEIGHTINGS = "vamo_bidding.weightings"
"""The group of entry points that make weightings."""
SHARING_RULES = "vamo_bidding.sharing_rules"
"""The group of entry points that are sharing rules."""


def find(name: str, group: str, *, setting: str, built_in: Iterable[str] = ()) -> Callable[..., Any]:
    """What a name stands for.

    Args:
        name: "module:attribute", or the name of an entry point.
        group: Of entry points.
        setting: Where the name was given, for errors.
        built_in: Names that this package has itself, for errors.

    Raises:
        ValueError: No such name (the nearest is named), a module that fails to import, or nothing that can be called.
    """
    module, is_path, attribute = name.partition(":")
    try:
        if is_path:
            found: Any = getattr(importlib.import_module(module), attribute)
        else:
            points = {point.name: point for point in entry_points(group=group)}
            if name not in points:
                raise ValueError(
                    f"`{setting}` must be one of {[*built_in, *points]}, an entry point of {group!r} or"
                    f" 'module:attribute', found {name!r}{nearest(name, [*built_in, *points])}"
                )
            found = points[name].load()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"`{setting}` {name!r} must load, found {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ValueError(f"`{setting}` {name!r} must name what can be called, found {found!r}")
    return found  # type: ignore[no-any-return]  # just found to be callable


def call(function: Callable[..., Any], name: str, options: Mapping[str, Any], *arguments: Any) -> Any:
    """The function with options by name; ValueError, with the function's name, where it does not take them."""
    try:
        inspect.signature(function).bind(*arguments, **options)
    except TypeError as error:
        raise ValueError(f"{name!r} takes {inspect.signature(function)}, found {dict(options)}: {error}") from error
    return function(*arguments, **options)


def name_of(part: object) -> str:
    """The name "module:attribute" of an object's class, or of a function."""
    named = part if hasattr(part, "__qualname__") else type(part)
    return f"{named.__module__}:{named.__qualname__}"
