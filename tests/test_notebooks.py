"""The notebooks in `examples` run, and the outputs that they hold are of their cells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests import notebooks

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
NEEDS = {"data_scarce_family": ("torch",), "train_sb3": ("torch", "stable_baselines3")}


def _kinds(outputs: list[dict[str, Any]]) -> list[list[str]]:
    """What each output of a cell holds: the MIME types, or the stream."""
    return [sorted(output.get("data", {output.get("name", ""): None})) for output in outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_its_outputs_are_those_of_its_cells(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("pandas", "plotly", *NEEDS.get(path.stem, ())):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)  # what a notebook writes
    notebook = notebooks.read(path)
    cells = notebooks.code_cells(notebook)
    found = notebooks.run(notebook)
    assert [_kinds(outputs) for outputs in found] == [_kinds(cell["outputs"]) for cell in cells]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert any(notebooks.PLOTLY in kinds for outputs in found for kinds in _kinds(outputs)), "no figure"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_shows_no_address_and_no_wall_of_text(path: Path) -> None:
    for cell in notebooks.code_cells(notebooks.read(path)):
        for output in cell["outputs"]:
            text = "".join(output.get("text", output.get("data", {}).get("text/plain", [])))
            assert not re.search(r"\bat 0x[0-9a-f]+", text)
            assert len(text) < 3_000


def test_the_notebooks_are_found() -> None:
    assert {path.stem for path in NOTEBOOKS} >= {"evaluate_policies", "data_scarce_family", "train_sb3"}


def test_a_cell_that_raises_fails() -> None:
    cell = {"cell_type": "code", "source": ["x = 1\n", "x / 0"]}
    with pytest.raises(ZeroDivisionError):
        notebooks.run({"cells": [cell]})
