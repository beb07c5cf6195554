"""BAT's campaigns: the rules of its simulator hour by hour, against a plain loop over the tables; bad tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from agents import FixedBidder, PidBidder, rollout
from agents.rollouts import to_trajectories
from auction_env import data
from auction_env.control.bidder import ImpressionBids, TickView
from auction_env.data import TableError
from auction_env.replay.bat.market import BatMarket, read_bat, sum_of_clicks
from auction_env.replay.bat.storage import import_bat, load_bat
from auction_env.replay.storage import ReplayError
from auction_env.tasks import Task

HOUR, START = 3600, 1_700_000_000 // 3600 * 3600
CLICKS, CONTACTS = Task(name="clicks", objective="clicks"), Task(name="contacts")


def tables(seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Three campaigns of 5, 3 and 1 hours in BAT's columns; the last one has no statistics."""
    rng = np.random.default_rng(seed)
    campaigns = pd.DataFrame(
        {
            "campaign_id": [70, 31, 55],
            "loc_id": 1,
            "item_id": [700, 310, 550],
            "campaign_start_date": "2023-11-14",
            "campaign_start": [START + 700, START + HOUR, START],  # the first one within an hour
            "campaign_end": [START + 5 * HOUR, START + 4 * HOUR, START + HOUR],
            "auction_budget": [25.0, 15.0, 50.0],
            "microcat_ext": 4,
            "logical_category": "Transport.UsedCars",
            "region_id": [5, 6, 7],
            "campaign_end_date": "2023-11-15",
        }
    )
    rows: list[dict[str, Any]] = []
    for number, first, n_hours in ((70, 0, 6), (31, 1, 3), (99, 0, 5)):  # an hour too many, an unknown campaign
        for hour in range(first, first + n_hours):
            for price_bin in np.sort(rng.choice(np.arange(-4, 16), 5, replace=False)):
                contacts, clicks = rng.uniform(0.05, 1.0), rng.uniform(0.5, 4.0)
                rows.append(
                    {
                        "item_id": 10 * number, "campaign_id": number, "period": float(START + HOUR * hour),
                        "contact_price_bin": price_bin, "AuctionVisibilitySurplus": 10 * clicks,
                        "AuctionClicksSurplus": clicks, "AuctionContactsSurplus": contacts,
                        "AuctionWinBidSurplus": 0.8 * contacts * 1.2**price_bin, "CTRPredicts": 0.1,
                        "CRPredicts": 0.2, "AuctionCount": 3.0,
                    }
                )  # fmt: skip
    return campaigns, pd.DataFrame(rows).sample(frac=1.0, random_state=1)


def played(campaigns: pd.DataFrame, stats: pd.DataFrame, prices: np.ndarray, mechanism: str) -> dict[int, list[Any]]:
    """Balance, clicks and contacts after each hour of each campaign that bids `prices`: a loop as one writes it."""
    out: dict[int, list[Any]] = {}
    for _, campaign in campaigns.iterrows():
        left, time, tick, hours = campaign.auction_budget, campaign.campaign_start // HOUR * HOUR, 0, list[Any]()
        clicks = contacts = 0.0
        while time < campaign.campaign_end:
            bid = prices[tick]
            own = stats[
                (stats.campaign_id == campaign.campaign_id) & (stats.period >= time) & (stats.period < time + HOUR)
            ]
            won = own[own.contact_price_bin <= np.round(np.log(bid) / np.log(1.2))].sum()
            spent = won.AuctionWinBidSurplus if mechanism == "vcg" else won.AuctionContactsSurplus * bid
            share = left / spent if spent > left else 1.0
            left, clicks = left - spent * share, clicks + won.AuctionClicksSurplus * share
            contacts += won.AuctionContactsSurplus * share
            hours.append((left, clicks, contacts))
            time, tick = time + HOUR, tick + 1
            if left < 1e-5:
                break
        out[campaign.campaign_id] = hours
    return out


class Prices(FixedBidder):
    """Bids given prices of a contact, one a tick."""

    def __init__(self, prices: np.ndarray) -> None:
        super().__init__()
        self._prices = prices

    def act(self, view: TickView) -> np.ndarray:
        return np.full(len(view.features), self._prices[view.tick])


@pytest.mark.parametrize("mechanism", ["vcg", "first_price"])
def test_hours_are_those_of_a_plain_loop(mechanism: str) -> None:
    campaigns, stats = tables()
    prices = np.array([2.0, 9.3, 1.05, 14.0, 6.0])
    market = read_bat(campaigns, stats, mechanism=mechanism)
    episodes = rollout(Prices(prices), seeds=[0, 1, 2], advertisers=[0, 1, 2], task=CONTACTS, market=market)
    expected = played(campaigns, stats, prices, mechanism)
    total = 0.0
    for i, number in enumerate(campaigns.campaign_id):
        hours = np.array(expected[number])
        n = len(hours)
        found = [
            episodes.ticks.budget_left[:, i],
            *(np.cumsum(getattr(episodes.ticks, name)[:, i]) for name in ("clicks", "conversions")),
        ]
        np.testing.assert_allclose(np.stack(found, axis=1)[:n], hours, atol=1e-9)
        np.testing.assert_allclose(np.stack(found, axis=1)[n:], np.broadcast_to(hours[-1], (5 - n, 3)), atol=1e-9)
        total += hours[-1, 1]
    assert sum_of_clicks(episodes.totals) == pytest.approx(total) and total > 0
    assert (episodes.ticks.cost[:, 2] == 0).all() and not episodes.active[1:, 2].any()
    assert mechanism == "vcg" or any(hours[-1][0] < 1e-5 for hours in expected.values())  # a budget binds


