"""Compiled kernels that a changed source has made stale.

numba keeps a compiled function until the file in which it stands changes. A kernel of another file that it calls is
compiled into it: after an update of that file alone, numba would go on with the old formula, without a word.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from auction_env.files import write_atomically

_STAMP = "sources.txt"


def sources(folder: Path) -> str:
    """The sources of a folder and its subfolders with their times and sizes, a line each."""
    paths = sorted(folder.rglob("*.py"))
    return "\n".join(f"{path.relative_to(folder)} {path.stat().st_mtime_ns} {path.stat().st_size}" for path in paths)


def drop_stale(folder: Path) -> bool:
    """Removes all compiled kernels of a folder where one of its sources has changed since they were compiled.

    Args:
        folder: Of the sources; its subfolders are looked at, too. Nothing happens where it cannot be written: numba
            then keeps its files elsewhere, and an installed package changes all sources at once. What lies in a
            `NUMBA_CACHE_DIR` stays: empty it when you update a checkout.

    Returns:
        Whether something had changed.
    """
    stamp = sources(folder)
    kept = folder / "__pycache__" / _STAMP
    with suppress(OSError):
        if kept.is_file() and kept.read_text(encoding="utf-8") == stamp:
            return False
        for path in folder.rglob("__pycache__/*.nb[ic]"):
            path.unlink(missing_ok=True)
        kept.parent.mkdir(exist_ok=True)
        write_atomically(kept, stamp.encode())
        return True
    return False
