"""Options of the market: mechanisms, quality, floor noise, budget rule, clicks, delay; and a fuzz over all."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from scipy.stats import norm

from auction_env import BatchMarket, Funnel, Market, MarketParams, Population, TrafficParams
from auction_env.kernels.outcomes import delay_conversions
from auction_env.market.params import REFERENCE_IMPRESSIONS, Drift, Shock
from auction_env.tasks import BASES, TASKS
from benchmarks.speed.market import pid_episode
from benchmarks.speed.reference import numpy_market
from tests.reference import market as reference

N = 6


def small_population(n: int = N, budget: float = 40.0) -> Population:
    """Budgets in currency at REFERENCE_IMPRESSIONS / 1000 impressions, the size of `small_params`."""
    return Population(
        budget=tuple(budget * 1000 * (1 + 0.1 * j) for j in range(n)),
        cpa_target=tuple(80.0 + 5 * j for j in range(n)),
        category=tuple(j % 2 for j in range(n)),
    )


def small_params(**kwargs: object) -> MarketParams:
    defaults: dict[str, object] = {"n_impressions": REFERENCE_IMPRESSIONS // 1000, "n_ticks": 4}
    return MarketParams(**(defaults | kwargs))  # type: ignore[arg-type]


def run(market: BatchMarket, seeds: list[int], ratio: float = 1.2) -> dict[str, np.ndarray]:
    """Totals of each tick: (n_ticks, n_markets, n_advertisers)."""
    market.reset(seeds)
    results = []
    for tick in range(market.params.n_ticks):
        results.append(market.step(np.tile(market.cpa_target * (ratio + 0.1 * (tick % 3)), (len(seeds), 1))))
    names = (
        "bid", "wins", "exposures", "cost", "clicks", "expected_clicks", "add_to_carts", "expected_add_to_carts",
        "conversions", "expected_conversions", "gmv", "expected_gmv", "budget_left",
    )  # fmt: skip
    return {name: np.stack([getattr(r, name) for r in results]) for name in names}


QUALITY = (0.5, 1.0, 2.0, 1.3, 0.7, 1.0)
FUNNEL = Funnel(click_rate=(0.1, 0.2, 0.15, 0.3, 0.5, 1.0), cart_rate=0.12, order_value=2.0)
TASK_OF = {TASKS[name].basis: TASKS[name] for name in ("MaxConversions", "MaxClicks", "AddToCart", "TargetROAS")}


@pytest.mark.parametrize(
    "options",
    [
        {"mechanism": "vcg"},
        {"quality": QUALITY},
        {"reserve": 0.02, "reserve_noise": 0.5},
        {"funnel": FUNNEL},
        {"mechanism": "vcg", "quality": QUALITY, "reserve_noise": 0.5, "funnel": FUNNEL, "value_correlation": 0.4},
        {"mechanism": "first_price", "quality": QUALITY},
        {"first_price_share": 0.4},
        {"mechanism": "vcg", "quality": QUALITY, "first_price_share": 0.7},
        {"reserve": 4.5, "reserve_noise": 0.3, "is_unsold_at_reserve": True},
    ],
)
@pytest.mark.parametrize("budget", [4.0, 1e5])  # some and nobody runs out
def test_options_equal_the_sequential_reference(options: dict[str, object], budget: float) -> None:
    traffic = TrafficParams(value_mean=5e-2, value_correlation=options.pop("value_correlation", 0.0))
    params = small_params(traffic=traffic, **options)
    market = BatchMarket(params, small_population(budget=budget))
    bases = np.arange(N) % len(BASES) if params.funnel else np.zeros(N, np.int64)
    market.reset([11], bases=bases[None])
    budget_left, active = market.budget.copy(), np.ones(N, bool)
    traffic = market._episode.traffic
    funnel = None if params.funnel is None else asdict(params.funnel)
    if funnel is not None:
        funnel |= {name: np.broadcast_to(funnel[name], N) for name in ("click_rate", "cart_rate")}
        funnel["order_value"] = params.funnel.order_value * market.cpa_target
    for tick in range(params.n_ticks):

        def amounts(j: int, i: int, tick: int = tick) -> tuple[float, ...]:
            level = {"mean": traffic.mean[0, tick, j], "sd": traffic.sd[0, tick, j]}
            shared = params.traffic.value_correlation
            return reference.funnel_amounts(funnel, seed=11, tick=tick, j=j, i=i, shared=shared, **level)

        worth = np.array([TASK_OF[BASES[basis]].unit_worth(market.targets)[j] for j, basis in enumerate(bases)])
        multipliers = worth * np.linspace(0.8, 1.3, N) * (1 + 0.2 * tick)
        expected = reference.run_tick(
            market.values(), multipliers.astype(np.float32), budget_left, active, seed=11, tick=tick,
            reserve=np.float32(params.reserve), exposure=params.exposure, sigma=traffic.sigma[0],
            lower=traffic.lower[0], upper=traffic.upper[0], mechanism=params.mechanism,
            reserve_noise=params.reserve_noise, first_price_share=params.first_price_share,
            is_unsold_at_reserve=params.is_unsold_at_reserve,
            quality=None if params.quality is None else np.float32(params.quality),
            amounts=None if funnel is None else amounts,
        )  # fmt: skip
        result = market.step(multipliers[None])
        for name in ("wins", "exposures", "clicks", "add_to_carts", "conversions"):
            np.testing.assert_array_equal(getattr(result, name)[0], getattr(expected, name), err_msg=name)
        for name in (
            "cost",
            "expected_conversions",
            "bid",
            "expected_clicks",
            "expected_add_to_carts",
            "gmv",
            "expected_gmv",
        ):
            np.testing.assert_allclose(getattr(result, name)[0], getattr(expected, name), rtol=5e-6)
        np.testing.assert_allclose(result.least_winning_cost[0], expected.least_winning_cost, rtol=2e-6)
        if not result.done:
            np.testing.assert_array_equal(market.opening.active[0], active)
    assert active.all() == (budget == 1e5)


def test_neutral_options_change_nothing() -> None:
    plain = run(BatchMarket(small_params(), small_population(budget=4.0)), [5])
    neutral = small_params(quality=(1.0,) * N, reserve_noise=0.0, conversion_delay=0.0)
    same = run(BatchMarket(neutral, small_population(budget=4.0)), [5])
    for name in plain:
        np.testing.assert_array_equal(same[name], plain[name], err_msg=name)
    assert plain["clicks"].sum() == 0


def test_vcg_costs_less_than_gsp_and_both_less_than_first_price() -> None:
    totals = [
        run(BatchMarket(small_params(mechanism=m), small_population()), [5]) for m in ("vcg", "gsp", "first_price")
    ]
    for name in (
        "wins",
        "exposures",
        "conversions",
        "expected_conversions",
    ):  # at equal bids the allocation is the same
        np.testing.assert_array_equal(totals[0][name], totals[1][name])
        np.testing.assert_array_equal(totals[2][name], totals[1][name])
    vcg, gsp, first = (t["cost"].sum() for t in totals)
    assert vcg < gsp < first


def test_floors_are_log_normal_around_the_reserve() -> None:
    # one advertiser with one slot pays exactly the floor, so a multiplier just high enough sells at floors below it
    population = Population(budget=(1e9,), cpa_target=(100.0,), category=(0,))
    traffic = TrafficParams(value_mean=0.5, category_swing=0, advertiser_swing=0, sd_ratio_mean=0.1)
    params = MarketParams(
        n_impressions=20_000, n_ticks=1, n_slots=1, exposure=(1.0,), reserve=0.2, reserve_noise=0.3, traffic=traffic
    )  # fmt: skip
    market = Market(params, population)
    market.reset(1)
    result = market.step([100.0])
    assert result.wins[0] == 20_000
    mean = 0.2 * np.exp(0.3**2 / 2)
    error = mean * np.sqrt(np.expm1(0.3**2) / 20_000)
    assert abs(result.cost[0] / 20_000 - mean) < 4 * error
    market.reset(1)
    bids = market.values()[:, 0] * 0.5
    share = norm.cdf(np.log(bids / 0.2) / 0.3).mean()
    sold = market.step([0.5]).wins[0] / 20_000
    assert abs(sold - share) < 4 * np.sqrt(share * (1 - share) / 20_000)


def test_a_funnel_leaves_the_market_alone_and_nests_its_stages() -> None:
    traffic = TrafficParams(value_mean=0.02)
    population = small_population(budget=1e5)
    size = {"n_impressions": 20_000, "traffic": traffic}
    plain = run(BatchMarket(small_params(**size), population), [5])
    funnel = Funnel(click_rate=0.3, cart_rate=0.1, order_value=2.0)
    clicked = run(BatchMarket(small_params(**size, funnel=funnel), population), [5])
    for name in ("wins", "exposures", "conversions"):
        np.testing.assert_array_equal(clicked[name], plain[name])
    np.testing.assert_allclose(clicked["cost"], plain["cost"], rtol=1e-6)
    for sampled, predicted in (("clicks", "expected_clicks"), ("add_to_carts", "expected_add_to_carts")):
        n, expected = clicked[sampled].sum(), clicked[predicted].sum()
        assert abs(n - expected) < 4 * np.sqrt(expected), sampled
    # the most valuable impressions are won, and they are clicked more than the average one
    assert clicked["expected_clicks"].sum() > 0.3 * clicked["exposures"].sum()
    assert np.all(clicked["conversions"] <= clicked["add_to_carts"])
    assert np.all(clicked["add_to_carts"] <= clicked["clicks"])
    value, gmv = clicked["expected_gmv"].sum(), clicked["gmv"].sum()
    assert abs(gmv - value) < 4 * 2.0 * 105.0 * np.sqrt(1.5 * clicked["conversions"].sum()) + 0.05 * value


@pytest.mark.parametrize("basis", range(4))
def test_every_basis_bids_on_its_own_amount_and_sees_the_same_impressions(basis: int) -> None:
    market = BatchMarket(small_params(n_impressions=2000, funnel=FUNNEL, n_ticks=1), small_population())
    by_conversions = market.reset([3])
    bases = np.zeros((1, N), np.int64)
    bases[0, 2] = basis
    opening = market.reset([3], bases=bases)
    np.testing.assert_array_equal(opening.predicted_mean, by_conversions.predicted_mean)
    np.testing.assert_allclose(market.values()[:, 2].mean(), opening.predicted_mean[0, 2, basis], rtol=1e-5)
    multipliers = np.zeros((1, N))
    multipliers[0, 2] = 7.0
    result = market.step(multipliers)
    np.testing.assert_allclose(result.bid[0, 2], 7.0 * opening.predicted_mean[0, 2, basis] * 2000, rtol=1e-5)


def test_amounts_that_nobody_asks_for_are_not_drawn_and_change_nothing() -> None:
    """Two pairs of markets alike: what is known of one of a pair is drawn for both."""
    params = small_params(n_impressions=2000, funnel=FUNNEL)
    seeds, bases, known = [3, 3, 4, 4], np.zeros((4, N), np.int64), np.zeros((4, N), bool)
    bases[:, 2], known[1, 1] = BASES.index("clicks"), True
    every, few = BatchMarket(params, small_population(), 4), BatchMarket(params, small_population(), 4)
    every.reset(seeds, bases=bases)
    few.reset(seeds, bases=bases, known=known)
    is_drawn = np.zeros((4, N), bool)
    is_drawn[:2, 1] = is_drawn[:, 2] = True
    multipliers = np.tile(every.cpa_target, (4, 1))
    multipliers[:, 2] = 1.0
    for _ in range(params.n_ticks):
        wanted, found = every.opening.predicted_mean, few.opening.predicted_mean
        np.testing.assert_array_equal(wanted[is_drawn], found[is_drawn])
        np.testing.assert_array_equal(wanted[..., 0], found[..., 0])
        assert np.all(np.isnan(found[~is_drawn][:, 1:]))
        of_every, of_few = every.step(multipliers), few.step(multipliers)
        np.testing.assert_array_equal(of_every.totals, of_few.totals)
        np.testing.assert_array_equal(of_every.bid, of_few.bid)
    assert of_every.clicks.sum() > 0


def test_amounts_have_the_means_and_correlations_asked_for() -> None:
    traffic = TrafficParams(category_swing=0, advertiser_swing=0, sd_ratio_mean=0.2, sd_ratio_sd=0, sd_ratio_tick_sd=0)
    funnel = Funnel(click_sd=0.2, cart_sd=0.2, order_sd=0.2, click_correlation=0.5)
    population = Population(budget=(1e9,), cpa_target=(100.0,), category=(0,))
    params = MarketParams(n_impressions=100_000, n_ticks=1, traffic=traffic, funnel=funnel)
    market = Market(params, population)
    amounts = {}
    for index, basis in enumerate(BASES):
        opening = market.reset(1, bases=[index])
        amounts[basis] = market.values()[:, 0].astype(float)
    np.testing.assert_allclose(opening.predicted_mean[0, :3], [5e-4, 0.02, 0.004], rtol=0.01)
    order = amounts["gmv"] / amounts["conversions"]
    assert abs(order.mean() - 300.0) < 3.0
    for other, wanted in ((amounts["clicks"], 0.5), (amounts["add_to_carts"], 0.6), (order, -0.3)):
        assert abs(np.corrcoef(amounts["conversions"], other)[0, 1] - wanted) < 0.02


def test_bases_are_checked() -> None:
    market = Market(small_params(), small_population())
    with pytest.raises(ValueError, match="bids on clicks need a market with a funnel"):
        market.reset(0, bases=[1] + [0] * (N - 1))
    with pytest.raises(ValueError, match=r"`bases` must be integers of shape \(1, 6\), found int64 \(1, 2\)"):
        market.reset(0, bases=[0, 0])
    with pytest.raises(ValueError, match=r"`bases` must be indices into .* found 0 to 4"):
        market.reset(0, bases=[4] + [0] * (N - 1))


def test_delay_moves_conversions_to_later_ticks_and_loses_none() -> None:
    params = {"n_ticks": 12, "n_impressions": 3000, "traffic": TrafficParams(value_mean=0.05)}
    population = small_population(budget=1e5)
    prompt = run(BatchMarket(small_params(**params), population, 2), [5, 6])
    late = run(BatchMarket(small_params(**params, conversion_delay=1.5), population, 2), [5, 6])
    for market, seed in enumerate([5, 6]):
        made, reported = prompt["conversions"][:, market], late["conversions"][:, market]
        np.testing.assert_array_equal(reported, reference.report_conversions(made, seed=seed, mean_delay=1.5))
        np.testing.assert_array_equal(reported.sum(0), made.sum(0))
        assert np.all(np.cumsum(reported, 0) <= np.cumsum(made, 0))


def test_delays_are_geometric_up_to_the_last_tick() -> None:
    made, pending = np.array([[30_000.0]]), np.zeros((1, 12, 1))
    delay_conversions(np.array([3], np.uint64), 0, 0.6, made, pending)
    chance = 0.4 * 0.6 ** np.arange(12)
    chance[-1] = 0.6**11  # the rest is reported with the last tick
    error = np.sqrt(30_000 * chance * (1 - chance))
    assert np.all(np.abs(pending[0, :, 0] - 30_000 * chance) < 4 * error)
    assert made[0, 0] == pending[0, 0, 0]


@pytest.mark.parametrize("ratio", [1.5, 6.0])
def test_auctionnet_rule_equals_its_loop_in_numpy(ratio: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cost and value per advertiser of one overspent tick, over many seeds; only the drops are drawn differently."""
    params = small_params(n_ticks=1, n_impressions=2_000, budget_rule="auctionnet")
    population = small_population(budget=1.2)  # about half of what bids at the target would spend
    market = BatchMarket(params, population)
    got, expected = [], []
    for seed in range(60):
        u = [[reference.draw_uniform(seed, 0, s, 2, i) for s in range(3)] for i in range(2_000)]
        seen = np.cumprod(np.array(u) < np.array(params.exposure), axis=1).astype(bool)
        seen = np.concatenate([np.zeros((2_000, 1), bool), seen], axis=1)
        # AuctionNet's draws are the same in every round, and here they are the market's own
        monkeypatch.setattr(numpy_market, "_expose", lambda _, slot, __, s=seen: np.take_along_axis(s, slot, axis=1))
        market.reset([seed])
        multipliers = market.cpa_target * ratio * np.linspace(0.5, 1.5, N)
        values = market.values().astype(np.float64)
        traffic = numpy_market.draw_traffic(seed, params, population)
        cost, value = numpy_market._run_tick(
            np.random.default_rng(seed), params, traffic, values, 0.1 * values, multipliers, market.budget
        )
        expected.append(np.stack([cost, value]))
        result = market.step(multipliers[None])
        got.append(np.stack([result.cost[0], result.expected_conversions[0]]))
        assert np.all(result.cost[0] <= market.budget)
        assert np.all(result.budget_left >= 0)
    gap, scale = np.mean(got, 0) - np.mean(expected, 0), np.mean(expected, 0)
    error = np.std(np.array(got) - np.array(expected), axis=0) / np.sqrt(60)
    assert np.all(np.abs(gap) < 4 * error), (gap / scale, error / scale)
    assert np.all(error < 0.03 * scale)  # the test can see a difference
    rich = BatchMarket(params, small_population(budget=1e5))
    rich.reset([seed])
    assert np.any(rich.step(multipliers[None]).cost[0] > 1.2 * market.budget)  # somebody was held back


