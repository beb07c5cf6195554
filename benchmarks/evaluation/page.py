"""The page of an evaluation; it needs plotly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from auction_env.files import write_atomically
from benchmarks.evaluation.tables import ALL_TASKS
from benchmarks.pages import plots
from benchmarks.pages.document import assemble_page, plotly_script
from benchmarks.pages.elements import Section, card, cell, escape, grid, pairs_table, swatch, table
from benchmarks.pages.tables.cells import Cells
from benchmarks.pages.text import ranges
from benchmarks.statistics.summaries import Summary


def write_page(
    path: Path, summaries: Sequence[Summary], tables: Sequence[Cells], episodes: Sequence[Mapping[str, Any]]
) -> Path:
    """Writes the page, whole or not at all; returns where it is. Arguments as of `render`."""
    write_atomically(path, render(summaries, tables, episodes, plotly_script()).encode())
    return path


def render(
    summaries: Sequence[Summary], tables: Sequence[Cells], episodes: Sequence[Mapping[str, Any]], plotly_js: str
) -> str:
    """The HTML of the page.

    Args:
        summaries: Of every bidder and task.
        tables: The first is the scores'.
        episodes: What was played, a record a task.
        plotly_js: The source of plotly.js.
    """
    names, tasks = _methods(summaries), [str(record["task"]["name"]) for record in episodes]
    scopes: list[str | None] = [None, *tasks] if len(tasks) > 1 else list(tasks)
    figures = {f"share-{k}": plots.share_dots(summaries, scope) for k, scope in enumerate(scopes)}
    cards = [
        card(f"share-{k}", scope or ALL_TASKS, "score over that of the best constant in hindsight", len(names))
        for k, scope in enumerate(scopes)
    ]
    scores, *others = tables
    parts = [Section("scores", "Scores", _table(names, scores) + grid(cards))]
    parts += [Section(cells.kind, cells.title, _table(names, cells)) for cells in others]
    parts.append(Section("played", "What was played", "".join(played_table(record) for record in episodes)))
    n = sum(record["n_episodes"] for record in episodes)
    intro = [f"{', '.join(names)} on the same {n:,} episodes of {', '.join(tasks)}."]
    return assemble_page("Evaluation", intro, parts, {"figures": figures, "controls": {}}, plotly_js)


def _methods(summaries: Sequence[Summary]) -> list[str]:
    """The bidders, in the order in which they were given: a place gives a colour."""
    return list(dict.fromkeys(s.method for s in summaries))


def _table(names: Sequence[str], cells: Cells) -> str:
    rows = [
        [
            f'<th scope="row">{swatch("method", names.index(first))} {escape(first)}</th>',
            *(cell(content) for content in others),
        ]
        for first, *others in cells.rows
    ]
    return table(cells.title, cells.header, {}, [(note, rows) for note in cells.notes])


def played_table(record: Mapping[str, Any]) -> str:
    """What was played of a task, from the record of `EpisodeSet.description`."""
    pairs = {
        "episodes": f"{record['n_episodes']:,}",
        "seeds": ranges(record["seeds"]),
        "advertisers": ranges(record["advertisers"]),
    }
    if "params" in record:
        params = record["params"]
        pairs |= {"impressions": f"{params['n_impressions']:,}", "mechanism": params["mechanism"]}
        competing = record["competitors"]
        pairs["competitors"] = competing if isinstance(competing, str) else ", ".join(competing)
    elif "market" in record:
        pairs |= {"market": record["market"], "mechanism": record["mechanism"], "competitors": "do not react"}
    else:
        pairs |= {"periods": ranges(record["days"]), "competitors": "bid what they bid in the log"}
    return pairs_table(escape(record["task"]["name"]), pairs)
