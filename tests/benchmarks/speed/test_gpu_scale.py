"""The study of scale at a size that means nothing, and what its full size would run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.gpu import scale
from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.storage.store import Store
from vamo.config import Config, override
from vamo.model.making import make_policy


def test_it_runs_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(scale, "METHODS", (arms.INTEGRAL, arms.ORACLE))
    assert scale.main(["--tiny", "--workers", "1", "--out", str(tmp_path)]) == 0
    assert "2 runs, failed: " in capsys.readouterr().out
    rows = Store(tmp_path).rows()
    assert set(rows["method"].to_pylist()) == {"integral-tiny", "oracle-tiny"}


def test_the_full_size_has_the_sizes_that_it_names() -> None:
    suite = scale.make("full")
    assert len(suite.runs()) == 24 and [variant.x for variant in suite.variants] == [50_000.0, 500_000.0]
    found = {}
    for arm in suite.arms:
        if arm.name.startswith("integral"):
            model = override(Config(), (*suite.training, *arm.settings)).model
            found[arm.name] = sum(p.numel() for p in make_policy(model).parameters())
    assert [round(n / 1e5) / 10 for n in found.values()] == [0.1, 1.0, pytest.approx(10.5, abs=1)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert scale.main(["--out", str(tmp_path / "out")]) == 1
    assert "no CUDA device" in capsys.readouterr().out and not (tmp_path / "out").exists()
