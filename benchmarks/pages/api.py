"""`python -m benchmarks.pages.api`: writes the tables of public names in docs/api.md.

A pair of markers takes the names of one package's `__all__`, each with the first sentence of its docstring:

    <!-- api: agents -->
    <!-- end of api -->

The sources are read, not imported (griffe, extra `docs`): no optional package is needed.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import griffe

from auction_env.files import write_atomically

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "api.md"
PACKAGES = ("auction_env", "auction_env.data", "agents", "vamo", "benchmarks")
"""Whose `__all__` is the public interface."""

_BLOCK = re.compile(
    r"(?P<begin><!-- api: (?P<package>\S+) -->\n)(?P<body>.*?)(?P<end><!-- end of api -->)",
    re.DOTALL,
)


def public_names(root: Path = ROOT) -> dict[str, dict[str, str]]:
    """For each of `PACKAGES` its public names in order, with the first sentence of their docstrings.

    Raises:
        ValueError: A public name that has no docstring.
    """
    loader = griffe.GriffeLoader(search_paths=[root])
    for package in dict.fromkeys(name.partition(".")[0] for name in PACKAGES):
        loader.load(package)
    loader.resolve_aliases(external=False)
    return {package: _described(loader.modules_collection[package]) for package in PACKAGES}


def _described(package: griffe.Module) -> dict[str, str]:
    found = {}
    for name in sorted(map(str, package.exports or ()), key=str.lower):
        member = package[name]
        if member.docstring is None:
            raise ValueError(f"public name {member.canonical_path!r} must have a docstring, found none")
        paragraph = " ".join(member.docstring.value.strip().partition("\n\n")[0].split())
        found[name] = re.split(r"(?<=\.) ", paragraph, maxsplit=1)[0]
    return found


def render(text: str, names: dict[str, dict[str, str]]) -> str:
    """The text with every pair of markers filled.

    Raises:
        ValueError: A marker without its other, twice the same package, or other packages than those of `names`.
    """
    found = [block["package"] for block in _BLOCK.finditer(text)]
    n_begin, n_end = text.count("<!-- api:"), text.count("<!-- end of api -->")
    if not n_begin == n_end == len(found):
        raise ValueError(f"markers must come in pairs, found {n_begin} beginnings and {n_end} ends")
    if sorted(found) != sorted(names):
        raise ValueError(f"markers must name each of {', '.join(names)} once, found {', '.join(found) or 'none'}")
    return _BLOCK.sub(
        lambda block: block["begin"] + "\n" + _table(names[block["package"]]) + "\n\n" + block["end"], text
    )


def _table(names: dict[str, str]) -> str:
    if not names:
        return "No public name: use the command `vamo`."
    rows = [f"| `{name}` | {line.replace('|', chr(92) + '|')} |" for name, line in names.items()]
    return "\n".join(["| name | what it is |", "| --- | --- |", *rows])


def main(argv: Sequence[str] | None = None) -> None:
    """Rewrites docs/api.md, or with `--check` exits with 1 where that would change it."""
    parser = argparse.ArgumentParser(description="Writes the tables of public names between markers.")
    parser.add_argument("--file", type=Path, default=FILE, metavar="FILE", help="default: docs/api.md")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where it is not up to date")
    arguments = parser.parse_args(argv)
    text = arguments.file.read_text(encoding="utf-8")
    try:
        filled = render(text, public_names())
    except ValueError as error:
        sys.exit(f"{arguments.file}: {error}")
    if arguments.check and filled != text:
        sys.exit(f"{arguments.file} must have the public names of the packages: python -m benchmarks.pages.api")
    if not arguments.check:
        write_atomically(arguments.file, filled.encode())


if __name__ == "__main__":
    main()