def test_auctionnet_rule_spreads_the_wins_over_the_tick_and_lets_overspenders_go_on() -> None:
    population = small_population(budget=1.0)
    rules = ("in_order", "auctionnet")
    in_order, dropping = (run(BatchMarket(small_params(budget_rule=r), population), [3], 3.0) for r in rules)
    assert not np.array_equal(in_order["cost"], dropping["cost"])
    # with few wins of a slot, the shares that are rounded up leave more
    market = BatchMarket(small_params(budget_rule="auctionnet", n_impressions=2_000), population)
    market.reset([3])
    market.step(3.0 * market.cpa_target[None])
    assert market.opening.active.all()  # pennies are left
    assert market.opening.budget_left.sum() < 0.3 * market.budget.sum()


def test_who_has_less_than_the_least_budget_bids_no_more() -> None:
    params = small_params(n_impressions=50, budget_rule="auctionnet", least_budget=22_500.0)
    market = BatchMarket(params, small_population(budget=20.0))  # 2.0 to 3.0 currency at this size
    least = 2.25
    opening = market.reset([3])
    has_enough = np.array([False, False, True, True, True, True])
    np.testing.assert_array_equal(opening.active[0], has_enough)
    result = market.step(60.0 * market.cpa_target[None])
    np.testing.assert_array_equal(result.bid[0] > 0, has_enough)
    np.testing.assert_array_equal(market.opening.active[0], result.budget_left[0] >= least)
    assert (market.opening.active[0] < has_enough).any()  # somebody spent too much to go on


