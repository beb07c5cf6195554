"""How outcomes respond to the bid, learned from logs: what another multiplier would have brought in a logged tick.

A log says what one multiplier brought. Within a tick the market is nearly the same for everybody once bids are
measured by its prices: cost per impression, as a share of the least winning cost, and the share of the traffic's
value that is exposed are functions of one number, the mean bid over the least winning cost. Both are fitted as
log-linear splines (generalised linear models with a Poisson likelihood), which have one best fit and no settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.labels.kernels import TickCurves, evaluate_rows
from agents.labels.relabel import Bool, Float
from auction_env.data import TrajectoryData, require
from auction_env.kernels.running.threads import ThreadChoice, run_shared
from auction_env.tasks import BASES, QUANTITIES, Task

N_KNOTS = 8
RIDGE = 1e-3  # on standardised coefficients, of a fit whose outcomes sum to 1: for a handful of trajectories
TRIM_CORE = 0.6
"""Share of the episodes that decide what is usual: up to 40 % of a log may be wrong."""
TRIM_SDS, TRIM_FACTOR, TRIM_LEAST = 3.0, 1.5, 10
"""How far an episode may lie from them: standard deviations, or a factor; and the fewest episodes that are trimmed."""
_CORE_QUANTILE = 0.8416  # of |z| at `TRIM_CORE`, z standard normal
_START_STEPS, _TRIM_STEPS = 2, 10
_MAX_STEPS, _TOLERANCE, _LONGEST_STEP = 50, 1e-8, 2.0
_TINY = 1e-12
_VALUES_A_BLOCK = 8192  # of curves: about 20 us
_evaluating = ThreadChoice()
_PURPOSE = "a model of how outcomes respond to bids"
_NEEDED = (
    "action", "bid", "n_impressions", "least_winning_cost", "cost", "wins",
    *(name for quantity in QUANTITIES.values() for name in (quantity.offered, quantity.expected)),
)  # fmt: skip


def uncensored(data: TrajectoryData) -> Bool:
    """(n,) ticks with a bid whose outcome no budget cut short: all with a bid but the last such tick of an episode."""
    active = np.asarray(data.action > 0)
    position = np.flatnonzero(active)
    episode = np.searchsorted(data.episode_starts, position, side="right")
    is_last = np.append(np.diff(episode) > 0, True)[: len(position)]
    active[position[is_last]] = False
    return active


OWN, CROSS, COST, WINS = "own", "cross", "cost", "wins"
"""The outcomes: the share of the traffic's predicted amount of what the bids are proportional to that is exposed; that
of anything else, of which bids pick the best impressions less surely; cost, as a share of what all impressions
would cost at the least winning cost; and the share of the impressions that is won."""
ANY = "any"
MIN_TICKS = 480  # ten days: curves of a basis of its own, rather than those of all


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Response:
    """Expected outcomes of a tick as functions of the log of the multiplier.

    Attributes:
        knots: (N_KNOTS,) of the log of the mean bid over the least winning cost.
        curves: For each of `tasks.BASES` that the logs bid on often enough (`MIN_TICKS`), and for `ANY`, which stands
            in for the others: for each outcome that the logs have (N_KNOTS + 2,) intercept, slope and changes of the
            slope at the knots, of the log of its share of its scale. GMV varies more between impressions than
            conversions do, so that the same mean bid wins more of the best ones and costs more.
    """

    knots: Float
    curves: dict[str, dict[str, Float]]

    @classmethod
    def fit(cls, data_sets: Iterable[TrajectoryData], *, is_trimmed: bool = False) -> Response:
        """Fits all curves to all ticks with a bid.

        Args:
            data_sets: The logs.
            is_trimmed: Whether episodes whose cost contradicts that of most others are left out (`_trimmed`).

        Raises:
            ValueError: There is no tick with a bid that no budget cut short.
        """
        logs = []
        for data in data_sets:
            require(data, ("action",), _PURPOSE)
            for part in _by_basis(data):
                mask = uncensored(part)
                known = mask & ~(np.isnan(part.wins) | np.isnan(part.cost))
                mask = known if known.any() else mask
                require(part, _NEEDED, _PURPOSE, mask)
                logs.append((part, mask))
        bid = np.concatenate([_log_bid(data)[mask] for data, mask in logs]) if logs else np.empty(0)
        if not len(bid):
            raise ValueError("`data_sets` must hold at least 2 ticks of an episode with an action above 0, found none")
        knots = np.quantile(bid, np.linspace(0, 1, N_KNOTS + 2)[1:-1])
        if is_trimmed:
            logs = _trimmed(logs, knots)
        curves = {ANY: _fit_curves(logs, knots)}
        for counted in BASES:
            own = [(data, mask) for data, mask in logs if data.tasks[data.task[0]].basis == counted]
            if sum(int(mask.sum()) for _, mask in own) >= MIN_TICKS:
                curves[counted] = curves[ANY] if len(own) == len(logs) else _fit_curves(own, knots)
        return cls(knots=knots, curves=curves)

    def _curves_of(self, basis: str) -> dict[str, Float]:
        """Curves of bids on a basis; what its logs lack comes from all."""
        return self.curves[ANY] | self.curves.get(basis, {})

    def outcomes(
        self, data: TrajectoryData, task: Task, log_multiplier: Float, *, counted: Sequence[str] | None = None
    ) -> dict[str, Float]:
        """Expected cost, and amounts of what the task counts, of every tick under each of m multipliers.

        Args:
            data: The log, n ticks.
            task: What the bids are proportional to, and what is counted.
            log_multiplier: (n, m) logs of the multipliers, of currency per unit of the objective.
            counted: What is counted instead of what the task needs: some of `tasks.BASES`, and `WINS`.

        Returns:
            Arrays (n, m) by column of a log, in its units, as if there were no budget.
        """
        names, ticks = self.tick_curves(data, task, counted=counted)
        shares = np.empty((len(ticks.curves), *log_multiplier.shape))
        known = (ticks.curves, ticks.knots, log_multiplier, ticks.shift, shares)
        run_shared(_evaluating, evaluate_rows, len(log_multiplier), shares.size // _VALUES_A_BLOCK, known)
        np.exp(shares, out=shares)
        parts = zip(names, ticks.scale, ticks.curve_idx, strict=True)
        return {name: scale[:, None] * shares[curve] for name, scale, curve in parts}

    def tick_curves(
        self, data: TrajectoryData, task: Task, *, counted: Sequence[str] | None = None
    ) -> tuple[tuple[str, ...], TickCurves]:
        """What `outcomes` evaluates: the names of its columns, cost first, and their curves."""
        n, price = np.maximum(data.n_impressions, 1.0), _price(data)
        own = np.maximum(data[QUANTITIES[task.basis].offered] / n, _TINY)
        outcomes = {"cost": (COST, data.n_impressions * price)}
        for amount in task.needs if counted is None else counted:
            if amount == WINS:
                outcomes["wins"] = (WINS, data.n_impressions.astype(np.float64))
            else:
                column = QUANTITIES[amount]
                outcomes[column.expected] = (OWN if amount == task.basis else CROSS, data[column.offered])
        curves, kinds = self._curves_of(task.basis), [kind for kind, _ in outcomes.values()]
        needed = sorted(set(kinds))
        return tuple(outcomes), TickCurves(
            curves=np.stack([curves[kind] for kind in needed]),
            knots=self.knots,
            shift=np.log(own / price),
            curve_idx=np.array([needed.index(kind) for kind in kinds]),
            scale=np.stack([scale for _, scale in outcomes.values()]),
        )


def _fit_curves(logs: Sequence[tuple[TrajectoryData, Bool]], knots: Float) -> dict[str, Float]:
    curves = {}
    for name in (COST, OWN, CROSS, WINS):
        samples = [sample for data, mask in logs for sample in _samples(name, data, mask)]
        if samples:  # a log of conversions alone has nothing else to count
            x, outcome, scale = (np.concatenate(part) for part in zip(*samples, strict=True))
            curves[name] = _poisson_fit(_basis(x, knots), outcome, scale)
    return curves


def _trimmed(logs: Sequence[tuple[TrajectoryData, Bool]], knots: Float) -> list[tuple[TrajectoryData, Bool]]:
    """The logs without the episodes whose cost contradicts that of most others.

    Least trimmed squares on episodes: the curve of costs is fitted to the `TRIM_CORE` of the episodes whose actual cost
    lies nearest to what it predicts, until they stay the same. An episode is left out if its log ratio of predicted to
    actual cost is more than `TRIM_SDS` standard deviations from theirs, and by more than a factor `TRIM_FACTOR`. So an
    episode that records other bids than were submitted does not bend the response behind the labels of the others,
    which do not depend on recorded bids themselves. Logs that are wrong throughout agree with themselves and stay.

    Source: P. Rousseeuw and K. Van Driessen, "Computing LTS regression for large data sets" (2006): concentration steps
    from several starts, the narrowest core wins; here on the log ratios of sums of Poisson means.
    """
    starts = np.cumsum([0, *(data.n_episodes for data, _ in logs)])
    numbers = [first + _episode_of(data) for first, (data, _) in zip(starts, logs, strict=False)]
    costs = _EpisodeCosts(logs, numbers, int(starts[-1]), knots)
    if costs.known.sum() < TRIM_LEAST:
        return list(logs)
    first = costs.ratios(costs.known)
    low, high = np.quantile(first[costs.known], [TRIM_CORE, 1 - TRIM_CORE])
    cores = [costs.core(first), costs.known & (first <= low), costs.known & (first >= high)]
    best = min((costs.concentrated(core, _START_STEPS) for core in cores), key=costs.width)
    core = costs.concentrated(best, _TRIM_STEPS)
    ratios = costs.ratios(core)
    centre, sd = float(np.median(ratios[core])), costs.width(core) / _CORE_QUANTILE
    is_kept = np.abs(ratios - centre) <= max(TRIM_SDS * sd, np.log(TRIM_FACTOR))
    is_kept |= ~costs.known
    return [(data, mask & is_kept[number]) for number, (data, mask) in zip(numbers, logs, strict=True)]


class _EpisodeCosts:
    """Predicted over actual cost of n episodes, under a curve that is fitted to some of them."""

    def __init__(
        self,
        logs: Sequence[tuple[TrajectoryData, Bool]],
        numbers: Sequence[NDArray[np.int64]],
        n: int,
        knots: Float,
    ) -> None:
        samples = [next(_samples(COST, data, mask)) for data, mask in logs]
        x, self._actual, self._scale = (np.concatenate(part) for part in zip(*samples, strict=True))
        self._basis, self._n = _basis(x, knots), n
        self._episode = np.concatenate([number[mask] for number, (_, mask) in zip(numbers, logs, strict=True)])
        self._cost = np.bincount(self._episode, self._actual, n)
        self.known: Bool = self._cost > 0  # others cost nothing: they have no ratio

    def ratios(self, core: Bool) -> Float:
        """(n,) logs of predicted over actual cost; 0 where unknown."""
        kept = core[self._episode]
        w = _poisson_fit(self._basis[kept], self._actual[kept], self._scale[kept])
        with np.errstate(over="ignore"):
            predicted = np.bincount(self._episode, self._scale * np.exp(np.minimum(self._basis @ w, 30.0)), self._n)
        found = np.zeros(self._n)
        found[self.known] = np.log(np.maximum(predicted[self.known], _TINY) / self._cost[self.known])
        return found

    def core(self, ratios: Float, around: Bool | None = None) -> Bool:
        """The episodes with the `TRIM_CORE` ratios nearest to the median, of all or of the present core."""
        centre = np.median(ratios[self.known if around is None else around])
        distance = np.where(self.known, np.abs(ratios - centre), np.inf)
        return np.asarray(distance <= np.quantile(distance[self.known], TRIM_CORE))

    def concentrated(self, core: Bool, n_steps: int) -> Bool:
        """The core after at most n steps of fitting and choosing anew."""
        for _ in range(n_steps):
            following = self.core(self.ratios(core), core)
            if (following == core).all():
                break
            core = following
        return core

    def width(self, core: Bool) -> float:
        """Largest distance of a ratio within the core from its median."""
        ratios = self.ratios(core)[core]
        return float(np.abs(ratios - np.median(ratios)).max())


def _episode_of(data: TrajectoryData) -> NDArray[np.int64]:
    """(n,) number of the episode of each tick."""
    return np.repeat(np.arange(data.n_episodes), np.diff(data.episode_starts))


def _by_basis(data: TrajectoryData) -> Iterator[TrajectoryData]:
    """The episodes of a log by what their bids were proportional to."""
    of_task = np.array([BASES.index(task.basis) for task in data.tasks])
    of_episode = of_task[data.task[data.episode_starts[:-1]]]
    for basis in np.unique(of_episode):
        yield data.select(np.flatnonzero(of_episode == basis))


def _samples(name: str, data: TrajectoryData, mask: Bool) -> Iterator[tuple[Float, Float, Float]]:
    """What a curve is fitted to: log bid over price, outcome and the scale that it is a share of, (k,) each.

    Money is in units of the target CPA, and amounts in conversions of the same worth, so that neither a currency nor a
    frequent event weighs more than another.
    """
    x = _log_bid(data)[mask]
    if name == COST:
        yield x, (data.cost / data.cpa_target)[mask], (data.n_impressions * _price(data) / data.cpa_target)[mask]
        return
    if name == WINS:
        yield x, data.wins[mask], data.n_impressions[mask]
        return
    own = data.tasks[data.task[0]].basis
    for counted, column in QUANTITIES.items():
        target = getattr(data.targets, column.target)
        if (counted == own) == (name == OWN) and target.all():  # 0: not recorded
            unit = data.cpa_target * target if counted == "gmv" else data.cpa_target / target
            yield x, (data[column.expected] / unit)[mask], (data[column.offered] / unit)[mask]


def _log_bid(data: TrajectoryData) -> Float:
    """(n,) log of the mean bid over the least winning cost."""
    mean_bid = data.bid / np.maximum(data.n_impressions, 1.0)
    return np.asarray(np.log(np.maximum(mean_bid, _TINY) / _price(data)))


def _price(data: TrajectoryData) -> Float:
    return np.maximum(data.least_winning_cost, _TINY)


def _basis(x: Float, knots: Float) -> Float:
    """Constant, x and its excess over every knot: (..., ) -> (..., N_KNOTS + 2); linear beyond the outer knots."""
    out = np.empty((*x.shape, 2 + len(knots)))
    out[..., 0], out[..., 1] = 1.0, x
    np.subtract(x[..., None], knots, out=out[..., 2:])
    np.maximum(out[..., 2:], 0.0, out=out[..., 2:])
    return out


def _poisson_fit(basis: Float, outcome: Float, scale: Float) -> Float:
    """Coefficients w of E[outcome] = scale x exp(basis w), by Newton's method with a ridge on standardised columns."""
    kept = scale > 0
    total = max(outcome[kept].sum(), _TINY)
    x, y, offset = basis[kept, 1:], outcome[kept] / total, np.log(scale[kept] / total)
    mean, std = x.mean(axis=0), x.std(axis=0)
    std = np.where(std > _TINY, std, 1.0)
    x = np.concatenate([np.ones((len(x), 1)), (x - mean) / std], axis=1)
    penalty = np.full(x.shape[1], RIDGE)
    penalty[0] = 0.0
    w = np.zeros(x.shape[1])
    w[0] = np.log(max(y.sum(), _TINY) / (scale[kept] / total).sum())

    def at(w: Float) -> tuple[float, Float]:
        """Minus the penalised log-likelihood, up to a constant, and the expected outcomes (k,)."""
        linear = x @ w
        expected = np.exp(np.minimum(linear + offset, 30.0))
        return float(expected.sum() - y @ linear + (penalty * w * w).sum() / 2), expected

    loss, expected = at(w)
    for _ in range(_MAX_STEPS):
        gradient = x.T @ (y - expected) - penalty * w
        hessian = (x * expected[:, None]).T @ x + np.diag(penalty + _TINY)
        step = np.linalg.solve(hessian, gradient)
        longest = float(np.abs(step).max())
        step = step * min(1.0, _LONGEST_STEP / max(longest, _TINY))
        new_loss, expected = at(w + step)
        while np.abs(step).max() > _TOLERANCE and new_loss > loss:  # it went past the minimum
            step = step / 2
            new_loss, expected = at(w + step)
        w, loss = w + step, new_loss
        if longest < _TOLERANCE:
            break
    slopes = w[1:] / std
    return np.concatenate([[w[0] - slopes @ mean], slopes])
