"""What settings files of learners share: TOML, checked keys and types, errors that name the nearest."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file; ValueError, naming the file, if it is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of TOML or UTF-8
        raise ValueError(f"{path} must be a TOML file: {error}") from error


def parse_value(text: str) -> Any:
    """A value as TOML writes it; what is no TOML value is a text."""
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def check_key(what: str, key: str, known: Iterable[str]) -> None:
    """ValueError if `key` is not among the known ones; names the nearest."""
    names = sorted(known)
    if key not in names:
        raise ValueError(f"{what} must be one of {names}, found {key!r}{nearest(key, names)}")


def check_value(name: str, value: Any, default: Any) -> None:
    """ValueError if a value has another type than the default, which may be None for any."""
    if default is None:
        return
    wanted: tuple[type, ...] = (int, float) if isinstance(default, float) else (type(default),)
    if isinstance(value, bool) or not isinstance(value, wanted):
        raise ValueError(f"`{name}` must be of type {type(default).__name__}, found {value!r}")


def check_positive(name: str, value: float) -> None:
    """ValueError if a number is not positive and finite."""
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"`{name}` must be positive, found {value}")


def check_not_negative(name: str, value: float) -> None:
    """ValueError if a number is negative or not finite."""
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(f"`{name}` must be finite and not negative, found {value}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error that names the nearest known name; empty if none is near."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f", nearest: {near[0]!r}" if near else ""
