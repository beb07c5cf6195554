from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.labels.actions import action_labels
from auction_env.data import TrajectoryData
from auction_env.tasks import TASKS
from tests.vamo.synthetic import make_data
from tests.vamo.test_agent import campaigns_of, views_of
from vamo.baselines import ALGORITHMS, GenerativeSettings
from vamo.baselines.backbone import Baseline
from vamo.baselines.bidder import GenerativeBidder, make_model
from vamo.baselines.cdt import pareto_targets
from vamo.baselines.gas import Gas
from vamo.baselines.training import GenerativeLearner
from vamo.baselines.windows import COST, RETURN, Player, Tape, Windows

CPA = TASKS["TargetCPA"]
SMALL = (
    "backbone.d_model=16",
    "backbone.n_heads=2",
    "train.steps=6",
    "train.batch_size=16",
    "train.evaluation_windows=16",
    "train.log_every=3",
    "train.warmup_steps=1",
)


def small(algo: str, *more: str) -> GenerativeSettings:
    settings: GenerativeSettings = GenerativeLearner(algo).settings(assignments=(*SMALL, *more))
    return settings


def trained(
    training: TrajectoryData, settings: GenerativeSettings, validation: TrajectoryData | None = None
) -> GenerativeBidder:
    held_out = training if validation is None else validation
    return GenerativeLearner(settings.name).train(training, validation=held_out, settings=settings).bidder


@pytest.fixture(scope="module")
def data() -> TrajectoryData:
    return make_data(12, task=CPA, share_ended=0.5)


def learner_and_batch(algo: str, data: TrajectoryData, n: int = 8) -> tuple[Baseline, Windows]:
    settings = small(algo)
    tape = Tape("log", data, settings)
    return make_model(settings, tape.statistics()), tape.draw(n, (1, 2, 3))


@pytest.mark.parametrize("algo", ["dt", "cdt", "gave", "gas", "qga"])
def test_a_decision_knows_nothing_later(algo: str, data: TrajectoryData) -> None:
    """Neither its own action nor later ticks change it."""
    learner, batch = learner_and_batch(algo, data)
    early = batch._replace(**{k: getattr(batch, k)[:, :4] for k in ("observation", "tick", "to_go", "action", "mask")})
    changed = early._replace(action=early.action.clone())
    changed.action[:, -1] += 3.0
    torch.testing.assert_close(learner.decide(early), learner.decide(changed))
    changed.action[:, -2] += 3.0
    assert not torch.allclose(learner.decide(early), learner.decide(changed))


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_a_decision_does_not_depend_on_the_other_campaigns(algo: str, data: TrajectoryData) -> None:
    learner, batch = learner_and_batch(algo, data)
    early = batch._replace(**{k: getattr(batch, k)[:, :4] for k in ("observation", "tick", "to_go", "action", "mask")})
    alone = early._replace(**{k: getattr(early, k)[2:3] for k in early._fields if k != "seed"})
    torch.testing.assert_close(learner.decide(early)[2:3], learner.decide(alone))


def test_what_is_asked_for_reaches_the_learner(data: TrajectoryData) -> None:
    """The search of GAS with another search_sd decides otherwise; the bidder it came from stays as it was."""
    bidder = trained(data, small("gas", "train.steps=1"))
    wide = bidder.conditioned_on(search_sd=2.0)
    first = next(views_of(data))
    decided = []
    for asked in (bidder, wide, bidder.conditioned_on(search_sd=1e-9)):
        asked.reset(campaigns_of(data, CPA))
        decided.append(asked.act(first))
    assert not np.allclose(decided[0], decided[1])
    assert bidder.settings.algorithm == GenerativeLearner("gas").defaults().algorithm
    assert isinstance(bidder.model, Gas)
    player = Player(campaigns_of(data, CPA), bidder.conditions(data.n_episodes), bidder.settings)
    policy = bidder.model.policy.decide(player.observe(first))
    unsearched = player.base * np.exp(bidder.model.multiplier(policy).detach().numpy())
    np.testing.assert_allclose(decided[2], unsearched, rtol=1e-5)


