"""Elements of a page as HTML: sections, figures' frames, controls, tables, marks; every name is escaped here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.pages import plots

CONSTRAINT_NAMES = {
    "budget": "Budget",
    "cpa": "CPA",
    "cpc": "CPC",
    "roas": "ROAS",
    "min_delivery": "Delivery",
    "smoothness": "Smoothness",
}
DASH_ARRAYS = {"solid": "", "dash": "7 4", "dot": "2 3", "dashdot": "7 3 2 3"}


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: its anchor, its heading in the navigation, and its HTML."""

    anchor: str
    heading: str
    body: str


def escape(name: object) -> str:
    """Text for HTML, also within attributes."""
    return html.escape(str(name), quote=True)


def pairs_table(heading: str, pairs: Mapping[str, str]) -> str:
    """A heading and a table of names and values."""
    rows = [f'<tr><th scope="row">{escape(k)}</th><td class="value">{escape(v)}</td></tr>' for k, v in pairs.items()]
    return f"<h3>{heading}</h3>{scroll(heading, '<table class=pairs><tbody>' + ''.join(rows) + '</tbody></table>')}"


def card(figure: str, title: str, note: str, rows: int = 0, wide: bool = False) -> str:
    """A figure's frame; the height follows the rows of a dot plot."""
    height = f' style="height:{62 + 26 * rows}px"' if rows else ""
    small = f'<small id="note-{figure}">{escape(note)}</small>' if note else ""
    return (
        f'<figure class="card{" wide" if wide else ""}"><figcaption>{escape(title)} {small}</figcaption>'
        f'<div class="plot" id="plot-{figure}" data-figure="{figure}" role="img"'
        f' aria-label="{escape(title)}: {escape(note or "plot")}"{height}></div></figure>'
    )


def grid(cards: Iterable[str], *, is_large: bool = False) -> str:
    """Cards side by side as the width allows; large ones two in a row."""
    return f'<div class="grid{" large" if is_large else ""}">{"".join(cards)}</div>'


def radios(control: str, legend: str, labels: Sequence[str], marks: Sequence[str] | None = None) -> str:
    """A group of radio buttons for a control; the first is chosen."""
    items = [
        f'<label><input type="radio" name="{control}" data-control="{control}" value="{i}"'
        f"{' checked' if i == 0 else ''}>{marks[i] if marks else ''}<span>{escape(label)}</span></label>"
        for i, label in enumerate(labels)
    ]
    return f'<fieldset class="choice"><legend>{escape(legend)}</legend>{"".join(items)}</fieldset>'


def select(control: str, label: str, choices: Sequence[str], where: str = "") -> str:
    """A list to choose from; `where` tells apart several of one control."""
    options = "".join(f'<option value="{i}">{escape(choice)}</option>' for i, choice in enumerate(choices))
    identity = f"control-{control}{where}"
    return (
        f'<p class="choice"><label for="{identity}">{escape(label)}</label> '
        f'<select id="{identity}" data-control="{control}">{options}</select></p>'
    )


def slider(control: str, label: str, what: str, output: str, last: int = 0) -> str:
    """A slider with a button that plays it.

    Args:
        control: Its name.
        label: Stands before it.
        what: Is played, for a screen reader.
        output: Element that says where it stands.
        last: The highest choice, which is chosen first.
    """
    return (
        f'<div class="scrub"><button type="button" id="play" data-play="{control}" data-what="{escape(what)}"'
        f' aria-label="Play {escape(what)}">Play</button><label for="{control}">{escape(label)}</label>'
        f'<input type="range" id="{control}" data-control="{control}" min="0" max="{last}" value="{last}">'
        f"{output}</div>"
    )


def line_mark(colour: str, dash: str, width: float) -> str:
    """A short line for legends."""
    array = f' stroke-dasharray="{DASH_ARRAYS[dash]}"' if DASH_ARRAYS[dash] else ""
    style = f'style="stroke:{colour};stroke-width:{width}"'
    return f'<svg class="mark" viewBox="0 0 26 10" aria-hidden="true"><path d="M0 5H26" {style}{array}/></svg>'


def swatch(kind: str, index: int) -> str:
    """The line of a method or task as the plots draw it."""
    return line_mark(plots.colour(kind, index), plots.dash(kind, index), 3)


def cell(content: str, kind: str = "") -> str:
    """A cell of the page's own text."""
    return f'<td class="{kind}">{escape(content)}</td>' if kind else f"<td>{escape(content)}</td>"


def table(
    caption: str, head: Sequence[str], spans: dict[int, int], groups: Sequence[tuple[str, list[list[str]]]]
) -> str:
    """A table of row groups, in a box that scrolls sideways; spanned columns are value, low and high."""
    width = sum(spans.get(i, 1) for i in range(len(head)))
    first = "".join(
        f'<th scope="col" colspan="{spans[i]}">{escape(h)}<small>value, interval</small></th>'
        if i in spans
        else f'<th scope="col">{escape(h)}</th>'
        for i, h in enumerate(head)
    )
    bodies = "".join(
        f'<tbody><tr class="group"><th scope="rowgroup" colspan="{width}"><span>{escape(title)}</span></th></tr>'
        + "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
        + "</tbody>"
        for title, rows in groups
    )
    return scroll(
        caption, f"<table><caption>{escape(caption)}</caption><thead><tr>{first}</tr></thead>{bodies}</table>"
    )


def scroll(label: str, content: str) -> str:
    """A box for a wide table: it scrolls sideways, the page does not."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="Table: {escape(label)}">{content}</div>'
