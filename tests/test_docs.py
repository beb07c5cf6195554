"""The README and docs: their Python runs, their links resolve, the commands that they name exist.

A block that must not run (it needs a large data set, say) is preceded by an HTML comment with the reason:
<!-- not executed: needs the AuctionNet logs -->
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from benchmarks.cli import main
from tests import processes

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(?:<!-- not executed: (?P<reason>[^\n]+?) -->\n\s*)?```python\n(?P<code>.*?)^```$", re.M | re.S)
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
CODE_SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)[^)]*\)|(?:src|href)=\"(?P<html>[^\"]+)\"")


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def executed_code(text: str) -> str:
    """The page's Python blocks that run, in order, at the line numbers that they have in the page."""
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        if not block["reason"]:
            start = text.count("\n", 0, block.start("code"))
            code = block["code"].splitlines()
            lines[start : start + len(code)] = code
    return "\n".join(lines).rstrip()


def broken_links(text: str, page: Path) -> list[str]:
    """Relative links and images of a page, outside code blocks, that lead to no file or heading."""
    broken = []
    for match in LINK.finditer(CODE_SPAN.sub("", FENCE.sub("", text))):
        target = match["target"] or match["html"]
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = page.parent / unquote(path) if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)
    return broken


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def code_spans(text: str) -> Iterator[str]:
    """Lines of shell blocks and inline code: where a page names commands."""
    for block in re.findall(r"^```(?:bash|console|sh|shell|text)?\n(.*?)^```$", text, re.M | re.S):
        yield from block.splitlines()
    yield from CODE_SPAN.findall(FENCE.sub("", text))


def named_commands(program: str) -> list[str]:
    """First words after `program` in commands of all pages: "test" for `make test`."""
    # a prompt, variables and a folder may precede the program: $ HOME=/tmp .venv/bin/vamo demo
    command = re.compile(rf"^(?:\$ )?(?:[A-Z_]+=\S* )*(?:\S*/)?{program} ([a-z][a-z-]*)(?![\w./=])")
    texts = (page.read_text(encoding="utf-8") for page in PAGES)
    return sorted({m[1] for text in texts for span in code_spans(text) if (m := command.match(span))})


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_python_blocks_run(page: Path, tmp_path: Path) -> None:
    code = executed_code(page.read_text(encoding="utf-8"))
    if not code:
        pytest.skip("no Python block to run")
    folder = tmp_path / "run"
    folder.mkdir()
    run = processes.run(code, folder=folder, work=tmp_path / "process")
    assert run.returncode == 0, f"{page_id(page)} (lines as in the page):\n{run.stdout}\n{run.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_relative_links_resolve(page: Path) -> None:
    assert broken_links(page.read_text(encoding="utf-8"), page) == []


def test_named_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert set(named_commands("make")) <= targets


@pytest.mark.parametrize("command", named_commands("vamo"))
def test_named_subcommand_exists(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"usage: vamo {command}" in capsys.readouterr().out


SAMPLE = """# Title

[up](#a-heading), [gone](none.md), [web](https://example.org), ![picture](none.png)

```python
x = 1
```

<!-- not executed: needs a data set -->

```python
raise SystemExit("must not run")
```

## A heading

```python
assert x == 1
```
"""


def test_blocks_run_in_order_and_marked_ones_do_not() -> None:
    code = executed_code(SAMPLE)
    assert code.splitlines()[5] == "x = 1"
    assert [line for line in code.splitlines() if line] == ["x = 1", "assert x == 1"]


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(SAMPLE, encoding="utf-8")
    assert broken_links(SAMPLE, page) == ["none.md", "none.png"]


def test_the_tutorial_s_command_is_its_python(tmp_path: Path) -> None:
    """The data set of the command has the bytes of the one that the block before it makes."""
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"`(vamo collect [^`]+)`", text)
    (block,) = [code for code in re.findall(r"```python\n(.*?)```", text, re.S) if "collect_data_set(" in code]
    for number in ("n_episodes=", "--episodes "):  # as many in both, here few
        assert f"{number}48" in block + command
        block, command = (part.replace(f"{number}48", f"{number}6") for part in (block, command))
    run = processes.run(block, folder=tmp_path, work=tmp_path / "process")
    assert run.returncode == 0, run.stderr
    words = command.split()[1:]
    words[words.index("--out") + 1] = str(tmp_path / "commanded")
    main(words)
    made = [{f.name: f.read_bytes() for f in (tmp_path / name).glob("*.*")} for name in ("logs", "commanded")]
    assert made[0] == made[1]