def test_the_stream_is_causal(data: TrajectoryData) -> None:
    learner, batch = learner_and_batch("dt", data)
    later = batch._replace(observation=batch.observation.clone())
    later.observation[:, 5:] += 2.0
    before, after = (learner.predicted(b) for b in (batch, later))  # type: ignore[operator]  # of the subclass
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_padding_never_changes_the_loss(algo: str, data: TrajectoryData) -> None:
    learner, batch = learner_and_batch(algo, data)
    mask = batch.mask.clone()
    mask[:, 5:] = 0.0
    padded = batch._replace(mask=mask)
    other = padded._replace(
        observation=padded.observation.clone(), action=padded.action.clone(),
        to_go=padded.to_go.clone(), next_to_go=padded.next_to_go.clone(),
    )  # fmt: skip
    for column in (other.observation, other.action, other.to_go, other.next_to_go):
        column[:, 5:] += 1.0
    torch.testing.assert_close(learner(padded), learner(other))
    assert not torch.allclose(learner(batch).mean(), learner(padded).mean())


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_one_batch_is_learned_and_every_parameter_gets_a_gradient(algo: str, data: TrajectoryData) -> None:
    learner, batch = learner_and_batch(algo, data)
    optimiser = torch.optim.Adam(learner.parameters(), 3e-3)
    seen = {name: False for name, _ in learner.named_parameters()}
    losses = []
    for _ in range(40):
        loss = learner(batch).mean()
        optimiser.zero_grad()
        loss.backward()
        for name, parameter in learner.named_parameters():
            seen[name] |= parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.2 * abs(losses[0])
    # a key bias has no effect on a softmax; an action's token at the last block serves later ticks only
    assert [name for name, has in seen.items() if not has] == []


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_replay_gives_the_training_windows(algo: str) -> None:
    """Logged episodes through the acting code: the numbers of the training windows, exactly."""
    data = make_data(5, task=CPA, share_ended=0.0)
    settings = small(algo)
    tape = Tape("log", data, settings)
    player = Player(campaigns_of(data, CPA), tape.total.numpy(), settings)
    every = torch.arange(5)
    logged = tape._view.action
    for tick, view in enumerate(views_of(data)):
        acting = player.observe(view)
        width = acting.mask.shape[1]
        start = torch.full((5,), min(tick - width + 1, 48 - settings.backbone.context))
        training = tape.windows(every, start, tape.total)
        rows = slice(tick - width + 1 - int(start[0]), tick + 1 - int(start[0]))
        for name in ("observation", "to_go", "tick"):
            assert torch.equal(getattr(acting, name), getattr(training, name)[:, rows]), (name, tick)
        assert torch.equal(acting.action[:, :-1], training.action[:, rows][:, :-1])
        player.note(logged[:, tick])


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_bids_are_positive_and_of_the_task_trained_on(algo: str, data: TrajectoryData) -> None:
    bidder, played = trained(data, small(algo)), make_data(3, task=CPA)
    bidder.reset(campaigns_of(played, CPA))
    for view in views_of(played):
        multiplier = bidder.act(view)
        assert np.isfinite(multiplier).all() and (multiplier > 0).all()
    with pytest.raises(ValueError, match="was trained for task 'TargetCPA'"):
        bidder.reset(campaigns_of(played, TASKS["MaxConversions"]))


def test_pareto_targets_are_infeasible_and_keep_the_cost(data: TrajectoryData) -> None:
    tape = Tape("log", data, small("cdt"))
    episode, target = pareto_targets(tape, 0)
    total = tape.total
    for e, (wanted, cost) in zip(episode.tolist(), target[:, [RETURN, COST]].tolist(), strict=True):
        within = total[total[:, COST] <= cost]
        assert total[e, RETURN] == within[:, RETURN].max()
        assert total[e, COST] <= cost
        assert total[e, RETURN] <= wanted <= total[:, RETURN].max()