def test_without_overspending_the_rules_agree() -> None:
    population = small_population(budget=1e5)
    rules = ("in_order", "auctionnet")
    in_order, dropping = (run(BatchMarket(small_params(budget_rule=r), population), [3]) for r in rules)
    for name in in_order:
        np.testing.assert_array_equal(in_order[name], dropping[name], err_msg=name)


@pytest.mark.parametrize("rule", ["in_order", "auctionnet"])
def test_an_episode_with_options_does_not_depend_on_its_batch(rule: str) -> None:
    params = small_params(
        budget_rule=rule, mechanism="vcg", reserve_noise=0.4, funnel=FUNNEL, conversion_delay=1.0,
        traffic=TrafficParams(value_mean=0.02),
    )  # fmt: skip
    population = small_population(budget=10.0)
    together = run(BatchMarket(params, population, 3), [7, 8, 9])
    for position, seed in enumerate([7, 8, 9]):
        alone = run(BatchMarket(params, population), [seed])
        for name, values in alone.items():
            np.testing.assert_array_equal(together[name][:, position], values[:, 0], err_msg=name)


def test_pacing_bidders_spend_alike_under_both_budget_rules() -> None:
    spent = []
    for rule in ("in_order", "auctionnet"):
        market = BatchMarket(MarketParams(n_impressions=5000, budget_rule=rule), n_markets=8)
        pid_episode(market, 0)
        spent.append(market.budget.sum() - market._state.budget_left.sum(1))
    assert np.mean(spent[1]) == pytest.approx(np.mean(spent[0]), rel=0.03)


