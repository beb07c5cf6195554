"""The policy that a configuration describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vamo.config import ModelConfig
from vamo.examples.normalisation import Normalisation
from vamo.model.ensemble import Ensemble
from vamo.model.mlp import Mlp
from vamo.model.policy import Policy
from vamo.model.ridge import Ridge
from vamo.model.transformer import Transformer


def make_policy(config: ModelConfig, normalisation: Normalisation | None = None, *, seed: int = 0) -> Policy:
    """A policy with fresh parameters.

    Args:
        config: Backbone, sizes and variant.
        normalisation: Statistics of the training data; the identity by default.
        seed: Of the initial parameters, where there are random ones; global random state is left alone.
    """
    if config.backbone == "transformer":
        return Transformer(config, normalisation, seed=seed)
    if config.backbone == "ridge":
        return Ridge(config, normalisation)
    return Mlp(config, normalisation, seed=seed)


def make_ensemble(config: ModelConfig, normalisation: Normalisation | None = None, *, n_members: int) -> Policy:
    """A policy with fresh parameters that are to be replaced: a single one, or an ensemble of more than one."""
    members = [make_policy(config, normalisation) for _ in range(n_members)]
    return members[0] if n_members == 1 else Ensemble(config, members, normalisation)


@torch.no_grad()
def load_parameters(policy: Policy, members: Sequence[Mapping[str, Tensor]]) -> None:
    """Copies parameters by name, one mapping a member, into a policy of `make_ensemble`."""
    policies = policy.members if isinstance(policy, Ensemble) else [policy]
    for member, parameters in zip(policies, members, strict=True):
        for name, parameter in member.named_parameters():
            parameter.copy_(parameters[name])
