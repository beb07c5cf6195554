"""Signs of trouble on constructed series of records, and in a run."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
import pytest

from tests.vamo.synthetic import make_data
from vamo.config import Config, override
from vamo.examples.sources import split
from vamo.training.history import Record
from vamo.training.monitor import Monitor
from vamo.training.train import train

TARGETS, SOURCES = ("clicks", "sales"), ("a", "b", "c")
FINE = [[0.4, 0.3, 0.3], [0.2, 0.3, 0.5]]
ALIGNED = [[1.0, 0.5, 0.2], [0.3, 0.9, 0.1]]
PRECISE = [[0.05] * 3] * 2


def record(
    step: int,
    *,
    weights: Sequence[Sequence[float]] = FINE,
    alignment: Sequence[Sequence[float]] | None = ALIGNED,
    error: Sequence[Sequence[float]] = PRECISE,
    grad_norm: float = 1.0,
) -> Record:
    rows = np.array(weights)
    terms = np.where(rows > 0, -rows * np.log(np.maximum(rows, 1e-300)), 0.0)
    return Record(
        step=step,
        loss=[1.0, 1.0],
        validation_loss=[1.0, 1.0],
        weights=rows.tolist(),
        entropy=terms.sum(axis=1).tolist(),
        alignment=None if alignment is None else [list(row) for row in alignment],
        alignment_error=None if alignment is None else [list(row) for row in error],
        learning_rate=1e-3,
        grad_norm=grad_norm,
        grad_norm_max=grad_norm,
        step_time=0.1,
        warnings=[],
    )


def monitor(
    *, refresh_every: int = 5, is_weighted: bool = True, candidates: Sequence[Sequence[bool]] | None = None
) -> Monitor:
    return Monitor(TARGETS, SOURCES, refresh_every=refresh_every, is_weighted=is_weighted, candidates=candidates)


def watch(records: Sequence[Record], watcher: Monitor | None = None) -> dict[int, list[str]]:
    """Warnings by step."""
    watcher = monitor() if watcher is None else watcher
    found = {one.step: watcher.observe(one) for one in records}
    return {step: texts for step, texts in found.items() if texts}


def series(n: int, **kwargs: object) -> list[Record]:
    return [record(10 * (i + 1), **kwargs) for i in range(n)]  # type: ignore[arg-type]  # the arguments of `record`


def test_a_sound_run_warns_of_nothing() -> None:
    assert watch(series(30)) == {}
    assert watch(series(30, alignment=None)) == {}


COLLAPSED = [[0.4, 0.3, 0.3], [0.01, 0.98, 0.01]]
OPPOSING = [[1.0, -0.8, 0.1], [0.3, 0.9, 0.1]]
NOISY = [[0.05] * 3, [0.8] * 3]  # of "sales", whose alignments scatter by 0.42


def test_collapse() -> None:
    """Effective sources of 1.12 for three records; reported at the third, and once."""
    found = watch(series(10, weights=COLLAPSED))
    assert list(found) == [30]
    (text,) = found[30]
    assert text.startswith("step 30: target 'sales' learns from 1.12 effective sources, 98% of the weight is on 'b'")
    assert "larger `weighting.temperature`" in text and "`weighting.kind=entropy`" in text


def test_collapse_is_no_sign_where_it_was_asked_for() -> None:
    assert watch(series(10, weights=COLLAPSED), monitor(is_weighted=False)) == {}
    assert watch(series(10, weights=COLLAPSED, alignment=None)) == {}


def test_a_sign_must_last() -> None:
    """Two bad records, a good one, two bad ones: nothing. Three in a row: a warning at the third."""
    pattern = [COLLAPSED, COLLAPSED, FINE, COLLAPSED, COLLAPSED, FINE, COLLAPSED, COLLAPSED, COLLAPSED]
    records = [record(10 * (i + 1), weights=weights) for i, weights in enumerate(pattern)]
    assert list(watch(records)) == [90]


def test_records_without_a_refresh_in_between_count_once() -> None:
    """Records every step, a refresh every 5: the third new weights are those of steps 11 to 15."""
    records = [record(step, weights=COLLAPSED) for step in range(1, 20)]
    assert list(watch(records)) == [11]


def test_opposing_sources() -> None:
    (text,) = watch(series(10, alignment=OPPOSING))[30]
    assert "target 'clicks' has large sources that pull against each other, 'a' (m = 1) and 'b' (-0.8)" in text
    assert "training without 'b'" in text
    small = [[1.0, -0.4, 0.1], [0.3, 0.9, 0.1]]
    assert watch(series(10, alignment=small)) == {}  # less than half as large
    errors = [[0.05, 0.5, 0.05], [0.05] * 3]
    assert watch(series(10, alignment=OPPOSING, error=errors)) == {}  # -0.8 +- 0.5 may well be 0
    unknown = [[0.05, math.nan, 0.05], [0.05] * 3]
    assert watch(series(10, alignment=OPPOSING, error=unknown)) == {}


def test_noisy_validation_gradient() -> None:
    (text,) = watch(series(10, error=NOISY))[30]
    said = "alignments whose standard error (0.8) exceeds their standard deviation over the sources (0.42)"
    assert f"'sales' has {said}" in text
    for advice in ("`weighting.validation_batch_size`", "`weighting.shrinkage=true`", "`weighting.ema_decay=0.9`"):
        assert advice in text
    assert watch(series(10, error=[[math.inf] * 3] * 2)) == {}  # before the first refresh nothing is known


def test_sources_that_are_no_candidates_are_no_sign() -> None:
    collapsed = {"weights": [[1.0, 0.0, 0.0], FINE[1]]}
    opposed = {"alignment": [[1.0, 0.5, -0.9], ALIGNED[1]]}
    noisy = {"alignment": [[0.1, 0.12, -3.0], ALIGNED[1]], "error": [[0.01, 0.01, 9.0], PRECISE[1]]}
    for kwargs, row in (
        (collapsed, (True, False, False)),
        (opposed, (True, True, False)),
        (noisy, (True, True, False)),
    ):
        assert watch(series(4, **kwargs), monitor())
        assert not watch(series(4, **kwargs), monitor(candidates=[row, (True, True, True)]))


def test_gradient_spike() -> None:
    norms = [1.0, 1.2, 0.9, 1.0, 1.1, 9.0, 30.0, 50.0]
    records = [record(10 * (i + 1), grad_norm=norm) for i, norm in enumerate(norms)]
    found = watch(records)
    assert list(found) == [70]  # 9 is less than 10 times the median 1, 30 is more; 50 is the same sign again
    assert "the gradient norm reached 30, 10 times its usual 1.1, and was clipped" in found[70][0]
    early = [record(10, grad_norm=1.0), record(20, grad_norm=100.0)]
    assert watch(early) == {}  # too little to compare with


def test_several_targets_share_a_warning() -> None:
    (text,) = watch(series(3, weights=[[0.99, 0.005, 0.005]] * 2))[30]
    assert "target 'clicks'" in text and text.endswith("(and 1 more targets)")


def test_a_run_notes_and_logs_its_warnings(small_config: Config, caplog: pytest.LogCaptureFixture) -> None:
    """lambda -> 0 puts all weight on one source at every refresh."""
    options = [
        "weighting.kind=softmax",
        "weighting.temperature=1e-4",
        "weighting.refresh_every=2",
        "train.steps=24",
        "train.log_every=4",
    ]
    data = split({"TargetCPA": make_data(12), "Other": make_data(12, seed=1)}, 0.25)
    with caplog.at_level(logging.WARNING):
        result = train(*data, override(small_config, options))
    found = [text for line in result.history for text in line.warnings]
    assert any("effective sources" in text for text in result.history[2].warnings)
    assert sum("effective sources" in text for text in found) == 1
    assert [entry.getMessage() for entry in caplog.records] == found
