"""How kernels are compiled that only other kernels call.

numba compiles and optimises a kernel by itself, and again within each kernel that calls it, and so on up to the one
that Python calls; for each it compiles conversions of arguments from Python, too. With many arrays as arguments, that
takes longer than the kernel.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from numba import njit

inner: Any = partial(njit, cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Decorator like `njit`, for kernels that Python never calls, which would crash: nothing is compiled for such calls."""

inlined: Any = partial(njit, cache=True, inline="always")
"""Decorator for kernels with one place that calls them: they become part of that kernel before it is compiled."""
