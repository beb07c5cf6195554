"""What a run writes for TensorBoard, read back with TensorBoard's own reader."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from auction_env.tasks import Task
from tests.vamo.synthetic import make_data
from tests.vamo.training.test_monitor import record
from vamo.config import Config, override
from vamo.examples.sources import split
from vamo.training.tensorboard import ScalarWriter, scalars
from vamo.training.train import TrainResult, train


def read(log_dir: Path) -> EventAccumulator:
    return EventAccumulator(str(log_dir)).Reload()


def series(events: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events.Scalars(tag)]


def run(config: Config, log_dir: Path, **kwargs: object) -> TrainResult:
    data = split({"TargetCPA": make_data(12), "Other": make_data(12, seed=1)}, 0.25)
    return train(*data, config, log_dir=log_dir, **kwargs)  # type: ignore[arg-type]  # names of `train`


def test_every_record_becomes_points(small_config: Config, tmp_path: Path) -> None:
    options = ["weighting.kind=softmax", "weighting.temperature=1e-4", "weighting.refresh_every=2"]
    result = run(override(small_config, options), tmp_path)
    events = read(tmp_path)
    for line_of, tag in [
        (lambda line: line.loss[1], "loss/training/Other"),
        (lambda line: line.validation_loss[0], "loss/validation/TargetCPA"),
        (lambda line: line.mean_validation_loss, "loss/validation/mean"),
        (lambda line: line.weights[0][1], "weight/TargetCPA/Other"),
        (lambda line: line.alignment[0][1], "alignment/TargetCPA/Other"),
        (lambda line: line.entropy[0], "weights/entropy/TargetCPA"),
        (lambda line: line.effective_sources[0], "weights/effective_sources/TargetCPA"),
        (lambda line: line.grad_norm, "optimiser/grad_norm"),
        (lambda line: line.learning_rate, "optimiser/learning_rate"),
        (lambda line: 1 / line.step_time, "speed/steps_per_s"),
        (lambda line: 16 * 6 / 48 / line.step_time, "speed/trajectories_per_s"),
    ]:
        found = series(events, tag)
        assert [step for step, _ in found] == [4, 8, 12]
        expected = [line_of(line) for line in result.history]  # type: ignore[no-untyped-call]
        np.testing.assert_allclose([value for _, value in found], expected, rtol=1e-5, err_msg=tag)
    texts = [event.tensor_proto.string_val[0].decode() for event in events.Tensors("warnings/text_summary")]
    assert texts == [text for line in result.history for text in line.warnings] != []


def test_a_resumed_run_writes_no_point_twice(small_config: Config, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill(step: int, n_steps: int, record: object) -> None:
        if step == 8:
            raise KilledError

    paths = {"out": tmp_path / "run.safetensors", "save_every": 3}
    with pytest.raises(KilledError):
        run(small_config, tmp_path / "log", progress=kill, **paths)
    run(small_config, tmp_path / "log", **paths)  # goes on from step 6: step 8 comes again
    assert len(list((tmp_path / "log").iterdir())) == 2
    assert [step for step, _ in series(read(tmp_path / "log"), "loss/validation/mean")] == [4, 8, 12]


def test_many_targets_have_summaries_and_the_largest_weights(small_config: Config, tmp_path: Path) -> None:
    names = [f"task {k}" for k in range(17)]
    data = {name: make_data(2, task=Task(name=name), seed=k) for k, name in enumerate(names)}
    options = ["train.batch_size=64", "train.steps=5", "train.log_every=5", "train.evaluation_windows=1"]
    result = train(data, data, override(small_config, options), log_dir=tmp_path)
    tags = read(tmp_path).Tags()["scalars"]
    assert len(tags) < 60
    assert {"loss/validation/min", "loss/validation/mean", "loss/validation/max"} <= set(tags)
    assert "loss/validation/task 0" not in tags
    weights = np.array(result.history[0].weights)
    largest = {tag: value for tag, value in scalars(result.history[0], names, names) if tag.startswith("weight/")}
    np.testing.assert_allclose(sorted(largest.values()), np.sort(weights, axis=None)[-16:])


def test_methods_without_alignments(tmp_path: Path) -> None:
    tags = [tag for tag, _ in scalars(record(4, alignment=None), ("clicks", "sales"), ("a", "b", "c"))]
    assert "weight/clicks/a" in tags
    assert not any(tag.startswith("alignment/") for tag in tags)
    assert len(tags) == len(set(tags))


def test_without_tensorboard_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"`log_dir` needs tensorboard, found none: pip .*\[train\]"):
        ScalarWriter(tmp_path, ["a"], ["a"], trajectories_per_step=1.0)
