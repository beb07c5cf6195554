"""All numba code of the market: arrays in, arrays written, no Python objects.

The first call on a machine waits for the compiler; later ones read the kernels from disk. A log record of this package
at level INFO says so. The command line shows it, also from its worker processes. In a program or a notebook,
`logging.getLogger("auction_env.kernels").setLevel("INFO")` shows it.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from numba.core import event

from auction_env.kernels.running.compiling import shield_returns
from auction_env.kernels.running.stale import drop_stale

logger = logging.getLogger(__name__)

COMPILING = "compiling kernels, once on this machine: about 20 seconds of one core (ahead of time: vamo warm-up)"
_PACKAGES = ("auction_env.", "agents.")


class _Compiling(event.Listener):
    """Logs that kernels are being compiled, at the first one of this process."""

    def __init__(self) -> None:
        self._is_told = False

    def on_start(self, event: event.Event) -> None:
        """Called before a function is compiled; not where it is read from disk."""
        if (
            not self._is_told
            and logger.isEnabledFor(logging.INFO)
            and event.data["dispatcher"].py_func.__module__.startswith(_PACKAGES)
        ):
            self._is_told = True
            logger.info(COMPILING)

    def on_end(self, event: event.Event) -> None:
        """Nothing is said at the end: further kernels may follow."""


class _Line(logging.Handler):
    """Prints records to what is the error output when they come, unless the program has handlers of its own."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            sys.stderr.write(f"{record.getMessage()}\n")


drop_stale(Path(__file__).parent)
shield_returns()
event.register("numba:compile", _Compiling())
logger.addHandler(_Line())