def test_a_bid_of_nothing_wins_nothing_and_a_high_one_all() -> None:
    market = read_bat(*tables())
    nothing = rollout(Prices(np.zeros(5)), seeds=[0], advertisers=[0], task=CONTACTS, market=market)
    assert nothing.totals.clicks.sum() == 0 and (nothing.ticks.budget_left == 25.0).all()
    rich = tables()[0].assign(auction_budget=1e9)
    everything = rollout(
        Prices(np.full(5, 1e6)), seeds=[0], advertisers=[0], task=CONTACTS, market=read_bat(rich, tables()[1])
    )
    np.testing.assert_allclose(everything.ticks.wins, everything.ticks.n_impressions)
    np.testing.assert_allclose(everything.ticks.conversions, everything.ticks.offered_conversions)


def test_bidders_and_logs(tmp_path: Path) -> None:
    campaigns, stats = tables()
    campaigns.to_csv(tmp_path / "campaigns.csv", index=False)
    stats.to_parquet(tmp_path / "stats.parquet")
    market = read_bat(tmp_path / "campaigns.csv", tmp_path / "stats.parquet", mechanism="first_price")
    one = rollout(PidBidder(), seeds=[3], advertisers=[1], task=CLICKS, market=market)
    both = rollout(PidBidder(), seeds=[0, 9], advertisers=[0, 1], task=CLICKS, market=market)
    np.testing.assert_allclose(both.ticks.cost[:, 1], one.ticks.cost[:, 0])  # side by side, and whatever the seed
    assert (both.totals.cost <= both.targets.budget + 1e-9).all() and both.totals.clicks.min() > 0
    assert both.features[0, :, 0].tolist() == [1.0, 1.0] and both.features[3, 1, 0] == 0.0  # its own time left
    log = to_trajectories(both, period=0, policy="pid")
    data.write(tmp_path / "logs", log)
    assert data.check(tmp_path / "logs") == [] and log.reward.sum() == pytest.approx(sum_of_clicks(both.totals))
    assert market.difference(market) == ""
    assert "another mechanism" in market.difference(BatMarket(landscape=market.landscape))


def test_a_market_is_imported_whole_and_opened_again(tmp_path: Path) -> None:
    campaigns, stats = tables()
    out = tmp_path / "market"
    made = import_bat(campaigns, stats, out, mechanism="first_price")
    market = load_bat(out)
    assert market.mechanism == "first_price" and market.landscape.digest == made.landscape.digest
    with pytest.raises(FileExistsError, match="must be empty"):
        import_bat(campaigns, stats, out)
    import_bat(campaigns, stats, out, force=True)
    assert load_bat(out).mechanism == "vcg"
    (tmp_path / "stats.csv").write_text(stats.to_csv(index=False)[:-200])
    with pytest.raises(TableError, match=r"stats\.csv.*whole CSV file"):
        import_bat(campaigns, tmp_path / "stats.csv", tmp_path / "new")
    (tmp_path / "stats.csv").write_bytes(stats.to_csv(index=False).encode("utf-16"))
    with pytest.raises(TableError, match="must be text in UTF-8"):
        import_bat(campaigns, tmp_path / "stats.csv", tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["market", "stats.csv"]
    (out / "stats.parquet").write_bytes(b"other")
    with pytest.raises(ReplayError, match=r"stats\.parquet: changed: its SHA-256 must be"):
        load_bat(out)
    (out / "bat.json").write_text("{}")
    with pytest.raises(ReplayError, match="must be JSON with `format_version`"):
        load_bat(out)
    with pytest.raises(FileNotFoundError, match=r"it has no bat\.json"):
        load_bat(tmp_path)


def test_wrong_tables_and_arguments_are_refused() -> None:
    campaigns, stats = tables()
    wrong = campaigns.assign(campaign_id=[70, 70, 55], campaign_end=[START, START + 4 * HOUR, START + HOUR])
    with pytest.raises(TableError) as caught:
        read_bat(wrong, stats)
    places = [(problem.row, problem.column) for problem in caught.value.problems]
    assert places == [(1, "campaign_end"), (2, "campaign_id")]
    with pytest.raises(
        TableError, match="row 1: `AuctionClicksSurplus` must be a number that is not negative, found -1"
    ):
        read_bat(campaigns, stats.assign(AuctionClicksSurplus=-1.0).head(1))
    with pytest.raises(TableError, match="`contact_price_bin` must be a column, found"):
        read_bat(campaigns, stats.drop(columns="contact_price_bin"))
    with pytest.raises(ValueError, match=r"`mechanism` must be one of .*nearest: first_price"):
        read_bat(campaigns, stats, mechanism="firstprice")
    with pytest.raises(ValueError, match="`contact_worth` must be positive, found 0"):
        read_bat(campaigns, stats, contact_worth=0.0)
    market = read_bat(campaigns, stats)
    simulation = market.one_each(CONTACTS, np.array([0]))
    simulation.reset([0])
    with pytest.raises(ValueError, match=r"must be multipliers: BAT tells of hours, not of impressions"):
        simulation.step(ImpressionBids(bids=[np.ones(3)]))
    with pytest.raises(ValueError, match="`advertiser` must be from 0 to 2, found 3"):
        rollout(PidBidder(), seeds=[0], advertisers=[3], task=CLICKS, market=market)
    with pytest.raises(ValueError, match="`days` must not be given"):
        rollout(PidBidder(), seeds=[0], advertisers=[0], task=CLICKS, market=market, days=[1])
    with pytest.raises(ValueError, match="counts gmv, which must be recorded"):
        rollout(PidBidder(), seeds=[0], advertisers=[0], task=Task(name="x", objective="gmv"), market=market)
