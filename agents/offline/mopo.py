"""MOPO (Yu et al. 2020, arXiv 2005.13239): SAC in a learned model of the market that is penalised where it is unsure.

torchrl's: `SACLoss`, checked against arXiv 1812.05905 (`test_offline_losses`): critics regress r + discount (min_j
Q'_j(s', a') - alpha log pi(a' | s')) (equations 5 and 6, `loss_function="l2"`), the actor minimises alpha log pi -
min_j Q_j (equation 7).

Ours, from algorithm 2 and section 4.3 of the paper:

- an ensemble of Gaussians over the spend of a tick, and over the change of the 16 features and the reward given the
  spend (one after the other, since what a tick earns is nearly proportional to what it pays: drawn apart, an imagined
  tick earns without paying), each member trained on batches of its own by likelihood (as in arXiv 1805.12114, with log
  variances bounded softly), each term weighted by its standard deviation (beta-NLL with beta 0.5, arXiv 2203.09168:
  else features without noise drown the reward); requirements do not change within an episode;
- short rollouts under the current policy that branch from logged states; every tick a member is drawn for each of them;
- the penalised reward r - penalty x (u(s, a) - u_0), u = max_i ||sigma_i(s, a)|| in standard deviations of spend,
  features and reward; `penalty` is in standard deviations of the reward of a tick;
- termination is known: the episode ends, or the budget left falls below any with which a logged campaign still bid.

Differences: u_0, the mean of u on logged ticks, which the paper has not: without it a tick of life costs as much as its
noise, and a policy that may end its episode by spending all does so early. The rewards of SAC's transitions are shaped
by the potential of `agents.sb3.reward`, which changes no optimal policy. All members roll out (the paper picks 5 of 7
by validation); predicted features and rewards stay within the logged range, and no tick spends more than is left. Since
48 ticks without discount are far for one-step targets, a transition of a rollout sums the penalised rewards up to the
rollout's end (model-based value expansion, arXiv 1803.00101); the logged transitions stay one-step.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from tensordict import TensorDict  # type: ignore[import-untyped]
from torch import Tensor, nn
from torchrl.modules import TanhNormal  # type: ignore[import-untyped]
from torchrl.objectives import SACLoss  # type: ignore[import-untyped]

from agents.learning.policy import N_OBSERVATION, Policy
from agents.learning.settings import require_not_negative, require_positive, require_share
from agents.offline.algorithm import Algorithm, adam, prepared
from agents.offline.networks import SquashedGaussianActor, action_spec, q_pair, squashed
from agents.offline.settings import OfflineSettings
from auction_env.control.observation import FEATURE_NAMES

N_FEATURES = len(FEATURE_NAMES)
TIME_LEFT, BUDGET_LEFT = FEATURE_NAMES.index("time_left"), FEATURE_NAMES.index("budget_left")
LEAST_CHANGE = 1e-2  # standard deviations of a feature: a constant one must not have rounding errors as its scale
LOG_VARIANCE_RANGE = (-10.0, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MopoSettings(OfflineSettings):
    """Beside the common ones; `steps` are those of the model and of the policy together."""

    model_steps: int  # first steps, in which the ensemble is trained
    n_members: int  # of the ensemble
    rollout_length: int  # ticks
    n_rollouts: int  # branched off at once
    rollout_every: int  # steps of the policy between two sets of rollouts, each of which replaces the one before
    penalty: float  # weight of the uncertainty, the paper's lambda
    shaping: float  # weight w of the potential w x scale x min(budget_left, time_left) in the critics' rewards
    real_share: float  # of logged transitions in a batch
    alpha_init: float  # entropy coefficient at the start
    target_entropy: float  # of the policy, nats
    tau: float  # share of the new weights in the target critics

    def __post_init__(self) -> None:
        OfflineSettings.__post_init__(self)
        if self.n_step != 1:
            raise ValueError(f"`n_step` must be 1, as the model predicts one tick, found {self.n_step}")
        require_positive(self, "model_steps", "n_members", "rollout_length", "n_rollouts", "rollout_every")
        require_positive(self, "alpha_init")
        if self.model_steps >= self.steps:
            raise ValueError(f"`model_steps` must be below `steps`, found {self.model_steps} and {self.steps}")
        if not 0 <= self.real_share <= 1:
            raise ValueError(f"`real_share` must be from 0 to 1, found {self.real_share}")
        require_not_negative(self, "penalty")
        require_not_negative(self, "shaping")
        require_share(self, "tau")


class Ensemble(nn.Module):
    """Gaussians: K perceptrons side by side, from (..., n_in) to mean and log variance of n_out numbers."""

    def __init__(self, n_members: int, n_in: int, hidden: tuple[int, ...], n_out: int) -> None:
        super().__init__()
        sizes = (n_in, *hidden, 2 * n_out)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(n_members, a, b) / math.sqrt(a)) for a, b in itertools.pairwise(sizes)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(n_members, 1, b)) for b in sizes[1:])

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (K, B, n_out); inputs (K, B, ...) or (B, ...), n_in columns in all."""
        x = torch.cat(inputs, dim=-1)
        x = x.expand(len(self.weights[0]), -1, -1)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            x = torch.nn.functional.silu(x) if i < len(self.weights) - 1 else x
        mean, raw = x.chunk(2, dim=-1)
        low, high = LOG_VARIANCE_RANGE
        bounded = high - nn.functional.softplus(high - raw)
        return mean, low + nn.functional.softplus(bounded - low)


