"""Ways in which the requirements y control the transformer, beside their token in the sequence.

`film` is the paper's (arXiv 2510.07760, v2); `prompt`, `hyper` and `concat` are the alternatives that it is
compared with, and `token` is none of them. The requirements of a tick hold the return to go at that tick, so
that what conditions a tick is made of its own requirements or of earlier ones, never of later ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

N_PROMPTS = 4
RANK = 8


class FiLM(nn.Module):
    """h <- gamma(y) * h + beta(y); the identity at initialisation: gamma = 1, beta = 0."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.shift_scale = nn.Linear(d_model, 2 * d_model)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        gamma, beta = self.shift_scale(y).chunk(2, dim=-1)
        return torch.addcmul(h + beta, gamma, h)  # with gamma as what the scale has beyond 1


class Prompts(nn.Module):
    """`N_PROMPTS` tokens in front of the window, made of the requirements of its first tick.

    Every tick of the window may see those; the requirements of later ticks reach it by their own tokens.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.tokens = nn.Linear(d_model, N_PROMPTS * d_model)

    def forward(self, y_first: Tensor) -> Tensor:
        out: Tensor = self.tokens(y_first).unflatten(-1, (N_PROMPTS, -1))  # (n, P D) -> (n, P, D)
        return out


class Concat(nn.Module):
    """A token's embedding and the requirements side by side, brought back to the width of the stream."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.join = nn.Linear(2 * d_model, d_model)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        out: Tensor = self.join(torch.cat([h, y.expand_as(h)], dim=-1))
        return out


class LowRankUpdate(nn.Module):
    """What a weight update of rank `RANK` adds to a linear layer's output: up core(y) down x.

    The core is generated from the requirements and zero at initialisation; as only the core depends on them,
    the hypernetwork is no larger than the layer that it changes.
    """

    def __init__(self, n_inputs: int, n_outputs: int, d_model: int) -> None:
        super().__init__()
        self.down = nn.Linear(n_inputs, RANK, bias=False)
        self.core = nn.Linear(d_model, RANK * RANK)
        self.up = nn.Linear(RANK, n_outputs, bias=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        core = self.core(y).unflatten(-1, (RANK, RANK))  # (n, L, R R) -> (n, L, R, R)
        out: Tensor = self.up((self.down(x).unsqueeze(-2) @ core).squeeze(-2))
        return out


class BlockUpdate(nn.Module):
    """The hypernetwork of one block: updates of the layers that read the stream."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.query = LowRankUpdate(d_model, d_model, d_model)
        self.key_value = LowRankUpdate(d_model, 2 * d_model, d_model)
        self.mlp_in = LowRankUpdate(d_model, 4 * d_model, d_model)
