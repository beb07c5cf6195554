"""Sharing by the response check."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from agents.labels.response_check import CostCheck
from auction_env.tasks import TASKS
from tests.agents.labels.test_response import exact
from vamo import train
from vamo.alignment.sharing.response_check import agreeing
from vamo.alignment.sharing.rules import candidates, choose
from vamo.config import Config, override
from vamo.examples.episodes import Episodes


def check_of(*ratios: float) -> CostCheck:
    """Episodes of equal cost with these ratios."""
    return CostCheck(np.array(ratios), np.ones(len(ratios)))


CHECKS = [[check_of(1.0, 1.2), check_of(3.0, 40.0), check_of(0.1, 0.1)]]


def test_sources_by_hand() -> None:
    """Ratios 1.1, 21.5 and .1: with a factor of 5 the first is shared, with one of 12 the last too."""
    np.testing.assert_allclose(agreeing(CHECKS, 5.0, per_episode=False).weights, [[1, 0, 0]])
    wider = agreeing(CHECKS, 12.0, per_episode=False)
    np.testing.assert_allclose(wider.weights, [[0.5, 0, 0.5]])
    assert wider.chosen == {}


def test_episodes_by_hand() -> None:
    found = agreeing(CHECKS, 5.0, per_episode=True)
    np.testing.assert_allclose(found.weights, [[2 / 3, 1 / 3, 0]])
    assert {pair: picked.tolist() for pair, picked in found.chosen.items()} == {(0, 1): [0]}


def test_where_nothing_passes_the_nearest_is_taken() -> None:
    far = [[check_of(50.0, 70.0), check_of(0.01, 0.001)]]
    np.testing.assert_allclose(agreeing(far, 5.0, per_episode=False).weights, [[1, 0]])
    found = agreeing(far, 5.0, per_episode=True)
    np.testing.assert_allclose(found.weights, [[1, 0]])
    assert found.chosen[0, 0].tolist() == [0]


@pytest.mark.parametrize("per_episode", [False, True])
def test_a_wrong_source_is_dropped(per_episode: bool) -> None:
    """And with `per_episode` the wrong third of the episodes of a source that is mostly sound."""
    good = exact(6).with_task(TASKS["TargetCPA"])
    is_wrong = np.arange(len(good)) < 2 * 48
    factor = np.where(is_wrong, np.exp(4.0), 1.0)
    mixed = dataclasses.replace(good, action=factor * good.action, bid=factor * good.bid)
    wrong = dataclasses.replace(good, action=np.exp(4.0) * good.action, bid=np.exp(4.0) * good.bid)
    sources = {"good": good, "mixed": mixed, "wrong": wrong}
    options = ["train.method=response_check", f"sharing.per_episode={str(per_episode).lower()}"]
    config = override(Config(), [*options, "sharing.response_factor=1.5"])
    episodes = [Episodes(name, data, config) for name, data in sources.items()]
    found = choose(sources, {"good": good}, episodes, {"good": TASKS["TargetCPA"]}, config)
    assert found is not None
    assert found.weights[0, 2] == 0 and found.weights[0, 0] > 0
    if per_episode:
        assert found.chosen[0, 1].tolist() == [2, 3, 4, 5]
        assert float(found.weights[0, 1] / found.weights[0, 0]) == pytest.approx(2 / 3)


def test_weights_choose_among_what_passes_the_check(caplog: pytest.LogCaptureFixture) -> None:
    """A wrong source is no candidate: it moves neither the weights of the others nor what is learned."""
    good = exact(6).with_task(TASKS["TargetCPA"])
    wrong = dataclasses.replace(good, action=np.exp(4.0) * good.action, bid=np.exp(4.0) * good.bid)
    options = ["train.steps=12", "train.log_every=3", "train.batch_size=24", "train.evaluation_windows=8"]
    options += ["weighting.candidates=response_check", "weighting.refresh_every=3", "model.width=8"]
    config = override(Config(), options)
    sources = {"good": good, "other": good.select(np.arange(3)), "wrong": wrong}
    found = train(sources, {"good": good}, settings=config)
    weights = np.stack([record.weights for record in found.history])
    assert np.all(weights[:, 0, 2] == 0) and np.all(weights[:, 0, :2] > 0)
    assert [line for line in caplog.messages if "the response check leaves out 'wrong' for 'good': " in line]
    without = override(config, ["weighting.candidates=all"])
    assert np.all(np.asarray(train(sources, {"good": good}, settings=without).history[0].weights) > 0)


def test_a_target_without_bids_chooses_among_all(caplog: pytest.LogCaptureFixture) -> None:
    good = exact(6).with_task(TASKS["TargetCPA"])
    silent = dataclasses.replace(good, action=0.0 * good.action, bid=0.0 * good.bid)
    wrong = dataclasses.replace(good, action=np.exp(4.0) * good.action, bid=np.exp(4.0) * good.bid)
    config = override(Config(), ["weighting.candidates=response_check", "data.action_label=logged"])
    episodes = [Episodes(name, data, config) for name, data in (("good", good), ("wrong", wrong))]
    tasks = {"good": TASKS["TargetCPA"], "silent": TASKS["TargetCPA"]}
    found = candidates({"good": good, "wrong": wrong}, {"good": good, "silent": silent}, episodes, tasks, config)
    assert found is not None
    assert found.weights.tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert "target 'silent' must hold 2 ticks" in caplog.text and "all sources are shared with it" in caplog.text


def test_weights_of_samples_have_no_candidates() -> None:
    options = ["weighting.per_sample=true", "weighting.refresh_every=1", "weighting.shrinkage=false"]
    with pytest.raises(ValueError, match="`candidates` must be all for `per_sample` weights"):
        override(Config(), [*options, "weighting.kind=softmax", "weighting.candidates=response_check"])
