"""How kernels are compiled that only other kernels call; and how Ctrl-C does not break what kernels return.

numba compiles and optimises a kernel by itself, and again within each kernel that calls it, and so on up to the one
that Python calls; for each it compiles conversions of arguments from Python, too. With many arrays as arguments, that
takes longer than the kernel.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from numba import njit
from numba.core import serialize

inner: Any = partial(njit, cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Decorator like `njit`, for kernels that Python never calls, which would crash: nothing is compiled for such calls."""

inlined: Any = partial(njit, cache=True, inline="always")
"""Decorator for kernels with one place that calls them: they become part of that kernel before it is compiled."""


def shield_returns() -> None:
    """Lets kernels return arrays and records whenever Ctrl-C comes; to be called before a kernel is.

    To make either for Python, numba looks up its class by a function in Python, which any signal's handler may end by
    an exception, and takes the missing result for the class: a SystemError in place of KeyboardInterrupt with an array,
    a segmentation fault with a record (numba 0.68, `numba_unpickle`). Where a cache answers, Python runs nothing.
    """
    serialize._numba_unpickle = cache(serialize._numba_unpickle)
