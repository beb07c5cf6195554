"""Tables that are wider than a terminal are printed as several."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.pages.tables.cells import Cells


def table(n_figures: int) -> Cells:
    header = ("family", *(f"method {k} with a name" for k in range(n_figures)))
    row = ("family 100", *(f"0.{k:03d}" for k in range(n_figures)))
    return Cells(kind="each-family", title="Each", header=header, rows=(row, row), notes=("A note.",))


def test_columns_that_do_not_fit_are_another_table_and_none_is_lost() -> None:
    wide = table(9)
    parts = wide.fitting(80)
    assert len(parts) == 2 and all(part._fits(80) for part in parts) and not wide._fits(80)
    assert [name for part in parts for name in part.header[1:]] == list(wide.header[1:])
    assert [cell for part in parts for cell in part.rows[1][1:]] == list(wide.rows[1][1:])
    assert {(part.header[0], part.rows[1][0]) for part in parts} == {("family", "family 100")}
    assert [part.notes for part in parts] == [(), ("A note.",)]


def test_a_table_that_fits_stays_one_and_a_column_is_never_cut() -> None:
    assert table(3).fitting(80) == [table(3)]
    assert [len(part.header) for part in table(3).fitting(20)] == [2, 2, 2]
    with_words = replace(table(9), text_columns=frozenset({0, 9}))
    assert with_words.fitting(80) == [with_words]
