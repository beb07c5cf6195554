"""Traffic curves from a user's file: shares of traffic by region, weekday and hour, or by tick or hour alone."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HOURS, WEEKDAYS = 24, 7
REGIONAL_COLUMNS = ("region_id", "dow", "hour", "traffic_share")
PLAIN_COLUMNS = (("hour", "share"), ("tick", "share"))


class Curve(NamedTuple):
    """A measured traffic curve, for `TrafficParams`.

    Attributes:
        daily: Relative volume over the day, for `diurnal_curve`: 24 hours, or as many ticks as the file has.
        weekly: 7 such rows, Monday first, for `weekly_curve`; empty if the file tells no weekdays apart.
    """

    daily: tuple[float, ...]
    weekly: tuple[tuple[float, ...], ...]


def load_curve(path: str | Path, region: str | int | None = None) -> Curve:
    """Reads a traffic curve from a CSV file (`.gz`: compressed) with a header line.

    Two forms are known. `region_id,dow,hour,traffic_share`: dow 1 (Monday) .. 7, hour 0 .. 23, each pair once a
    region; shares count relative to each other. `hour,share` (0 .. 23) or `tick,share` (0 .. n - 1, any n): each
    row once.

    Args:
        path: The file.
        region: Which region; None takes the mean over all regions, each with the same weight.

    Raises:
        ValueError: On unknown columns, missing, duplicate or malformed rows, shares that are negative or not
            finite, a region that the file has not; the message names the file, the line or rule, and the value.
        OSError: If the file cannot be read.
    """
    path = Path(path)
    unpacked = gzip.open if path.suffix == ".gz" else open
    with unpacked(path, "rt", encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        try:
            header = tuple(name.strip() for name in next(reader, []))
            rows = [(reader.line_num, row) for row in reader if row]
        except (csv.Error, UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: not a readable CSV file: {error}") from error
    if header == REGIONAL_COLUMNS:
        return _regional(path, rows, None if region is None else str(region))
    if header in PLAIN_COLUMNS:
        if region is not None:
            raise ValueError(f"{path}: `region` must be None for a file without regions, found {region!r}")
        return Curve(daily=_plain(path, rows, header[0]), weekly=())
    known = " or ".join(",".join(columns) for columns in (REGIONAL_COLUMNS, *PLAIN_COLUMNS))
    raise ValueError(f"{path}: the header must be {known}, found {','.join(header)!r}")


def _regional(path: Path, rows: list[tuple[int, list[str]]], region: str | None) -> Curve:
    shares: dict[str, dict[tuple[int, int], float]] = {}
    for where, (name, dow, hour, share) in _split(path, rows, len(REGIONAL_COLUMNS)):
        key = (_integer(where, "dow", dow, 1, WEEKDAYS), _integer(where, "hour", hour, 0, HOURS - 1))
        value = _share(where, "traffic_share", share)
        if key in shares.setdefault(name, {}):
            raise ValueError(f"{where}: a weekday and hour must come once a region, found dow {dow}, hour {hour} again")
        shares[name][key] = value
    if region is not None and region not in shares:
        some = ", ".join(sorted(shares)[:5])
        raise ValueError(f"{path}: `region` must be one of the file's {len(shares)} ({some} ...), found {region!r}")
    chosen = sorted(shares) if region is None else [region]
    if not chosen:
        raise ValueError(f"{path}: must have rows below the header, found none")
    weeks = [_week(path, name, shares[name]) for name in chosen]
    weekly = tuple(
        tuple(math.fsum(week[day][hour] for week in weeks) / len(weeks) for hour in range(HOURS))
        for day in range(WEEKDAYS)
    )
    daily = tuple(math.fsum(row[hour] for row in weekly) for hour in range(HOURS))
    return Curve(daily=daily, weekly=weekly)


def _week(path: Path, region: str, shares: dict[tuple[int, int], float]) -> list[list[float]]:
    """7 x 24 shares with sum 1."""
    for day in range(1, WEEKDAYS + 1):
        missing = [hour for hour in range(HOURS) if (day, hour) not in shares]
        if missing:
            raise ValueError(f"{path}: every hour of the week must be there, region {region} lacks dow {day}, hour(s) "
                             f"{', '.join(map(str, missing))}")  # fmt: skip
        if all(shares[day, hour] == 0 for hour in range(HOURS)):
            raise ValueError(f"{path}: a weekday must have traffic, region {region} has only zeros on dow {day}")
    total = math.fsum(shares.values())
    return [[shares[day, hour] / total for hour in range(HOURS)] for day in range(1, WEEKDAYS + 1)]


def _plain(path: Path, rows: list[tuple[int, list[str]]], index: str) -> tuple[float, ...]:
    shares: dict[int, float] = {}
    for where, (position, share) in _split(path, rows, 2):
        key = _integer(where, index, position, 0, HOURS - 1 if index == "hour" else None)
        value = _share(where, "share", share)
        if key in shares:
            raise ValueError(f"{where}: each {index} must come once, found {index} {key} again")
        shares[key] = value
    if not shares:
        raise ValueError(f"{path}: must have rows below the header, found none")
    n = HOURS if index == "hour" else max(shares) + 1
    if len(shares) < n:
        missing = next(key for key in range(n) if key not in shares)
        raise ValueError(f"{path}: every {index} 0..{n - 1} must be there, {n - len(shares)} missing, first {missing}")
    if sum(shares.values()) == 0:
        raise ValueError(f"{path}: a day must have traffic, found only zeros")
    return tuple(shares[key] for key in range(n))


def _split(path: Path, rows: list[tuple[int, list[str]]], n: int) -> Iterator[tuple[str, list[str]]]:
    for line, row in rows:
        if len(row) != n:
            raise ValueError(f"{path}, line {line}: must have {n} fields, found {len(row)}")
        yield f"{path}, line {line}", [field.strip() for field in row]


def _integer(where: str, name: str, text: str, lowest: int, highest: int | None) -> int:
    try:
        value = int(text)
    except ValueError:
        value = lowest - 1
    if value < lowest or (highest is not None and value > highest):
        bounds = f"lie in {lowest}..{highest}" if highest is not None else f"be at least {lowest}"
        raise ValueError(f"{where}: `{name}` must be whole and {bounds}, found {text!r}")
    return value


def _share(where: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{where}: `{name}` must be finite and not negative, found {text!r}")
    return value
