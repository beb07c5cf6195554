"""The subcommands of `vamo`, a module a group; each has `add(commands)`."""

from __future__ import annotations

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What a parser gets its subcommands from."""
