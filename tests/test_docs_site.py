"""The documentation site builds without a warning and needs no network; its pages from code say what the code says."""

from __future__ import annotations

import html
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from agents.registry import entries
from auction_env import REQUIREMENT_NAMES, TASKS
from benchmarks.suites.catalogue import SUITES, get_suite
from tests.benchmarks.suites.made_up import write_results

ROOT = Path(__file__).parents[1]
MISSING = [name for name in ("mkdocs", "material", "mkdocstrings_handlers", "matplotlib") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs the extras `docs` and `report`: no {', '.join(MISSING)}")

LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src"), ("object", "data")}
LOADING_RELS = {"stylesheet", "preconnect", "preload", "prefetch", "modulepreload", "dns-prefetch", "icon", "manifest"}


class Page(HTMLParser):
    """What an HTML page loads, links to and names."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.names.update(values[key] for key in ("id", "name") if key in values)
        self.loads += [values[key] for of, key in LOADED if of == tag and key in values]
        if tag == "link" and LOADING_RELS & set(values.get("rel", "").split()):
            self.loads.append(values["href"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; `strict` in mkdocs.yml turns every warning into a failure."""
    out = tmp_path_factory.mktemp("site")
    results = write_results(tmp_path_factory.mktemp("results") / "made-up-v1-testing")
    record = json.loads((results / "suite.json").read_text(encoding="utf-8"))
    (results / "suite.json").write_text(json.dumps(record | {"id": "demo/v2/testing"}))
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "MPLBACKEND": "Agg", "DOCS_RESULTS": str(results.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Imports a module of docs/hooks, as mkdocs does, and forgets it and its neighbours afterwards."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "hooks"))
    yield importlib.import_module("pages")
    for path in (ROOT / "docs" / "hooks").glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    external = {load for page in pages.values() for load in page.loads if urlsplit(load).netloc}
    assert not external
    styles = "".join(path.read_text("utf-8") for path in site.rglob("*.css"))
    assert not {url for url in re.findall(r"(?:url\(|@import )['\"]?([^'\")]+)", styles) if urlsplit(url).netloc}


def test_internal_links_lead_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # its links are absolute: it is served from any address
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            is_named = not parts.fragment or target not in pages or unquote(parts.fragment) in pages[target].names
            if not target.exists() or not is_named:
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_every_task_and_agent_has_a_page_that_names_what_it_is(site: Path) -> None:
    for task in TASKS.values():
        text = (site / "tasks" / f"{task.name}.html").read_text(encoding="utf-8")
        for name in (task.objective, *(constraint.kind for constraint in task.constraints), *REQUIREMENT_NAMES):
            assert f"<code>{name}</code>" in text
        assert 'aria-label="\\mathrm{score}' in text
    for name, entry in entries().items():
        text = (site / "registry" / f"{name}.html").read_text(encoding="utf-8")
        assert entry.kind in text and "Search space" in text
    pid = (site / "registry" / "pid.html").read_text(encoding="utf-8")
    assert "<code>cpa_p</code>" in pid


def test_the_specification_is_the_docstring(site: Path) -> None:
    text = (site / "specification" / "bidding-env.html").read_text(encoding="utf-8")
    assert "requirement has_smoothness_limit" in text and "Episode end" in text
    reference = (site / "reference" / "auction_env.html").read_text(encoding="utf-8")
    assert 'id="auction_env.market.forms.single.Market"' in reference
    assert "currency per unit of the task's objective" in html.unescape(reference)  # a comment beside a field


def test_no_equation_is_left_as_tex(site: Path) -> None:
    method = (site / "method.html").read_text(encoding="utf-8")
    assert method.count('class="equation"') > 30
    assert not [path for path in site.rglob("*.html") if 'class="arithmatex">\\' in path.read_text(encoding="utf-8")]


def test_the_code_of_a_task_page_makes_its_environment(hook: ModuleType) -> None:
    registered = importlib.import_module("registered")
    for task in TASKS.values():
        names: dict[str, Any] = {}
        exec(re.search(r"```python\n(.*?)```", registered.task_page(task), re.S)[1], names)
        assert names["env"].unwrapped.task == task


def test_a_suite_page_names_what_the_suite_compares(hook: ModuleType) -> None:
    page = importlib.import_module("registered").suite_page(SUITES["data-scarce/v2"])
    suite = get_suite("data-scarce/v2", "cpu")
    for text in (
        suite.question,
        suite.hash()[:16],
        *(arm.label for arm in suite.arms),
        *(contrast.name for contrast in suite.contrasts),
        "vamo bench run data-scarce/v2",
    ):
        assert text in page


def test_published_results_are_on_the_page_of_their_suite(site: Path) -> None:
    text = (site / "suites" / "demo-v2.html").read_text(encoding="utf-8")
    for part in ("a made-up machine, 2 cores", "0123abc", "vamo bench run made-up/v1", "VAO", "IQM"):
        assert part in html.unescape(re.sub(r"<[^>]+>", "", text))
    assert 'href="../results/made-up-v1-testing/report.html"' in text
    page = (site / "results" / "made-up-v1-testing" / "report.html").read_text(encoding="utf-8")
    assert "Leaderboard" in page and len(page) > 1_000_000  # plotly is inside


def test_patterns_take_what_no_other_entry_names(hook: ModuleType) -> None:
    nav = [{"A": ["one.md", "more/*.md"]}, {"Empty": ["none/*.md"]}, {"Rest": ["*.md"]}]
    found = hook.expanded(nav, ["one.md", "two.md", "more/a.md", "more/deep/b.md"])
    assert found == [{"A": ["one.md", "more/a.md"]}, {"Rest": ["two.md"]}]


def test_an_equation_that_cannot_be_drawn_is_an_error(hook: ModuleType) -> None:
    equations = importlib.import_module("equations")
    assert "<path" in equations.drawn(r"w_{ik} &lt; \frac{1}{2}", "page.md")
    with pytest.raises(
        importlib.import_module("mkdocs.exceptions").PluginError, match=r"page\.md: the equation '\\\\nosuch"
    ):
        equations.drawn(r"\nosuch{x}", "page.md")
