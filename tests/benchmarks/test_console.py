"""Progress where output goes to a file: lines now and then, and none that a bar drawn over itself would need."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmarks import console as module
from benchmarks.console import progress_bar


def _written(monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool = False, is_shown: bool = True) -> str:
    """What a bar of four units writes, with 20 seconds between two of them."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    monkeypatch.setattr(module, "console", Console(file=out, width=100, force_terminal=is_terminal))
    with progress_bar("trials", 4, None, is_shown=is_shown) as bar:
        for i in range(4):
            now[0] += 20.0
            bar.note(f"trial {i}")
            bar.advance(1)
    return out.getvalue()


def test_a_file_gets_a_line_at_most_every_half_minute_and_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _written(monkeypatch).splitlines()
    assert [line.split()[-1] for line in lines] == ["1", "3"], "after 40 s, and the end; not also at 80 s, which is it"
    assert "2/4" in lines[0] and "4/4" in lines[1]
    assert "\x1b" not in "".join(lines)


def test_a_terminal_gets_a_bar_and_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _written(monkeypatch, is_terminal=True).count("\n") == 1, "the bar is drawn over itself"


def test_a_hidden_bar_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _written(monkeypatch, is_shown=False) == ""
