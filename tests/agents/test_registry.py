"""The registry of agents, with entry points of packages that exist only in the test."""

from __future__ import annotations

import importlib
import logging
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import agents
from agents import AgentEntry, Bidder, FixedBidder, PidBidder, make, registry, rollout
from auction_env import TASKS, MarketParams, PacingGains, auctionnet_population, replay_from_bids
from tests.agents.rules.logs import log_of
from tests.auction_env.replay.logs import day_of_48_ticks

Install = Callable[..., None]

EVENING = """
import numpy as np
from agents import AgentEntry

class Evening:
    def __init__(self, ratio=1.0, *, name="evening"):
        self.name, self._ratio = name, ratio

    def reset(self, campaigns):
        self._base = campaigns.base

    def act(self, view):
        return self._base * self._ratio * (1.0 if view.tick >= 36 else 0.5)

ENTRY = AgentEntry(
    name="evening", summary="bids in the evening", factory="{module}:Evening", kind="rule", objectives=("conversions",)
)
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a module and a distribution with entry points on the path, as an installed package would be."""
    monkeypatch.syspath_prepend(tmp_path)
    modules: list[str] = []

    def put(module: str, source: str, **points: str) -> None:
        (tmp_path / f"{module}.py").write_text(source.replace("{module}", module))
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{lines}")
        importlib.invalidate_caches()
        modules.append(module)

    yield put
    for module in modules:
        sys.modules.pop(module, None)


# agents that learn are trained, stored and loaded by learning/test_contract.py
@pytest.mark.parametrize(
    "entry",
    [entry for entry in registry.BUILT_IN if not entry.learner],
    ids=lambda entry: entry.name,
)
def test_what_the_table_says_of_the_agents_of_this_package_holds(entry: AgentEntry) -> None:
    needs = {
        "online-lp": lambda: {
            "history": agents.record_prices(MarketParams(n_impressions=500), auctionnet_population(), [9])
        },
        "auctionnet-lp": lambda: {"table": agents.auctionnet_lp_table(replay_from_bids(**day_of_48_ticks()))},
        "grm": lambda: {"history": agents.record_scenarios(log_of("MaxConversions", 4), TASKS["MaxConversions"])},
        "mpc-response": lambda: {
            "history": agents.record_scenarios(log_of("MaxConversions", 4), TASKS["MaxConversions"])
        },
    }
    task = TASKS["MaxConversions"]
    bidder = make(entry.name, **needs.get(entry.name, dict)())
    assert isinstance(bidder, Bidder)
    assert entry.summary
    assert "\n" not in entry.summary
    played = rollout(bidder, seeds=[0], advertisers=[5], task=task, params=MarketParams(n_impressions=500))
    assert played.total("cost")[0] <= played.budget[0]


def test_arguments_reach_the_agent() -> None:
    arguments = {"seeds": [0], "advertisers": [5], "task": TASKS["MaxConversions"]}
    params = MarketParams(n_impressions=500)
    played = rollout(make("fixed", ratio=0.7), **arguments, params=params)
    assert played.ticks.multiplier[0, 0] == pytest.approx(0.7 * played.targets.cpa[0])
    flat, nested = (
        rollout(bidder, **arguments, params=params).ticks.multiplier
        for bidder in (make("pid", start=0.8, i=0.4), PidBidder(0.8, PacingGains(i=0.4)))
    )
    assert (flat == nested).all()
    assert make("dual", name="mine").name == "mine"


def test_an_unknown_agent_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"found 'duel', nearest: dual"):
        make("duel")
    with pytest.raises(ValueError, match=r"`name` must be an agent \(fixed, random, pid"):
        make("no such thing at all")


def test_arguments_that_an_agent_does_not_take_are_named() -> None:
    with pytest.raises(ValueError, match=r"agent 'dual' takes \(start.*found \['gain'\]"):
        make("dual", gain=1.0)
    with pytest.raises(ValueError, match=r"agent 'fixed' takes \(ratio.*keyword argument 'ratios', nearest: ratio"):
        make("fixed", ratios=1.0)
    with pytest.raises(ValueError, match=r"`gains` must be of .*, found 'ppi', nearest: "):
        make("pid", ppi=1.0)
    with pytest.raises(ValueError, match=r"`gains` must be of \('start', .*, found 'kpp'"):
        make("mpid", kpp=1.0)
    with pytest.raises(ValueError, match=r"agent 'online-lp' takes \(history.*missing a required argument: 'history'"):
        make("online-lp")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("pid", {"p": "0.1"}), ("pid", {"start": None}), ("mpid", {"ratio_p": [1]}), ("fixed", {"ratio": "high"}),
     ("mpc", {"start": "1"}), ("dual", {"start": {}})],
)  # fmt: skip
def test_values_of_a_wrong_type_are_a_clear_error(name: str, arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=rf"{name}|{next(iter(arguments))}|high"):
        make(name, **arguments)


