"""The page of public names: what the packages export, and nothing else."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

pytest.importorskip("griffe", reason="needs the extra `docs`")
from benchmarks.pages import api

NAMES = {"one": {"Market": "A market."}, "two": {}}
PAGE = "# Names\n<!-- api: one -->\n<!-- end of api -->\ntext\n<!-- api: two -->\nold\n<!-- end of api -->\n"


@pytest.fixture(scope="module")
def names() -> dict[str, dict[str, str]]:
    return api.public_names()


def test_the_page_is_up_to_date() -> None:
    api.main(["--check"])


def test_the_page_lists_what_can_be_imported(names: dict[str, dict[str, str]]) -> None:
    assert set(names) == set(api.PACKAGES)
    for package, described in names.items():
        module = importlib.import_module(package)
        assert sorted(described) == sorted(getattr(module, "__all__", ()))
        for name, sentence in described.items():
            assert getattr(module, name) is not None and sentence.endswith("."), f"{package}.{name}: {sentence}"


def test_tables_stand_between_their_markers() -> None:
    filled = api.render(PAGE, NAMES)
    assert "<!-- api: one -->\n\n| name | what it is |\n| --- | --- |\n| `Market` | A market. |\n\n<!-- end" in filled
    assert "old" not in filled and filled.count("text") == 1
    assert api.render(filled, NAMES) == filled


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (PAGE + "<!-- api: one -->\n", "must come in pairs, found 3 beginnings and 2 ends"),
        (PAGE.replace("two", "one"), "must name each of one, two once, found one, one"),
        ("", "must name each of one, two once, found none"),
    ],
)
def test_wrong_markers_are_named(page: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        api.render(page, NAMES)


def test_a_page_that_is_not_up_to_date_fails(
    tmp_path: Path, names: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "public_names", lambda: names)
    page = tmp_path / "api.md"
    text = api.FILE.read_text(encoding="utf-8")
    page.write_text(re.sub(r"\| `Market` .*\n", "", text), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"must have the public names .*: python -m benchmarks.pages.api"):
        api.main(["--file", str(page), "--check"])
    api.main(["--file", str(page)])
    assert page.read_text(encoding="utf-8") == text


def test_a_public_name_needs_a_docstring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "PACKAGES", ("bare",))
    (tmp_path / "bare.py").write_text('"""Module."""\n__all__ = ["SIZE"]\nSIZE = 3\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"public name 'bare.SIZE' must have a docstring, found none"):
        api.public_names(tmp_path)
