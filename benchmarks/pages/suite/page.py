"""`vamo bench report`: one self-contained page of a suite's results, from a run's directory or a published one.

Statistics are those of `benchmarks.statistics.analysis`; weights and episodes are the stored ones, rounded. The page's
address keeps what is chosen: `report.html#task=...&agent=...`.
"""

from __future__ import annotations

from pathlib import Path

from auction_env.files import write_atomically
from benchmarks.pages.document import assemble_page, plotly_script
from benchmarks.pages.elements import Section
from benchmarks.pages.suite import figures, sections
from benchmarks.pages.suite.axis import along_axis, has_axis
from benchmarks.pages.suite.records import Records, episode_records, weight_records
from benchmarks.pages.suite.results import Results
from benchmarks.pages.tables.several import cost_cells, family_cells, family_task_cells, registered_cells
from benchmarks.statistics.analysis import analyse, family_groups, registered_contrasts
from benchmarks.statistics.bootstrap import Bootstrap
from benchmarks.suites.storage.store import Store, SuiteRecord

PAGE = "report.html"
"""Name of the page in the directory of the results, where no other is asked for."""
MOST_BANDS = 5  # of profiles at first sight


def write_page(directory: Path, out: Path | None = None, bootstrap: Bootstrap | None = None) -> Path:
    """Writes the page of a suite, whole or not at all; the same results give the same bytes.

    Args:
        directory: What `vamo bench run` or `vamo bench publish` wrote.
        out: The page; `report.html` in the directory by default.
        bootstrap: How intervals are computed.

    Returns:
        Where the page is.

    Raises:
        FileNotFoundError: The directory holds no results.
        IsADirectoryError: `out` is one.
        ValueError: It holds no rows, or rows that are not paired.
        ModuleNotFoundError: plotly is not installed.
    """
    out = directory / PAGE if out is None else out
    if out.is_dir():
        raise IsADirectoryError(f"`out` must be a file, found the directory {out}")
    page = render(directory, plotly_script(), bootstrap)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, page.encode())
    return out


def render(directory: Path, plotly_js: str, bootstrap: Bootstrap | None = None) -> str:
    """The HTML of the page."""
    store = Store(directory)
    record = store.suite()
    found = Results(record=record, variants=analyse(store, bootstrap=bootstrap))
    runs = store.runs()
    weights = weight_records(record, store.weights(), runs)
    episodes = episode_records(record, found.methods, store.episodes())
    parts = _sections(found, store, weights, episodes, bootstrap)
    data = _data(found, weights, episodes)
    return assemble_page(_title(record), [record.question], parts, data, plotly_js, extra="suite")


def _title(record: SuiteRecord) -> str:
    return f"{record.title} ({record.id})"


def _sections(
    found: Results, store: Store, weights: Records, episodes: Records, bootstrap: Bootstrap | None
) -> list[Section]:
    runs = store.runs()
    groups = []
    for group in family_groups(found.record, found.variants):
        groups += [family_cells(found.record, group), *family_task_cells(found.record, group, found.variants)]
    out = []
    if found.record.contrasts or groups:
        contrasts = registered_contrasts(found.record, found.variants, bootstrap)
        out.append(sections.registered([registered_cells(found.record, contrasts)] if contrasts else [], groups))
    out.append(sections.leaderboard(found))
    lacking = []
    if has_axis(found):
        out.append(sections.axis(found))
    else:
        lacking.append("axis")
    out += [sections.tasks(found), sections.profiles(found)]
    for name, records, make in (("weights", weights, sections.weights), ("episodes", episodes, sections.episodes)):
        if records.entries:
            out.append(make(records))
        else:
            lacking.append(name)
    out += [sections.cost(cost_cells(found.record, store)), sections.failed(runs)]
    about = sections.about(found.record, runs, found)
    notes = "".join(f'<p class="note">{line}</p>' for line in sections.absent(lacking))
    return [Section(about.anchor, about.heading, about.body + notes), *out]


def _initial(found: Results, weights: Records, episodes: Records) -> dict[str, int]:
    """What the page shows first: the suite's own method, and one band where all of them would hide each other."""
    own = next((name for name in found.record.ours if name in found.methods), None)
    if own is None:
        return {}
    out = {"profile": 1 + found.methods.index(own)} if len(found.methods) > MOST_BANDS else {}
    for control, records in (("wmethod", weights), ("agent", episodes)):
        choices = records.controls[control]
        if found.labels[own] in choices:
            out[control] = choices.index(found.labels[own])
    return out


def _data(found: Results, weights: Records, episodes: Records) -> dict[str, object]:
    """What the page's scripts read; see `assets/page.js` and `assets/suite.js`."""
    drawn: dict[str, object] = {
        "leaderboard": figures.leaderboard(found),
        "task-map": figures.task_map(found),
        "by-task": figures.by_task(found),
        "profiles": figures.profiles(found),
    }
    controls: dict[str, list[str]] = {
        "variant": list(found.variants),
        "measure": found.measures,
        "task": list(found.tasks),
        "profile": ["all", *found.methods],
    }
    initial = _initial(found, weights, episodes)
    if has_axis(found):
        drawn["axis"] = along_axis(found)
    if weights.entries:
        n_frames = max(len(entry["steps"]) for entry in weights.entries)
        targets = list(dict.fromkeys(target for entry in weights.entries for target in entry["targets"]))
        own = {"wtarget": targets, "quantity": ["weight", "alignment"], "frame": [str(k) for k in range(n_frames)]}
        controls |= weights.controls | own
        initial["frame"] = n_frames - 1
        shown = [*weights.controls, "quantity", "frame"]
        drawn["weights"] = {"build": "weights", "controls": shown}
        drawn["weight-lines"] = {"build": "weightLines", "controls": [*shown, "wtarget"]}
    if episodes.entries:
        controls |= episodes.controls | {"other": ["nobody", *episodes.controls["agent"]]}
        drawn["episode"] = {"build": "episode", "controls": [*episodes.controls, "other"]}
    return {
        "figures": drawn,
        "controls": controls,
        "initial": initial,
        "captions": list(figures.captions(found)),
        "weights": {"controls": list(weights.controls), "entries": weights.entries},
        "episodes": {
            "controls": list(episodes.controls),
            "entries": episodes.entries,
            "ratios": sections.RATIO_DASHES,
        },
    }
