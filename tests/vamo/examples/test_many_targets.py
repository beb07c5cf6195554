"""K = 64 targets and as many sources: 4096 pairs in bounded memory, at the price of a few."""

from __future__ import annotations

import torch
from torch import Tensor

from auction_env.tasks import Task
from benchmarks.speed.training import expected_ratio, make_trainer
from tests.vamo.synthetic import make_data
from vamo.alignment.estimators import GroupLosses, Parameters
from vamo.config import Config, override
from vamo.examples.batch import Batch
from vamo.training.run_state import state_of
from vamo.training.train import train

TINY = (
    "model.backbone=transformer",
    "model.conditioning=film",
    "model.d_model=8",
    "model.n_blocks=1",
    "model.n_heads=1",
    "model.context=2",
)


def test_no_pass_grows_with_the_number_of_pairs() -> None:
    """Every pass of the model is within the batch or a refresh's budget, and every pair has its turn."""
    sizes: list[int] = []

    def counted(losses: GroupLosses[Batch]) -> GroupLosses[Batch]:
        def count(parameters: Parameters, batch: Batch) -> Tensor:
            sizes.append(len(batch.mask))
            return losses(parameters, batch)

        return count

    options = (
        "train.batch_size=64", "weighting.alignment_batch_size=256", "weighting.validation_batch_size=48",
        "weighting.targets_per_refresh=4", "weighting.refresh_every=1",
    )  # fmt: skip
    trainer = make_trainer(64, *TINY, *options, wrap=counted)
    assert trainer.sources.plan.n_refreshes == 64 * 64 // 128
    for _ in range(trainer.sources.plan.n_refreshes):
        trainer.step()
    assert max(sizes) <= 256
    assert (trainer.sources.table.n_updates == 1).all()
    assert trainer.sources.table.standard_error().isfinite().all()
    torch.testing.assert_close(trainer.sources.weights.sum(dim=1), torch.ones(64))
    tensors, _ = state_of(trainer)
    state = sum(t.numel() for name, t in tensors.items() if name.startswith("sources/"))
    assert state == 5 * 64 * 64 + 2 * 64


def test_the_expected_price_is_flat() -> None:
    ratios = [expected_ratio(make_trainer(k, *TINY)) for k in (4, 16, 64)]
    assert max(ratios) == min(ratios) == 1 + (384 + 1152) / 512 / 5


def test_training_on_64_sources_for_64_targets(small_config: Config) -> None:
    tasks = [Task(name=f"task {k}") for k in range(64)]
    data = {task.name: make_data(2, task=task, seed=k) for k, task in enumerate(tasks)}
    options = ["train.batch_size=64", "train.steps=5", "train.log_every=5", "train.evaluation_windows=1", *TINY]
    result = train(data, data, override(small_config, options))
    weights = torch.tensor(result.history[-1].weights)
    assert weights.shape == (64, 64)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(64))
