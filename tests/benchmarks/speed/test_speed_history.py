"""Rows, their table in 80 columns, and the history of runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import console as console_module
from benchmarks.pages.readme_tables import render
from benchmarks.pages.tables import speed as speed_pages
from benchmarks.speed import figures, usage
from benchmarks.speed.kept import history
from benchmarks.speed.kept.history import SpeedRun, load, newest_rows, save
from benchmarks.speed.measure import Measurement, Row, number

SLOW = Row(
    name="nash_mtl_split_vs_vao_step_k16",
    value=12_345.6,
    unit="steps/s",
    reference="a reference that takes many words, " * 5,
    bound="a [bound] in words, " * 5,
    reference_value=2_469.12,
    bound_value=123_456_789.0,
    more_is_better=True,
)
FAST = Row(name="step", value=3.0, unit="ms", reference="r", bound="b", reference_value=6.0, bound_value=1.5)
RUN = SpeedRun(
    machine="A CPU, 2 cores, no GPU", date="2026-01-02T03:04:05Z", commit="c", command="x", others=0, rows=()
)


def test_ratio_and_share_of_the_bound() -> None:
    assert (SLOW.ratio, FAST.ratio) == (5.0, 2.0)  # more is better of one, less of the other
    assert SLOW.reached == pytest.approx(1e-4, rel=1e-3) and FAST.reached == 0.5
    bare = Row(name="x", value=2.0, unit="x", reference="", bound="")
    assert bare.ratio is bare.reached is None
    assert figures.cells(bare) == ("x", "2", "x", "-", "2x", "-", "-")
    assert [number(x) for x in (0.0123, 99.4, 44_900.2, 123_456_789)] == ["0.0123", "99.4", "44,900", "123 M"]


def test_the_table_fits_80_columns_and_cuts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console_module.console, "_width", 80)
    both = Measurement(what="both", rows=lambda quick: (SLOW, FAST))
    monkeypatch.setattr(figures, "measurements", lambda quick, only: {"env: both": both})
    used = iter([(0.0, 0.0, 0.0), (4.0, 1.0, 0.0)])
    monkeypatch.setattr(usage, "_used", lambda has_workers: next(used))
    figures.run(out=tmp_path)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80 and "\N{HORIZONTAL ELLIPSIS}" not in shown
    assert "25% of the machine" in shown and "[bound]" in shown
    assert SLOW.name in shown and "123 M" in shown and "5x" in shown and "50%" in shown


def test_a_run_is_added_to_the_file_of_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Measurement(what="one", rows=lambda quick: (FAST,))
    monkeypatch.setattr(figures, "measurements", lambda quick, only: {"env: one": one})
    for _ in range(2):
        figures.run(quick=True, only="env", history_folder=tmp_path, out=tmp_path)
    (path,) = tmp_path.iterdir()
    assert [run.rows for run in load(path)] == [(FAST,), (FAST,)]
    assert {run.command for run in load(path)} == {"vamo bench speed --quick --only env"}
    assert save(replace(RUN, rows=(FAST,)), tmp_path).name == "a-cpu-2-cores-no-gpu.json"


@pytest.mark.parametrize("content", ["{", '[{"rows": []}]', '[{"rows": [{"name": "x"}]}]'])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a-cpu-2-cores-no-gpu.json").write_text(content)
    with pytest.raises(ValueError, match=r"no-gpu\.json must hold a list of runs with \['command'"):
        save(RUN, tmp_path)


def test_undisturbed_runs_come_first() -> None:
    old, busy = replace(FAST, value=2.0), replace(FAST, value=9.0)
    other = replace(FAST, name="other")
    runs = [
        replace(RUN, rows=(old,), date="1"),
        replace(RUN, rows=(replace(old, value=1.0),), date="2"),
        replace(RUN, rows=(other, busy), date="3", others=0.5),
    ]
    assert [(row.name, row.value, run.date) for row, run in newest_rows(runs)] == [
        ("other", 3.0, "3"),
        ("step", 1.0, "2"),
    ]


def test_pages_show_the_figures_and_their_history(tmp_path: Path) -> None:
    folder = tmp_path / speed_pages.FOLDER
    save(replace(RUN, rows=(FAST,)), folder)
    save(replace(RUN, rows=(replace(FAST, value=4.0),), others=0.5), folder)
    text = render(
        "<!-- speed: figures -->\n<!-- end of speed -->\n<!-- speed: history -->\n<!-- end of speed -->", tmp_path
    )
    assert "| `step` | 3 ms | 6 | 2x | 1.5 | 50% | 2026-01-02 | r | b |" in text
    assert "| `step` | ms | 3 | 4 |" in text and "2026-01-02, other work 50%, `c`" in text
    assert render(text, tmp_path) == text
    with pytest.raises(ValueError, match="markers must come in pairs, found 1 beginnings and 0 ends of speed"):
        render("<!-- speed: figures -->\n", tmp_path)
    with pytest.raises(ValueError, match=r"tables of speed must be of .*, found 'x'"):
        render("<!-- speed: x -->\n<!-- end of speed -->", tmp_path)


def test_own_work_is_not_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter([(100.0, 10.0, 1.0), (120.0, 26.0, 5.0)])  # of 20 s of all cores 16 were busy, 4 of them with our work
    monkeypatch.setattr(usage, "_used", lambda has_workers: next(used))
    with usage.watching() as others:
        pass
    assert others.share == 0.6


def test_committed_runs_can_be_read() -> None:
    folder = Path(__file__).parents[3] / "benchmarks" / "results" / speed_pages.FOLDER
    found = history.load_all(folder)
    assert found and all(len(row.name) <= 30 for runs in found.values() for run in runs for row in run.rows)
    assert all(json.loads(path.read_text()) for path in folder.iterdir())
