"""The page of a family: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from agents.logging.harm import HARM_KINDS
from auction_env.files import write_atomically
from auction_env.tasks import Task
from benchmarks.pages.data_set.family import figures
from benchmarks.pages.data_set.family.describing import CLASSES, FamilyDescription
from benchmarks.pages.data_set.family.figures import CLASS_COLOURS, HARMED
from benchmarks.pages.document import assemble_page, plotly_script
from benchmarks.pages.elements import Section, card, cell, escape, grid, pairs_table, radios, table
from benchmarks.pages.plots import MOST_NAMED, Figure


def write_page(path: Path, found: FamilyDescription, links: Mapping[str, str] | None = None) -> None:
    """Writes the page, whole or not at all; ModuleNotFoundError without plotly. Arguments as of `render`."""
    write_atomically(path, render(found, plotly_script(), links).encode())


def render(found: FamilyDescription, plotly_js: str, links: Mapping[str, str] | None = None) -> str:
    """The HTML of the page.

    Args:
        found: The family.
        plotly_js: The source of plotly.js.
        links: Addresses of the pages of the tasks' data sets, by task.
    """
    drawn: dict[str, Figure] = {
        "sizes": figures.sizes(found),
        "relations": figures.relations(found),
        "response": figures.response(found),
        "distances": figures.distances(found),
    }
    parts = [
        Section("tasks", "Tasks", _tasks(found, links or {})),
        Section("sources", "Which source helps which target", _sources(found)),
        Section("distances", "How far the tasks lie apart", _distances(found)),
        Section("harm", "Harmed logs", _harm(found)),
    ]
    if found.weights is not None:
        drawn |= {"weights": figures.weights(found), "classes": figures.classes(found)}
    if found.harm is not None and any(member.is_harmful for member in found.family.members):
        drawn["harm"] = figures.harm(found)
    data = {
        "figures": drawn,
        "controls": {"part": list(found.distances)},
        "captions": figures.distance_captions(found),
    }
    return assemble_page(f"Task family {found.path.name}", findings(found), parts, data, plotly_js)


def findings(found: FamilyDescription) -> list[str]:
    """The page in sentences."""
    members, truth = found.family.members, found.relations
    sizes = [member.n_trajectories for member in members]
    groups = len({member.group for member in members})
    said = [
        f"{len(members)} tasks in {groups} groups. The largest has {max(sizes):,} trajectories to train on, the "
        f"smallest {min(sizes):,}; all together {sum(sizes):,}."
    ]
    harmed = [member.name for member in members if member.is_harmful]
    if not harmed:
        return [*said, "All logs are sound.", *_said_of_weights(found)]
    verb = "is" if len(harmed) == 1 else "are"
    said.append(f"{len(harmed)} of {len(members)} logs {verb} harmed: {', '.join(harmed)}.")
    harmful, shared = truth == CLASSES["harmful"], found.is_shared
    n_caught, n_lost = int((harmful & ~shared).sum()), int((~harmful & ~shared).sum())
    said.append(
        f"The response check finds {n_caught} of the {int(harmful.sum())} harmful pairs of target and source, and "
        f"takes {n_lost} of the {int((~harmful).sum())} other pairs for harmful."
    )
    return [*said, *_said_of_weights(found)]


def _said_of_weights(found: FamilyDescription) -> list[str]:
    shares = [f"{name} {value:.2f}" for name, value in found.weight_by_class.items() if np.isfinite(value)]
    if not shares:
        return []
    return [
        f"Weights of the agent {found.agent}, over that of uniform sharing, mean over the targets with sound logs: "
        f"{', '.join(shares)}."
    ]


def _tasks(found: FamilyDescription, links: Mapping[str, str]) -> str:
    legend = _boxes({"sound log": figures.SOUND_COLOUR, "harmed log": CLASS_COLOURS["harmful"]})
    counts = legend + grid([card("sizes", "Trajectories by task", "to train on; logarithmic scale", wide=True)])
    head = ["task", "objective", "limits", "trajectories", "sound", "policy", "harm", "helpful", "harmful"]
    groups: dict[int, list[list[str]]] = {}
    for member, truth in zip(found.family.members, found.relations, strict=True):
        name = escape(member.name)
        linked = f'<a href="{escape(links[member.name])}">{name}</a>' if member.name in links else name
        first = f'<th scope="row">{HARMED if member.is_harmful else ""}{linked}</th>'
        n_sound = int(found.family.sound_episodes(member.name).sum())
        numbers = [f"{member.n_trajectories:,}", f"{n_sound:,}", member.policy, str(member.harm or "–")]
        numbers += [str(int((truth == CLASSES[name]).sum())) for name in ("helpful", "harmful")]
        objective = member.task.objective.replace("_", " ")
        row = [first, *map(cell, (objective, limits_text(member.task), *numbers))]
        groups.setdefault(member.group, []).append(row)
    rows = [(f"Group {group}", of_group) for group, of_group in sorted(groups.items())]
    return counts + table("Tasks; the last columns count sources", head, {}, rows)


def limits_text(task: Task) -> str:
    """The limits of a task beside the budget, in a few words."""
    texts = [
        f"{constraint.kind.replace('_', ' ')} {constraint.limit:g}"
        if constraint.limit is not None
        else f"{constraint.kind.replace('_', ' ')} {constraint.scale:g} x target"
        for constraint in task.constraints
    ]
    return ", ".join(texts) or "budget only"


def _sources(found: FamilyDescription) -> str:
    intro = (
        "Rows are targets, columns are sources. The truth is known because the family was made: a source of the same "
        "group with the same harm, or none, is helpful; one with another harm is harmful; how much an unrelated source "
        "helps is a question to the data. "
        f"{HARMED.strip()} marks harmed logs."
    )
    low, high = f"{1 / found.factor:.2g}", f"{found.factor:.2g}"
    rows = min(len(found.family), MOST_NAMED) + 5
    cards = [
        card("relations", "The truth", "what the family was made to be", rows),
        card("response", "Response check", f"predicted over actual cost; × not shared, outside {low} to {high}", rows),
    ]
    if found.weights is not None:
        cards.append(card("weights", f"Weights of {found.agent}", "× harmful for the target; one training run", rows))
        n_classes = sum(np.isfinite(value) for value in found.weight_by_class.values())
        cards.append(
            card("classes", f"Weights of {found.agent} by class", "means over targets with sound logs", n_classes)
        )
    return f"<p>{escape(intro)}</p>{_boxes(CLASS_COLOURS)}{grid(cards, is_large=True)}"


def _boxes(colours: Mapping[str, str]) -> str:
    """A legend of coloured boxes."""
    marks = "".join(
        f'<li><span class="box" style="background:{colour}"></span> {name}</li>' for name, colour in colours.items()
    )
    return f'<ul class="legend">{marks}</ul>'


def _distances(found: FamilyDescription) -> str:
    rows = min(len(found.family), MOST_NAMED) + 5
    figure = card("distances", "Distance between the tasks' logs", "validation data", rows, wide=True)
    return radios("part", "Part", list(found.distances)) + grid([figure])


def _harm(found: FamilyDescription) -> str:
    members = [member for member in found.family.members if member.harm]
    if not members:
        return "<p>All logs are sound.</p>"
    pairs = {f"{m.name}: {m.harm}": HARM_KINDS[m.harm.kind] for m in members if m.harm is not None}
    body = pairs_table("Kind = strength s @ share of the episodes", pairs)
    if found.harm is None:
        return body + "<p class='note'>What each harm costs was not measured: vamo family --measure.</p>"
    rows = min(len(found.family), MOST_NAMED) + 5
    note = "per cent of the target's score that believing the source costs (best constants)"
    return body + grid([card("harm", "Measured harm", note, rows, wide=True)])