def test_errors(data: TrajectoryData) -> None:
    with pytest.raises(ValueError, match="`training` must hold at least 2 episodes, found 1"):
        trained(data.select(np.array([0])), small("dt"), data)
    with pytest.raises(ValueError, match=r"the nearest is `train\.steps`"):
        small("dt", *["train.stepz=3"])
    with pytest.raises(ValueError, match="`cost` must not be given for 'dt'"):
        trained(data, small("dt", "train.steps=1")).conditioned_on(cost=0.1)
    with pytest.raises(ValueError, match="`search_sd` must not be given for 'dt'"):
        trained(data, small("dt", "train.steps=1")).conditioned_on(search_sd=0.1)
    with pytest.raises(ValueError, match=r"`backbone\.context` must be 48, as `backbone\.n_ticks`, .* found 8"):
        small("diffbid", *["backbone.context=8"])
    with pytest.raises(ValueError, match=r"`backbone\.n_ticks` must be that of the data, 48, found 96"):
        trained(data, small("dt", "backbone.n_ticks=96"))
    other = make_data(3, task=TASKS["MaxConversions"])
    with pytest.raises(ValueError, match="`validation` must be of task 'TargetCPA', found 'MaxConversions'"):
        trained(data, small("dt"), other)


@pytest.mark.parametrize("algo", ["dt", "gave", "gas", "qga"])
def test_hindsight_optimal_actions_are_learned_where_logged_ones_were_played(algo: str, data: TrajectoryData) -> None:
    tapes = {label: Tape("log", data, small(algo, f"data.action_label={label}")) for label in ("logged", "hindsight")}
    logged, best = (tape.draw(8, (1, 2, 3)) for tape in tapes.values())
    torch.testing.assert_close(logged.action, best.action)
    torch.testing.assert_close(logged.label, logged.action)
    tape = tapes["hindsight"]
    wanted = tape.episodes.pad(action_labels(data, CPA, "hindsight").astype(np.float32))
    every = tape.windows(torch.arange(3), torch.zeros(3, dtype=torch.int64), tape.total[:3])
    torch.testing.assert_close(every.label, wanted[:3, : every.label.shape[1]])
    assert not torch.allclose(best.label, best.action)
    learner = make_model(small(algo, "data.action_label=hindsight"), tape.statistics())
    other = best._replace(label=best.label + 1.0)
    assert not torch.allclose(learner(best).mean(), learner(other).mean())


@pytest.mark.parametrize("algo", ["dt", "gave", "gas", "qga"])
def test_a_policy_of_hindsight_optimal_actions_is_told_nothing_of_the_future(algo: str, data: TrajectoryData) -> None:
    for label in ("logged", "hindsight"):
        settings = small(algo, f"data.action_label={label}")
        tape = Tape("log", data, settings)
        learner, batch = make_model(settings, tape.statistics()), tape.draw(8, (1, 2, 3))
        richer = batch._replace(to_go=batch.to_go + 0.3)
        assert torch.allclose(learner.decide(batch), learner.decide(richer)) == (label == "hindsight")


def test_a_policy_of_hindsight_optimal_actions_is_conditioned_on_a_budget(data: TrajectoryData) -> None:
    logged, best = (trained(data, small("dt", f"data.action_label={label}")) for label in ("logged", "hindsight"))
    first, decided = next(views_of(data)), []
    for ratio in (1.0, 2.0):
        bidder = best.conditioned_on(budget_ratio=ratio)
        bidder.reset(campaigns_of(data, CPA))
        decided.append(bidder.act(first))
    assert not np.allclose(*decided)
    with pytest.raises(ValueError, match="`quantile` must not be given for a policy that learned hindsight-optimal"):
        best.conditioned_on(quantile=0.5)
    with pytest.raises(ValueError, match=r"`agent\.budget_ratio` must be 1 where the policy learns logged actions"):
        logged.conditioned_on(budget_ratio=0.9)


@pytest.mark.parametrize(("algo", "why"), [("cdt", "no return and cost"), ("diffbid", "pairs of logged states")])
def test_what_cannot_learn_hindsight_optimal_actions_says_why(algo: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"`data.action_label` must be 'logged' for {algo!r}, which .*{why}"):
        small(algo, "data.action_label=hindsight")
