from __future__ import annotations

import json
from typing import Any

import pytest

from vamo.config import Config, ModelConfig, TrainConfig, WeightingConfig, override


def test_json_round_trip() -> None:
    config = override(Config(), ["train.method=pooled", "model.width=32", "weighting.temperature=2"])
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_missing_keys_take_defaults() -> None:
    assert Config.from_dict({"train": {"steps": 7}}) == Config(train=TrainConfig(steps=7))


def test_override_reads_toml_values_and_text() -> None:
    config = override(
        Config(), ["train.steps=2_00", "train.learning_rate=1e-4", "model.conditioning=concat", "train.select=last"]
    )
    assert (config.train.steps, config.train.learning_rate) == (200, 1e-4)
    assert (config.model.conditioning, config.train.select) == ("concat", "last")
    assert Config().train.steps != 200  # the original is untouched


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.stps=200", "`train.stps` is no setting; the nearest is `train.steps`"),
        ("trian.steps=200", "`trian` is no setting; the nearest is `train`"),
        ("steps=200", "`steps` is no setting"),
        ("train.steps", "a setting must be given as `key=value` or `section.key=value`, found 'train.steps'"),
        ("train.steps.x=1", "`steps` of the setting 'train.steps.x=1' must be a section"),
        ("train=3", "`train` must be a table of settings, found 3"),
        ("train.steps=many", "`train.steps` must be of type int, found 'many'"),
        ("train.steps=true", "`train.steps` must be of type int, found True"),
        ("train.steps=1.5", "`train.steps` must be of type int, found 1.5"),
        ("train.learning_rate=nan", "`train.learning_rate` must be finite, found nan"),
        ("train.method=vamo", "`train.method` must be one of ('single', 'uniform', 'pooled', 'vao', "),
    ],
)
def test_bad_override(assignment: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        override(Config(), [assignment])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (
            ModelConfig,
            {"backbone": "transformer", "d_model": 30, "n_heads": 4},
            "`d_model` must be a multiple of 4, found 30",
        ),
        (ModelConfig, {"context": 0}, "`context` must be at least 1, found 0"),
        (ModelConfig, {"depth": 0}, "`depth` must be at least 1, found 0"),
        (ModelConfig, {"penalty": 0.0}, "`penalty` must be positive, found 0.0"),
        (ModelConfig, {"head": "planner"}, "`head` must be 'action', its default, for `backbone` 'mlp' (it is of"),
        (ModelConfig, {"context": 8}, "`context` must be 4, its default, for `backbone` 'mlp' (it is of"),
        (ModelConfig, {"conditioning": "prompt"}, "`conditioning` must be one of ('film', 'concat') for `backbone`"),
        (TrainConfig, {"ensemble": 0}, "`ensemble` must be at least 1, found 0"),
        (ModelConfig, {"conditioning": "flim"}, "`conditioning` must be one of ('film', 'token', 'prompt', 'hyper'"),
        (ModelConfig, {"head": "plan"}, "`head` must be one of ('action', 'planner'), found 'plan'"),
        (ModelConfig, {"horizon": 0}, "`horizon` must be at least 1, found 0"),
        (
            ModelConfig,
            {"backbone": "transformer", "context": 6, "n_periods": 4},
            "`n_periods` must be in [0, 3], found 4",
        ),
        (WeightingConfig, {"temperature": 0.0}, "`temperature` must be positive, found 0.0"),
        (WeightingConfig, {"target_entropy": 1.0}, "`target_entropy` must be in (0, 1), found 1.0"),
        (WeightingConfig, {"ema_decay": 1.0}, "`ema_decay` must be in [0, 1), found 1.0"),
        (WeightingConfig, {"alignment_batch_size": 1}, "`alignment_batch_size` must be at least 2, found 1"),
        (WeightingConfig, {"pairs_per_step": 0}, "`pairs_per_step` must be at least 1, found 0"),
        (
            WeightingConfig,
            {"scaling": "cosine", "estimator": "forward_mode"},
            "`estimator` must be ghost or explicit for `scaling` cosine, found 'forward_mode'",
        ),
        (WeightingConfig, {"per_sample": True}, "`refresh_every` must be 1 for `per_sample` weights, found 5"),
        (
            WeightingConfig,
            {"per_sample": True, "refresh_every": 1, "shrinkage": True},
            "`shrinkage` must be false for `per_sample` weights, found True",
        ),
        (
            WeightingConfig,
            {"per_sample": True, "refresh_every": 1, "shrinkage": False},
            "`kind` must be softmax, entropy, top1 or a weighting of your own for `per_sample` weights, found 'inte",
        ),
        (TrainConfig, {"seed": -1}, "`seed` must be not negative, found -1"),
        (TrainConfig, {"batch_size": 0}, "`batch_size` must be at least 1, found 0"),
    ],
)
def test_rules(cls: type[Any], values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        cls(**values)
    assert message in str(caught.value)
