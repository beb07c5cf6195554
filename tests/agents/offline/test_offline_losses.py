"""torchrl's losses against the formulas of the papers, and what we wrote where they differ."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torchrl")
import torch
from tensordict import TensorDict
from torch import Tensor
from torchrl.modules import TanhNormal

from agents.learning.policy import DeterministicActor, Policy
from agents.offline.bc import Bc
from agents.offline.bcq import Bcq, spread_latents
from agents.offline.cql import Cql
from agents.offline.iql import Iql
from agents.offline.mopo import BUDGET_LEFT, Ensemble, Mopo
from agents.offline.td3_bc import Td3Bc
from agents.offline.training import OfflineLearner

B = 16


def settings(algo: str, *assignments: str) -> Any:
    return OfflineLearner(algo).settings(assignments=["hidden=[8]", "discount=0.9", *assignments])


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def batch() -> TensorDict:
    ended = torch.arange(B)[:, None] % 4 == 0
    after = {"observation": torch.randn(B, 31), "reward": torch.randn(B, 1), "terminated": ended, "done": ended}
    return TensorDict(
        {
            "observation": torch.randn(B, 31),
            "action": torch.rand(B, 1) * 1.8 - 0.9,
            "steps_to_next_obs": torch.randint(1, 4, (B, 1)),
            "has_next": ~ended,
            "next": TensorDict(after, batch_size=[B]),
        },
        batch_size=[B],
    )


def critics(parameters: Any, observation: Tensor, action: Tensor) -> Tensor:
    """(2, B) from first principles: the weights of each critic through a plain perceptron."""
    found = []
    for weights in parameters.unbind(0):
        body = weights["module", "body"]
        x = torch.cat((observation, action), dim=-1)
        x = torch.relu(x @ body["0", "weight"].T + body["0", "bias"])
        found.append((x @ body["2", "weight"].T + body["2", "bias"])[:, 0])
    return torch.stack(found)


def bellman(batch: TensorDict, value: Tensor) -> Tensor:
    """(B,) r + discount^k (1 - terminated) V(s')."""
    after = batch["next"]
    kept = 0.9 ** batch["steps_to_next_obs"][:, 0] * (~after["terminated"][:, 0])
    target: Tensor = after["reward"][:, 0] + kept * value
    return target


def test_bc_is_the_squared_error(batch: TensorDict) -> None:
    learner = Bc(settings("bc"))
    wanted = ((learner.actor(batch["observation"]) - batch["action"]) ** 2).mean()
    torch.testing.assert_close(learner.loss(batch)["loss_bc"], wanted)


def test_td3_bc_is_equation_5_and_td3s_targets(batch: TensorDict) -> None:
    learner = Td3Bc(settings("td3_bc", "policy_noise=0.0"))
    loss = learner.loss
    action = learner.actor(batch["observation"])
    q = critics(loss.qvalue_network_params, batch["observation"], action)[0]
    wanted = -2.5 / q.abs().mean().detach() * q.mean() + ((action - batch["action"]) ** 2).mean()
    torch.testing.assert_close(loss.actor_loss(batch)[0], wanted)
    after = batch["next", "observation"]
    target = critics(loss.target_qvalue_network_params, after, learner.actor(after)).amin(dim=0)
    values = critics(loss.qvalue_network_params, batch["observation"], batch["action"])
    wanted = ((values - bellman(batch, target).detach()) ** 2).mean(dim=1).sum()
    torch.testing.assert_close(loss.qvalue_loss(batch)[0], wanted)


def test_td3_bcs_weight_has_no_gradient(batch: TensorDict) -> None:
    learner = Td3Bc(settings("td3_bc"))
    parameter = learner.actor.body[-1].bias
    found = torch.autograd.grad(learner.loss.actor_loss(batch)[0], parameter)[0]
    action = learner.actor(batch["observation"])
    q = critics(learner.loss.qvalue_network_params.data, batch["observation"], action)[0]
    weight = float(2.5 / q.abs().mean().detach())
    wanted = torch.autograd.grad(-weight * q.mean() + ((action - batch["action"]) ** 2).mean(), parameter)[0]
    torch.testing.assert_close(found, wanted)


def test_iql_is_equations_5_to_7(batch: TensorDict) -> None:
    learner = Iql(settings("iql", "expectile=0.8", "beta=2.0", "n_step=3"))
    batch["steps_to_next_obs"] = torch.where(batch["next", "terminated"], 1, 3)
    loss = learner.loss
    least = critics(loss.target_qvalue_network_params, batch["observation"], batch["action"]).amin(dim=0)

    def value(observation: Tensor) -> Tensor:
        body = loss.value_network_params["module"]
        x = torch.relu(observation @ body["0", "weight"].T + body["0", "bias"])
        return (x @ body["2", "weight"].T + body["2", "bias"])[:, 0]

    u = least - value(batch["observation"])
    weight = torch.where(u < 0, 0.2, 0.8)
    torch.testing.assert_close(loss.value_loss(batch)[0], (weight * u**2).mean())
    values = critics(loss.qvalue_network_params, batch["observation"], batch["action"])
    target = bellman(batch, value(batch["next", "observation"])).detach()
    torch.testing.assert_close(loss.qvalue_loss(batch)[0], ((values - target) ** 2).mean(dim=1).sum())
    loc, scale = learner.actor(batch["observation"])
    log_prob = torch.distributions.Normal(loc, scale).log_prob(batch["action"])[:, 0]
    wanted = -((2.0 * u).exp().clamp(max=100).detach() * log_prob).mean()
    torch.testing.assert_close(loss.actor_loss(batch)[0], wanted)


def with_steep_critics(learner: Cql, slope: float) -> None:
    """Critics that are `slope` times the action, whatever the state."""
    with torch.no_grad():
        for name, weight in learner.loss.qvalue_network_params.items(True, True):
            weight.zero_()
            if name[-2:] == ("0", "weight"):
                weight[:, 0, -1], weight[:, 1, -1] = 1.0, -1.0
            if name[-2:] == ("2", "weight"):
                weight[:, 0, 0], weight[:, 0, 1] = slope, -slope


def test_cqls_penalty_is_the_log_integral_and_torchrls_is_not(batch: TensorDict) -> None:
    learner = Cql(settings("cql", "n_actions=4000"))
    slope = 4.0
    with_steep_critics(learner, slope)
    log_integral = math.log((math.exp(slope) - math.exp(-slope)) / slope)  # of exp(slope a) over [-1, 1]
    wanted = 2 * (log_integral - slope * float(batch["action"].mean()))
    assert float(learner.penalty(batch).detach()) == pytest.approx(wanted, abs=0.1)
    learner.loss.q_loss(batch)  # leaves what `cql_loss` reads
    theirs = [float(learner.loss.cql_loss(batch)[0].detach()) for learner.loss.num_random in (10, 200)]
    # the sum of both critics too, but the log-sum-exp of three actions, not an average over them: + log 3
    assert all(abs(2 * (value / 2 - math.log(3)) - wanted) > 0.5 for value in theirs)


def test_cqls_penalty_teaches_the_critics_only(batch: TensorDict) -> None:
    learner = Cql(settings("cql"))
    penalty = learner.penalty(batch)
    gradients = torch.autograd.grad(penalty, list(learner.loss.qvalue_network_params.parameters()), retain_graph=True)
    assert all(float(gradient.abs().max()) > 0 for gradient in gradients[:1])
    found = torch.autograd.grad(penalty, list(learner.actor.parameters()), allow_unused=True)
    assert all(gradient is None for gradient in found)


@pytest.mark.parametrize("algo", ["cql", "mopo"])
def test_the_actor_of_cql_and_mopo_is_that_of_sac(batch: TensorDict, algo: str) -> None:
    learner: Any = {"cql": Cql, "mopo": Mopo}[algo](settings(algo, "alpha_init=0.3"))
    torch.manual_seed(1)
    found, _ = learner.loss.actor_loss(batch)
    torch.manual_seed(1)
    policy = TanhNormal(*learner.actor(batch["observation"]))
    action = policy.rsample()
    least = critics(learner.loss.qvalue_network_params, batch["observation"], action).amin(dim=0)
    torch.testing.assert_close(found, (0.3 * policy.log_prob(action) - least).mean())


@pytest.mark.parametrize("algo", ["cql", "mopo"])
def test_the_critics_of_cql_and_mopo(batch: TensorDict, algo: str) -> None:
    learner: Any = {"cql": Cql, "mopo": Mopo}[algo](settings(algo, "alpha_init=0.3"))
    loss, after = learner.loss, batch["next", "observation"]
    torch.manual_seed(1)
    found = (loss.q_loss if algo == "cql" else loss.qvalue_v2_loss)(batch)[0]
    torch.manual_seed(1)
    policy = TanhNormal(*learner.actor(after))
    action = policy.rsample()
    value = critics(loss.target_qvalue_network_params, after, action).amin(dim=0)
    if algo == "mopo":  # the entropy is in SAC's targets, and not in those of CQL
        value = value - 0.3 * policy.log_prob(action)
    values = critics(loss.qvalue_network_params, batch["observation"], batch["action"])
    torch.testing.assert_close(found, ((values - bellman(batch, value).detach()) ** 2).mean(dim=1).sum())


def test_bcqs_targets_are_equation_13(batch: TensorDict) -> None:
    learner = Bcq(settings("bcq", "n_candidates=3", "lam=0.75"))
    torch.manual_seed(1)
    found = learner.target(batch)
    torch.manual_seed(1)
    latents = torch.randn(3 * B, 2).clamp(-0.5, 0.5)
    after = batch["next", "observation"]
    best = torch.full((B,), -torch.inf)
    for k in range(3):
        generated = learner.actor.autoencoder.decode(after, latents[k * B : (k + 1) * B])
        action = learner.target_actor.perturb(after, generated)
        assert float((action - generated).detach().abs().max()) <= 0.05 + 1e-6
        pair = torch.stack([q(after, action)[:, 0] for q in (learner.target_actor.critic, learner.target_second)])
        best = torch.maximum(best, 0.75 * pair.amin(dim=0) + 0.25 * pair.amax(dim=0))
    torch.testing.assert_close(found[:, 0], bellman(batch, best))


def test_bcq_plays_the_candidate_with_the_highest_value(batch: TensorDict) -> None:
    actor = Bcq(settings("bcq")).actor
    played = actor.mode(batch["observation"])
    assert played.shape == (B, 1)
    for i in range(B):
        one = batch["observation"][i : i + 1]
        candidates = torch.cat([actor.perturb(one, actor.autoencoder.decode(one, z[None])) for z in actor.latents])
        values = actor.critic(one.expand(len(candidates), -1), candidates)
        torch.testing.assert_close(played[i], candidates[int(values.argmax())])
    spread = spread_latents(10)
    assert len({tuple(z) for z in spread.tolist()}) == 10 and float(spread.abs().max()) <= 0.5


def test_mopos_model_learns_a_linear_market() -> None:
    n = 2000
    observation, action = torch.randn(n, 31), torch.rand(n, 1) * 2 - 1
    observation[:, 0] = torch.rand(n)
    after = observation.clone()
    after[:, 2] += 0.5 * action[:, 0]
    reward = 2.0 + action + 0.1 * torch.randn(n, 1)
    never = torch.zeros(n, 1, dtype=torch.bool)
    data = TensorDict(
        {
            "observation": observation, "action": action, "has_next": ~never,
            "next": TensorDict(
                {"observation": after, "reward": reward, "terminated": never, "done": never}, batch_size=[n]
            ),
        },
        batch_size=[n],
    )  # fmt: skip
    learner = Mopo(settings("mopo", "hidden=[32]", "learning_rate=5e-3", "penalty=0.5", "n_members=3"))
    learner.prepare(data, Policy(DeterministicActor((4,)), torch.zeros(31), torch.ones(31), -1.0, 1.0))
    for _ in range(300):
        learner.minimise("model", learner.model_loss())
    with torch.no_grad():
        _, spend_variance = learner.spend(observation[:200], action[:200])
        mean, log_variance = learner.rest(observation[:200], action[:200], torch.zeros(200, 1))
    predicted = float(reward.mean()) + float(reward.std()) * mean[..., -1]
    assert float((predicted - 2.0 - action[:200, 0]).abs().mean()) < 0.1
    change = learner._change_mean[2] + learner._change_std[2] * mean[..., 2]
    assert float((change - 0.5 * action[:200, 0]).abs().mean()) < 0.1
    std = (0.5 * torch.cat((spend_variance, log_variance), dim=-1)).exp()
    assert float(std[..., -1].mean() * reward.std()) == pytest.approx(0.1, rel=0.5)
    learner.imagine()  # which finds the usual uncertainty
    _, penalised, _ = learner.predict(observation[:200], action[:200])
    excess = std.norm(dim=-1).amax(dim=0)[:, None] - learner._usual_uncertainty
    expected = 2.0 + action[:200] - float(reward.std()) * 0.5 * excess
    assert float((penalised - expected).mean()) == pytest.approx(0.0, abs=0.05)
    far, near = 30 * torch.ones(1, 31), torch.zeros(1, 31)
    spread = [float(learner.spend(x, torch.zeros(1, 1))[0].detach().std(dim=0).mean()) for x in (far, near)]
    assert spread[0] > 5 * spread[1]


def test_mopos_ensemble_members_differ() -> None:
    mean, _ = Ensemble(3, 32, (8,), 17)(torch.randn(5, 31), torch.randn(5, 1))
    assert mean.shape == (3, 5, 17)
    assert not np.allclose(mean[0].detach().numpy(), mean[1].detach().numpy())


def test_mopos_imagined_ticks_spend_no_more_than_is_left(batch: TensorDict) -> None:
    learner = Mopo(settings("mopo"))
    learner.prepare(batch, Policy(DeterministicActor((4,)), torch.zeros(31), torch.ones(31), -1.0, 1.0))
    learner._usual_uncertainty = torch.zeros(())
    before = batch["observation"]
    after, _, _ = learner.predict(before, batch["action"])
    left = BUDGET_LEFT
    assert (after[:, left] <= before[:, left]).all() and (after[:, left] >= learner._low[left]).all()
    assert (after[:, left] < before[:, left]).any()


def test_mopos_shaping_adds_a_constant_to_the_return_of_an_episode(batch: TensorDict) -> None:
    n = 12
    learner = Mopo(settings("mopo", "discount=0.9", "shaping=0.7", "reward_scale=3.0"))
    learner.prepare(batch, Policy(DeterministicActor((4,)), torch.zeros(31), torch.ones(31), -1.0, 1.0))
    states = torch.rand(n + 1, 31)
    reward, ended = torch.rand(n, 1), torch.zeros(n, 1, dtype=torch.bool)
    ended[-1] = True
    after = TensorDict({"observation": states[1:], "reward": reward, "terminated": ended}, batch_size=[n])
    episode = TensorDict(
        {"observation": states[:-1], "steps_to_next_obs": torch.ones(n, 1, dtype=torch.int64), "next": after},
        batch_size=[n],
    )
    factor = 0.9 ** torch.arange(n)[:, None]
    added = (factor * (learner.shaped(episode)["next", "reward"] - reward)).sum()
    assert float(added) == pytest.approx(-0.7 * 3.0 * float(states[0, :2].min()), abs=1e-5)
