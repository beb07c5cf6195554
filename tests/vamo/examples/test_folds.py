"""Folds of a target's own trajectories, and what the sampler draws from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from auction_env.data import TrajectoryData
from auction_env.tasks import TASKS
from tests.vamo.synthetic import make_data
from vamo.config import Config, override
from vamo.examples.batch import Batch
from vamo.examples.episodes import Episodes
from vamo.examples.folds import Folds, with_validation
from vamo.examples.sampler import WindowSampler
from vamo.training.train import train

A, B = TASKS["TargetCPA"], TASKS["MaxClicks"]


def test_folds_are_disjoint_and_complete() -> None:
    folds = Folds.deal(2, 11, 3, seed=5)
    assert sorted(np.concatenate(folds.members).tolist()) == list(range(11))
    assert [len(fold) for fold in folds.members] == [4, 4, 3]
    for fold, others in zip(folds.members, folds.others, strict=True):
        assert not set(fold) & set(others) and len(fold) + len(others) == 11
    again, other = Folds.deal(2, 11, 3, seed=5), Folds.deal(3, 11, 3, seed=5)
    assert all(np.array_equal(a, b) for a, b in zip(folds.members, again.members, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(folds.members, other.members, strict=True))


def test_too_few_episodes_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"`cross_fit` must be at most the number of .* own episodes, 2, found 3"):
        Folds.deal(0, 2, 3, seed=0)


def test_validation_trajectories_join_the_own_source() -> None:
    own, held_out, other = make_data(5, task=A), make_data(3, task=A), make_data(4, task=B, seed=1)
    assert own.advertiser[0] == held_out.advertiser[0] and own.period[0] == held_out.period[0]  # the same keys
    found = with_validation({"a": own, "b": other}, {"a": held_out, "c": held_out}, ("a", "c"))
    assert list(found) == ["a", "b", "c"]
    assert found["a"].n_episodes == 8 and found["b"] is other and found["c"] is held_out
    np.testing.assert_array_equal(found["a"].cost, np.concatenate([own.cost, held_out.cost]))
    with pytest.raises(ValueError, match="source 'a' must be of its target's task for `cross_fit`, found another"):
        with_validation({"a": other}, {"a": held_out}, ("a",))


def advertisers(batch: Batch) -> set[tuple[float, ...]]:
    return {tuple(row) for row in batch.advertiser.tolist()}


@pytest.fixture
def data() -> list[TrajectoryData]:
    return [make_data(9, task=A, seed=0), make_data(7, task=B, seed=1)]


@pytest.mark.parametrize("is_chosen", [False, True])
def test_no_batch_holds_the_fold_that_judges(data: list[TrajectoryData], is_chosen: bool) -> None:
    """From refresh to refresh another fold judges; the pairs that share the source leave it out too."""
    config = override(Config(), ["train.cross_fit=3", "weighting.refresh_every=5", "train.batch_size=400"])
    sources = [Episodes(str(i), part, config) for i, part in enumerate(data)]
    folds = [Folds.deal(i, len(source.length), 3, seed=0) for i, source in enumerate(sources)]
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1)]
    chosen = {(0, 0): np.array([0, 1, 2, 3, 4])} if is_chosen else {}
    sampler = WindowSampler(sources, sources, pairs, config, chosen, folds=folds)
    seen: list[set[tuple[float, ...]]] = []
    for refresh in range(3):
        judging = advertisers(sampler.validation(5 * refresh, [0, 1], 100))
        wanted = [sources[i].advertiser[folds[i].members[refresh]].tolist() for i in range(2)]
        assert judging == {tuple(row) for part in wanted for row in part}
        for step in (5 * refresh, 5 * refresh + 4):
            trained = advertisers(sampler.train(step, pairs)) | advertisers(sampler.alignment(step, pairs, 50))
            assert trained and not trained & judging
        seen.append(judging)
    assert len(set.union(*seen)) == sum(map(len, seen)) == 16  # every own episode has judged, once
    if is_chosen:
        own = advertisers(sampler.train(0, [(0, 0)]))
        picked = set(range(5)) - set(folds[0].members[0].tolist())
        assert own == {tuple(sources[0].advertiser[e].tolist()) for e in picked}


def run(data: list[TrajectoryData], *options: str) -> torch.Tensor:
    small = ["train.steps=4", "train.log_every=4", "train.batch_size=16", "model.width=8"]
    sources = {"TargetCPA": data[0], "MaxClicks": data[1]}
    held_out = {"TargetCPA": make_data(6, task=A, seed=8), "MaxClicks": make_data(6, task=B, seed=9)}
    result = train(sources, held_out, override(Config(), [*small, *options]))
    return torch.cat([p.flatten() for p in result.bidder.model.parameters()])


@pytest.mark.parametrize("method", ["vao", "agem", "uniform", "single", "cds", "dvdf", "response_check"])
def test_every_method_learns_from_the_validation_trajectories(data: list[TrajectoryData], method: str) -> None:
    found = run(data, f"train.method={method}", "train.cross_fit=2")
    assert found.isfinite().all()
    assert not torch.equal(found, run(data, f"train.method={method}"))


def test_folds_matter_to_methods_that_use_validation_gradients_only(data: list[TrajectoryData]) -> None:
    for method, matters in (("uniform", False), ("vao", True), ("agem", True)):
        two, three = (run(data, f"train.method={method}", f"train.cross_fit={k}") for k in (2, 3))
        assert torch.equal(two, three) is not matters, method


def test_what_was_trained_on_chooses_nothing() -> None:
    for option, text in (
        ("train.select=best", "`select` must be last for"),
        ("train.patience=2", "`patience` must be 0"),
    ):
        with pytest.raises(ValueError, match=text):
            override(Config(), ["train.cross_fit=2", option])
    with pytest.raises(ValueError, match="`cross_fit` must be 0 or at least 2, found 1"):
        override(Config(), ["train.cross_fit=1"])
