"""DAgger from logs alone: the policy in training also learns in the states that it would meet itself.

A policy that learns in logged states only meets other states once it bids itself: it spends faster or slower than the
logged bidder did. At a few steps of the training it is played through the logged episodes, with each source's own
response model for the market's answer (`agents.labels.predicted_log`). The visited states get the hindsight-optimal
action of the target, given what the policy has spent by then, and join the examples of the pair of target and source.
A harmful source has a wrong response, so that what is visited in it is wrong in the same way.

Half of the episodes may be played under other budgets and targets than the logged ones (`data.dagger_spread`): what a
log holds of one budget then teaches what to do with others.

Source: S. Ross, G. Gordon, D. Bagnell, "A reduction of imitation learning and structured prediction to no-regret online
learning" (AISTATS 2011, arXiv 1011.0686), algorithm 3.1 with beta = 0 after the first round. There each policy is
trained from scratch on all that has been collected; here one training goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from agents.labels.kernels import Int
from agents.labels.predicted_log import complete_episodes, predicted_logs
from auction_env.control.bidder import Bidder
from auction_env.data import TrajectoryData
from auction_env.market.population import scaled_targets
from auction_env.tasks import Targets, Task
from vamo.config import Config
from vamo.examples.episodes import Episodes
from vamo.examples.sampler import Visited

MOST_PAIRS = 144
"""Of target and source, for which a round is played by default, 12 x 12: it costs up to half of the training there, and
more with every pair, whose steps do not become more."""

_PLAY, _SPREAD = 103, 104  # streams of random numbers, apart from those of the batches


def round_steps(n_steps: int, n_rounds: int) -> list[int]:
    """The numbers of steps done after which a round is played: the training falls into n_rounds + 1 equal stages."""
    return [n_steps * number // (n_rounds + 1) for number in range(1, n_rounds + 1)]


def default_rounds(config: Config, n_pairs: int) -> int:
    """The rounds of a training whose settings leave them open: one where possible, and affordable or asked for."""
    learns = config.data.action_label == "hindsight" and config.model.backbone != "ridge" and config.train.steps > 1
    return int(learns and (n_pairs <= MOST_PAIRS or config.data.dagger_spread > 1))


class Dagger:
    """The visited episodes of a training run, played when they are first asked for.

    Everything depends on the parameters at the steps of the rounds, which the state of the run keeps, and on seeds: a
    resumed run visits the same states.

    Args:
        sources: Training episodes of the I sources.
        tasks: Of the K targets.
        pairs: (target, source) pairs that are trained.
        chosen: Of some pairs the only episodes that are shared.
        config: `data`, `model` and `train` are used.
        bidder_at: The policy as it was after a number of steps.
    """

    def __init__(
        self,
        sources: Sequence[Episodes],
        tasks: Sequence[Task],
        pairs: Sequence[tuple[int, int]],
        chosen: Mapping[tuple[int, int], Int],
        config: Config,
        bidder_at: Callable[[int], Bidder],
    ) -> None:
        self._sources, self._tasks, self._pairs, self._chosen = sources, tasks, pairs, chosen
        self._config, self._bidder_at = config, bidder_at
        self._steps = round_steps(config.train.steps, config.data.given_rounds)
        self._n_played = 0
        self._visited: list[dict[tuple[int, int], Visited]] = []  # by round

    def __call__(self, step: int) -> Sequence[Mapping[tuple[int, int], Visited]]:
        """What has been visited before a step, by round and pair; steps must not go back over a round."""
        while self._n_played < len(self._steps) and self._steps[self._n_played] <= step:
            self._visited.append(self._play(self._n_played))
            self._n_played += 1
        return self._visited

    def _play(self, number: int) -> dict[tuple[int, int], Visited]:
        visited = {}
        bidder = self._bidder_at(self._steps[number])
        for k, task in enumerate(self._tasks):
            picked = {i: self._picked(number, k, i) for target, i in self._pairs if target == k}
            picked = {i: episodes for i, episodes in picked.items() if len(episodes)}
            if not picked:
                continue
            logs = [
                (self._sources[i].data.select(self._sources[i].kept[episodes]), self._sources[i].response)
                for i, episodes in picked.items()
            ]
            rng = np.random.default_rng([self._config.train.seed, _PLAY, number, k])
            targets = None
            if self._config.data.dagger_spread > 1:
                targets = [self._spread(number, k, i, data) for i, (data, _) in zip(picked, logs, strict=True)]
            played = predicted_logs(bidder, task, logs, n_ticks=self._config.model.n_ticks, rng=rng, targets=targets)
            for (i, origin), log in zip(picked.items(), played, strict=True):
                if not (log.action > 0).any():
                    continue
                source = self._sources[i]
                episodes = source.like(log)
                visited[k, i] = Visited(episodes, origin[episodes.kept])
        return visited

    def _spread(self, number: int, target: int, source: int, data: TrajectoryData) -> Targets:
        """Budgets and targets of the episodes: of every second one the logged ones times factors, log-uniform.

        The other half keeps the logged ones, which most campaigns will have. One factor is for the budget and one for
        what the advertiser would pay, whatever it counts: its targets stay in proportion. The factors of a log's
        episodes are a Latin hypercube, so that few episodes cover the range, too.
        """
        rng = np.random.default_rng([self._config.train.seed, _SPREAD, number, target, source])
        n = -(-data.n_episodes // 2)
        place = (np.stack([rng.permutation(n), rng.permutation(n)]) + rng.random((2, n))) / n
        factors = np.ones((2, data.n_episodes))
        factors[:, rng.permutation(data.n_episodes)[:n]] = self._config.data.dagger_spread ** (2.0 * place - 1.0)
        money, price = factors
        return scaled_targets(data.targets.at(data.episode_starts[:-1]), money, price)

    def _picked(self, number: int, target: int, source: int) -> Int:
        """The episodes of a source that a round plays for a target, ascending: indices into the source's own."""
        episodes = self._sources[source]
        complete = np.isin(episodes.kept, complete_episodes(episodes.data, self._config.model.n_ticks))
        usable = np.flatnonzero(complete)
        if (target, source) in self._chosen:
            usable = np.intersect1d(usable, self._chosen[target, source])
        rng = np.random.default_rng([self._config.train.seed, _PLAY, number, target, source + 1])
        return np.sort(rng.permutation(usable)[: self._config.data.dagger_episodes])
