"""The study `ope/v1`: what its rows say, how it goes on, and that the documentation shows the published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from agents import FixedBidder, rollout
from benchmarks.cli import main
from benchmarks.studies.ope import measure as measuring
from benchmarks.studies.ope import policies
from benchmarks.studies.ope.measure import Job, drawn, jobs
from benchmarks.studies.ope.results import qualities, quality_cells
from benchmarks.studies.ope.run import ROWS, read_rows
from benchmarks.studies.ope.settings import SCENARIOS, OpeSettings, settings_of

ROOT = Path(__file__).parents[4]
PUBLISHED = ROOT / "benchmarks" / "results" / "ope-v1-cpu"


def row(policy: str, live: float, estimate: float, width: float, draw: int = 0) -> dict[str, object]:
    own = {"scenario": "noisy", "policy": policy, "method": "direct", "n_logs": 12, "draw": draw}
    return {**own, "live": live, "estimate": estimate, "low": estimate - width, "high": estimate + width}


def test_qualities_of_known_rows() -> None:
    """Three policies, two logs: one ranks rightly and 10 % too high, the other takes the worst for the best."""
    live = {"a": 1.0, "b": 2.0, "c": 4.0}
    right = [row(name, score, 1.1 * score, 0.25) for name, score in live.items()]
    wrong = [row(name, score, 5.0 - score, 0.0, draw=1) for name, score in live.items()]
    (found,) = qualities(pa.Table.from_pylist(right + wrong))
    assert found.rank_correlation == pytest.approx((1.0 - 1.0) / 2)
    assert found.bias == pytest.approx(np.mean([0.1, 0.1, 0.1, 3.0, 0.5, -0.75]))
    assert found.error == pytest.approx(np.mean([0.1, 0.1, 0.1, 3.0, 0.5, 0.75]))
    assert found.coverage == pytest.approx(2 / 6)
    assert found.regret == pytest.approx((0.0 + 0.75) / 2)
    assert (found.n_policies, found.n_draws) == (3, 2)
    (cells,) = quality_cells([found])
    assert cells.rows[0][:3] == ("direct", "12", "0.00")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two policies that learn nothing, and the smallest sizes."""
    made = {name: policies.POLICIES[name] for name in ("fixed 0.5", "fixed 1.1")}
    monkeypatch.setattr(measuring, "POLICIES", made)
    monkeypatch.setattr(measuring, "train", lambda settings, folder: None)


def test_a_stopped_study_goes_on(tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[str] = []

    def counted(bidder: FixedBidder, **arguments: object) -> object:
        played.append(bidder.name)
        if len(played) == 7:
            raise KeyboardInterrupt
        return rollout(bidder, **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(measuring, "rollout", counted)
    out = tmp_path / "ope"
    arguments = ["bench", "ope", "--size", "testing", "--workers", "1", "--out", str(out)]
    with pytest.raises(SystemExit, match="130"):
        main(arguments)
    assert not out.exists() and len(played) == 7
    main(arguments)
    assert len(played) == 5 + 2 * 2 + 1  # 5 logs, 2 policies in 2 places, and the one that was stopped
    rows = read_rows(out)
    assert rows is not None and (out / "ope.png").read_bytes().startswith(b"\x89PNG")
    settings = settings_of("testing")
    n_estimates = len(settings.n_logs) * (2 * settings.n_draws + 3)
    assert rows.num_rows == len(SCENARIOS) * 2 * n_estimates
    before = (out / ROWS).stat().st_mtime_ns
    main(arguments)  # prints what is there
    assert (out / ROWS).stat().st_mtime_ns == before and len(played) == 10
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "ope", "--size", "cpu", "--out", str(out)])


def test_jobs_have_files_of_their_own() -> None:
    files = [job.file for job in jobs()]
    assert len(files) == len(set(files)) and Job("truth", "same market", "slow pid").file in files


def test_logs_have_every_advertiser_alike(tiny: None) -> None:
    class Pool:
        advertiser = np.arange(40) % 8
        episode_starts = np.arange(41)

    chosen = drawn(Pool(), 20, 3)  # type: ignore[arg-type]
    assert len(set(chosen.tolist())) == 20
    assert set(np.unique(Pool.advertiser[chosen], return_counts=True)[1].tolist()) == {2, 3}
    assert not np.array_equal(chosen, drawn(Pool(), 20, 4))  # type: ignore[arg-type]


def test_the_sizes_have_whole_rounds_of_the_advertisers() -> None:
    for size in ("full", "cpu", "testing"):
        settings: OpeSettings = settings_of(size)
        assert settings.n_pool % 48 == 0 and max(settings.n_logs) <= settings.n_pool / 2
    with pytest.raises(ValueError, match=r"`size` must be one of .*found 'huge'"):
        settings_of("huge")


def test_the_documentation_shows_the_published_rows() -> None:
    rows = read_rows(PUBLISHED)
    assert rows is not None
    page = (ROOT / "docs" / "ope.md").read_text(encoding="utf-8")
    for cells in quality_cells(qualities(rows)):
        for line in cells.to_markdown().splitlines():
            assert line in page, line
