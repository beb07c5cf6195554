"""The report: its data, its HTML, its behaviour in a browser, and its picture, on synthetic results."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import shutil
import struct
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("plotly", reason="reports need the extra `report`")
pytest.importorskip("matplotlib", reason="pictures need the extra `report`")

from benchmarks.pages import plots
from benchmarks.pages.report.data import analyse
from benchmarks.pages.report.page import escape
from benchmarks.pages.report.report import (
    Episode,
    EpisodeTrace,
    ReportData,
    TrainingHistory,
    render_png_summary,
    write_report,
)
from benchmarks.pages.report.text import decimals_for, findings, listing, number, p_text, ranges
from benchmarks.statistics.summaries import Bootstrap

NASTY = """<script>alert("1")</script> & 'q' $x_1$ %{x} {{title}} </title> 漢"""
METHODS = {  # method -> (mean share of the reference, training seeds, spread of the spend)
    "Fixed": (0.71, 0, 0.25),
    "PID": (0.84, 0, 0.06),
    "Online LP": (0.80, 0, 0.10),
    "single-task": (0.83, 3, 0.08),
    "uniform sharing": (0.88, 3, 0.05),
    "VAO": (0.86, 3, 0.07),
    "VAO + FiLM, noise-shrunk weights": (0.89, 3, 0.04),
}
TASKS = ("MaxConversions", "TargetCPA")
PAGE_SECTIONS = (
    "headline",
    "scores",
    "differences",
    "feasibility",
    "episodes",
    "weights",
    "validation",
    "reproduce",
)


def synthetic_rows(methods: dict[str, Any], tasks: tuple[str, ...], n_seeds: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    parts: dict[str, list[Any]] = {}
    for k, task in enumerate(tasks):
        n = n_seeds * 12
        seed, advertiser = np.divmod(np.arange(n), 12)
        reference = rng.gamma(6, 5 + k, n)
        for method, (share, n_train, spread) in methods.items():
            for run in range(n_train) if n_train else (-1,):
                level = share + (0.01 * rng.normal() if n_train else 0.0)
                score = np.maximum(reference * level * (1 + 0.15 * rng.normal(size=n)), 0)
                ratio = rng.gamma(30, 0.9 / 30, n)
                row = {
                    "suite": "synthetic-1",
                    "method": method,
                    "task": task,
                    "train_seed": run,
                    "seed": 1000 + seed,
                    "advertiser": advertiser,
                    "score": score,
                    "reference": reference,
                    "budget_ratio": np.minimum(1, rng.normal(0.95, spread, n).clip(0.2)),
                    "cpa_ratio": ratio if k % 2 else np.full(n, np.nan),
                }
                for name, value in row.items():
                    parts.setdefault(name, []).append(np.broadcast_to(value, n))
    return {name: np.concatenate(columns) for name, columns in parts.items()}


def synthetic_trace(rng: np.random.Generator, traffic: np.ndarray, spread: float) -> EpisodeTrace:
    budget = 2400.0
    wobble = np.exp(np.cumsum(rng.normal(0, spread, 48)))
    cost = np.minimum(np.cumsum(traffic / traffic.sum() * wobble * budget), budget)
    price = 0.004 * (1 + 0.3 * traffic / traffic.max()) * np.exp(rng.normal(0, 0.05, 48))
    return EpisodeTrace(
        budget=budget,
        cost=cost,
        multiplier=60 * wobble * np.exp(rng.normal(0, 0.03, 48)),
        impressions=traffic,
        least_winning_cost=price,
        conversions=np.floor(cost / 48),
        win_rate=np.clip(0.15 * wobble, 0, 1),
    )


def synthetic_history(rng: np.random.Generator, tasks: tuple[str, ...], weighted: bool) -> TrainingHistory:
    step = np.arange(0, 2001, 25)
    n = len(tasks)
    loss = 0.6 * np.exp(-step / 500)[:, None] + 0.4 + 0.05 * rng.random(n) + rng.normal(0, 0.006, (len(step), n))
    loss[1::2] = np.nan  # measured every other time
    alignments = np.cumsum(rng.normal(0, 0.25, (len(step), n, n)), axis=0) + 2 * np.eye(n)
    exp = np.exp(alignments / 2)
    weights = exp / exp.sum(axis=-1, keepdims=True)
    return TrainingHistory(
        targets=tasks,
        sources=tasks,
        step=step,
        validation_loss=loss,
        weights=weights if weighted else None,
        alignments=alignments if weighted else None,
    )


def synthetic_report(methods: dict[str, Any] = METHODS, tasks: tuple[str, ...] = TASKS, n_seeds: int = 8) -> ReportData:
    rng = np.random.default_rng(1)
    traffic = np.round(4000 + 9000 * np.exp(-((np.arange(48) - 40) ** 2) / 60) + 5000 * np.sin(np.arange(48) / 9) ** 2)
    return ReportData(
        title="Bidding for one advertiser among 48: seven methods on two tasks",
        intro=(
            "Every method bids for the same campaigns in the same simulated markets. All 47 competitors are live: "
            "they bid in the same auctions and react to what the method does.",
            "The score of an episode is its conversions, reduced where the realised cost per conversion exceeds its "
            "limit.",
        ),
        machine="2 CPU cores, no accelerator; 14 min",
        command="vamo demo --suite synthetic-1 --out runs/demo",
        rows=synthetic_rows(methods, tasks, n_seeds),
        baselines=("PID", "single-task"),
        parameters={"impressions per episode": "50,000", "ticks": "48", "model": "4 blocks of width 64"},
        versions={"vamo-bidding": "0.1.0", "numpy": np.__version__},
        episodes=tuple(
            Episode(
                title=f"TargetCPA, market seed {1000 + e}, advertiser {3 + e}",
                traces={m: synthetic_trace(rng, traffic, spread) for m, (_, _, spread) in methods.items()},
            )
            for e in range(2)
        ),
        histories={
            m: synthetic_history(rng, tasks, weighted="VAO" in m) for m, (_, n_train, _) in methods.items() if n_train
        },
        bootstrap=Bootstrap(n_resamples=500),
    )


def with_nasty_names(report: ReportData) -> ReportData:
    """VAO and TargetCPA renamed wherever they occur, and the same text in every free field."""
    rows = dict(report.rows)  # type: ignore[call-overload]
    rows["method"] = np.where(rows["method"] == "VAO", NASTY, rows["method"])
    rows["task"] = np.where(rows["task"] == "TargetCPA", NASTY, rows["task"])
    episode = report.episodes[0]
    traces = {NASTY if m == "VAO" else m: trace for m, trace in episode.traces.items()}
    histories = {
        NASTY if m == "VAO" else m: dataclasses.replace(h, targets=("MaxConversions", NASTY), sources=(NASTY, "other"))
        for m, h in report.histories.items()
    }
    return dataclasses.replace(
        report,
        title=NASTY,
        intro=(NASTY,),
        machine=NASTY,
        command=NASTY,
        rows=rows,
        parameters={NASTY: NASTY},
        versions={NASTY: NASTY},
        episodes=(Episode(title=NASTY, traces=traces), *report.episodes[1:]),
        histories=histories,
        score_unit=NASTY,
    )


class Page(HTMLParser):
    """Elements, ids, loads and visible text; fails on elements that are not closed in order."""

    VOID = ("meta", "input", "path", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.figures: list[str] = []
        self.labels: list[dict[str, Any]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if "id" in found:
            self.ids.append(str(found["id"]))
        if "data-figure" in found:
            self.figures.append(str(found["data-figure"]))
        if tag == "script":
            self.scripts.append("")
        self.loads += [str(found[name]) for name in ("src", "href", "data", "action", "poster") if found.get(name)]
        assert not any(name.startswith("on") for name in found), found

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def report() -> ReportData:
    return synthetic_report()


@pytest.fixture(scope="module")
def page_path(report: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, report)
    return path


@pytest.fixture(scope="module")
def nasty_path(report: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nasty") / "report.html"
    write_report(path, with_nasty_names(report))
    return path


# ------------------------------------------------------------------ the page as a file


def test_page_is_well_formed_and_complete(page_path: Path, report: ReportData) -> None:
    page = Page(page_path.read_text(encoding="utf-8"))
    assert len(page.ids) == len(set(page.ids))
    assert [i for i in page.ids if i in PAGE_SECTIONS] == list(PAGE_SECTIONS)
    assert page.tags.count("h1") == 1 and page.tags.count("table") == 6
    assert report.command in page.text and report.machine in page.text
    assert "1000 to 1007" in page.text and "192 (96 each)" in page.text  # seeds, paired episodes
    data = json.loads(page.scripts[0])
    assert sorted(data["figures"]) == sorted(page.figures)
    assert len(page.figures) == 3 + 2 * 3 + 6 + 2 + 2


def test_page_loads_nothing(page_path: Path) -> None:
    text = page_path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.loads and all(load.startswith("#") for load in page.loads)
    assert "link" not in page.tags and "img" not in page.tags and "iframe" not in page.tags
    styles = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in styles and "@import" not in styles
    assert "default-src 'none'" in text


def test_same_report_same_bytes_and_no_temporary_file_stays(page_path: Path, report: ReportData) -> None:
    before = page_path.read_bytes()
    write_report(page_path, report)
    assert page_path.read_bytes() == before
    assert [entry.name for entry in page_path.parent.iterdir()] == ["report.html"]


def test_failed_write_leaves_the_old_page(tmp_path: Path, report: ReportData, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        render_png_summary(path, report)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_names_are_escaped(nasty_path: Path) -> None:
    text = nasty_path.read_text(encoding="utf-8")
    page = Page(text)
    assert [i for i in page.ids if i in PAGE_SECTIONS] == list(PAGE_SECTIONS)
    assert len(page.scripts) == 3 and not any("alert" in script for script in page.scripts[1:])
    assert "<script>alert" not in text and escape(NASTY) in text
    assert NASTY in page.text
    data = json.loads(page.scripts[0])
    assert NASTY in data["controls"]["method"]
    drawn = json.dumps(data["figures"])
    assert "<script" not in drawn and "&lt;script&gt;" in drawn  # plotly's own markup


def test_sections_without_data_are_left_out(tmp_path: Path, report: ReportData) -> None:
    path = tmp_path / "report.html"
    write_report(path, dataclasses.replace(report, episodes=(), histories={}, baselines=(), parameters={}))
    page = Page(path.read_text(encoding="utf-8"))
    assert [i for i in page.ids if i in PAGE_SECTIONS] == ["headline", "scores", "feasibility", "reproduce"]


def test_figures_are_valid_plotly(report: ReportData) -> None:
    import plotly.graph_objects as go

    analysis = analyse(report)
    found = {**plots.scores(analysis), **plots.differences(analysis), **plots.episodes(analysis)}
    found |= {**plots.weights(analysis), **plots.losses(analysis)}
    variable = re.compile(r"var\(--[\w-]+\)")
    for name, figure in found.items():
        plain = json.loads(variable.sub("#123456", json.dumps(figure)))
        go.Figure([part["trace"] for part in plain["traces"]], plain["layout"])  # raises on unknown keys
        assert plain["traces"], name


def test_one_colour_per_method_on_every_plot(report: ReportData) -> None:
    analysis = analyse(report)
    colours: dict[str, set[str]] = {}
    for figures in (
        plots.scores(analysis),
        plots.differences(analysis),
        plots.episodes(analysis),
        plots.losses(analysis),
    ):
        for figure in figures.values():
            for trace in (part["trace"] for part in figure["traces"]):
                mark = trace["line"] if trace["mode"] == "lines" else trace["marker"]
                colours.setdefault(trace["name"], set()).add(mark["color"])
    by_method = [colours[plots.text(method)] for method in METHODS]
    assert all(len(found) == 1 for found in by_method)
    assert len(set.union(*by_method)) == len(METHODS)


@pytest.mark.parametrize(("palette", "least"), [(plots.METHOD_COLOURS, 8.5), (plots.TASK_COLOURS, 10.0)])
@pytest.mark.parametrize(("scheme", "paper"), [("light", "#fbfaf7"), ("dark", "#14171a")])
def test_palettes_are_told_apart_by_the_colour_blind(palette: Any, least: float, scheme: str, paper: str) -> None:
    def linear(colour: str) -> np.ndarray:
        c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)

    # Machado et al. 2009, severity 1; OKLab: Ottosson 2020
    seen = {
        "normal": np.eye(3),
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
        "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
    }
    cone = np.array(
        [[0.41222147, 0.53633254, 0.05144599], [0.2119035, 0.68069955, 0.10739696], [0.08830246, 0.28171884, 0.6299787]]
    )
    lab = np.array(
        [
            [0.21045426, 0.79361779, -0.00407205],
            [1.9779985, -2.42859221, 0.45059371],
            [0.0259040, 0.78277177, -0.80867577],
        ]
    )
    colours = np.array([linear(c) for c in palette[scheme]])
    for name, matrix in seen.items():
        points = np.cbrt(np.clip(colours @ np.array(matrix).T, 0, 1) @ cone.T) @ lab.T
        distance = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.eye(len(points))
        assert 100 * distance.min() > least, name
    luminance = np.array([0.2126, 0.7152, 0.0722])
    pair = np.sort(np.stack([colours @ luminance, np.full(len(colours), linear(paper) @ luminance)]), axis=0)
    assert ((pair[1] + 0.05) / (pair[0] + 0.05)).min() > 2.95


# ------------------------------------------------------------------ what it says


def test_findings_follow_the_data(report: ReportData) -> None:
    analysis = analyse(report)
    said = findings(analysis)
    for lead in analysis.leads:
        shares = {m: analysis.summaries[m, lead.task].share.value for m in METHODS}
        assert shares[lead.best.method] == max(shares.values())
    assert said[0].startswith(f"On MaxConversions, {analysis.leads[0].best.method} has the highest score")
    against = next(s for s in said if s.startswith("Against PID"))
    assert "below it is Fixed (MaxConversions, TargetCPA, average over tasks)" in against
    swapped = dict(report.rows)  # type: ignore[call-overload]
    names = {"Fixed": "VAO", "VAO": "Fixed"}
    swapped["method"] = np.array([names.get(m, m) for m in swapped["method"]])
    other = findings(analyse(dataclasses.replace(report, rows=swapped)))
    assert other[0].replace("Fixed", "VAO") == said[0].replace("Fixed", "VAO")
    against = next(s for s in other if s.startswith("Against PID"))
    assert "below it is VAO (MaxConversions, TargetCPA, average over tasks)" in against


def test_many_tasks_are_counted() -> None:
    tasks = ("A", "B", "C", "D")
    analysis = analyse(synthetic_report(tasks=tasks))
    said = findings(analysis)
    assert said[0].startswith("Averaged over the tasks, ")
    assert said[1].startswith("Highest on single tasks: ") and said[1].endswith(" of 4 tasks.")
    assert sum(task in re.findall(r"\b[A-D]\b", said[1]) for task in tasks) == 4
    assert "Fixed (4 tasks, average over tasks)" in said[2]


def test_equal_methods_have_no_winner(report: ReportData) -> None:
    rows = dict(report.rows)  # type: ignore[call-overload]
    rows["score"] = np.asarray(rows["reference"]) * 0.5
    said = " ".join(findings(analyse(dataclasses.replace(report, rows=rows))))
    assert "not distinguishable from zero" in said and ", distinguishable" not in said
    assert "no method differs from it" in said


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (number(1234.5), "1,234"),
        (number(-0.1234), "\u22120.123"),
        (number(-0.0001, 2), "0.00"),
        (number(float("nan")), "–"),
        (number(float("inf")), "∞"),
        (decimals_for([0.5, 20.0]), 1),
        (decimals_for([]), 2),
        (p_text(0.0004), "<0.001"),
        (listing(["a", "b", "c"]), "a, b and c"),
        (ranges([3, 1, 2, 7, 9, 10]), "1 to 3, 7, 9, 10"),
        (plots.text("$x$"), "&#36;x&#36;"),
        (plots.text("a\n<b> & long name", 12), "a &lt;b&gt; … name"),
    ],
)
def test_numbers_and_names(found: Any, expected: Any) -> None:
    assert found == expected


def test_plans_end_at_the_budget(report: ReportData) -> None:
    trace = report.episodes[0].first
    assert trace.even_plan[-1] == pytest.approx(trace.budget) == trace.traffic_plan[-1]
    assert np.diff(trace.traffic_plan) == pytest.approx(trace.budget * trace.impressions[1:] / trace.impressions.sum())
    quiet = dataclasses.replace(trace, impressions=np.zeros(48))
    assert quiet.traffic_plan == pytest.approx(quiet.even_plan)


def test_data_are_checked(report: ReportData) -> None:
    trace = report.episodes[0].first
    history = report.histories["VAO"]
    with pytest.raises(ValueError, match=r"`multiplier` of a trace must have shape \(48,\) like `cost`, found \(3,\)"):
        dataclasses.replace(trace, multiplier=np.ones(3))
    with pytest.raises(ValueError, match=r"`budget` of a trace must be positive, found 0"):
        dataclasses.replace(trace, budget=0.0)
    with pytest.raises(ValueError, match=r"`cost` of a trace must be finite, found nan"):
        dataclasses.replace(trace, cost=np.full(48, np.nan))
    with pytest.raises(ValueError, match=r"must share budget and number of ticks, found"):
        Episode(title="e", traces={"a": trace, "b": dataclasses.replace(trace, budget=1.0)})
    with pytest.raises(ValueError, match=r"`traces` of episode 'e' must not be empty"):
        Episode(title="e", traces={})
    with pytest.raises(ValueError, match=r"`weights` of a history must have shape \(81, 2, 2\), found \(81, 2\)"):
        dataclasses.replace(history, weights=history.validation_loss)
    with pytest.raises(ValueError, match=r"`title` of a report must not be empty"):
        dataclasses.replace(report, title="")
    with pytest.raises(ValueError, match=r"`tick_hours` must be positive, found 0"):
        dataclasses.replace(report, tick_hours=0.0)


# ------------------------------------------------------------------ the picture


def test_picture(tmp_path: Path, report: ReportData) -> None:
    for name, data in (("plain", report), ("nasty", with_nasty_names(report))):
        path = tmp_path / f"{name}.png"
        render_png_summary(path, data)
        content = path.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", content[16:24])
        assert width == 1600 and 500 < height < 2000
    again = tmp_path / "again.png"
    render_png_summary(again, report)
    assert again.read_bytes() == (tmp_path / "plain.png").read_bytes()


# ------------------------------------------------------------------ in a browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or chrome binary on the path")


def rendered(path: Path, profile: Path, address: str = "", *options: str) -> tuple[str, str]:
    """The page's elements after its scripts ran, and what the browser logged."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--enable-logging=stderr",
        f"--user-data-dir={profile}",
        "--window-size=1280,900",
        *options,
        "--dump-dom",
        path.as_uri() + address,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


