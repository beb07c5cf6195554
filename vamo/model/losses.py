"""The training loss of a policy, and the masked means that losses are made of."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.func import functional_call

from vamo.examples.batch import Batch
from vamo.model.planner import has_next_state, plan_errors
from vamo.model.policy import Policy, Prediction


def losses(model: Policy, parameters: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """Squared error of the log multiplier, and with the planner head also of the planned states.

    Both in units of the standard deviation over the training data.

    Args:
        model: The architecture, and its buffers.
        parameters: Its parameters by name, which may differ from those it holds.
        batch: Windows.

    Returns:
        (n_groups, n / n_groups): one loss a window, scaled so that the mean over a group is the masked mean
        over all its ticks (of the plan: over all its ticks and planned states); padding and masked ticks
        never change it.
    """
    has_next = has_next_state(batch.mask) if model.has_planner else None
    inputs = (*batch[:5], has_next)
    if all(parameters[name] is own for name, own in model.named_parameters()):  # a step: without exchanging anything
        prediction: Prediction = model(*inputs)
    else:  # no parameter has two names, so that none need be searched for
        prediction = functional_call(model, dict(parameters), inputs, tie_weights=False)
    error = (prediction.action - batch.action) / model.action_std
    total = group_means(error.square(), batch.mask, batch.n_groups)
    if prediction.plan is not None:
        errors, mask = plan_errors(prediction.plan, model.normalise_state(batch.state), batch.mask)
        total = total + group_means(errors.flatten(1), mask.flatten(1), batch.n_groups)
    return total


def group_means(errors: Tensor, mask: Tensor, n_groups: int) -> Tensor:
    """Per-window shares, (G, n/G), of the masked mean of each group's errors (n, W); 0 where nothing counts."""
    mask = mask.view(n_groups, -1, mask.shape[1])  # (n, W) -> (G, n/G, W)
    count = mask.sum(dim=(1, 2)).clamp_min(1.0)
    return (errors.view_as(mask) * mask).sum(dim=2) * (mask.shape[1] / count)[:, None]
