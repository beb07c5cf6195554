"""The environments' specification, the API of the packages and the command line, from docstrings and parsers."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path

SPECIFICATIONS = {
    "bidding-env": ("Bidding-v0", "auction_env.envs.single.BiddingEnv"),
    "vector-env": ("Vector environment", "auction_env.envs.vector.BiddingVectorEnv"),
    "parallel-env": ("Self-play", "auction_env.envs.parallel.BiddingParallelEnv"),
    "replay-env": ("Replay-v0", "auction_env.replay.env.ReplayEnv"),
    "replay-vector-env": ("Replay-v0, vector", "auction_env.replay.env.ReplayVectorEnv"),
    "logged-values-env": ("LoggedValues-v0", "auction_env.replay.env.LoggedValuesEnv"),
    "logged-values-vector-env": ("LoggedValues-v0, vector", "auction_env.replay.env.LoggedValuesVectorEnv"),
    "logged-values-parallel-env": ("LoggedValues, self-play", "auction_env.replay.parallel.LoggedValuesParallelEnv"),
    "bat-env": ("BAT-v0", "auction_env.replay.bat.env.BatEnv"),
    "bat-vector-env": ("BAT-v0, vector", "auction_env.replay.bat.env.BatVectorEnv"),
}
"""Page -> its title and the class whose docstring it shows."""

PACKAGES = {
    "auction_env": "the market, its environments and tasks",
    "auction_env.data": "trajectory data sets",
    "agents": "bidders, rollouts, logging, families of tasks",
    "vamo": "the generative agent and its training",
    "benchmarks": "statistics, tuning, reports",
}
MODULES = {
    "auction_env": (
        "control.actions",
        "data.formats.auctionnet_export",
        "control.bidder",
        "control.simulation",
        "market.pacing",
    ),
    "agents": (
        "registry",
        "labels.relabel",
        "labels.response",
        "labels.hindsight",
        "logging.impressions",
        "sb3.vector_env",
    ),
    "vamo": (
        "alignment.weighting",
        "alignment.accumulation",
        "alignment.estimators",
        "model.transformer",
        "config",
        "alignment.pairs",
        "training.backward.combined_gradients",
    ),
    "benchmarks": (
        "statistics.summaries",
        "statistics.bootstrap",
        "statistics.pairing",
        "suites.storage.rows",
        "suites.methods.tuning",
        "suites.methods.fitting",
        "pages.suite.page",
    ),
}
"""Modules that are shown whole, beside what a package exports."""


def pages(root: Path) -> dict[str, str]:
    """Page address -> Markdown."""
    made = {
        f"specification/{page}.md": f"# {title}\n\n::: {name}\n    options:\n      show_root_heading: false\n"
        "      members: false\n      heading_level: 1\n"
        for page, (title, name) in SPECIFICATIONS.items()
    }
    listed = "\n".join(f"- [`{name}`]({name}.md): {text}" for name, text in PACKAGES.items())
    made["reference/index.md"] = (
        f"# Reference\n\n{listed}\n- [the `vamo` command](command-line.md)\n"
        "- [the environments' specification](../specification/bidding-env.md)\n\n"
        "Imports run one way: `auction_env <- agents <- vamo <- benchmarks`.\n"
    )
    for package, text in PACKAGES.items():
        made[f"reference/{package}.md"] = api_page(root, package, text)
    made["reference/command-line.md"] = command_line()
    return made


def api_page(root: Path, package: str, text: str) -> str:
    """The names that a package exports, then modules of its own that users meet."""
    lines = [f"# {package}", "", f"{text[0].upper()}{text[1:]}.", ""]
    modules = [f"{package}.{name}" for name in MODULES.get(package, ())]
    for place in exported(root, package):
        if place.rpartition(".")[0] not in modules:
            lines += [f"::: {place}", ""]
    for module in modules:
        lines += [f"## {module}", "", f"::: {module}", "    options:", "      show_root_heading: false", ""]
        lines += ["      heading_level: 3", ""]
    return "\n".join(lines)


def exported(root: Path, package: str) -> Iterator[str]:
    """Where each name of a package's `__all__` is defined, read from the source of its `__init__.py`."""
    tree = ast.parse((root / package.replace(".", "/") / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    places = {alias.asname or alias.name: f"{node.module}.{alias.name}" for node in imports for alias in node.names}
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            for name in ast.literal_eval(node.value):
                place = places.get(name, f"{package}.{name}")
                # a subpackage and another package have pages of their own
                if place.rpartition(".")[0] != package and place.startswith(f"{package}."):
                    yield place


def command_line() -> str:
    """Every command's help, as the parser prints it."""
    from benchmarks.cli import _parser

    lines = ["# The vamo command", "", "What `vamo COMMAND --help` prints.", ""]
    for name, parser in commands(_parser()):
        lines += [f"## {name}", "", "```text", help_text(parser), "```", ""]
    return "\n".join(lines)


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """All commands below a parser, in the order of the help; one with subcommands gives those instead of itself."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield parser.prog, parser
    for action in inner:
        for child in action.choices.values():
            yield from commands(child)


def help_text(parser: argparse.ArgumentParser) -> str:
    """A parser's help, whatever the width of the terminal that builds the page."""
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=88)
    return parser.format_help().strip()


def example(path: Path) -> str:
    """An example's first line and its source."""
    text = path.read_text(encoding="utf-8")
    summary = (ast.get_docstring(ast.parse(text)) or "").strip()
    title = path.stem.replace("_", " ").capitalize()
    return f"# {title}\n\n{summary}\n\n`python examples/{path.name}`\n\n```python\n{text}```\n"
