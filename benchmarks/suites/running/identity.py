"""What the numbers of a run depend on, and its hash: two runs with one hash have the same rows."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from agents.parallel import one_line
from benchmarks.suites.methods.methods import method_of
from benchmarks.suites.methods.resolved import of_reference
from benchmarks.suites.numbers import versions
from benchmarks.suites.spec import Arm, Run, digest

_FOUND = ("resolved", "reference", "numbers")
"""Parts of a configuration that no suite writes down."""


def config(run: Run) -> dict[str, Any]:
    """All that the run's numbers depend on, as JSON values.

    What the suite says of the run; under `resolved` all settings of its method once packaged defaults and search spaces
    are filled in; under `reference` those of the best constant multiplier; under `numbers` the versions of the packages
    that it runs (`benchmarks.suites.numbers`). Of a method that does not exist, refuses its settings or needs a package
    that is absent, the error stands there: the run will fail with it, and the others go on.
    """
    return {**run.written(), **json.loads(resolved_part(run.arm, run.suite.training))}


@functools.cache  # a suite has the same methods with ten seeds
def resolved_part(arm: Arm, training: tuple[str, ...]) -> str:
    """What of a configuration no suite writes down, as JSON."""
    try:
        method = method_of(arm)
        resolved = method.resolve(arm.settings, training)
    except (ImportError, ValueError) as error:
        return json.dumps({"resolved": {"error": one_line(error)}})
    return json.dumps(dict(zip(_FOUND, (resolved, of_reference(), versions(method.packages)), strict=True)))


def config_hash(run: Run) -> str:
    """First 16 digits of the SHA-256 of `config`."""
    return digest(config(run))[:16]


def is_as_written(run: Run, recorded: Mapping[str, Any]) -> bool:
    """Whether a recorded configuration is what the suite says of the run, whatever defaults and versions were then."""
    return {key: value for key, value in recorded.items() if key not in _FOUND} == run.written()


def columns(run: Run) -> dict[str, Any]:
    """What the tables of results name the run by, and its settings."""
    return {
        "run_id": run.id,
        "suite": run.suite.full_id,
        "variant": run.variant.name,
        "method": run.arm.name,
        "train_seed": run.train_seed,
        "config_hash": config_hash(run),
        "config": json.dumps(config(run), sort_keys=True),
    }
