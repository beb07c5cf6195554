"""The training rows and the GPU script at sizes that mean nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import training as gpu_training
from benchmarks.speed import training as speed_training
from benchmarks.speed.training import Autojac, SyntheticBatches, make_trainer, ratio, step_seconds
from vamo.config import Config, override

TINY = (
    "model.backbone=transformer",
    "model.conditioning=film",
    "model.d_model=8",
    "model.n_blocks=1",
    "model.n_heads=1",
    "model.context=2",
    "train.batch_size=128",  # a quarter of the default sizes, so that the ratios are the usual ones
    "weighting.validation_batch_size=96",
    "weighting.alignment_batch_size=288",
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_training, "MILLION", TINY)
    monkeypatch.setattr(speed_training, "DEFAULTS", {"tiny": TINY})
    monkeypatch.setattr(speed_training, "step_seconds", lambda trainers, n: step_seconds(trainers, 1))


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_training, "_peak_megabytes", {"uniform": 10.0, "vao": 11.0}.__getitem__)
    pytest.importorskip("torchjd", reason="extra `mtl` is not installed")
    rows = {row.name: row for part in speed_training.MEASUREMENTS for row in part.rows(False)}
    assert {"uniform_step_ms", "vao_vs_uniform_step_k4", "vao_vs_uniform_step_k64", "vao_step_k64_vs_k4"} <= set(rows)
    methods = ("pcgrad", "cagrad", "nash_mtl")
    assert {f"{method}{form}_vs_vao_step_k16" for method in methods for form in ("", "_split")} <= set(rows)
    assert all(row.value > 0 for row in rows.values())
    assert rows["vao_vs_uniform_memory"].value == 1.1
    assert rows["vao_vs_uniform_step_k64"].bound == "1.60: 4.80 forward passes against 3"
    assert rows["tiny_vao_vs_uniform"].bound_value == pytest.approx(1.6)


def test_quick_rows_are_of_the_default_models() -> None:
    rows = {row.name: row for part in speed_training.MEASUREMENTS if part.is_quick for row in part.rows(True)}
    assert set(rows) == {"tiny_step_ms", "tiny_vao_vs_uniform"}
    step = rows["tiny_step_ms"]
    assert step.bound_value is not None and 0 < step.bound_value < step.value  # flops at half the machine's speed
    flops = speed_training.flops_of(lambda: torch.ones(2, 3) @ torch.ones(3, 5))
    assert flops == 2 * 2 * 3 * 5


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_measured_in_another_process() -> None:
    assert 1 < speed_training._peak_megabytes("vao") < 500  # the code of torch's kernels, mostly


def test_batches_have_the_asked_groups() -> None:
    batches = SyntheticBatches(override(Config(), TINY))
    assert batches.train(0, [(0, 0), (0, 1), (1, 0)]).n_groups == 3
    batch = batches.alignment(0, [(0, 0), (1, 0)], 4)
    assert (batch.n_groups, len(batch.mask)) == (2, 8)
    assert len(batches.groups(batch, 1, 2).mask) == 4


@pytest.mark.parametrize("method", ["pcgrad", "cagrad", "nash_mtl"])
def test_both_forms_of_a_multitask_step_agree(method: str) -> None:
    pytest.importorskip("torchjd", reason="extra `mtl` is not installed")
    split, whole = (make_trainer(4, *TINY, f"train.method={method}", "train.clip_norm=1e9") for _ in range(2))
    whole.multitask = Autojac(whole, method)  # type: ignore[assignment]  # same interface
    torch.manual_seed(0)
    (a, norm_a), (b, norm_b) = split.step(), whole.step()
    torch.testing.assert_close(a, b)
    if method != "pcgrad":  # it takes the targets in a random order
        torch.testing.assert_close(norm_a, norm_b, rtol=1e-2, atol=0)


def test_step_seconds_takes_whole_periods() -> None:
    trainers = {method: make_trainer(2, *TINY, f"train.method={method}") for method in ("uniform", "vao")}
    seconds = step_seconds(trainers, 2)
    assert all(len(values) == 2 and min(values) > 0 for values in seconds.values())
    assert ratio({"a": [1.0, 2.0, 9.0], "b": [1.0, 1.0, 1.0]}, "a", "b") == 2.0
    assert [trainer.n_steps for trainer in trainers.values()] == [15, 15]


def test_gpu_script_runs_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_training.main(["--tiny", "--rounds", "1", "--out", str(tmp_path / "rows.json")]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    names = [row["name"] for row in rows]
    assert names[0] == "matmul_peak"
    assert {"tiny_vao_vs_uniform_step_k64", "tiny_trajectories_per_s", "tiny_utilisation_vs_plain"} <= set(names)
    assert all(name in capsys.readouterr().out for name in names[:1])
    if not torch.cuda.is_available():
        assert gpu_training.main([]) == 1
