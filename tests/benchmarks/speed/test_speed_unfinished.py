"""A stopped run of `vamo bench speed` goes on; what other code or another machine measured does not count."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmarks.cli import main
from benchmarks.speed import figures
from benchmarks.speed.kept.unfinished import Measured, Unfinished, file_of
from benchmarks.speed.measure import Measurement, Row

FIRST, SECOND = (Row(name=name, value=3.0, unit="ms", reference="r", bound="b") for name in ("first", "second"))


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bool], list[str]]:
    """Runs two measurements, of which the second may be stopped; says which were measured."""

    def run(is_stopped: bool) -> list[str]:
        done: list[str] = []

        def measure(row: Row, quick: bool) -> tuple[Row, ...]:
            if row is SECOND and is_stopped:
                raise KeyboardInterrupt
            done.append(row.name)
            return (row,)

        wanted = {row.name: Measurement(what=row.name, rows=partial(measure, row)) for row in (FIRST, SECOND)}
        monkeypatch.setattr(figures, "measurements", lambda quick, only: wanted)
        arguments = ["bench", "speed", "--only", "env", "--out", str(tmp_path / "speed")]
        if is_stopped:
            with pytest.raises(SystemExit):
                main(arguments)
        else:
            main(arguments)
        return done

    return run


def test_a_stopped_run_goes_on(
    play: Callable[[bool], list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert play(True) == ["first"]
    assert "stopped; finished measurements are kept. To go on: vamo bench speed" in capsys.readouterr().out
    assert play(False) == ["second"]
    shown = capsys.readouterr().out
    assert "1 of 2 measurements are kept from a run that was stopped" in shown and "first" in shown
    assert list((tmp_path / "speed").iterdir()) == []
    assert play(False) == ["first", "second"]


@pytest.mark.parametrize(
    "changed", ["benchmarks.speed.kept.unfinished._code", "benchmarks.suites.running.provenance.machine"]
)
def test_rows_of_other_code_or_another_machine_do_not_count(
    play: Callable[[bool], list[str]], changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(True)
    monkeypatch.setattr(changed, lambda: "another")
    assert play(False) == ["first", "second"]


@pytest.mark.parametrize("content", ["{", "[]", '{"machine": 1}'])
def test_a_file_that_cannot_be_read_does_not_count(tmp_path: Path, content: str) -> None:
    path = file_of(tmp_path, quick=True, only="env")
    path.write_text(content)
    kept = Unfinished(path)
    assert kept.measured == {}
    measured = Measured((FIRST,), 0.25, 1.5)
    kept.add("env: first", measured)
    assert Unfinished(path).measured == {"env: first": measured}
    assert Unfinished(file_of(tmp_path, quick=False, only="env")).measured == {}


def test_measurements_are_named_by_part() -> None:
    quick, whole = figures.measurements(True), figures.measurements(False)
    assert set(quick) < set(whole) and "process: first call" in set(whole) - set(quick)
    assert not any(name.startswith("scaling") for name in whole)
    assert list(figures.measurements(False, "scaling")) == ["scaling: collect", "scaling: evaluate", "scaling: suite"]
    with pytest.raises(ValueError, match="part 'scaling' has no fast figures: measure it without --quick"):
        figures.measurements(True, "scaling")
    with pytest.raises(ValueError, match=r"`only` must be one of \['agents', .*, found 'fun'"):
        figures.measurements(True, "fun")
