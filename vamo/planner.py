"""The planner head (arXiv 2510.07760, after AIGB): plan the next states, then the action that leads there."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Planner(nn.Module):
    """Next states from the stream, and the action from (s_t, planned s_{t+1}, requirements).

    The inverse-dynamics model reads the planned state in training as in use, so that both are the same
    function: one that was trained on logged next states would meet others when it acts, and at the last tick
    of an episode there is none.

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

    def forward(self, h: Tensor, state: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Plan and action.

        Args:
            h: (n, W, D), the stream at the last token of each tick.
            state: (n, W, F), normalised.
            y: (n, W, D), embedded requirements.

        Returns:
            (n, W) actions in standard deviations, and the plan (n, W, horizon, F), normalised states.
        """
        plan = state[:, :, None] + self.change(h).unflatten(-1, (self.horizon, -1))  # (n, W, H F) -> (n, W, H, F)
        joined = torch.cat([state, plan[:, :, 0], y], dim=-1)
        action: Tensor = self.inverse_out(nn.functional.gelu(self.inverse_in(joined)))[..., 0]
        return action, plan


def plan_errors(plan: Tensor, state: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Squared errors of the plan, and which of them count.

    An entry counts where its tick has an action and the state planned for is one of the episode: it lies
    within the window and not after the last action in it. The last tick of an episode has no next state.

    Args:
        plan: (n, W, horizon, F), normalised states.
        state: (n, W, F), normalised.
        mask: (n, W), 1 where the action counts; padding follows an episode.

    Returns:
        (n, W, horizon) mean squares over the features, and a mask of the same shape.
    """
    n_rows, horizon = plan.shape[1:3]
    is_real = mask.flip(1).cummax(dim=1).values.flip(1)  # up to the last action
    row = torch.arange(n_rows, device=plan.device)[:, None] + torch.arange(1, horizon + 1, device=plan.device)
    is_inside, row = row < n_rows, row.clamp_max(n_rows - 1)  # (W, H)
    errors = (plan - state[:, row]).square().mean(dim=-1)
    return errors, mask[:, :, None] * is_real[:, row] * is_inside
