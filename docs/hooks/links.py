"""Makes the links that hold in the repository hold in the site too.

A page of docs/ names files outside docs/ as on GitHub (`../CONTRIBUTING.md`). In the site such a link goes to the page
made of that file, or, where there is none, becomes its text.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
PAGES |= {"CITATION.cff": "cite.md"}
RESULTS = "benchmarks/results/"
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>(?:\.\./)+[^)\s#]*)(?P<anchor>#[^)\s]*)?\)")
FENCE = re.compile(r"(^```.*?^```$)", re.M | re.S)


def made_page(path: str) -> str:
    """The page that is made of an example, or of a suite's results; "" for any other file or folder."""
    if path.startswith("examples/"):
        return path.removesuffix(".py") + ".md"
    if path.startswith(RESULTS):
        return f"suites/{path.removeprefix(RESULTS).rpartition('-')[0]}.md"  # without the suite's size
    return ""


def on_page_markdown(markdown: str, page: Any, files: Any, **_: Any) -> str:
    """The page with its links out of docs/ replaced; code blocks stay as they are."""
    folder = posixpath.dirname(page.file.src_uri)

    def replaced(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", folder, match["target"]))
        if path.startswith("docs/"):
            return match[0]  # another page of docs/
        target = PAGES.get(path) or made_page(path)
        if not target or files.get_file_from_path(target) is None:
            return match["text"]
        return f"[{match['text']}]({posixpath.relpath(target, folder or '.')}{match['anchor'] or ''})"

    parts = FENCE.split(markdown)
    return "".join(part if part.startswith("```") else LINK.sub(replaced, part) for part in parts)