def random_market(rng: np.random.Generator, n_markets: int) -> BatchMarket:
    n, n_slots = int(rng.integers(1, 10)), int(rng.integers(1, 9))
    params = MarketParams(
        n_impressions=int(rng.choice([1, 3, 40, 300])),
        n_ticks=int(rng.integers(1, 6)),
        n_slots=n_slots,
        exposure=tuple(rng.choice([0.0, 0.5, 0.9, 1.0], n_slots)),
        reserve=float(rng.choice([0.0, 0.01, 1.0, 1e6, 1e30], p=[0.3, 0.3, 0.3, 0.05, 0.05])),
        reserve_noise=float(rng.choice([0.0, 0.5])),
        mechanism=str(rng.choice(["gsp", "first_price", "vcg"])),
        quality=None if rng.random() < 0.5 else tuple(rng.choice([1e-3, 0.5, 1.0, 1e3], n)),
        budget_rule=str(rng.choice(["in_order", "auctionnet"])),
        funnel=None if rng.random() < 0.5 else Funnel(click_rate=tuple(rng.uniform(0.01, 1, n))),
        conversion_delay=float(rng.choice([0.0, 2.0])),
        traffic=TrafficParams(value_mean=float(rng.choice([1e-4, 0.05, 0.9]))),
    )
    budget = tuple(rng.choice([1e-9, 0.1, 10.0, 1e12], n) * REFERENCE_IMPRESSIONS / params.n_impressions)
    return BatchMarket(params, Population(budget=budget, cpa_target=(100.0,) * n, category=(0,) * n), n_markets)


