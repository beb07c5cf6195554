"""Names that are not known: the error lists the known ones and says which is nearest."""

from __future__ import annotations

import difflib
from collections.abc import Collection

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
