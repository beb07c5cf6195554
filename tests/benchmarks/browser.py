"""Pages as files and in Chromium: tests that open one have the mark `needs_browser` and the fixture `browser`."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or importlib.util.find_spec("playwright") is None,
    reason="no chromium on the path" if CHROMIUM is None else "the package `playwright` is not installed",
)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]


def data_of(page: str) -> dict[str, Any]:
    """What the script of a page reads."""
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', page, re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


class Opened:
    """A page in the browser that collects what goes wrong."""

    def __init__(self, browser: Any, path: Path, address: str = "", **options: Any) -> None:
        self.page = browser.new_page(**options)
        self.trouble: list[str] = []
        self.page.on("console", lambda message: self.trouble.append(message.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.goto(path.as_uri() + address)
        self.page.wait_for_selector("html[data-rendered=true]")

    def _asked(self, url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:")):
            self.trouble.append(f"network: {url}")

    def drawn(self, figure: str) -> Any:
        """Traces and layout that plotly shows."""
        return self.page.evaluate(
            f"(() => {{ const e = document.getElementById('plot-{figure}');"
            " return {data: e.data, title: e.layout.xaxis.title?.text, shapes: e.layout.shapes}; })()"
        )

    def pick(self, control: str, choice: int) -> None:
        """With a list or radio buttons."""
        radio = self.page.locator(f'input[type=radio][data-control="{control}"][value="{choice}"]')
        if radio.count():
            radio.first.check(force=True)
        else:
            self.page.locator(f'select[data-control="{control}"]').first.select_option(str(choice))

    def close(self) -> None:
        self.page.close()
        assert not self.trouble, self.trouble
