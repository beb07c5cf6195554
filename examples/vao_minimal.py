"""Validation-aligned optimisation (arXiv 2510.07760) in one file, to be read from top to bottom; about 40 s on 2 cores.

Several tasks have logs of very unequal size, and some logs hurt. One policy is trained for all tasks. For target k and
source i, with g_k the gradient of the target's validation loss and g_ik that of the source relabelled for the target:

    alignment   m_ik = <g_k, g_ik>                                  what a step on source i brings target k
    weights     w_ik = exp(m_ik / lambda) / sum_j exp(m_jk / lambda)
    update      theta <- theta - eta * sum_k sum_i w_ik g_ik

The library's model is a transformer with the same loss; a test compares alignments and weights with the library's.
The table has one seed and 48 episodes: it shows how the method runs, not that it wins.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents import Harm, Member, TaskFamily, collect_family, load_family, make_task_family, rollout_each
from agents.labels.hindsight import LOG_GRID, best_log_multipliers
from agents.labels.relabel import relabel
from agents.labels.response import Response
from auction_env import Task
from auction_env.control.bidder import Campaigns, TickView
from auction_env.control.observation import FEATURE_NAMES
from auction_env.data import TrajectoryData
from vamo.examples.inputs import state_inputs

Float = NDArray[np.float64]
IS_READ = np.array([not name.startswith("bid_") for name in FEATURE_NAMES])
N_DRAWN = 32  # examples of a pair of target and source in a step
REFRESH_EVERY = 5  # steps between two estimates of the alignments
LAMBDA = 0.3  # temperature of the weights, for alignments whose root mean square over the sources is 1


# --- 1. Data: a family of tasks, from data-rich to data-scarce ---------------------------------------------


class Logs(NamedTuple):
    """Logged trajectories by the name of their task."""

    training: dict[str, TrajectoryData]
    validation: dict[str, TrajectoryData]


def collect_logs(family: TaskFamily) -> Logs:
    """Lets each task's logging policy bid in its market."""
    with tempfile.TemporaryDirectory() as folder:
        collect_family(family, Path(folder), n_validation=20, n_test=1)
        return Logs(load_family(folder, "train"), load_family(folder, "validation"))


# --- 2. Labels: every source relabelled for every target ---------------------------------------------------


class Examples(NamedTuple):
    """Ticks of a log as (input, label) pairs for one target task."""

    inputs: Tensor  # (n, D)
    action: Tensor  # (n,) hindsight-optimal: log of the multiplier over the worth of a unit of the objective


def policy_inputs(features: Float, requirements: Float, cpa_target: Float) -> Tensor:
    """What the policy sees at a tick, (n, D): the state without earlier bids (it would repeat them), and the task."""
    state = state_inputs(features, cpa_target)[:, IS_READ]
    return torch.from_numpy(np.concatenate([state, np.log1p(requirements)], axis=1).astype(np.float32))


def label(data: TrajectoryData, response: Response, target: Task) -> Examples:
    """The log as examples for the target task, whatever task it was logged for.

    The logged bids are not imitated. The label of a tick is the constant multiplier that would have scored best for the
    target from there to the end of the episode, according to the response of cost and conversions to bids.
    """
    has_bid = relabel(data, target).action_mask
    inputs = policy_inputs(data.features, target.requirements(data.targets), data.cpa_target)
    action = torch.from_numpy(best_log_multipliers(data, target, response).astype(np.float32))
    return Examples(inputs[has_bid], action[has_bid])


def label_all(logs: dict[str, TrajectoryData], targets: Sequence[Task]) -> list[list[Examples]]:
    """Examples [k][i] of source i for target k; each source has a response fitted to its own log."""
    responses = {name: Response.fit([data]) for name, data in logs.items()}
    return [[label(data, responses[name], target) for name, data in logs.items()] for target in targets]


# --- 3. Model: inputs to the log multiplier ----------------------------------------------------------------


class Policy(nn.Module):
    """A perceptron on inputs that are normalised by the statistics of some examples."""

    def __init__(self, inputs: Tensor, width: int = 64, seed: int = 0) -> None:
        super().__init__()
        std = inputs.std(dim=0)
        self.register_buffer("mean", inputs.mean(dim=0))
        self.register_buffer("std", torch.where(std > 1e-6, std, 1.0))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Linear(inputs.shape[1], width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        normalised: Tensor = ((inputs - self.mean) / self.std).clamp(-5, 5)
        return self.layers(normalised)[..., 0]  # (n, D) -> (n,)


def loss_of(policy: Policy, examples: Examples) -> Tensor:
    """Mean squared error of the log multiplier."""
    return (policy(examples.inputs) - examples.action).square().mean()


# --- 4. Alignments, weights, update ------------------------------------------------------------------------


def gradient_of(loss: Tensor, policy: Policy) -> Tensor:
    """The gradient with respect to all parameters as one vector, (N,)."""
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(policy.parameters()))])


def align(policy: Policy, training: list[list[Examples]], validation: list[Examples]) -> Tensor:
    """m_ik = <g_k, g_ik>, (K, I), at the policy's present parameters."""
    rows = []
    for of_target, held_out in zip(training, validation, strict=True):
        g_k = gradient_of(loss_of(policy, held_out), policy)
        rows.append(torch.stack([g_k @ gradient_of(loss_of(policy, examples), policy) for examples in of_target]))
    return torch.stack(rows)


