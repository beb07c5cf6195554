"""Logged episodes, or an episode that is being played, as windows: one definition of every number for both.

What is still to come of a quantity (return, cost, score) is its total less what there was before the tick; the total is
the realised one in training and the one asked for in use. All that is in float64 until the last step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.labels.relabel import Float, relabel, return_scale
from auction_env.control.bidder import Campaigns, TickView
from auction_env.data import TrajectoryData
from auction_env.tasks import BASES, LOWER_LIMITS, RATIO_BASES, REQUIREMENT_NAMES, earned
from vamo.alignment.pairs import Pairs
from vamo.baselines.settings import GenerativeSettings
from vamo.examples.episodes import Episodes
from vamo.examples.inputs import AMOUNT_COLUMNS, REQUIREMENT_INPUTS, Conditions, EpisodeInputs
from vamo.examples.normalisation import normalisation
from vamo.examples.sampler import EVALUATION, TRAIN

RETURN, COST, FIRST_SCORE = 0, 1, 2
"""Columns of what is to go: dimensionless return, cost over its limit, and one score a penalty exponent."""

KEPT = [c for c, name in enumerate(REQUIREMENT_INPUTS) if name != "return_to_go" and not name.endswith("_ratio")]
"""Requirement inputs that are known at the tick; the others say how the episode ends."""

_COLUMN = {name: column for column, name in enumerate(REQUIREMENT_NAMES)}
_AUGMENT = 202  # stream of random numbers, apart from those of `vamo.examples.sampler`


class Windows(NamedTuple):
    """n windows of W consecutive ticks, padded at the end; one group."""

    observation: Tensor  # (n, W, O) state, known requirements and advertiser, not normalised
    category: Tensor  # (n,) int64
    tick: Tensor  # (n, W) int64
    to_go: Tensor  # (n, W, C) at the start of the tick
    next_to_go: Tensor  # (n, W, C) at its end
    action: Tensor  # (n, W) log multiplier relative to the bid base that was played; 0 at the tick that is decided
    label: Tensor  # (n, W) the one that the policy learns: the played or the hindsight-optimal one
    mask: Tensor  # (n, W) 1 where the action counts
    seed: int  # of whatever noise the loss draws


class Statistics(NamedTuple):
    """Of the training data; all that a model knows of units."""

    observation_mean: Float  # (O,)
    observation_std: Float
    to_go_mean: Float  # (C,)
    to_go_std: Float
    action_mean: Float  # ()
    action_std: Float
    action_low: Float
    action_high: Float


def so_far(requirements: Float, base: Float, amounts: Float, cost: Float, penalties: Sequence[float]) -> Float:
    """What there was of every quantity, (n, C), from the amounts and the cost so far.

    The return is in units of `relabel.return_scale`. The cost of a task with limits on a ratio is what was spent more
    than the limit allows for the amounts so far, over the budget (the largest over the limits); it adds up over ticks
    and must not end above 0. That of a task without is the share of the budget spent, and must not end above 1. A
    score is the return times min(1, (limit / ratio so far) ** penalty), as in GAVE (arXiv 2504.14587).

    Args:
        requirements: (n, N_REQUIREMENTS).
        base: (n,) worth of a unit of the objective.
        amounts: (n, 4) in the order of `BASES`.
        cost: (n,) currency.
        penalties: Exponents of the scores.
    """
    budget = requirements[:, _COLUMN["budget"]]
    returned = earned(requirements, amounts, cost) / return_scale(budget, base)
    excess, ratio = np.full(len(cost), -np.inf), np.zeros(len(cost))
    for kind, counted in RATIO_BASES.items():
        has = requirements[:, _COLUMN[f"has_{kind}_limit"]] > 0
        limit = np.where(has, requirements[:, _COLUMN[f"{kind}_limit"]], 1.0)
        amount = amounts[:, BASES.index(counted)]
        allowed = amount / limit if kind in LOWER_LIMITS else amount * limit
        excess = np.where(has, np.maximum(excess, (cost - allowed) / budget), excess)
        realised = np.divide(cost, allowed, out=np.where(cost > 0, np.inf, 0.0), where=allowed > 0)
        ratio = np.where(has, np.maximum(ratio, realised), ratio)
    spent = np.where(np.isfinite(excess), excess, cost / budget)
    scores = [returned * np.maximum(ratio, 1.0) ** -penalty for penalty in penalties]
    return np.stack([returned, spent, *scores], axis=1)


class Tape:
    """Training or validation episodes of one task.

    Args:
        name: Label in errors.
        data: Trajectories of one task.
        settings: Of the algorithm.

    Raises:
        ValueError: Several tasks, ticks out of range, or no episode with an action.
    """

    def __init__(self, name: str, data: TrajectoryData, settings: GenerativeSettings) -> None:
        self._settings = settings
        self.episodes = Episodes(name, data, settings.config())
        self.task = self.episodes.task
        self._view = self.episodes.view(self.task)
        new = relabel(data, self.task)
        base = self.task.unit_worth(data.targets)
        before = so_far(new.requirements, base, new.amounts_so_far, new.cost_so_far, settings.penalties)
        last = data.episode_starts[1:] - 1
        amounts = np.stack([data[column] for column in AMOUNT_COLUMNS["expected"]], axis=1)
        total = so_far(
            new.requirements[last],
            base[last],
            (new.amounts_so_far + amounts)[last],
            (new.cost_so_far + data.cost)[last],
            settings.penalties,
        )
        rows = self.episodes.pad(np.repeat(total, np.diff(data.episode_starts), axis=0))
        self.total = rows[:, 0]  # (E, C)
        padded = self.episodes.pad(before)
        is_over = torch.arange(padded.shape[1] + 1) >= torch.from_numpy(self.episodes.length)[:, None]
        padded = torch.cat([padded, padded[:, -1:]], dim=1)
        self._so_far = torch.where(is_over[..., None], self.total[:, None], padded)  # (E, L + 1, C)
        state = self.episodes.state
        advertiser = self.episodes.advertiser[:, None].expand(-1, state.shape[1], -1)
        self._observation = torch.cat([state, self._view.requirements[..., KEPT], advertiser], dim=2)
        self._played = self.episodes.pad(new.action.astype(np.float32))
        self.extra: tuple[Tensor, Tensor] | None = None  # episodes and totals of the augmentation

    def statistics(self) -> Statistics:
        """Means and deviations over the ticks with an action; deviations of constants are 1."""
        n = normalisation([self.episodes], [self.task], [(0, 0)])
        to_go = (self.total[:, None] - self._so_far[:, :-1])[self._view.mask > 0].numpy()
        std = to_go.std(axis=0)
        return Statistics(
            np.concatenate([n.state_mean, n.requirements_mean[KEPT], n.advertiser_mean]),
            np.concatenate([n.state_std, n.requirements_std[KEPT], n.advertiser_std]),
            to_go.mean(axis=0),
            np.where(std > 1e-6, std, 1.0),
            n.action_mean,
            n.action_std,
            n.action_low,
            n.action_high,
        )

    def draw(self, n: int, key: Sequence[int], augmented_share: float = 0.0) -> Windows:
        """n random windows, determined by `key`; `augmented_share` of them with totals of `extra`."""
        context = self._settings.backbone.context
        episode, start = self.episodes.draw(n, context, key)
        total = self.total[episode]
        if self.extra is not None and augmented_share > 0:
            rng = np.random.default_rng([*key, _AUGMENT])
            chosen = torch.from_numpy(rng.random(n) < augmented_share)
            which = torch.from_numpy(rng.integers(len(self.extra[0]), size=n))
            episode = torch.where(chosen, self.extra[0][which], episode)
            total = torch.where(chosen[:, None], self.extra[1][which], total)
            length = torch.from_numpy(self.episodes.length)[episode]
            start = torch.minimum(start, (length - context).clamp_min(0))
        seed = int(np.random.default_rng(list(key)).integers(2**62))
        return self.windows(episode, start, total, seed=seed)

    def windows(self, episode: Tensor, start: Tensor, total: Tensor, *, seed: int = 0) -> Windows:
        """The windows that start at rows `start` (n,) of episodes (n,), with totals (n, C)."""
        row = start[:, None] + torch.arange(self._settings.backbone.context)
        index = (episode[:, None], row)
        return Windows(
            observation=self._observation[index],
            category=self.episodes.category[episode],
            tick=self.episodes.tick[index],
            to_go=(total[:, None] - self._so_far[index]).float(),
            next_to_go=(total[:, None] - self._so_far[episode[:, None], row + 1]).float(),
            action=self._played[index],
            label=self._view.action[index],
            mask=self._view.mask[index],
            seed=seed,
        )


class Player:
    """The acting side: follows n campaigns through an episode and gives the window of each tick.

    Args:
        campaigns: The n campaigns.
        total: (n, C) asked for.
        settings: Of the algorithm.
    """

    def __init__(self, campaigns: Campaigns, total: Float, settings: GenerativeSettings) -> None:
        self._inputs = EpisodeInputs(
            campaigns, conditions=Conditions(), signal="expected", budget_ratio=settings.agent.budget_ratio
        )
        self.base = self._inputs.base
        self._requirements = np.asarray(campaigns.requirements, np.float64)
        self._category = torch.from_numpy(np.asarray(campaigns.category, np.int64))
        self._total, self._settings = total, settings
        self._columns = tuple(f"last_{name}" for name in AMOUNT_COLUMNS["expected"])
        self._amounts, self._cost = np.zeros((len(total), len(BASES))), np.zeros(len(total))
        self._rows: list[tuple[Tensor, Tensor, int]] = []
        self._actions: list[Tensor] = []

    def observe(self, view: TickView) -> Windows:
        """The window that ends with this tick, whose action is 0; call once a tick, in order."""
        inputs = self._inputs.observe(view)
        self._amounts += np.stack([getattr(view, name) for name in self._columns], axis=1)
        self._cost += view.last_cost
        before = so_far(self._requirements, self.base, self._amounts, self._cost, self._settings.penalties)
        row = np.concatenate([inputs.state, inputs.requirements[:, KEPT], self._inputs.advertiser], axis=1)
        self._rows.append(
            (torch.from_numpy(row), torch.from_numpy((self._total - before).astype(np.float32)), view.tick)
        )
        rows = self._rows[-self._settings.backbone.context :]
        n = len(self._total)
        past = self._actions[len(self._actions) - len(rows) + 1 :]
        to_go = torch.stack([row[1] for row in rows], dim=1)
        return Windows(
            observation=torch.stack([row[0] for row in rows], dim=1),
            category=self._category,
            tick=torch.tensor([row[2] for row in rows]).expand(n, -1),
            to_go=to_go,
            next_to_go=torch.zeros_like(to_go),  # of labels: no decision reads it
            action=torch.stack([*past, torch.zeros(n)], dim=1),
            label=torch.zeros(n, len(rows)),  # as `next_to_go`
            mask=torch.ones(n, len(rows)),
            seed=view.tick,
        )

    def note(self, action: Tensor) -> None:
        """Remembers the action (n,) of the tick."""
        self._actions.append(action)


class TapeBatches:
    """Batches of one training and one validation tape, as `vamo.training.loop` asks for them."""

    def __init__(self, training: Tape, validation: Tape, settings: GenerativeSettings, augmented_share: float) -> None:
        self._training, self._validation = training, validation
        self._train, self._share = settings.train, augmented_share

    def train(self, step: int, pairs: Pairs) -> Windows:
        """The batch of a step."""
        return self._training.draw(self._train.batch_size, (self._train.seed, TRAIN, step), self._share)

    def alignment(self, step: int, pairs: Pairs, n: int) -> Windows:
        """Raises: one source has no alignment with others."""
        raise NotImplementedError("baselines train on one task: method 'single' takes no alignments")

    def validation(self, step: int, targets: Sequence[int], n: int) -> Windows:
        """Raises, as `alignment`."""
        raise NotImplementedError("baselines train on one task: method 'single' takes no alignments")

    def groups(self, batch: Windows, start: int, stop: int) -> Windows:
        """The one group."""
        assert (start, stop) == (0, 1)
        return batch

    episode_counts: Sequence[int] = ()  # no method of the baselines weights episodes

    def episodes(self, batch: Windows) -> Tensor:
        """Raises: where nothing is aligned, no episode is weighted."""
        raise NotImplementedError("baselines train on one task: method 'single' weights no episodes")

    def evaluation(self, target: int) -> Windows:
        """The fixed windows behind the validation loss."""
        return self._validation.draw(self._train.evaluation_windows, (self._train.seed, EVALUATION, 0))
