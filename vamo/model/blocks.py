"""The transformer's parts: attention that can go on from cached keys and values, and the block around it.

Attention is torch's fused kernel; where forward-mode derivatives are taken, of which it has none,
`vamo.alignment.estimators` asks torch for the form that is written out in products and a softmax.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from vamo.model.conditioning import BlockUpdate


def encoder(n_inputs: int, d_model: int) -> nn.Sequential:
    """Two layers from raw inputs to the width of the stream."""
    return nn.Sequential(nn.Linear(n_inputs, d_model), nn.GELU(), nn.Linear(d_model, d_model))


class Block(nn.Module):
    """Multi-head attention and a two-layer perceptron, each normalised before and added to the stream."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm_attention = nn.LayerNorm(d_model)
        self.query = nn.Linear(d_model, d_model, bias=False)
        self.key_value = nn.Linear(d_model, 2 * d_model, bias=False)
        self.attention_out = nn.Linear(d_model, d_model)
        self.norm_mlp = nn.LayerNorm(d_model)
        self.mlp_in = nn.Linear(d_model, 4 * d_model)
        self.mlp_out = nn.Linear(4 * d_model, d_model)

    def forward(
        self,
        x: Tensor,
        bias: Tensor,
        past: Tensor | None = None,
        *,
        asking: slice = slice(None),
        y: Tensor | None = None,
        update: BlockUpdate | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The stream after the block, at the tokens that ask.

        Args:
            x: (n, L, D), the new tokens.
            bias: (A, P + L) added to the attention scores: 0 or -inf.
            past: (n, P, 2 D), keys and values of the P tokens before them.
            asking: The A new tokens whose output is wanted; the others give keys and values only.
            y: (n, L, D), requirements at each new token; needed with `update`.
            update: Changes of this block's weights that the requirements generate.

        Returns:
            (n, A, D), and keys and values of all tokens, (n, P + L, 2 D).
        """
        normed = self.norm_attention(x)
        q, key_value = self.query(normed[:, asking]), self.key_value(normed)
        if update is not None:
            assert y is not None
            q = q + update.query(normed[:, asking], y[:, asking])
            key_value = key_value + update.key_value(normed, y)
        if past is not None:
            key_value = torch.cat([past, key_value], dim=1)
        keys, values = (self._split(part) for part in key_value.chunk(2, dim=-1))
        mixed = functional.scaled_dot_product_attention(self._split(q), keys, values, attn_mask=bias.to(q.dtype))
        x = x[:, asking] + self.attention_out(mixed.transpose(1, 2).flatten(2))  # (n, H, A, D/H) -> (n, A, D)
        normed = self.norm_mlp(x)
        hidden = self.mlp_in(normed)
        if update is not None:
            assert y is not None
            hidden = hidden + update.mlp_in(normed, y[:, asking])
        out: Tensor = x + self.mlp_out(functional.gelu(hidden))
        return out, key_value

    def _split(self, x: Tensor) -> Tensor:
        n, length, d_model = x.shape
        return x.view(n, length, self.n_heads, d_model // self.n_heads).transpose(1, 2)  # -> (n, H, L, D/H)
