"""The weights of a family by what its truth says of the sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from agents import Harm, collect_family, make_task_family
from benchmarks.studies.family_truth import CLASSES, run, table, weight_by_class


def test_weights_by_class_by_hand() -> None:
    family = make_task_family(4, n_groups=2, harms=[Harm(kind="scaled_bid")])
    assert [member.is_harmful for member in family.members] == [False, True, False, False]
    weights = np.array([[0.4, 0.1, 0.3, 0.2], [0.0, 1.0, 0.0, 0.0], [0.2, 0.2, 0.5, 0.1], [0.1, 0.3, 0.1, 0.5]])
    found = weight_by_class(weights, family)
    assert found == pytest.approx(
        {
            "own": 4 * (0.4 + 0.5 + 0.5) / 3,
            "helpful": 4 * (0.3 + 0.2) / 2,  # tasks 0 and 2 are of one group
            "unrelated": 4 * (0.2 + 0.1 + 0.1 + 0.1) / 4,
            "harmful": 4 * (0.1 + 0.2 + 0.3) / 3,
        }
    )


def test_runs_end_to_end(tmp_path: Path) -> None:
    family = make_task_family(3, imbalance=(12, 8), harms=[Harm(kind="scaled_bid")], n_impressions=480)
    collect_family(family, tmp_path / "logs", n_validation=6, n_test=1)
    found = run(family, tmp_path / "logs", steps=2, seeds=[0])
    assert [(f.label, f.method) for f in found] == [
        (label, method) for label in ("logged", "hindsight") for method in ("vao", "uniform")
    ]
    for finding in found:
        assert set(finding.weight) == set(CLASSES) and np.isfinite(finding.loss)
        if finding.method == "uniform":
            assert finding.weight["own"] == pytest.approx(1.0) and finding.weight["harmful"] == pytest.approx(1.0)
    assert table(found).row_count == 4
