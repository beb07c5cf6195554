"""Pages made from code while the site is built, so that they cannot go stale, and the patterns of the navigation."""

from __future__ import annotations

import fnmatch
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # this checkout's packages, whatever is installed

import published  # noqa: E402 - mkdocs puts this folder on the path while it loads the hook
import reference  # noqa: E402
import registered  # noqa: E402

from benchmarks.pages.paper.page import ADDRESS, paper_page  # noqa: E402
from benchmarks.pages.published import render_all  # noqa: E402


def on_files(files: Files, config: Any) -> Files:
    """Adds the generated pages, then fills the patterns of the navigation in."""
    suites = render_all(ROOT / config.extra["results"])
    made = {**registered.pages(published.sections(suites)), **reference.pages(ROOT)}
    paper = paper_page(ROOT / config.extra["results"])
    made[ADDRESS] = paper.markdown
    for uri, png in paper.pictures.items():
        files.append(File.generated(config, uri, content=png))
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        made[name.lower()] = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    for path in sorted((ROOT / "examples").glob("*.py")):
        made[f"examples/{path.stem}.md"] = reference.example(path)
    for uri, content in made.items():
        if files.get_file_from_path(uri) is not None:
            raise PluginError(f"{uri} is made from code, docs/ must not have a page of that name")
        files.append(File.generated(config, uri, content=content))
    for uri, content in published.files(suites).items():
        files.append(File.generated(config, uri, content=content))
    uris = [file.src_uri for file in files.documentation_pages()]
    config.nav = expanded(config.nav, [*made, *sorted(set(uris) - set(made))])
    return files


def expanded(nav: list[Any], uris: list[str]) -> list[Any]:
    """The navigation with every pattern replaced by the pages that it matches and that no other entry names.

    Args:
        nav: As in mkdocs.yml: pages, patterns such as "agents/*.md", and sections.
        uris: All pages, in the order in which a pattern lists them.
    """
    taken = {entry for entry in leaves(nav) if "*" not in entry}

    def of_pattern(pattern: str) -> list[str]:
        found = [u for u in uris if fnmatch.fnmatch(u, pattern) and u.count("/") == pattern.count("/")]
        fresh = [uri for uri in found if uri not in taken]
        taken.update(fresh)
        return fresh

    def fill(entries: list[Any]) -> list[Any]:
        out: list[Any] = []
        for entry in entries:
            if isinstance(entry, dict):
                sections = {title: fill(inner) if isinstance(inner, list) else inner for title, inner in entry.items()}
                out.append({title: inner for title, inner in sections.items() if inner})
            elif "*" in entry:
                out.extend(of_pattern(entry))
            else:
                out.append(entry)
        return [entry for entry in out if entry]

    return fill(nav)


def leaves(nav: list[Any]) -> list[str]:
    """The pages and patterns that a navigation names."""
    out: list[str] = []
    for entry in nav:
        inner = next(iter(entry.values())) if isinstance(entry, dict) else entry
        out.extend(leaves(inner) if isinstance(inner, list) else [inner])
    return out
