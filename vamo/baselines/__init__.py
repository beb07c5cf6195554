"""The field's generative bidding baselines on the blocks, windows and trainer of `vamo`."""

from __future__ import annotations

from vamo.baselines.settings import ALGORITHMS, GenerativeSettings

__all__ = ["ALGORITHMS", "GenerativeSettings"]
