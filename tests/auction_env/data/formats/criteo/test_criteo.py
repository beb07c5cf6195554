"""Criteo's attribution log: sums against group-bys, the delay's fit on known delays, bad files."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from auction_env import MarketParams
from auction_env.data import TableError
from auction_env.data.formats.criteo.delays import DAY, DelayCounts, DelayFit
from auction_env.data.formats.criteo.importing import import_criteo, read_delays

HOUR = 3600


def log(n: int = 3000, mean: float = 3 * HOUR) -> pd.DataFrame:
    """Impressions of 30 days in the log's columns; conversions come exponentially late after a last click."""
    rng = np.random.default_rng(0)
    time = np.sort(rng.integers(0, 30 * DAY, n))
    click = rng.random(n) < 0.6
    conversion = rng.random(n) < 0.5
    nb = np.where(click & conversion, rng.integers(1, 3, n), -1)
    frame = pd.DataFrame(
        {
            "timestamp": time, "uid": rng.integers(0, 1000, n), "campaign": rng.integers(100, 105, n),
            "conversion": conversion.astype(int),
            "conversion_timestamp": np.where(conversion, time + rng.exponential(mean, n).astype(int), -1),
            "conversion_id": -1, "attribution": (conversion & (rng.random(n) < 0.7)).astype(int),
            "click": click.astype(int), "click_pos": np.where(nb > 0, rng.integers(0, 2, n) % np.maximum(nb, 1), -1),
            "click_nb": nb, "cost": rng.uniform(0, 1e-3, n), "cpo": rng.uniform(0, 1, n), "time_since_last_click": -1,
        }
    )  # fmt: skip
    return frame.assign(**{f"cat{k}": 5 for k in range(1, 10)})


def write(path: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(path, sep="\t", index=False)
    return path


def test_sums_are_those_of_group_bys_and_delays_are_found(tmp_path: Path) -> None:
    frame, told = log(), list[int]()
    path = write(tmp_path / "criteo.tsv.gz", frame)
    found = import_criteo(path, tmp_path / "out", ticks=24, progress=told.append)
    last = (frame.click == 1) & (frame.click_pos == frame.click_nb - 1) & (frame.conversion == 1)
    attributed = last & (frame.attribution == 1)
    own = frame.assign(
        period=frame.timestamp // DAY, tick=frame.timestamp % DAY // HOUR, impressions=1.0, clicks=frame.click * 1.0,
        conversions=attributed * 1.0, cpo=frame.cpo.where(attributed, 0.0),
    )  # fmt: skip
    amounts = ["impressions", "clicks", "conversions", "cost", "cpo"]
    expected = own.groupby(["period", "campaign", "tick"])[amounts].sum().reset_index()
    table = pq.read_table(tmp_path / "out" / "ticks.parquet").to_pandas()
    pd.testing.assert_frame_equal(table[expected.columns], expected, check_dtype=False)
    assert (found.n_impressions, found.n_campaigns, found.n_rows) == (3000, 5, len(expected)) and sum(told) == 3000
    delays = read_delays(tmp_path / "out")
    assert delays == found.delays and delays.n == last.sum()
    for fit in (delays.in_day, delays.in_window):
        assert abs(fit.mean - 3 * HOUR) < 4 * fit.standard_error < 0.5 * HOUR
    hours = (frame.conversion_timestamp - frame.timestamp)[last] / HOUR
    np.testing.assert_allclose(delays.within[2], (hours <= 1).mean())
    params = MarketParams(conversion_delay=delays.in_day.conversion_delay())
    assert params.conversion_delay == pytest.approx(2 * delays.in_day.mean / HOUR - 0.5, abs=0.1)  # half an hour a tick


def test_the_fit_allows_for_delays_that_nobody_saw() -> None:
    rng = np.random.default_rng(1)
    clicked, delay = rng.integers(0, 6 * DAY, 20_000), rng.exponential(2 * DAY, 20_000).astype(np.int64)
    seen = clicked + delay < 6 * DAY  # the log ends
    counts = DelayCounts()
    counts.add(clicked[seen][:5000], (clicked + delay)[seen][:5000])
    counts.add(clicked[seen][5000:], (clicked + delay)[seen][5000:])
    found = counts.delays()
    assert found is not None and delay[seen].mean() < 1.6 * DAY
    assert abs(found.in_window.mean - 2 * DAY) < 4 * found.in_window.standard_error < DAY
    even = DelayCounts()
    even.add(np.zeros(100, np.int64), np.linspace(0, DAY - 1, 100).astype(np.int64))
    late = even.delays()
    assert late is not None and np.isinf(late.in_day.mean)
    with pytest.raises(ValueError, match="found them even or longer"):
        late.in_day.conversion_delay()
    assert DelayCounts().delays() is None
    assert DelayFit(1e-3, 0.0, 1, DAY).conversion_delay() == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"click": 2}, "row 1: `click` must be 0 or 1, found 2"),
        ({"timestamp": -5}, "row 1: `timestamp` must be seconds since the first impression, not negative, found -5"),
        ({"cost": -0.5}, r"row 1: `cost` must be a number that is not negative, found -0\.5"),
        ({"cost": "x"}, "row 1: `cost` must be a number, found 'x'"),
        ({"campaign": ""}, r"row 1: `campaign` must not be empty \(-1 stands for none\)"),
        ({"conversion": 1, "conversion_timestamp": -1}, "`conversion_timestamp` must not be before `timestamp`"),
    ],
)
def test_bad_cells_are_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "log.tsv", log(20).assign(**changes))
    with pytest.raises(TableError, match=message):
        import_criteo(path, tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == ["log.tsv"]


def test_bad_files_and_arguments_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "log.tsv.gz", log(500))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(TableError, match=r"truncated or damaged: must be a whole \.gz file"):
        import_criteo(path, tmp_path / "out")
    path.write_bytes(gzip.compress(log(5).to_csv(sep="\t", index=False).encode("utf-16")))
    with pytest.raises(TableError, match="must be text in UTF-8"):
        import_criteo(path, tmp_path / "out")
    write(path, log(5).drop(columns=["cpo", "click_nb"]))
    with pytest.raises(TableError, match=r"2 problems:\n.*`click_nb` must be a column, found"):
        import_criteo(path, tmp_path / "out")
    write(path, log(0))
    with pytest.raises(TableError, match="must have rows, found none"):
        import_criteo(path, tmp_path / "out")
    write(path, log(9).assign(click=0))
    assert import_criteo(path, tmp_path / "out").delays is None
    with pytest.raises(FileExistsError, match="must be empty"):
        import_criteo(path, tmp_path / "out")
    import_criteo(path, tmp_path / "out", force=True)
    with pytest.raises(ValueError, match="must hold delays, found none"):
        read_delays(tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"it has no delays\.json"):
        read_delays(tmp_path)
