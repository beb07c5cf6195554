"""One self-contained HTML page and a picture from the results of a benchmark run.

The page needs no network: plotly.js, styles, script and data are inside. Its address chooses what is shown, for
example `report.html#method=PID&episode=...`; see `controls` in `benchmarks.pages.report.page`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from auction_env.files import write_atomically
from benchmarks.pages import plots
from benchmarks.pages.report.data import Analysis, Episode, EpisodeTrace, ReportData, TrainingHistory, analyse
from benchmarks.pages.report.page import Section, controls, escape, sections
from benchmarks.pages.report.picture import draw_summary
from benchmarks.pages.report.text import episode_note, trace_note

__all__ = ["Episode", "EpisodeTrace", "ReportData", "TrainingHistory", "render_png_summary", "write_report"]


def write_report(path: str | os.PathLike[str], report: ReportData) -> None:
    """Writes the page, whole or not at all: to a temporary name, then renamed.

    The same report gives the same bytes. Raises ValueError for rows that the statistics refuse, and
    ModuleNotFoundError without plotly.
    """
    page = render_page(analyse(report), plotly_js=plotly_script())
    write_atomically(Path(path), page.encode())


def plotly_script() -> str:
    """The source of plotly.js; ModuleNotFoundError without plotly."""
    try:
        from plotly.offline import get_plotlyjs  # here, so that rows and statistics need no plotly
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("reports need plotly: install the extra `report`") from error
    script: str = get_plotlyjs()
    return script


def render_png_summary(path: str | os.PathLike[str], report: ReportData) -> None:
    """Writes a picture of the scores and of the spend over the first episode's day; needs matplotlib, no browser."""
    write_atomically(Path(path), draw_summary(analyse(report)))


def render_page(analysis: Analysis, plotly_js: str) -> str:
    """The HTML of the page."""
    report = analysis.report
    return assemble_page(report.title, report.intro, sections(analysis), page_data(analysis), plotly_js)


def assemble_page(
    title: str,
    intro: Sequence[str],
    parts: Sequence[Section],
    data: Mapping[str, object],
    plotly_js: str,
    extra: str = "",
) -> str:
    """A self-contained page.

    Args:
        title, intro: Heading and paragraphs, plain text.
        parts: The sections; the first is where the page begins.
        data: What the page's script reads: `figures`, `controls`, `notes` (see `page_data`).
        plotly_js: The source of plotly.js.
        extra: Name of a further style sheet and script of `assets`; the script runs before the page's own.
    """
    assets = files("benchmarks.pages") / "assets"
    styles, scripts = (["report.css"], ["report.js"])
    if extra:
        styles, scripts = [*styles, f"{extra}.css"], [f"{extra}.js", *scripts]
    fields = {
        "title": escape(title),
        "style": _palette() + _joined(assets, styles),
        "intro": "".join(f"<p>{escape(paragraph)}</p>" for paragraph in intro),
        "navigation": "".join(f'<li><a href="#{p.anchor}">{escape(p.heading)}</a></li>' for p in parts),
        "sections": "".join(
            f'<section id="{p.anchor}" aria-labelledby="{p.anchor}-heading">'
            f'<h2 id="{p.anchor}-heading">{escape(p.heading)}</h2>{p.body}</section>'
            for p in parts
        ),
        "first": parts[0].anchor,
        "data": _json(data),
        "plotly": plotly_js.replace("</script", "<\\/script"),
        "script": _joined(assets, scripts),
    }
    template = (assets / "report.html").read_text(encoding="utf-8")
    # one pass over the template: what is filled in is never searched for placeholders
    pieces = template.split("{{")
    out = [pieces[0]]
    for piece in pieces[1:]:
        name, rest = piece.split("}}", 1)
        out += [fields[name], rest]
    return "".join(out)


def _joined(assets: Traversable, names: Sequence[str]) -> str:
    return "\n".join((assets / name).read_text(encoding="utf-8") for name in names)


def page_data(analysis: Analysis) -> dict[str, object]:
    """What the page's script reads: figures, choices of the controls, and the notes of the episodes."""
    figures = {
        **plots.scores(analysis),
        **plots.differences(analysis),
        **plots.episodes(analysis),
        **plots.weights(analysis),
        **plots.losses(analysis),
    }
    shown = plots.viewer_methods(analysis)
    notes = [
        [episode_note(episode)]
        + [trace_note(m, episode.traces[m]) if m in episode.traces else f"{m} has no such episode." for m in shown]
        for episode in analysis.report.episodes
    ]
    return {"figures": figures, "controls": controls(analysis), "notes": notes}


def _palette() -> str:
    """CSS variables of the plots' colours for both colour schemes."""
    blocks = []
    for scheme in ("light", "dark"):
        colours = {"method": plots.METHOD_COLOURS[scheme], "task": plots.TASK_COLOURS[scheme]}
        lines = "".join(f"--{kind}-{i}:{c};" for kind, palette in colours.items() for i, c in enumerate(palette))
        blocks.append(f":root{{{lines}}}")
    return f"{blocks[0]}\n@media (prefers-color-scheme: dark){{{blocks[1]}}}\n"


def _json(data: object) -> str:
    """JSON that cannot end its script element, whatever the names in it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
