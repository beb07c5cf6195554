"""Colours, numbers and names of the pages, and a suite's picture."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.pages import plots
from benchmarks.pages.suite.picture import write_picture
from benchmarks.pages.text import decimals_for, number, p_text, ranges
from benchmarks.statistics.bootstrap import Bootstrap
from tests.benchmarks.suites.made_up import write_results


@pytest.mark.parametrize(("palette", "least"), [(plots.METHOD_COLOURS, 8.5), (plots.TASK_COLOURS, 10.0)])
@pytest.mark.parametrize(("scheme", "paper"), [("light", "#fbfaf7"), ("dark", "#14171a")])
def test_palettes_are_told_apart_by_the_colour_blind(palette: Any, least: float, scheme: str, paper: str) -> None:
    def linear(colour: str) -> np.ndarray:
        c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)

    # Machado et al. 2009, severity 1; OKLab: Ottosson 2020
    seen = {
        "normal": np.eye(3),
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
        "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
    }
    cone = np.array(
        [[0.41222147, 0.53633254, 0.05144599], [0.2119035, 0.68069955, 0.10739696], [0.08830246, 0.28171884, 0.6299787]]
    )
    lab = np.array(
        [
            [0.21045426, 0.79361779, -0.00407205],
            [1.9779985, -2.42859221, 0.45059371],
            [0.0259040, 0.78277177, -0.80867577],
        ]
    )
    colours = np.array([linear(c) for c in palette[scheme]])
    for name, matrix in seen.items():
        points = np.cbrt(np.clip(colours @ np.array(matrix).T, 0, 1) @ cone.T) @ lab.T
        distance = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.eye(len(points))
        assert 100 * distance.min() > least, name
    luminance = np.array([0.2126, 0.7152, 0.0722])
    pair = np.sort(np.stack([colours @ luminance, np.full(len(colours), linear(paper) @ luminance)]), axis=0)
    assert ((pair[1] + 0.05) / (pair[0] + 0.05)).min() > 2.95


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (number(1234.5), "1,234"),
        (number(-0.1234), "\u22120.123"),
        (number(-0.0001, 2), "0.00"),
        (number(float("nan")), "–"),
        (number(float("inf")), "∞"),
        (decimals_for([0.5, 20.0]), 1),
        (decimals_for([]), 2),
        (p_text(0.0004), "<0.001"),
        (ranges([3, 1, 2, 7, 9, 10]), "1 to 3, 7, 9, 10"),
        (plots.text("$x$"), "&#36;x&#36;"),
        (plots.text("a\n<b> & long name", 12), "a &lt;b&gt; … name"),
    ],
)
def test_numbers_and_names(found: Any, expected: Any) -> None:
    assert found == expected


def test_a_picture_has_one_width_and_the_same_bytes_every_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra `report`")
    labels = {"vao": "$x_1$ <b> \u6f22 %{x}"}
    out = write_results(tmp_path / "made-up", labels=labels)
    bare = write_results(tmp_path / "bare", n_viewed=0, with_weights=False)
    heights = []
    for directory in (out, bare):
        write_picture(directory, tmp_path / "a.png", Bootstrap(n_resamples=200))
        content = (tmp_path / "a.png").read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", content[16:24])
        heights.append(height)
        assert width == 1600
        write_picture(directory, tmp_path / "b.png", Bootstrap(n_resamples=200))
        assert (tmp_path / "b.png").read_bytes() == content
    assert heights[1] < heights[0] - 400  # without episodes there is no panel of spend
