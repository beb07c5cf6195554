"""Bidders from a line of text: how commands name registered, trained and own bidders.

| text | bidder |
| --- | --- |
| `pid`, `pid:i=0.4,start=0.8` | an agent of the registry, with arguments of its own |
| `agent.safetensors` | a trained agent's file |
| `online-lp:log=DIR`, `auctionnet-lp:log=DIR` | those that need prices, from a saved replay market (`save_replay`) |
| `mypackage:MyBidder`, `my_bidder.py:MyBidder`, `my_bidder.py:MyBidder:level=2` | a class or function of yours |

`label=TEXT` gives any of them another name in tables.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from agents import registry
from agents.rules.auctionnet_lp import auctionnet_lp_table
from agents.rules.online_lp import OnlineLpBidder, prices_from_log, record_prices
from auction_env.control.bidder import Bidder
from auction_env.control.controlled_market import PlayableMarket
from auction_env.control.simulation import LiveMarket
from auction_env.replay.storage import load_replay
from auction_env.tasks import Task

HISTORY_SEEDS = tuple(range(2**41, 2**41 + 4))
"""Market episodes from which a bidder that needs prices takes them: far from those that anybody plays."""

_LABEL = re.compile(r"(?P<label>[^:=/]+)=(?P<text>.+)", re.S)
_SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedBidder:
    """A bidder that is made where it is needed: in every worker process, for every market.

    Attributes:
        label: Name in tables.
        source: An agent's name, a file, or "module:attribute".
        kind: Which of these.
        arguments: Of the agent or the attribute.
    """

    label: str
    source: str
    kind: str
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """All that tells two of them apart, as JSON values: that of a file or a module is in its bytes."""
        found: dict[str, Any] = {"source": self.source, "kind": self.kind, "arguments": self.arguments}
        if self.kind == "agent":
            return found
        place = self.source if self.kind == "file" else _module(self.source.partition(":")[0]).__file__
        return found | {"sha256": hashlib.sha256(Path(place).read_bytes()).hexdigest() if place else None}

    def make(self, market: PlayableMarket | None, task: Task) -> Bidder:
        """The bidder, for episodes of this market; None where there are only logs.

        Raises:
            ValueError: No such agent, arguments that it does not take, or an attribute that makes no bidder.
            OSError: No such file.
        """
        if self.kind == "file":
            found: Any = registry.load(self.source, name=self.label)
        elif self.kind == "own":
            found = _made(self.source, _attribute(self.source), self.arguments)
        elif self.source == "online-lp" and "history" not in self.arguments:
            found = _online_lp(market, task, self.arguments)
        elif self.source == "auctionnet-lp" and "table" not in self.arguments:
            found = _auctionnet_lp(self.arguments)
        else:
            found = registry.make(self.source, **self.arguments)
        if not isinstance(found, Bidder):
            raise ValueError(f"{self.source!r} must make a bidder with `name`, `reset` and `act`, found {found!r}")
        return found


def named_bidder(text: str) -> NamedBidder:
    """Reads a bidder's text; see the module.

    Raises:
        ValueError: No such agent (names the nearest), or arguments that are not KEY=VALUE.
        FileNotFoundError: The file of a trained agent or of a module is not there.
    """
    matched = None if Path(text).exists() else _LABEL.fullmatch(text)
    label, text = (matched["label"], matched["text"]) if matched else ("", text)
    if Path(text).is_file() or text.endswith(_SUFFIX):
        if not Path(text).is_file():
            raise FileNotFoundError(f"{text} must be a trained agent's file, found none")
        return NamedBidder(label=label or Path(text).stem, source=text, kind="file")
    first, *rest = text.split(":")
    settings = rest.pop() if rest and "=" in rest[-1] else ""
    arguments = _arguments(text, settings)
    if rest:
        source = f"{first}:{':'.join(rest)}"
        return NamedBidder(label=label or rest[-1], source=source, kind="own", arguments=arguments)
    registry.get(first)
    return NamedBidder(label=label or text, source=first, kind="agent", arguments=arguments)


def check_bidders(bidders: Mapping[str, Bidder | NamedBidder]) -> None:
    """Raises ValueError where there is none, or something that is not a bidder."""
    if not bidders:
        raise ValueError("`bidders` must hold at least one bidder, found none")
    for name, bidder in bidders.items():
        if not isinstance(bidder, NamedBidder | Bidder):
            raise ValueError(
                f"`bidders` must hold bidders with `name`, `reset` and `act`, found {bidder!r} as {name!r}"
            )


def made_for(market: PlayableMarket, task: Task, bidders: Mapping[str, Bidder | NamedBidder]) -> dict[str, Bidder]:
    """Bidders for episodes of this market: named ones are made, others are copied.

    So a bidder that is given twice, or is the caller's, keeps its own state.
    """
    return {
        name: bidder.make(market, task) if isinstance(bidder, NamedBidder) else copy.deepcopy(bidder)
        for name, bidder in bidders.items()
    }


def named_bidders(texts: Sequence[str]) -> dict[str, NamedBidder]:
    """Bidders by their label; raises as `named_bidder`, and ValueError for two of one label."""
    found: dict[str, NamedBidder] = {}
    for text in texts:
        bidder = named_bidder(text)
        if bidder.label in found:
            raise ValueError(f"`--agent` must have different names, found {bidder.label!r} twice: write NAME={text}")
        found[bidder.label] = bidder
    return found


def _arguments(text: str, settings: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in filter(None, settings.split(",")):
        key, is_pair, value = pair.partition("=")
        if not is_pair or not key.isidentifier():
            raise ValueError(f"arguments of {text!r} must be KEY=VALUE with commas between, found {pair!r}")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def _online_lp(market: PlayableMarket | None, task: Task, arguments: dict[str, Any]) -> Bidder:
    """Online LP needs the prices of other episodes, which a live market has, or the log that is named."""
    if "log" in arguments:
        others = {name: value for name, value in arguments.items() if name != "log"}
        history = prices_from_log(load_replay(arguments["log"]), task=task)
        return OnlineLpBidder(history, is_of_played_market=False, **others)
    if not isinstance(market, LiveMarket) or market.source is not None:
        raise ValueError(
            "agent 'online-lp' must play a live market, whose prices it records, found logs: name other logged"
            " periods, saved as a replay market, as `online-lp:log=DIR`"
        )
    history = record_prices(market.params, market.population, HISTORY_SEEDS, task=task)
    return OnlineLpBidder(history, is_of_played_market=not market.competitors, **arguments)


def _auctionnet_lp(arguments: dict[str, Any]) -> Bidder:
    """AuctionNet's LP needs the table of a logged period."""
    if "log" not in arguments:
        raise ValueError(
            "agent 'auctionnet-lp' needs a logged period, saved as a replay market: write `auctionnet-lp:log=DIR`"
        )
    names = ("period", "share", "interval", "max_budget", "seed")
    of_table = {name: value for name, value in arguments.items() if name in names}
    others = {name: value for name, value in arguments.items() if name not in ("log", *names)}
    table = auctionnet_lp_table(load_replay(arguments["log"]), **of_table)
    return registry.make("auctionnet-lp", table=table, **others)


def _attribute(source: str) -> Callable[..., Any] | Bidder:
    place, _, attribute = source.partition(":")
    module = _module(place)
    if not hasattr(module, attribute):
        names = [name for name, value in vars(module).items() if isinstance(value, type)]
        raise ValueError(f"{place} must have {attribute!r}, found the classes {names}")
    found: Callable[..., Any] | Bidder = getattr(module, attribute)
    return found


def _module(place: str) -> ModuleType:
    if not place.endswith(".py"):
        folder = str(Path.cwd())
        if folder not in sys.path:  # an installed command does not look where it is called
            sys.path.insert(0, folder)
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            raise ValueError(f"`{place}` must be a module that can be imported or a .py file: {error}") from error
    path = Path(place).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"{place} must be a Python file, found none")
    if path.stem in sys.modules and getattr(sys.modules[path.stem], "__file__", None) == str(path):
        return sys.modules[path.stem]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _made(source: str, found: Callable[..., Any] | Bidder, arguments: dict[str, Any]) -> Any:
    if not callable(found):
        return found
    try:
        return found(**arguments)
    except TypeError as error:
        raise ValueError(f"{source!r} must be made with {sorted(arguments) or 'no arguments'}: {error}") from error
