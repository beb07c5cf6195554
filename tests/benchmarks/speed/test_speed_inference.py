from __future__ import annotations

from typing import get_args

import pytest
import torch

from benchmarks.speed.inference import VARIANTS, inference_rows, latency
from vamo.config import Conditioning, Head, ModelConfig

SMALL = ModelConfig(backbone="transformer", d_model=8, n_blocks=1, n_heads=1, context=4)


def test_rows() -> None:
    before = torch.get_num_threads()
    rows = {row.name: row for row in inference_rows(quick=True)}
    assert torch.get_num_threads() == before
    assert set(rows) == {"decision_ms", "decision_48_ms"}
    assert all(row.unit == "ms" and 0 < row.value < 1000 for row in rows.values())
    assert rows["decision_48_ms"].value < 48 * rows["decision_ms"].value  # one forward pass for all


@pytest.mark.parametrize("n_campaigns", [1, 48])
def test_latency_is_of_whole_episodes(n_campaigns: int) -> None:
    measured = latency(SMALL, n_campaigns, 1)
    assert 0 < measured.median <= measured.slowest_tick


def test_the_table_has_every_variant() -> None:
    configs = VARIANTS.values()
    assert {config.conditioning for config in configs} == set(get_args(Conditioning))
    assert {config.head for config in configs} == set(get_args(Head))