@pytest.mark.parametrize("fuzz_seed", range(10))
def test_invariants_hold_in_thousands_of_random_markets(fuzz_seed: int) -> None:
    rng = np.random.default_rng(fuzz_seed)
    for _ in range(15):
        market = random_market(rng, n_markets=20)  # 10 x 15 x 20 = 3000 markets
        params, shape = market.params, (20, market.n_advertisers)
        market.reset(rng.integers(0, 2**62, 20))
        spent, exposed, clicked, converted, offered = (np.zeros(shape) for _ in range(5))
        for _ in range(params.n_ticks):
            before = market.opening
            multipliers = 100.0 * rng.choice([0.0, 0.3, 1.0, 30.0, 1e28], shape, p=[0.1, 0.3, 0.3, 0.25, 0.05])
            result = market.step(multipliers)
            for field in (result.bid, result.cost, result.expected_conversions, result.least_winning_cost):
                assert np.all(np.isfinite(field)), params
            n = result.n_impressions[:, None]
            assert np.all(result.cost <= np.float32(multipliers) * result.expected_conversions * (1 + 1e-5)), (
                params
            )  # price <= bid
            assert np.all(result.exposures <= result.wins), params
            assert np.all(result.wins <= n), params
            assert np.all(result.wins.sum(1) <= min(params.n_slots, shape[1]) * result.n_impressions), params
            assert np.all(result.wins[~before.active] == 0), params
            assert np.all(result.clicks <= result.exposures), params
            if params.reserve_noise == 0:
                assert np.all(result.cost >= np.float32(params.reserve) * result.exposures * (1 - 1e-5)), params
            spent += result.cost
            exposed += result.exposures
            clicked += result.clicks
            converted += result.conversions
            offered += n
            np.testing.assert_allclose(  # money paid = revenue
                market.budget - result.budget_left, spent, rtol=1e-9, atol=1e-12 * market.budget.max()
            )
            assert np.all(spent <= market.budget * (1 + 1e-12)), params
            assert np.all(result.budget_left >= 0), params
        assert np.all(offered == params.n_impressions), params
        assert np.all(converted <= exposed), params
        if params.funnel is not None:
            assert np.all(converted <= clicked), params
        if params.reserve == 1e30:
            assert exposed.sum() == 0 or params.reserve_noise > 0, params


