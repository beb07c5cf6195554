"""The planner head (arXiv 2510.07760, after AIGB): plan the next states, then the action that leads there."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Planner(nn.Module):
    """Next states from the stream, and the action from (s_t, s_{t+1}, requirements).

    The inverse-dynamics model reads the planned s_{t+1}. In training it reads the logged one where there is
    one: it is to say what leads to a state, not to make up for the plan. Where there is none, at the last tick
    of an episode or a window, it reads the plan there too.

    Args:
        d_model: Width of the stream.
        n_features: Of a state.
        horizon: States that are planned, s_{t+1} to s_{t+horizon}.
    """

    def __init__(self, d_model: int, n_features: int, horizon: int) -> None:
        super().__init__()
        self.horizon = horizon
        self.change = nn.Linear(d_model, horizon * n_features)
        self.inverse_in = nn.Linear(2 * n_features + d_model, d_model)
        self.inverse_out = nn.Linear(d_model, 1)

    def forward(self, h: Tensor, state: Tensor, y: Tensor, has_next: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Action and plan.

        Args:
            h: (n, W, D), the stream at the last token of each tick.
            state: (n, W, F), normalised.
            y: (n, W, D), embedded requirements.
            has_next: (n, W), in training only: where row t + 1 of `state` is read in place of the plan.

        Returns:
            (n, W) actions in standard deviations, and the plan (n, W, horizon, F), normalised states.
        """
        plan = state[:, :, None] + self.change(h).unflatten(-1, (self.horizon, -1))  # (n, W, H F) -> (n, W, H, F)
        following = plan[:, :, 0]
        if has_next is not None:
            following = torch.where(has_next[..., None], state.roll(-1, dims=1), following)
        joined = torch.cat([state, following, y], dim=-1)
        action: Tensor = self.inverse_out(nn.functional.gelu(self.inverse_in(joined)))[..., 0]
        return action, plan


def has_next_state(mask: Tensor, steps: int = 1) -> Tensor:
    """Where the state `steps` ticks later is one of the episode, (n, W).

    It is if it lies in the window and not after the last action in it: padding follows an episode, and the
    last tick of an episode has no next state.

    Args:
        mask: (n, W), 1 where the action counts.
        steps: At least 1.
    """
    is_real = mask.flip(1).cummax(dim=1).values.flip(1) > 0  # up to the last action
    return nn.functional.pad(is_real[:, steps:], (0, min(steps, mask.shape[1])))


def plan_errors(plan: Tensor, state: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Squared errors of the plan, and which of them count: of ticks with an action and states that there are.

    Args:
        plan: (n, W, horizon, F), normalised states.
        state: (n, W, F), normalised.
        mask: (n, W), 1 where the action counts.

    Returns:
        (n, W, horizon) mean squares over the features, and a mask of the same shape.
    """
    steps = range(1, plan.shape[2] + 1)
    target = torch.stack([state.roll(-step, dims=1) for step in steps], dim=2)
    exists = torch.stack([has_next_state(mask, step) for step in steps], dim=2)
    return (plan - target).square().mean(dim=-1), mask[:, :, None] * exists
