"""One self-contained HTML document of sections, figures and controls.

It needs no network: plotly.js, styles, script and data are inside.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable

from benchmarks.pages import plots
from benchmarks.pages.elements import Section, escape


def plotly_script() -> str:
    """The source of plotly.js; ModuleNotFoundError without plotly."""
    try:
        from plotly.offline import get_plotlyjs  # here, so that rows and statistics need no plotly
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("reports need plotly: install the extra `report`") from error
    script: str = get_plotlyjs()
    return script


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
        data: What the page's script reads: `figures`, `controls` and what `extra` needs.
        plotly_js: The source of plotly.js.
        extra: Name of a further style sheet and script of `assets`; the script runs before the page's own.
    """
    assets = files("benchmarks.pages") / "assets"
    styles, scripts = (["page.css"], ["page.js"])
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
    template = (assets / "page.html").read_text(encoding="utf-8")
    # one pass over the template: what is filled in is never searched for placeholders
    pieces = template.split("{{")
    out = [pieces[0]]
    for piece in pieces[1:]:
        name, rest = piece.split("}}", 1)
        out += [fields[name], rest]
    return "".join(out)


def _joined(assets: Traversable, names: Sequence[str]) -> str:
    return "\n".join((assets / name).read_text(encoding="utf-8") for name in names)


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
