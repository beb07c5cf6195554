"""Fixtures of the method's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from vamo.config import Config, ModelConfig, TrainConfig, WeightingConfig


@pytest.fixture
def small_config() -> Config:
    """A model that trains in a moment."""
    return Config(
        model=ModelConfig(backbone="transformer", conditioning="film", d_model=16, n_blocks=2, n_heads=2, context=6),
        weighting=WeightingConfig(validation_batch_size=8, alignment_batch_size=32),
        train=TrainConfig(steps=12, batch_size=16, warmup_steps=2, log_every=4, evaluation_windows=16, seed=3),
    )


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread: tests run beside each other, and more would wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