def test_one_advertiser_and_more_slots_than_advertisers() -> None:
    for mechanism in ("gsp", "vcg"):
        params = MarketParams(n_impressions=300, n_ticks=2, n_slots=8, exposure=(1.0,) * 8, mechanism=mechanism)
        market = Market(params, Population(budget=(1e9,), cpa_target=(100.0,), category=(0,)))
        market.reset(0)
        n_bids = (market.values() > 0).sum()  # a few values are cut to 0
        result = market.step([1e6])
        assert result.wins[0] == n_bids
        np.testing.assert_allclose(result.cost[0], 0.01 * n_bids, rtol=1e-6)  # pays the reserve


def test_a_reserve_above_every_bid_sells_nothing() -> None:
    market = Market(small_params(reserve=1e6), small_population())
    market.reset(0)
    result = market.step(market.cpa_target)
    assert result.wins.sum() == result.cost.sum() == 0
    assert result.least_winning_cost == pytest.approx(1e6)
    assert market.opening.active.all()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_impressions": 1.5}, "`n_impressions` must be an integer, found 1.5"),
        ({"n_ticks": float("nan")}, "`n_ticks` must be an integer, found nan"),
        ({"n_slots": True}, "`n_slots` must be an integer, found True"),
        ({"reserve": float("inf")}, "`reserve` must be finite and not negative, found inf"),
        ({"reserve": 1e31}, r"`reserve` must be at most 1e\+30, found 1e\+31"),
        ({"first_price_share": 1.5}, r"`first_price_share` must lie in \[0, 1.0\], found 1.5"),
        ({"reserve_noise": -0.1}, r"`reserve_noise` must lie in \[0, 2.0\], found -0.1"),
        ({"reserve_noise": float("nan")}, r"`reserve_noise` must lie in \[0, 2.0\], found nan"),
        ({"quality": (1.0, 0.0)}, r"`quality` must lie in \[0.001, 1000.0\], found 0.0"),
        ({"quality": (1.0, float("nan"))}, r"`quality` must lie in \[0.001, 1000.0\], found nan"),
        ({"budget_rule": "soft"}, "`budget_rule` must be one of .* found 'soft'"),
        ({"is_unsold_at_reserve": 1}, "`is_unsold_at_reserve` must be True or False, found 1"),
        ({"is_unsold_at_reserve": True, "mechanism": "vcg"}, "`is_unsold_at_reserve` needs `mechanism` 'gsp' .* 'vcg'"),
        ({"least_budget": -1.0}, "`least_budget` must be finite and not negative, found -1.0"),
        ({"conversion_delay": -1.0}, "`conversion_delay` must be finite and not negative, found -1.0"),
        ({"conversion_delay": float("inf")}, "`conversion_delay` must be finite and not negative, found inf"),
    ],
)
def test_bad_parameters_are_named(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MarketParams(**kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"click_rate": 0.0}, r"`click_rate` must lie in \(0, 1\], found 0.0"),
        ({"cart_rate": (0.5, 1.5)}, r"`cart_rate` must lie in \(0, 1\], found 1.5"),
        ({"order_value": -1.0}, "`order_value` must be positive and finite, found -1.0"),
        ({"click_sd": 2.0}, r"`click_sd` must lie in \[0, 1\], found 2.0"),
        ({"order_correlation": -1.5}, r"`order_correlation` must lie in \[-1, 1\], found -1.5"),
    ],
)
def test_bad_funnels_are_named(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Funnel(**kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["quality", "click_rate", "order_value"])
def test_parameters_of_advertisers_must_fit_the_population(name: str) -> None:
    params = (
        small_params(quality=(1.0, 1.0)) if name == "quality" else small_params(funnel=Funnel(**{name: (1.0, 1.0)}))
    )
    with pytest.raises(ValueError, match=rf"`{name}` must have one entry an advertiser \(6\), found 2"):
        Market(params, small_population())


def test_a_multiplier_beyond_float32_is_named() -> None:
    market = Market(small_params(), small_population())
    market.reset(0)
    with pytest.raises(ValueError, match=r"`multipliers` must be at most 1e\+30, found 1e\+300"):
        market.step([1e300] * N)


def test_parameters_round_trip_through_json() -> None:
    params = MarketParams(
        n_impressions=480,
        quality=(1.0, 2.5),
        least_budget=0.1,
        funnel=Funnel(click_rate=(0.02, 0.03)),
        traffic=TrafficParams(
            weekly_curve=tuple((1.0, 2.0 + day) for day in range(7)),
            drift=Drift(volume=0.01, seed=3),
            shocks=(Shock(probability=0.5, length=(2, 3)),),
        ),
    )
    assert MarketParams.from_json(params.to_json()) == params
    assert MarketParams.from_json("{}") == MarketParams()
    with pytest.raises(ValueError, match=r"`traffic` must have keys of .*, found 'curve'"):
        MarketParams.from_json('{"traffic": {"curve": []}}')
    with pytest.raises(ValueError, match="`funnel` must be a JSON object, found 3"):
        MarketParams.from_json('{"funnel": 3}')