def test_a_user_adds_an_agent_in_a_file_of_their_own(install: Install) -> None:
    install("my_bidders", EVENING, evening="my_bidders:ENTRY")
    assert registry.entries()["evening"].objectives == ("conversions",)
    bidder = make("evening", ratio=2.0)
    played = rollout(
        bidder, seeds=[0], advertisers=[5], task=TASKS["MaxConversions"], params=MarketParams(n_impressions=500)
    )
    assert played.ticks.multiplier[0, 0] == pytest.approx(played.targets.cpa[0])
    with pytest.raises(ValueError, match="nearest: evening"):
        make("evenings")


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({"gone": "my_bidders:NOTHING"}, "entry point 'gone' = 'my_bidders:NOTHING' .* must load"),
        (
            {"gone": "no_such_module_of_mine:ENTRY"},
            "must load, found ModuleNotFoundError: No module named 'no_such_module_of_mine'",
        ),
        ({"raises": "my_broken:ENTRY"}, "must load, found ZeroDivisionError: division by zero; the package my_bidders"),
        ({"exits": "my_exit:ENTRY"}, "must load, found SystemExit: 3"),
        ({"late": "my_bidders:ENTRY"}, "must have the name of its AgentEntry, found 'evening'"),
        ({"klass": "my_bidders:Evening"}, "must be an AgentEntry, found <class"),
    ],
)
def test_a_broken_entry_point_hides_no_other(
    install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture, points: dict[str, str], message: str
) -> None:
    install("my_bidders", EVENING, **points)
    (tmp_path / "my_broken.py").write_text("1 / 0\n")
    (tmp_path / "my_exit.py").write_text("raise SystemExit(3)\n")
    (name,) = points
    with caplog.at_level(logging.WARNING):
        found = registry.entries()
    assert name not in found
    assert "dual" in found
    assert re.search(message, caplog.text)
    with pytest.raises(ValueError, match=message):
        make(name)


def test_an_entry_point_cannot_take_the_name_of_another(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    install("my_bidders", EVENING, dual="my_bidders:ENTRY")
    with caplog.at_level(logging.WARNING):
        assert registry.entries()["dual"].factory == "agents.rules.dual:DualBidder"
    assert "must have another name than this package's agents" in caplog.text


def generative_entries() -> dict[str, str]:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    points: dict[str, str] = project["project"]["entry-points"][registry.GROUP]
    return points


def test_the_generative_agents_are_entry_points_of_this_package() -> None:
    assert set(generative_entries()) == {"vamo", "dt", "cdt", "diffbid", "gave", "gas", "qga"}


@pytest.mark.parametrize("name", generative_entries())
def test_an_entry_point_names_an_agent_of_a_checkpoint(name: str) -> None:
    module, _, attribute = generative_entries()[name].partition(":")
    entry = getattr(importlib.import_module(module), attribute)
    assert isinstance(entry, AgentEntry)
    assert entry.name == name
    pytest.importorskip("torch")
    with pytest.raises(FileNotFoundError):
        entry.load()("no/such/checkpoint.safetensors")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": " x"}, "`name` of an agent must be a text without spaces around it, found ' x'"),
        ({"kind": "magic"}, "`kind` of agent 'x' must be one of .* found 'magic'"),
        ({"objectives": ("fame",)}, "`objectives` of agent 'x' must be of .* found 'fame'"),
        ({"constraints": ("taste",)}, "`constraints` of agent 'x' must be of .* found 'taste'"),
    ],
)
def test_bad_entries_are_named(fields: dict[str, object], message: str) -> None:
    arguments = {"name": "x", "summary": "y", "factory": FixedBidder, "kind": "rule"} | fields
    with pytest.raises(ValueError, match=message):
        AgentEntry(**arguments)  # type: ignore[arg-type]


def test_a_factory_must_be_callable() -> None:
    entry = AgentEntry(name="x", summary="y", factory="agents.registry:GROUP", kind="rule")
    with pytest.raises(ValueError, match="`factory` of agent 'x' must be 'module:callable'"):
        entry.load()
