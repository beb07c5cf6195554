"""Learners from logs: BC, TD3+BC, IQL, CQL, BCQ and MOPO, on the decision problem of `Bidding-v0`.

    import agents
    result = agents.train("cql", logs, task="TargetCPA", seed=0)

All share the reader of logs (`transitions`), the normalisation and networks (`networks`), the training (`training`)
and the bidder (`bidder`); each algorithm has a file of its own. Needs the extra `offline`; `agents` does not import the
modules that need torch.
"""

from __future__ import annotations

from agents.offline.settings import ALGORITHMS, OfflineSettings
from agents.offline.transitions import Transitions, read_transitions

__all__ = ["ALGORITHMS", "OfflineSettings", "Transitions", "read_transitions"]
