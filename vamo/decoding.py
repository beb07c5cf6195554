"""Decisions one tick at a time, from cached keys and values where these are what a forward pass would compute."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from vamo.model import Past, Vamo


class Decoder:
    """Follows n campaigns through an episode: at each tick what `Vamo.forward` says of its window's last row.

    The window is the episode's last `context` ticks, as in training. While it starts where the episode does,
    a tick goes on from the keys and values of those before it. Once it moves, its blocks but the first would
    have seen ticks that are no longer in it, so that what is cached is no longer what training computes: from
    there on the window is run through again. A context of the whole episode never gets there.

    Args:
        model: The model; it decides on its device.
        advertiser: (n, len(ADVERTISER_INPUTS)).
        category: (n,) int64.
    """

    def __init__(self, model: Vamo, advertiser: Tensor, category: Tensor) -> None:
        self._model = model
        with torch.inference_mode():
            self._advertiser = model.embed(advertiser, category)
        self._rows: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=model.config.context)
        self._past: Past | None = None

    def decide(self, requirements: Tensor, state: Tensor, tick: int) -> Tensor:
        """Log multipliers relative to the bid base at the next tick, (n,).

        Args:
            requirements: (n, len(REQUIREMENT_INPUTS)).
            state: (n, N_FEATURES).
            tick: Of the day.
        """
        is_full = len(self._rows) == self._rows.maxlen
        time = torch.full((1, 1), tick, device=state.device)
        self._rows.append((requirements[:, None], state[:, None], time))
        with torch.inference_mode():
            if is_full:
                rows = [torch.cat(column, dim=1) for column in zip(*self._rows, strict=True)]
                requirements, state, time = rows
                prediction, self._past = self._model.extend(requirements, state, self._advertiser, time, n_read=1)
            else:
                prediction, self._past = self._model.extend(*self._rows[-1][:2], self._advertiser, time, self._past)
        return prediction.action[:, -1]
