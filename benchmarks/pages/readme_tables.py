"""`python -m benchmarks.pages.readme_tables`: writes the tables of results in the README and in the docs.

A pair of markers takes one suite's tables, of the kinds that it names ("scores" by default; "against=METHOD" for
differences from a method). `only=` takes some methods, by name, into "scores" and "tasks":

    <!-- results: data-scarce-v2-cpu scores only=online-lp,single,uniform,vao -->
    <!-- end of results -->

Another pair takes the speed figures that `vamo bench speed --save` kept: `figures`, the latest of each, or `history`.

    <!-- speed: figures -->
    <!-- end of speed -->
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from auction_env.files import write_atomically
from benchmarks.pages.tables import speed
from benchmarks.pages.tables.suite import AGAINST, KINDS, markdown
from benchmarks.suites.storage.store import Store

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = ("auctionnet-papers.md", "findings.md", "performance.md", "speed-history.md")
FILES = (ROOT / "README.md", *(ROOT / "docs" / name for name in PAGES))

ONLY = "only="
"""Begins the option that names the methods to list."""

_BLOCK = re.compile(
    r"(?P<begin><!-- results: (?P<suite>\S+)(?P<kinds>(?: [\w=,.+-]+)*) -->\n)"
    r"(?P<body>.*?)(?P<end><!-- end of results -->)",
    re.DOTALL,
)
_SPEED = re.compile(r"(?P<begin><!-- speed: (?P<kind>\S+) -->\n)(?P<body>.*?)(?P<end><!-- end of speed -->)", re.DOTALL)


def render(text: str, results: Path = RESULTS) -> str:
    """The text with every pair of markers filled.

    Raises:
        ValueError: An unknown kind of table or method, a suite that is not published, or a marker without its other.
    """
    for what, block in (("results", _BLOCK), ("speed", _SPEED)):
        n_begin, n_end = text.count(f"<!-- {what}:"), text.count(f"<!-- end of {what} -->")
        if not n_begin == n_end == len(block.findall(text)):
            raise ValueError(f"markers must come in pairs, found {n_begin} beginnings and {n_end} ends of {what}")
    text = _BLOCK.sub(lambda found: _fill(found, results), text)
    return _SPEED.sub(lambda found: _fill_speed(found, results / speed.FOLDER), text)


def _fill_speed(found: re.Match[str], folder: Path) -> str:
    if found["kind"] not in speed.KINDS:
        raise ValueError(f"tables of speed must be of {sorted(speed.KINDS)}, found {found['kind']!r}")
    return found["begin"] + "\n" + speed.KINDS[found["kind"]](folder) + "\n\n" + found["end"]


def _fill(found: re.Match[str], results: Path) -> str:
    suite, words = found["suite"], found["kinds"].split()
    only = [name for word in words if word.startswith(ONLY) for name in word.removeprefix(ONLY).split(",")]
    kinds = [word for word in words if not word.startswith(ONLY)] or ["scores"]
    unknown = [kind for kind in kinds if kind not in KINDS and not kind.startswith(AGAINST)]
    if unknown:
        raise ValueError(f"kinds of tables must be of {KINDS} or {AGAINST}METHOD, found {unknown[0]!r} for {suite!r}")
    if not (results / suite).is_dir():
        known = sorted(path.name for path in results.iterdir() if path.is_dir()) if results.is_dir() else []
        raise ValueError(f"results must be of a published suite ({', '.join(known) or 'none yet'}), found {suite!r}")
    store = Store(results / suite)
    commits = sorted(set(store.runs()["commit"].to_pylist())) or [store.suite().commit]  # speed figures have no runs
    parts = [*markdown(results / suite, kinds, only), f"`{store.suite().command}` at commit {', '.join(commits)}."]
    return found["begin"] + "\n" + "\n\n".join(parts) + "\n\n" + found["end"]


def main(argv: Sequence[str] | None = None) -> None:
    """Rewrites the files, or with `--check` exits with 1 where that would change one."""
    parser = argparse.ArgumentParser(description="Writes tables of committed results between markers.")
    parser.add_argument(
        "files", type=Path, nargs="*", default=FILES, metavar="FILE", help="default: README and pages of docs/"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="default: benchmarks/results")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 where tables are not up to date"
    )
    arguments = parser.parse_args(argv)
    for file in arguments.files:
        text = file.read_text(encoding="utf-8")
        try:
            filled = render(text, arguments.results)
        except (OSError, ValueError) as error:
            sys.exit(f"{file}: {error}")
        if arguments.check and filled != text:
            sys.exit(f"{file} must have the tables of the committed rows: python -m benchmarks.pages.readme_tables")
        if not arguments.check:
            write_atomically(file, filled.encode())


if __name__ == "__main__":
    main()