def _beta_nll(mean: Tensor, log_variance: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood times the standard deviation (arXiv 2203.09168, beta 0.5), elementwise."""
    nll = 0.5 * ((target - mean) ** 2 * (-log_variance).exp() + log_variance)
    return nll * log_variance.detach().exp().sqrt()


def _draw(distribution: tuple[Tensor, Tensor], member: Tensor) -> tuple[Tensor, Tensor]:
    """(B, n_out) drawn from the member (B,) of each row, and the deviations (K, B, n_out) of all."""
    mean, log_variance = distribution
    std, row = (0.5 * log_variance).exp(), torch.arange(len(member))
    return mean[member, row] + std[member, row] * torch.randn_like(mean[0]), std


class Mopo(Algorithm):
    """The ensemble first, then SAC on logged and imagined transitions."""

    def __init__(self, settings: MopoSettings) -> None:
        super().__init__()
        self._settings = settings
        self.actor = build_actor(settings)
        self.spend = Ensemble(settings.n_members, N_OBSERVATION + 1, settings.hidden, 1)
        self.rest = Ensemble(settings.n_members, N_OBSERVATION + 2, settings.hidden, N_FEATURES + 1)
        self.loss = SACLoss(
            squashed(self.actor),
            qvalue_network=q_pair(settings.hidden),
            loss_function="l2",
            alpha_init=settings.alpha_init,
            target_entropy=settings.target_entropy,
            action_spec=action_spec(),
        )
        _ = self.loss.target_entropy  # a buffer from its first use on: the state of a run must have it from the start
        self._targets = prepared(self.loss, settings.discount, settings.tau)
        self.optimizers = {
            "model": adam([*self.spend.parameters(), *self.rest.parameters()], settings),
            "critic": adam(self.loss.qvalue_network_params, settings),
            "actor": adam(self.actor, settings),
            "alpha": adam([self.loss.log_alpha], settings),
        }
        n = settings.n_rollouts * settings.rollout_length
        shapes = {"observation": N_OBSERVATION, "action": 1, "next_observation": N_OBSERVATION, "reward": 1}
        for name, width in {**shapes, "terminated": 1, "steps": 1, "is_alive": 1}.items():
            self.register_buffer(f"imagined_{name}", torch.zeros(n, width))

    def prepare(self, data: TensorDict, policy: Policy) -> None:
        """Keeps the log, the range of its features, and when an episode is over."""
        self._data = data
        observation = data["observation"][:, :N_FEATURES]
        self._low, self._high = observation.amin(dim=0), observation.amax(dim=0)
        after = data["next", "observation"][:, :N_FEATURES]
        self._low, self._high = (
            torch.minimum(self._low, after.amin(dim=0)),
            torch.maximum(self._high, after.amax(dim=0)),
        )
        mean, std = policy.mean[TIME_LEFT], policy.std[TIME_LEFT]
        tick = observation[:, TIME_LEFT].min() * std + mean  # the last tick's share of the episode
        self._tick = tick / std
        self._low[TIME_LEFT] = -torch.inf  # it falls to 0, which no log shows
        self._end_of_day = (0.5 * tick - mean) / std
        self._least_budget = observation[:, BUDGET_LEFT].min()
        reward = data["next", "reward"]
        self._reward_mean, self._reward_std = reward.mean(), reward.std().clamp_min(1e-6)
        self._reward_low, self._reward_high = reward.min(), reward.max()
        self._mean, self._std = policy.mean[:N_FEATURES], policy.std[:N_FEATURES]
        has_next = data["has_next"][:, 0]
        change = (after - observation)[has_next]
        if len(change) == 0:
            raise ValueError("`data` must hold two ticks of a trajectory for a model of what follows, found none")
        self._change_mean = change.mean(dim=0)
        self._change_std = change.std(dim=0, correction=0).clamp_min(LEAST_CHANGE)

    def update(self, batch: TensorDict, step: int) -> dict[str, Tensor]:
        s = self._settings
        if step < s.model_steps:
            return {"model": self.minimise("model", self.model_loss())}
        if (step - s.model_steps) % s.rollout_every == 0:
            self.imagine()
        mixed = self.shaped(self._mix(batch))
        losses = {"critic": self.minimise("critic", self.loss.qvalue_v2_loss(mixed)[0])}
        actor, sampled = self.loss.actor_loss(mixed)
        losses["actor"] = self.minimise("actor", actor)
        losses["alpha"] = self.minimise("alpha", self.loss.alpha_loss(sampled["log_prob"]).mean())
        self._targets.step()
        return losses

    def model_loss(self) -> Tensor:
        """Negative log-likelihood of ticks of the log, of a batch of its own for each member."""
        rows = torch.randint(len(self._data), (self._settings.n_members, self._settings.batch_size))
        ticks = self._data[rows]
        change = (ticks["next", "observation"] - ticks["observation"])[..., :N_FEATURES]
        change = (change - self._change_mean) / self._change_std
        spend = change[..., [BUDGET_LEFT]]
        reward = (ticks["next", "reward"] - self._reward_mean) / self._reward_std
        has_next = ticks["has_next"]
        inputs = (ticks["observation"], ticks["action"])
        mean, log_variance = self.spend(*inputs)
        given = torch.where(has_next, spend, mean.detach())  # a log does not show what its last tick left
        nll_of_spend = _beta_nll(mean, log_variance, spend)
        mean, log_variance = self.rest(*inputs, given)
        nll = torch.cat((nll_of_spend, _beta_nll(mean, log_variance, torch.cat((change, reward), dim=-1))), dim=-1)
        known = torch.cat((has_next.expand(-1, -1, N_FEATURES + 1), torch.ones_like(has_next)), dim=-1)
        loss: Tensor = (nll * known).sum() / known.sum()
        return loss

    @torch.no_grad()
    def predict(self, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Draws what a tick brings: next observation (B, 31), penalised reward (B, 1), whether the episode is over."""
        member = torch.randint(self._settings.n_members, (len(observation),))
        spend, spend_std = _draw(self.spend(observation, action), member)
        before = observation[:, [BUDGET_LEFT]]
        mean, std = self._change_mean[BUDGET_LEFT], self._change_std[BUDGET_LEFT]
        budget_left = (before + mean + std * spend).clamp_min(self._low[BUDGET_LEFT]).minimum(before)
        drawn, rest_std = _draw(self.rest(observation, action, (budget_left - before - mean) / std), member)
        uncertainty = torch.cat((spend_std, rest_std), dim=-1).norm(dim=-1).amax(dim=0)[:, None]  # (B, 1)
        after = observation.clone()
        features = observation[:, :N_FEATURES] + self._change_mean + self._change_std * drawn[:, :N_FEATURES]
        features[:, [BUDGET_LEFT]] = budget_left
        features[:, TIME_LEFT] = observation[:, TIME_LEFT] - self._tick  # known
        after[:, :N_FEATURES] = torch.maximum(torch.minimum(features, self._high), self._low)
        reward = (self._reward_mean + self._reward_std * drawn[:, -1:]).clamp(self._reward_low, self._reward_high)
        reward = reward - self._settings.penalty * self._reward_std * (uncertainty - self._usual_uncertainty)
        is_over = (after[:, TIME_LEFT] < self._end_of_day) | (features[:, BUDGET_LEFT] < self._least_budget)
        return after, reward, is_over[:, None]

    @torch.no_grad()
    def uncertainty(self, observation: Tensor, action: Tensor) -> Tensor:
        """u (B, 1) at the mean prediction of the spend."""
        mean, log_variance = self.spend(observation, action)
        _, log_variance_of_rest = self.rest(observation, action, mean.mean(dim=0))
        std = (0.5 * torch.cat((log_variance, log_variance_of_rest), dim=-1)).exp()
        largest: Tensor = std.norm(dim=-1).amax(dim=0)[:, None]
        return largest

    def shaped(self, batch: TensorDict) -> TensorDict:
        """The batch with discount^steps P(s') - P(s) added to its rewards; P is 0 after the end."""
        after = batch["next"]
        factor = self._settings.discount ** batch["steps_to_next_obs"] * ~after["terminated"]
        change = factor * self.potential(after["observation"]) - self.potential(batch["observation"])
        after["reward"] = after["reward"] + change
        return batch

    def potential(self, observation: Tensor) -> Tensor:
        """P (B, 1) of normalised observations (B, 31)."""
        left = observation[:, [BUDGET_LEFT, TIME_LEFT]] * self._std[[BUDGET_LEFT, TIME_LEFT]]
        left = left + self._mean[[BUDGET_LEFT, TIME_LEFT]]
        return self._settings.shaping * self._settings.reward_scale * left.amin(dim=1, keepdim=True)

    @torch.no_grad()
    def imagine(self) -> None:
        """Replaces the imagined transitions by rollouts from logged states under the current policy."""
        s = self._settings
        rows = torch.randint(len(self._data), (s.n_rollouts,))
        observation = self._data["observation"][rows]
        self._usual_uncertainty = self.uncertainty(observation, self._data["action"][rows]).mean()
        alive = torch.ones(s.n_rollouts, 1, dtype=torch.bool)
        ticks = []
        for _ in range(s.rollout_length):
            action = TanhNormal(*self.actor(observation)).sample()
            after, reward, is_over = self.predict(observation, action)
            ticks.append((observation, action, reward * alive, alive))
            observation = torch.where(alive, after, observation)
            alive = alive & ~is_over
        total, steps = torch.zeros(s.n_rollouts, 1), torch.zeros(s.n_rollouts, 1)
        parts = []
        for seen, action, reward, was_alive in reversed(ticks):
            total = torch.where(was_alive, reward + s.discount * total, total)
            steps = steps + was_alive
            parts.append((seen, action, observation, total, (~alive).float(), steps, was_alive.float()))
        names = ("observation", "action", "next_observation", "reward", "terminated", "steps", "is_alive")
        for name, columns in zip(names, zip(*parts, strict=True), strict=True):
            self.get_buffer(f"imagined_{name}").copy_(torch.cat(columns))

    def _mix(self, batch: TensorDict) -> TensorDict:
        """Logged transitions and imagined ones, in the share of the settings."""
        n_real = round(self._settings.real_share * len(batch))
        candidates = self.get_buffer("imagined_is_alive")[:, 0].nonzero()[:, 0]  # not ticks after an episode's end
        rows = candidates[torch.randint(len(candidates), (len(batch) - n_real,))]
        part = {
            name: self.get_buffer(f"imagined_{name}")[rows] for name in ("observation", "action", "next_observation")
        }
        ended = self.get_buffer("imagined_terminated")[rows] > 0
        after = TensorDict(
            {
                "observation": part["next_observation"],
                "reward": self.get_buffer("imagined_reward")[rows],
                "terminated": ended,
                "done": ended,
            },
            batch_size=len(rows),
        )
        imagined = TensorDict(
            {
                "observation": part["observation"],
                "action": part["action"],
                "steps_to_next_obs": self.get_buffer("imagined_steps")[rows].long(),
                "has_next": ~ended,
                "next": after,
            },
            batch_size=len(rows),
        )
        mixed: TensorDict = torch.cat((batch[:n_real], imagined))
        return mixed


def build_actor(settings: MopoSettings) -> SquashedGaussianActor:
    """The network that is stored."""
    return SquashedGaussianActor(settings.hidden)


SETTINGS, ALGORITHM = MopoSettings, Mopo
