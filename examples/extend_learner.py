"""A learner of your own under the contract of all learners: it bids a quantile of the logged ratios of bid to worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents import FixedBidder, NoisyBidder, PidBidder, collect
from agents.learning.checkpoint import AgentFile, write_agent
from agents.learning.learner import Learner, Numbers, TrainResult, by_name, check_cpu, one_task
from agents.learning.run_state import check_out
from agents.learning.settings import Settings
from auction_env import TASKS, MarketParams
from vamo.examples.sources import data_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileSettings(Settings):
    """The quantile, in [0, 1]."""

    quantile: float = 0.5


class QuantileLearner(Learner):
    """Has a closed form: it draws nothing, and there is no state of a run to save."""

    experience = "logs"

    def defaults(self) -> QuantileSettings:
        """See `Learner`."""
        return QuantileSettings()

    def restore(self, file: AgentFile, device: str) -> FixedBidder:
        """See `Learner`."""
        return FixedBidder(file.tensors["ratio"].item(), name=file.name)

    def train(
        self, experience: Any, *, task: Any = None, settings: Any = None, device: str = "cpu", out: Any = None,
        force: bool = False, **unused: Any,
    ) -> TrainResult[FixedBidder, Numbers]:  # fmt: skip
        """See `Learner`."""
        check_cpu(self.name, device)
        if out is not None:
            check_out(Path(out), force=force)
        settings, logs = settings or self.defaults(), by_name(experience)
        ratios = np.concatenate([data.action / data.base for data in logs.values()])
        ratio = torch.tensor(np.quantile(ratios, settings.quantile))
        tasks = [one_task(self.name, task, logs).to_json()]
        file = AgentFile(
            kind=self.name, name=self.name, settings=settings.to_dict(), tasks=tasks, tensors={"ratio": ratio},
            data_hash=data_hash(logs, {}),
        )  # fmt: skip
        if out is not None:
            write_agent(out, file)
        return TrainResult(bidder=self.restore(file, device), history=[Numbers(step=1)], best=None)


def main() -> None:
    params, task = MarketParams(n_impressions=2_000), TASKS["MaxConversions"]
    (logs,) = collect(NoisyBidder(PidBidder()), seeds=[0], task=task, params=params)
    learner = QuantileLearner("quantile")
    learner.train(logs, settings=learner.settings(assignments=["quantile=0.6"]), out="quantile.safetensors", force=True)
    print(learner.load("quantile.safetensors").name)


if __name__ == "__main__":
    main()
