"""Traffic curves from files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from auction_env import MarketParams, TrafficParams, auctionnet_population, load_curve
from auction_env.market.traffic import draw_traffic

AVITO = Path(__file__).parents[4] / "shared/data/avito_traffic/traffic_share.csv.gz"


def regional_rows(regions: tuple[str, ...] = ("7", "north")) -> list[str]:
    """A share of dow x (hour + 1), for the second region half of it and with Sunday as Monday."""
    rows = []
    for k, region in enumerate(regions):
        for dow in range(1, 8):
            for hour in range(24):
                weight = (8 - dow if k else dow) * (hour + 1) / (1 + k)
                rows.append(f"{region},{dow},{hour},{weight}")
    return rows


def write(path: Path, rows: list[str], header: str = "region_id,dow,hour,traffic_share") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_regions_weekdays_and_hours(tmp_path: Path) -> None:
    path = write(tmp_path / "curve.csv", regional_rows())
    curve = load_curve(path, 7)
    expected = np.outer(np.arange(1, 8), np.arange(1, 25))
    np.testing.assert_allclose(np.asarray(curve.weekly) / np.sum(curve.weekly), expected / expected.sum())
    np.testing.assert_allclose(curve.daily, np.asarray(curve.weekly).sum(axis=0))
    assert load_curve(path, "7") == curve
    mean = load_curve(path)  # the regions' weeks cancel, whatever their scale
    np.testing.assert_allclose(np.sum(mean.weekly, axis=1), 1 / 7)


def test_any_order_and_compression_give_the_same(tmp_path: Path) -> None:
    rows = regional_rows()
    path = write(tmp_path / "curve.csv", rows)
    packed = tmp_path / "curve.csv.gz"
    packed.write_bytes(gzip.compress(write(tmp_path / "other.csv", rows[::-1]).read_bytes()))
    assert load_curve(packed, "north") == load_curve(path, "north")


@pytest.mark.parametrize(("header", "n"), [("hour,share", 24), ("tick,share", 5)])
def test_plain_files(tmp_path: Path, header: str, n: int) -> None:
    path = write(tmp_path / "curve.csv", [f" {k}, {k + 0.5}" for k in reversed(range(n))], header)
    curve = load_curve(str(path))
    assert curve == (tuple(k + 0.5 for k in range(n)), ())
    assert TrafficParams(diurnal_curve=curve.daily).expected_share(n)[-1] == pytest.approx((n - 0.5) / (n * n / 2))


def test_the_real_file_drives_a_market() -> None:
    if not AVITO.exists():
        pytest.skip(f"{AVITO} is not there")
    curve = load_curve(AVITO, 645530)
    traffic = TrafficParams(weekly_curve=curve.weekly)
    days = [draw_traffic(1, MarketParams(traffic=traffic), auctionnet_population(), day) for day in range(7)]
    totals = np.array([day.n_impressions.sum() for day in days])
    np.testing.assert_allclose(totals / totals.sum(), np.sum(curve.weekly, axis=1), rtol=1e-5)
    assert totals.mean() == pytest.approx(500_000, abs=1)
    night, noon = traffic.expected_share(24, 0)[[3, 12]]
    assert noon > 3 * night
    with pytest.raises(ValueError, match=r"traffic_share.csv.gz: `region` must be one of the file's \d+ .* found 'x'"):
        load_curve(AVITO, "x")


ROWS = regional_rows(("7",))
PLAIN = [f"{k},1" for k in range(24)]


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (ROWS[:-1], None, "every hour of the week must be there, region 7 lacks dow 7, hour.s. 23"),
        ([*ROWS, ROWS[3]], None, "line 170: a weekday and hour must come once a region, found dow 1, hour 3 again"),
        (["7,1,0,-0.5", *ROWS[1:]], None, "line 2: `traffic_share` must be finite and not negative, found '-0.5'"),
        (["7,1,0,nan", *ROWS[1:]], None, "line 2: `traffic_share` must be finite and not negative, found 'nan'"),
        (["7,1,0,", *ROWS[1:]], None, "line 2: `traffic_share` must be finite and not negative, found ''"),
        (["7,8,0,1", *ROWS[1:]], None, r"line 2: `dow` must be whole and lie in 1..7, found '8'"),
        (["7,1,24,1", *ROWS[1:]], None, r"line 2: `hour` must be whole and lie in 0..23, found '24'"),
        (["7,1,1.5,1", *ROWS[1:]], None, r"line 2: `hour` must be whole and lie in 0..23, found '1.5'"),
        (["7,1,0", *ROWS[1:]], None, "line 2: must have 4 fields, found 3"),
        ([*(f"7,1,{h},0" for h in range(24)), *ROWS[24:]], None, "region 7 has only zeros on dow 1"),
        ([], None, "must have rows below the header, found none"),
        (ROWS, "a,b,c,d", "the header must be region_id,dow,hour,traffic_share or hour,share .* found 'a,b,c,d'"),
        (PLAIN[:-1], "hour,share", r"every hour 0..23 must be there, 1 missing, first 23"),
        ([*PLAIN[:3], *PLAIN[4:]], "tick,share", r"every tick 0..23 must be there, 1 missing, first 3"),
        (["-1,1"], "tick,share", "line 2: `tick` must be whole and be at least 0, found '-1'"),
        (["0,1", "0,2"], "tick,share", "line 3: each tick must come once, found tick 0 again"),
        (["0,0", "1,0"], "tick,share", "a day must have traffic, found only zeros"),
        ([], "tick,share", "must have rows below the header, found none"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, rows: list[str], header: str | None, message: str) -> None:
    path = write(tmp_path / "curve.csv", rows, header or "region_id,dow,hour,traffic_share")
    with pytest.raises(ValueError, match=rf"curve\.csv.*{message}"):
        load_curve(path)


def test_other_bad_input_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "curve.csv", ROWS)
    with pytest.raises(ValueError, match=r"`region` must be one of the file's 1 \(7 ...\), found '8'"):
        load_curve(path, 8)
    with pytest.raises(ValueError, match="`region` must be None for a file without regions, found 8"):
        load_curve(write(tmp_path / "plain.csv", PLAIN, "hour,share"), 8)
    with pytest.raises(ValueError, match=r"broken.csv.gz: not a readable CSV file"):
        (tmp_path / "broken.csv.gz").write_bytes(b"no gzip")
        load_curve(tmp_path / "broken.csv.gz")
    with pytest.raises(FileNotFoundError):
        load_curve(tmp_path / "absent.csv")
