"""What the site shows of published results: a section of every suite's page, and the interactive pages themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable

from benchmarks.pages.published import Published

_TITLE = re.compile(r"^\*\*(.+?)\*\*$", re.MULTILINE)


def files(found: Iterable[Published]) -> dict[str, str]:
    """Address in the site -> HTML of the interactive page."""
    return {f"results/{suite.name}/report.html": suite.page for suite in found}


def sections(found: Iterable[Published]) -> dict[str, str]:
    """Suite id without its size -> Markdown of its published results."""
    out: dict[str, str] = {}
    for suite in found:
        name = suite.record.id.removesuffix(f"/{suite.record.size}")
        out[name] = out.get(name, "") + section(suite)
    return out


def section(suite: Published) -> str:
    """Where the numbers come from, the link to the interactive page, and the tables."""
    record = suite.record
    facts = [
        ("size", f"`{record.size}`"),
        ("training seeds", ", ".join(map(str, record.train_seeds)) or "-"),
        ("machine", "; ".join(suite.machines) or record.versions.get("machine", "-")),
        ("commit", ", ".join(f"`{commit}`" for commit in suite.commits)),
    ]
    head = "| | |\n| --- | --- |\n" + "\n".join(f"| {name} | {value} |" for name, value in facts)
    link = f"[Interactive page of these results](../results/{suite.name}/report.html)"
    commands = "\n".join(record.command.split(" && "))
    tables = "\n\n".join(_TITLE.sub(r"### \1", table, count=1) for table in suite.tables)
    return f"\n## Results, size `{record.size}`\n\n{link}\n\n{head}\n\n```bash\n{commands}\n```\n\n{tables}\n"
