"""Bidders from a line of text: registered, trained and own ones."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from agents import FixedBidder, OnlineLpBidder, PidBidder, rollout
from auction_env import MarketParams, auctionnet_population, logged_values, save_replay
from auction_env.control.simulation import LiveMarket
from auction_env.replay.simulation import LoggedMarket
from auction_env.tasks import TASKS
from benchmarks.evaluation.named import NamedBidder, named_bidder
from tests.auction_env.replay.logs import three_periods

TASK = TASKS["MaxConversions"]
LIVE = LiveMarket(params=MarketParams(n_impressions=200), population=auctionnet_population())
SOURCE = """
class Mine:
    def __init__(self, level=1.0, name="own"):
        self.level, self.name = level, name

    def reset(self, campaigns):
        self._base = campaigns.base

    def act(self, view):
        return self.level * self._base


ready = Mine(0.5)


def number():
    return 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_bidders_of_a_test.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    return tmp_path / "own_bidders_of_a_test.py"


def test_an_agent_of_the_registry_with_arguments() -> None:
    plain, tuned, fixed = (named_bidder(text) for text in ("pid", "mine=pid:i=0.4,start=0.8", "fixed:ratio=0.5"))
    assert [plain.label, tuned.label, fixed.label] == ["pid", "mine", "fixed:ratio=0.5"]
    assert isinstance(plain.make(LIVE, TASK), PidBidder)
    arguments = {"seeds": [1], "advertisers": [3], "task": TASK, "market": LIVE}
    same = rollout(FixedBidder(0.5), **arguments).ticks.cost
    assert (rollout(fixed.make(LIVE, TASK), **arguments).ticks.cost == same).all()
    again = pickle.loads(pickle.dumps(tuned))  # what workers get
    assert again == tuned and again.arguments == {"i": 0.4, "start": 0.8}


def test_a_class_of_a_file_or_a_module(own: Path) -> None:
    for place in (str(own), own.stem):
        made = named_bidder(f"{place}:Mine:level=2").make(LIVE, TASK)
        assert made.name == "own" and made.level == 2  # type: ignore[attr-defined]
    assert named_bidder(f"{own}:ready").make(LIVE, TASK).level == 0.5  # type: ignore[attr-defined]
    assert named_bidder(f"{own.name}:Mine").label == "Mine"


def test_a_trained_agent_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a=b.safetensors").write_bytes(b"")
    found = named_bidder(str(tmp_path / "a=b.safetensors"))
    assert (found.kind, found.label) == ("file", "a=b")
    loaded: list[tuple[str, str | None]] = []

    def load(path: str, *, name: str | None = None) -> PidBidder:
        loaded.append((path, name))
        return PidBidder(name=name or "")

    monkeypatch.setattr("agents.registry.load", load)
    assert found.make(LIVE, TASK).name == "a=b" and loaded == [(found.source, "a=b")]


def test_online_lp_takes_the_prices_of_the_market_that_is_played() -> None:
    made = named_bidder("online-lp:scale=0.9").make(LIVE, TASK)
    assert isinstance(made, OnlineLpBidder)
    assert rollout(made, seeds=[1], advertisers=[3], task=TASK, market=LIVE).total("cost")[0] > 0
    log = three_periods()
    for market in (LoggedMarket(market=log), logged_values(log)):
        with pytest.raises(ValueError, match="agent 'online-lp' must play a live market"):
            named_bidder("online-lp").make(market, TASK)


def test_both_online_lps_take_the_prices_of_a_saved_log(tmp_path: Path) -> None:
    log = three_periods()
    save_replay(log, tmp_path / "log")
    for text in (f"online-lp:log={tmp_path}/log,scale=0.9", f"auctionnet-lp:log={tmp_path}/log,interval=0.5,period=11"):
        made = named_bidder(f"mine={text}").make(LoggedMarket(market=log), TASK)
        played = rollout(made, seeds=[1], advertisers=[3], task=TASK, market=log)
        assert played.total("cost")[0] > 0 and played.ticks.multiplier.std() > 0
    with pytest.raises(ValueError, match=r"agent 'auctionnet-lp' needs a logged period.* write `auctionnet-lp:log"):
        named_bidder("auctionnet-lp").make(LIVE, TASK)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pidd", "`name` must be an agent .* found 'pidd', nearest: pid"),
        ("pid:kpp=1,2", "must be KEY=VALUE with commas between, found '2'"),
        ("no_such_module_here:Bidder", "`no_such_module_here` must be a module that can be imported"),
        ("{own}:Other", r"must have 'Other', found the classes \['Mine'\]"),
        ("{own}:number", "must make a bidder with `name`, `reset` and `act`, found 3"),
        ("{own}:Mine:levle=2", r"must be made with \['levle'\]: .*unexpected keyword"),
    ],
)
def test_what_names_no_bidder_is_named(own: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        named_bidder(text.format(own=own)).make(LIVE, TASK)


def test_files_that_are_not_there_are_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"none.safetensors must be a trained agent's file, found none"):
        named_bidder("none.safetensors")
    with pytest.raises(FileNotFoundError, match=r"none.py must be a Python file, found none"):
        NamedBidder(label="x", source="none.py:X", kind="own").make(LIVE, TASK)
