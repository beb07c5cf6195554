"""Turns the equations of a page into SVG paths while the site is built.

On GitHub the same `$...$` and `$$...$$` are typeset by GitHub. Here matplotlib's mathtext draws them, so that the site
needs no script, no font and no network to show them. The TeX source stays as the picture's label for screen readers.
"""

from __future__ import annotations

import functools
import html
import re
from typing import Any

from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from mkdocs.exceptions import PluginError

EM = 10.0  # units of a path per em
INLINE = re.compile(r'<span class="arithmatex">\\\((?P<tex>.*?)\\\)</span>', re.S)
DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(?P<tex>.*?)\\\]\s*</div>', re.S)
LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """The page with every equation drawn; PluginError, naming page and equation, for TeX that mathtext cannot draw."""

    def inline(match: re.Match[str]) -> str:
        return drawn(match["tex"], page.file.src_uri)

    def display(match: re.Match[str]) -> str:
        return f'<div class="display">{drawn(match["tex"], page.file.src_uri)}</div>'

    return DISPLAY.sub(display, INLINE.sub(inline, content))


def drawn(escaped: str, where: str) -> str:
    """The SVG element of an equation given as HTML text."""
    tex = " ".join(html.unescape(escaped).split())
    try:
        return svg(tex)
    except ValueError as error:
        reason = str(error).strip().splitlines()[-1]
        raise PluginError(f"{where}: the equation {tex!r} must be TeX that matplotlib knows: {reason}") from error


@functools.cache
def svg(tex: str) -> str:
    """An SVG element as high as the equation, in em, standing on the baseline of the text around it."""
    path = TextPath((0, 0), f"${tex}$", size=EM, prop=FontProperties(math_fontfamily="stix"))
    box = path.get_extents()
    left, right = min(box.x0, 0.0) - 0.2, box.x1 + 0.2
    low, high = min(box.y0, 0.0) - 0.2, box.y1 + 0.2
    parts = []
    for vertices, code in path.iter_segments(simplify=False, curves=True):
        points = " ".join(f"{x:.2f} {-y:.2f}" for x, y in vertices.reshape(-1, 2))
        parts.append(LETTERS[code] + ("" if code == Path.CLOSEPOLY else points))
    scale = 1.1 / EM  # the letters of STIX are smaller than those of sans-serif text
    return (
        f'<svg class="equation" role="img" aria-label="{html.escape(tex)}"'
        f' viewBox="{left:.2f} {-high:.2f} {right - left:.2f} {high - low:.2f}"'
        f' style="width:{(right - left) * scale:.3f}em;height:{(high - low) * scale:.3f}em;'
        f'vertical-align:{low * scale:.3f}em"><path d="{"".join(parts)}"/></svg>'
    )
