"""Decisions one tick at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from vamo.model.ensemble import Ensemble
from vamo.model.mlp import Memoryless
from vamo.model.policy import Policy
from vamo.model.transformer import Past, Transformer


class Decoder(Protocol):
    """Follows n campaigns through an episode."""

    def decide(self, requirements: Tensor, state: Tensor, tick: int) -> Tensor:
        """Log multipliers relative to the bid base at the next tick, (n,).

        Args:
            requirements: (n, len(REQUIREMENT_INPUTS)).
            state: (n, N_FEATURES).
            tick: Of the episode.
        """
        ...


def decoder_of(policy: Policy, advertiser: Tensor, category: Tensor) -> Decoder:
    """What follows n campaigns by a policy.

    Args:
        policy: The model; it decides on its device.
        advertiser: (n, len(ADVERTISER_INPUTS)).
        category: (n,) int64.
    """
    if isinstance(policy, Ensemble):
        return MeanDecoder([decoder_of(member, advertiser, category) for member in policy.members])
    if isinstance(policy, Transformer):
        return WindowDecoder(policy, advertiser, category)
    assert isinstance(policy, Memoryless), f"a policy of type {type(policy).__name__} must have a decoder here"
    return TickDecoder(policy, advertiser, category)


class MeanDecoder:
    """The mean of what the members of an ensemble decide.

    Args:
        members: At least one.
    """

    def __init__(self, members: Sequence[Decoder]) -> None:
        self._members = tuple(members)

    def decide(self, requirements: Tensor, state: Tensor, tick: int) -> Tensor:
        """See `Decoder.decide`."""
        return torch.stack([member.decide(requirements, state, tick) for member in self._members]).mean(dim=0)


class TickDecoder:
    """Decisions of a memoryless policy: its forward pass of the tick.

    Args:
        policy, advertiser, category: As of `decoder_of`.
    """

    def __init__(self, policy: Memoryless, advertiser: Tensor, category: Tensor) -> None:
        self._policy = policy
        with torch.inference_mode():
            self._fixed = policy.fixed(advertiser, category)

    def decide(self, requirements: Tensor, state: Tensor, tick: int) -> Tensor:
        """See `Decoder.decide`."""
        with torch.inference_mode():
            time = torch.full((1, 1), tick, device=state.device)
            prediction = self._policy.predict(requirements[:, None], state[:, None], self._fixed, time)
        action: Tensor = prediction.action[:, -1]
        return action


class WindowDecoder:
    """Decisions of a transformer: at each tick what its forward pass says of its window's last row.

    Windows are those of training: at most `context` ticks, seen from their first one on. Keys and values of a
    block hold all that the block below has seen, so that they serve only while the window starts where it did:
    a window that moved every tick would be run through again every tick, or be another function than the one
    that was trained. So it moves by half its length at a time, is run through once then, and grows from its
    cache in between: it holds half of `context` to all of it, and everything until that is full.

    Args:
        model, advertiser, category: As of `decoder_of`.
    """

    def __init__(self, model: Transformer, advertiser: Tensor, category: Tensor) -> None:
        self._model = model
        with torch.inference_mode():
            self._advertiser = model.embed(advertiser, category)
        self._rows: list[tuple[Tensor, Tensor, Tensor]] = []  # the window
        self._past: Past | None = None

    def decide(self, requirements: Tensor, state: Tensor, tick: int) -> Tensor:
        """See `Decoder.decide`."""
        inputs = requirements[:, None], state[:, None], torch.full((1, 1), tick, device=state.device)
        self._rows.append(inputs)
        context = self._model.config.context
        with torch.inference_mode():
            if len(self._rows) > context:
                del self._rows[: n_dropped(context)]
                requirements, state, time = (torch.cat(column, dim=1) for column in zip(*self._rows, strict=True))
                inputs, self._past = (requirements, state, time), None
            requirements, state, time = inputs
            prediction, self._past = self._model.extend(
                requirements, state, self._advertiser, time, self._past, n_read=1
            )
        return prediction.action[:, -1]


def n_dropped(context: int) -> int:
    """Ticks that leave a full window of `context` ticks when one more comes."""
    return (context + 1) // 2