def weigh(alignment: Tensor) -> Tensor:
    """w_ik, (K, I): the softmax of the alignments over the sources.

    Raw alignments shrink by orders of magnitude as training goes on. Divided by their root mean square, lambda means
    the same throughout.
    """
    scale = alignment.square().mean(dim=1, keepdim=True).sqrt()
    return torch.softmax(alignment / scale / LAMBDA, dim=1)


def update(policy: Policy, optimizer: torch.optim.Optimizer, batch: list[list[Examples]], weights: Tensor) -> None:
    """A step along sum_k sum_i w_ik g_ik, as the gradient of one weighted loss."""
    inputs = torch.stack([torch.stack([examples.inputs for examples in row]) for row in batch])  # (K, I, n, D)
    action = torch.stack([torch.stack([examples.action for examples in row]) for row in batch])  # (K, I, n)
    losses = (policy(inputs) - action).square().mean(dim=2)  # (K, I)
    optimizer.zero_grad()
    (weights * losses).sum().backward()
    optimizer.step()


Weigh = Callable[[Policy, list[list[Examples]], list[Examples]], Tensor]


def train(
    training: list[list[Examples]], validation: list[Examples], weigh_sources: Weigh, *, n_steps: int, seed: int = 0
) -> tuple[Policy, Tensor]:
    """One policy for all targets, and the mean of the weights (K, I) that `weigh_sources` gave it."""
    generator = torch.Generator().manual_seed(seed)
    policy = Policy(torch.cat([examples.inputs for row in training for examples in row]), seed=seed)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=3e-3)
    used, weights = [], torch.empty(0)
    for step in range(n_steps):
        if step % REFRESH_EVERY == 0:
            weights = weigh_sources(policy, draw_all(training, N_DRAWN, generator), validation)
        update(policy, optimizer, draw_all(training, N_DRAWN, generator), weights)
        used.append(weights)
    return policy, torch.stack(used).mean(dim=0)


def draw_all(training: list[list[Examples]], n: int, generator: torch.Generator) -> list[list[Examples]]:
    """n random examples of every target and source."""

    def draw(examples: Examples) -> Examples:
        index = torch.randint(len(examples.action), (n,), generator=generator)
        return Examples(examples.inputs[index], examples.action[index])

    return [[draw(examples) for examples in of_target] for of_target in training]


def aligned(policy: Policy, batch: list[list[Examples]], validation: list[Examples]) -> Tensor:
    """The method: weights from alignments."""
    return weigh(align(policy, batch, validation))


def uniform(policy: Policy, batch: list[list[Examples]], validation: list[Examples]) -> Tensor:
    """Naive sharing: the same weight for every source."""
    return torch.full((len(batch), len(batch[0])), 1 / len(batch[0]))


# --- 5. Evaluation in the market ---------------------------------------------------------------------------


class PolicyBidder:
    """Bids what the policy says; all other advertisers of the market are live."""

    def __init__(self, policy: Policy, name: str) -> None:
        self.policy, self.name = policy, name

    def reset(self, campaigns: Campaigns) -> None:
        self.campaigns = campaigns

    def act(self, view: TickView) -> Float:
        campaigns = self.campaigns
        with torch.inference_mode():
            log_multiplier = self.policy(policy_inputs(view.features, campaigns.requirements, campaigns.cpa_target))
        return campaigns.base * np.exp(np.clip(log_multiplier.double().numpy(), LOG_GRID[0], LOG_GRID[-1]))


def scores(bidders: Sequence[PolicyBidder], member: Member, n_episodes: int) -> list[float]:
    """Mean expected score of each bidder on the same new episodes of the member's task."""
    played = rollout_each(
        bidders,
        seeds=np.arange(n_episodes),
        advertisers=np.resize(member.advertisers, n_episodes),
        task=member.task,
        params=member.params,
        population=member.population,
    )
    return [float(episodes.score(expected=True).mean()) for episodes in played]


def main(n_tasks: int = 4, n_steps: int = 100, n_episodes: int = 48, most: int = 200) -> None:
    torch.set_flush_denormal(True)  # tiny numbers would make steps several times slower
    harms = [Harm(kind="scaled_bid")]  # one log records three times the bids that were submitted
    family = make_task_family(n_tasks, seed=1, imbalance=(most, 4), n_groups=2, harms=harms, n_impressions=1_200)
    logs, tasks = collect_logs(family), [member.task for member in family.members]
    training = label_all(logs.training, tasks)
    validation = [row[k] for k, row in enumerate(label_all(logs.validation, tasks))]
    alone = [train([[row[k]]], [validation[k]], uniform, n_steps=n_steps)[0] for k, row in enumerate(training)]
    naive, _ = train(training, validation, uniform, n_steps=n_steps)
    vao, vao_weights = train(training, validation, aligned, n_steps=n_steps)
    print(f"{'target':<22}{'logs':>6}{'single':>9}{'uniform':>9}{'vao':>9}   weights of the sources under vao")
    for k, member in enumerate(family.members):
        policies = {"single": alone[k], "uniform": naive, "vao": vao}
        bidders = [PolicyBidder(policy, name) for name, policy in policies.items()]
        numbers = "".join(f"{score:>9.3f}" for score in scores(bidders, member, n_episodes))
        weights = "".join(f"{weight:>6.2f}" for weight in vao_weights[k].tolist())
        name = member.name + (" (harmful)" if member.is_harmful else "")
        print(f"{name:<22}{member.n_trajectories:>6}{numbers}   {weights}")


if __name__ == "__main__":
    main()
