"""An ensemble: its members' seeds, its file, and a run that stops in any member and goes on to the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import agents
from auction_env.tasks import TASKS
from tests.vamo.synthetic import make_data
from tests.vamo.test_agent import campaigns_of, views_of
from tests.vamo.training.test_trainer import comparable
from vamo.agent import VamoBidder
from vamo.config import Config, override
from vamo.model.ensemble import Ensemble
from vamo.training.members import member_configs
from vamo.training.train import train

SMALL = ["model.width=8", "train.steps=6", "train.batch_size=8", "train.log_every=2", "train.evaluation_windows=8"]
DATA = {name: make_data(8, task=TASKS[name], seed=i) for i, name in enumerate(("MaxConversions", "TargetCPA"))}


def same_parameters(a: VamoBidder, b: VamoBidder) -> bool:
    own, other = a.model.state_dict(), b.model.state_dict()
    return own.keys() == other.keys() and all(torch.equal(own[name], other[name]) for name in own)


def test_members_have_seeds_of_their_own() -> None:
    seeds = [[one.train.seed for one in member_configs(override(Config(), [f"train.ensemble={n}"]))] for n in (1, 2, 4)]
    assert seeds[0] == [0]
    assert seeds[1] == seeds[2][:2]  # more members leave the first ones alone
    assert len(set(seeds[2])) == 4


def test_members_train_as_they_would_alone_and_decide_together(tmp_path: Path) -> None:
    config = override(Config(), [*SMALL, "train.ensemble=2", "train.snapshots=2"])
    steps: list[tuple[int, int]] = []
    result = train(DATA, DATA, config, out=tmp_path / "a.safetensors", progress=lambda *of: steps.append(of[:2]))
    assert steps == [(2, 12), (4, 12), (6, 12), (8, 12), (10, 12), (12, 12)]
    assert [record.step for record in result.history] == [2, 4, 6, 8, 10, 12]
    alone = [train(DATA, DATA, one).bidder for one in member_configs(config)]
    assert isinstance(result.bidder.model, Ensemble)
    for member, single in zip(result.bidder.model.members, alone, strict=True):
        assert all(torch.equal(member.state_dict()[n], p) for n, p in single.model.named_parameters())
    loaded = agents.load(tmp_path / "a.safetensors")
    assert isinstance(loaded, VamoBidder) and same_parameters(loaded, result.bidder)
    assert loaded.config == override(config, ["data.dagger_rounds=1"])  # as the settings left it open
    assert list(result.snapshots) == [5, 6] and same_parameters(result.snapshots[6], result.bidder)
    campaigns = campaigns_of(DATA["TargetCPA"], TASKS["TargetCPA"])
    for bidder in (result.bidder, loaded, *alone):
        bidder.reset(campaigns)
    for view in views_of(DATA["TargetCPA"]):
        together, first, second = (bidder.act(view) for bidder in (result.bidder, *alone))
        np.testing.assert_array_equal(loaded.act(view), together)
        low, high = result.bidder._bounds
        inside = (together > np.exp(low) * campaigns.base * 1.01) & (together < np.exp(high) * campaigns.base * 0.99)
        np.testing.assert_allclose(together[inside], np.sqrt(first * second)[inside], rtol=1e-4)


@pytest.mark.parametrize("stop", [3, 5])
def test_a_stopped_run_goes_on_to_the_same_numbers(tmp_path: Path, stop: int) -> None:
    """At a record of the first and of the second member."""
    config = override(Config(), [*SMALL, "train.ensemble=2", "train.ema_decay=0.5", "train.select=best"])
    whole = train(DATA, DATA, config)
    n_told = 0

    def interrupt(step: int, n_steps: int, record: object) -> None:
        nonlocal n_told
        n_told += 1
        if n_told == stop:
            raise KeyboardInterrupt

    out = tmp_path / "a.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(DATA, DATA, config, out=out, save_every=1, progress=interrupt)
    again = train(DATA, DATA, config, out=out)
    assert same_parameters(again.bidder, whole.bidder)
    assert comparable(list(again.history)) == comparable(list(whole.history))
