"""The full-information optimum of one advertiser's day, as a linear programme: what no bidder can beat.

Given what each slot of each impression would have cost, take the shares x of impressions and slots that

    maximise sum x v   subject to   sum x c <= budget,   sum x (c - price g) <= 0 for each cost ratio,
    sum over the slots of an impression <= 1,   0 <= x <= 1,

where v is the amount of the objective (of the surplus: GMV minus cost), c the cost and g the amount that a ratio (CPA,
CPC, ROAS) counts, at its allowed price. v, c and g are expectations over exposure: a slot's count with the probability
that it is seen.

**What it bounds.** The expected amount of the objective of every policy that keeps budget and ratios, those that bid
on each impression as they like included, against competitors whose bids are the ones recorded. A slot costs what the
advertiser ranked there by the others would have bid (GSP and first price), so the slot structure is in it.

**What it does not bound.** Luck: an episode whose exposures (in the market's draws) or conversions (in sampled scores)
come out above their expectation may beat it. Competitors that answer: live ones pace their budgets and would bid
otherwise had the advertiser played otherwise; the bound is for the bids they made against the bidder it was recorded
with. Scores of those who break a limit: the penalty (limit / realised) ** beta is soft, and where keeping the limit
would win next to nothing a bidder above it scores several times the optimum; `score_bound` bounds the score, as the
best over all relaxations of the limit. Delivery and smoothness limits are left out, which keeps both bounds.

The fast solver goes up by cutting planes in the dual (Kelley 1960; column generation in the primal): the dual has one
price a constraint, each evaluation is one pass over the impressions, and what it finds is a feasible primal solution as
well. Both ends are reported, so the gap is a certificate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog

from agents.hindsight.prices import check_prices_settled, slot_payments, slot_prices
from agents.hindsight.tracing import traced_episode
from agents.learning.bars import Count, counted
from agents.rollouts import Episodes, check_days
from auction_env.control.bidder import Bidder
from auction_env.control.simulation import LiveMarket, Simulation
from auction_env.integers import check_integers
from auction_env.market.market import BatchMarket
from auction_env.market.params import MarketParams
from auction_env.market.population import Population, auctionnet_population
from auction_env.tasks import BASES, LOWER_LIMITS, RATIO_BASES, Targets, Task

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_MAX_CUTS = 500
_TOLERANCE = 1e-6


class Offers(NamedTuple):
    """What one advertiser could have had: n impressions with k slots, expectations over exposure.

    Attributes:
        value: (k, n) amount of the objective.
        cost: (k, n) currency.
        gained: For each cost ratio (k, n), the amount that it counts.
        allowed: For each cost ratio the most that a unit may cost, currency.
        budget: Currency.
    """

    value: Float
    cost: Float
    gained: dict[str, Float]
    allowed: dict[str, float]
    budget: float


class Optimum(NamedTuple):
    """A solved programme.

    Attributes:
        value: Amount of the objective of a feasible solution.
        bound: Upper bound on that of all feasible solutions; equal to `value` up to the gap.
        cost: What the solution spends, currency.
        prices: Dual prices, the objective's amount per currency, of the budget and of each ratio.
        n_passes: Evaluations of the dual; 0 where HiGHS solved it.
    """

    value: float
    bound: float
    cost: float
    prices: dict[str, float]
    n_passes: int

    @property
    def gap(self) -> float:
        """Relative duality gap: by how much of the bound the two ends differ."""
        return max(0.0, 1.0 - self.value / self.bound) if self.bound > 0 else 0.0  # rounding may pass 0


def record_offers(
    bidder: Bidder,
    *,
    seed: int,
    advertiser: int,
    task: Task,
    params: MarketParams | None = None,
    population: Population | None = None,
    day: int | None = None,
    competitors: Mapping[int, Bidder] | None = None,
) -> Offers:
    """What every impression of an episode would have cost, given what the others bid in it.

    Args:
        bidder: Plays the advertiser meanwhile: the others' bids are those that they make against it.
        seed, advertiser, day: The episode.
        task: Whose objective and ratios count.
        params, population, competitors: The market, as for `rollout`.

    Raises:
        ValueError: The market's slots have no price that the others' bids settle: a share of first price
            (`first_price_share`), or reserves of each impression's own (`reserve_noise`); or what comes of an
            impression is not known in its tick (`trace_tick`).
    """
    params, population = params or MarketParams.for_task(task), population or auctionnet_population()
    check_prices_settled(params)
    simulation = Simulation(
        params,
        population,
        controlled_market=np.zeros(1, np.int64),
        controlled_advertiser=np.asarray([advertiser]),
        n_markets=1,
        task=task,
        competitors=competitors,
    )
    days = None if day is None else [day]
    simulation.reset([seed], days)
    counting = {basis: BatchMarket(params, population) for basis in task.needs if basis != task.basis}
    for basis, market in counting.items():
        market.reset([seed], days, np.full((1, market.n_advertisers), BASES.index(basis)))
    targets = simulation.campaigns().targets.at(0)
    amounts: dict[str, list[Float]] = {basis: [] for basis in task.needs}
    prices = []
    for traced in traced_episode(simulation, bidder):
        amounts[task.basis].append(traced.value[:, advertiser].astype(np.float64))
        for basis, market in counting.items():
            amounts[basis].append(market.values()[:, advertiser].astype(np.float64))
            market.step(np.zeros((1, market.n_advertisers)))
        prices.append(slot_payments(params, slot_prices(params, traced.bid, advertiser)))
    of_all = {basis: np.concatenate(parts) for basis, parts in amounts.items()}
    return _offers(params, task, targets, np.concatenate(prices, axis=1), of_all)


def _offers(params: MarketParams, task: Task, targets: Targets, prices: Float, amounts: Mapping[str, Float]) -> Offers:
    seen = np.cumprod(params.exposure)[:, None]
    gained: dict[str, Float] = {}
    allowed: dict[str, float] = {}
    for constraint in task.constraints:
        if constraint.kind in RATIO_BASES:
            limit = float(constraint.limit_of(targets))
            gained[constraint.kind] = seen * amounts[RATIO_BASES[constraint.kind]]
            allowed[constraint.kind] = 1.0 / limit if constraint.kind in LOWER_LIMITS else limit
    value = seen * task.net(amounts[task.basis], prices)
    return Offers(value, seen * prices, gained, allowed, float(targets.budget))


def solve(offers: Offers, method: Literal["dual", "highs"] = "dual", *, tolerance: float = _TOLERANCE) -> Optimum:
    """The optimum: by cutting planes in the dual, or by HiGHS on the whole programme (small ones).

    Args:
        offers: The programme.
        method: `dual` or `highs`.
        tolerance: Relative duality gap at which the dual's cutting planes stop.

    Raises:
        ValueError: Another method, or a tolerance that is not positive.
        RuntimeError: HiGHS failed, or the gap is still above the tolerance after 500 cuts.
    """
    if method not in ("dual", "highs"):
        raise ValueError(f"`method` must be 'dual' or 'highs', found {method!r}")
    if not tolerance > 0:
        raise ValueError(f"`tolerance` must be positive, found {tolerance}")
    return _solve_dual(offers, tolerance) if method == "dual" else _solve_highs(offers)


def score_bound(offers: Offers, beta: float = 2.0, *, tolerance: float = 2e-3) -> float:
    """Upper bound on the score of a task with at most one cost ratio, broken limits included.

    A solution whose realised ratio is r >= 1 times the limit scores its amount times r ** -beta, and the amount is at
    most the optimum V(r) under the relaxed limit. Over an interval [a, b] of r that is at most V(b) a ** -beta; the
    interval with the highest bound is halved until no bound is above the best V(r) r ** -beta by more than the
    tolerance.

    Args:
        offers: The programme, with the task's own limit.
        beta: Exponent of the penalty (`Task.beta`).
        tolerance: Relative gap.

    Raises:
        ValueError: Several ratios, or a tolerance that is not positive.
    """
    if len(offers.allowed) > 1:
        raise ValueError(f"the bound of a score needs at most one cost ratio, found {sorted(offers.allowed)}")
    if not tolerance > 0:
        raise ValueError(f"`tolerance` must be positive, found {tolerance}")
    cuts: list[Float] = []
    kept = _solve_dual(offers, _TOLERANCE, cuts).bound
    most = solve(offers._replace(gained={}, allowed={})).bound  # V at any r
    if beta == 0 or kept <= 0 or most <= kept * (1 + tolerance):
        return most
    best = kept
    # past this r even the most scores less than what keeps the limit
    intervals = [(most, 1.0, (most / kept) ** (1 / beta))]  # (bound, low, high); log r is halved
    while True:
        intervals.sort()
        upper, low, high = intervals.pop()
        if upper <= best * (1 + tolerance):
            return max(upper, best)
        middle = float(np.sqrt(low * high))
        amount = _solve_dual(_relaxed(offers, middle), _TOLERANCE, cuts).bound
        best = max(best, amount * middle**-beta)
        at_high = upper * low**beta  # V(high)
        intervals += [(amount * low**-beta, low, middle), (at_high * middle**-beta, middle, high)]


def _relaxed(offers: Offers, factor: float) -> Offers:
    return offers._replace(allowed={kind: price * factor for kind, price in offers.allowed.items()})


def _solve_dual(offers: Offers, tolerance: float, cuts: list[Float] | None = None) -> Optimum:
    """Cutting planes; `cuts` of the same offers under other limits are a start, and get those that are added."""
    cuts = [] if cuts is None else cuts
    unit = max(float(np.maximum(offers.value.max(axis=0), 0.0).sum()), np.finfo(float).tiny)
    prices = _solve_cuts(offers, cuts, unit)[1] if cuts else np.zeros(1 + len(offers.allowed))
    bound = np.inf
    for n_passes in range(1, _MAX_CUTS + 1):
        reduced, cut = _best_answer(offers, prices * unit)
        bound = min(bound, float(prices[0]) * unit + reduced)
        cuts.append(cut)
        value, prices, cost = _solve_cuts(offers, cuts, unit)
        if bound - value <= tolerance * bound:
            return Optimum(value, bound, cost, _named(offers, prices * unit / offers.budget), n_passes)
    raise RuntimeError(f"the duality gap must fall to {tolerance} within {_MAX_CUTS} cuts, found {1 - value / bound}")


def _best_answer(offers: Offers, prices: Float) -> tuple[float, Float]:
    """At these prices, the sum of the reduced values that are positive; value, cost and amounts of those chosen."""
    reduced = offers.value - offers.cost * (prices.sum() / offers.budget)
    for price, (kind, allowed) in zip(prices[1:], offers.allowed.items(), strict=True):
        if price > 0:
            reduced += offers.gained[kind] * (price * allowed / offers.budget)
    best = reduced.max(axis=0)
    chosen = best > 0
    slot, impression = reduced.argmax(axis=0)[chosen], np.flatnonzero(chosen)
    sums = [float(part[slot, impression].sum()) for part in (offers.value, offers.cost, *offers.gained.values())]
    return float(best[chosen].sum()), np.asarray(sums)


def _solve_cuts(offers: Offers, cuts: list[Float], unit: float) -> tuple[float, Float, float]:
    """The best mix of the answers so far, which is feasible: its value, the prices in `unit` of value, its cost.

    What is used of the budget is at most 1 of it; what is used of a ratio's slack, in budgets too, at most 0.
    """
    value, cost, *gained = np.stack(cuts, axis=1)  # (columns,) each
    used = [cost - amount * allowed for amount, allowed in zip(gained, offers.allowed.values(), strict=True)]
    rows = np.concatenate((np.stack([cost, *used]) / offers.budget, np.ones((1, len(cuts)))))
    limits = np.concatenate(([1.0], np.zeros(len(used)), [1.0]))
    solved = linprog(-value / unit, A_ub=rows, b_ub=limits, method="highs")
    if solved.status != 0:
        raise RuntimeError(f"HiGHS must solve the programme of the cuts, found: {solved.message}")
    return -solved.fun * unit, np.maximum(-solved.ineqlin.marginals[:-1], 0.0), float(cost @ solved.x)


def _solve_highs(offers: Offers) -> Optimum:
    k, n = offers.value.shape
    slack = [offers.cost - offers.gained[kind] * allowed for kind, allowed in offers.allowed.items()]
    rows = np.stack([used.ravel() / offers.budget for used in (offers.cost, *slack)])
    one_slot = scipy.sparse.hstack([scipy.sparse.identity(n, format="csr")] * k)
    limits = np.concatenate(([1.0], np.zeros(len(offers.allowed)), np.ones(n)))
    solved = linprog(
        -offers.value.ravel(),
        A_ub=scipy.sparse.vstack([scipy.sparse.csr_matrix(rows), one_slot], format="csr"),
        b_ub=limits,
        bounds=(0, 1),
        method="highs",
    )
    if solved.status != 0:
        raise RuntimeError(f"HiGHS must solve the programme, found: {solved.message}")
    prices = np.maximum(-solved.ineqlin.marginals[: len(rows)], 0.0)
    value = float(-solved.fun)
    cost = float(offers.cost.ravel() @ solved.x)
    return Optimum(value, value, cost, _named(offers, prices / offers.budget), 0)


def _named(offers: Offers, prices: Float) -> dict[str, float]:
    return dict(zip(("budget", *offers.allowed), prices.tolist(), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreBounds:
    """Upper bounds on the scores of episodes, and which episodes these are.

    Attributes:
        amount: (n,) of the objective.
        seed, advertiser: (n,) int64.
        day: (n,) int64; None where the market drew it from the seed.
        task: Of the advertisers.
        market: What the episodes are played in.
    """

    amount: Float
    seed: Int
    advertiser: Int
    day: Int | None
    task: Task
    market: LiveMarket


def lp_reference(
    bidder: Bidder,
    *,
    seeds: ArrayLike,
    advertisers: ArrayLike,
    task: Task,
    params: MarketParams | None = None,
    population: Population | None = None,
    days: ArrayLike | None = None,
    competitors: Mapping[int, Bidder] | None = None,
    progress: Count | bool | None = None,
) -> ScoreBounds:
    """`score_bound` of each episode, against the bids that the others make when `bidder` plays it.

    Args as for `rollout`. The task may have one cost ratio at most.
    """
    check_days(seeds, days)
    seed, advertiser = check_integers("seeds", seeds), check_integers("advertisers", advertisers)
    day = None if days is None else check_integers("days", days)
    market = LiveMarket(
        params=params or MarketParams.for_task(task),
        population=population or auctionnet_population(),
        competitors=competitors,
    )
    amounts = []
    with counted(progress, "full-information bounds", len(seed)) as tell:
        for position in range(len(seed)):
            offers = record_offers(
                bidder,
                seed=int(seed[position]),
                advertiser=int(advertiser[position]),
                task=task,
                params=market.params,
                population=market.population,
                day=None if day is None else int(day[position]),
                competitors=competitors,
            )
            amounts.append(score_bound(offers, task.beta))
            if tell is not None:
                tell(1)
    return ScoreBounds(amount=np.asarray(amounts), seed=seed, advertiser=advertiser, day=day, task=task, market=market)


def shares_of(reference: ScoreBounds, episodes: Episodes, *, expected: bool = True) -> Float:
    """(n,) scores of episodes as shares of their bounds; NaN where there is nothing to have.

    Args:
        reference: Of the same episodes: `lp_reference`.
        episodes: Finished episodes.
        expected: Of expected instead of sampled amounts, which is what the reference is.

    Raises:
        ValueError: The reference is of other episodes, of another task or of another market.
    """
    if reference.task != episodes.task:
        raise ValueError(f"`reference` must be of the episodes' task, found {reference.task} and {episodes.task}")
    for name in ("seed", "advertiser", "day"):
        own = getattr(reference, name)
        if own is not None and not np.array_equal(own, getattr(episodes, name)):
            raise ValueError(f"`reference` must be of the same episodes, found another `{name}`: {own.tolist()}")
    if difference := reference.market.difference(episodes.market):
        raise ValueError(f"`reference` must be of the market of the episodes, found {difference}")
    score, amount = episodes.score(expected=expected), reference.amount
    return np.divide(score, amount, out=np.full_like(score, np.nan), where=amount > 0)