def plot_of(dom: str, figure: str) -> str:
    """The drawing of a figure: from its element to the end of its frame."""
    start = dom.index(f'id="plot-{figure}"')
    return dom[start : dom.index("</figure>", start)]


def lines_of(plot: str) -> list[str]:
    return re.findall(r'<path class="js-line" d="([^"]*)"', plot) or re.findall(
        r'class="js-line"[^>]*d="([^"]*)"', plot
    )


@needs_browser
def test_page_in_a_browser(page_path: Path, tmp_path: Path) -> None:
    dom, log = rendered(page_path, tmp_path)
    assert 'data-rendered="true"' in dom and 'data-method="all"' in dom
    assert "CONSOLE" not in log, log
    for figure in json.loads(Page(page_path.read_text(encoding="utf-8")).scripts[0])["figures"]:
        plot = plot_of(dom, figure)
        assert 'class="main-svg"' in plot and "var(--" not in plot.split("<svg", 1)[1], figure
    everyone = lines_of(plot_of(dom, "episode-cost"))
    assert len(everyone) == len(METHODS) + 3  # and the budget and two plans

    chosen, log = rendered(page_path, tmp_path, "#method=PID&quantity=alignments&measure=mean")
    assert "CONSOLE" not in log, log
    assert 'data-method="PID"' in chosen and 'data-measure="mean"' in chosen
    alone = lines_of(plot_of(chosen, "episode-cost"))
    assert len(alone) == 1 + 3
    note = re.compile(r'id="episode-note"[^>]*>([^<]*)')
    assert note.findall(dom)[0].startswith("7 methods spent ")
    assert note.findall(chosen)[0].startswith("PID spent ")
    assert lines_of(plot_of(chosen, "weights-0")) != lines_of(plot_of(dom, "weights-0"))
    assert "Mean score (conversions)" in plot_of(chosen, "score-0")
    assert "Mean score (conversions)" not in plot_of(dom, "score-0")


@needs_browser
def test_nasty_names_in_a_browser(nasty_path: Path, tmp_path: Path) -> None:
    dom, log = rendered(nasty_path, tmp_path, "?episode=unknown")
    assert 'data-rendered="true"' in dom and "CONSOLE" not in log, log
    labels = re.findall(r'<g class="ytick"[^>]*><text[^>]*>([^<]*)', plot_of(dom, "score-0"))
    assert html.escape(plots.one_line(NASTY, plots.WHOLE_LABEL_LENGTH), quote=False) in labels
