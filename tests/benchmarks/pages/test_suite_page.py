"""The page of a suite: as a file, and in headless Chromium, on made-up results."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

pytest.importorskip("plotly", reason="reports need the extra `report`")

from benchmarks import cli
from benchmarks.pages.suite import records as page_records
from benchmarks.pages.suite import sections
from benchmarks.pages.suite.axis import along_axis, n_forest_rows
from benchmarks.pages.suite.figures import profiles
from benchmarks.pages.suite.page import render, write_page
from benchmarks.pages.suite.records import episode_records, weight_records
from benchmarks.pages.suite.results import Results
from benchmarks.pages.tables.suite import all_cells
from benchmarks.statistics.analysis import analyse
from benchmarks.statistics.bootstrap import Bootstrap
from benchmarks.suites.storage.publishing import publish
from benchmarks.suites.storage.store import Store
from tests.benchmarks.browser import Opened, data_of, needs_browser
from tests.benchmarks.suites.made_up import ERROR, METHODS, N_TICKS, STEPS, TASKS, write_results

FAST = Bootstrap(n_resamples=200)
NASTY = "<script>alert(1)</script> & 'q' $x_1$ %{x} {{title}}"
GRID = {"n=2": 2.0, "n=8": 8.0, "n=32": 32.0}


def found_of(directory: Path) -> Results:
    store = Store(directory)
    return Results(record=store.suite(), variants=analyse(store, bootstrap=FAST))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("plain") / "made-up")


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("grid") / "made-up"
    return write_results(out, variants=GRID, axis="validation trajectories", title=NASTY)


# ------------------------------------------------------------------ the page as a file


def test_the_page_says_what_the_statistics_say(plain: Path) -> None:
    page = render(plain, "", FAST)
    analysis = found_of(plain).variants["family"]
    figure = data_of(page)["figures"]["leaderboard"]
    shares = [part["trace"] for part in figure["traces"] if part["when"] == {"variant": [0], "measure": [0]}]
    assert [trace["name"] for trace in shares] == ["VAO", "UNIFORM", "SINGLE", "PID"]  # the best first
    for trace in shares:
        share = analysis.summary(trace["name"].lower(), None).share
        assert trace["x"][0] == pytest.approx(share.value, rel=1e-5)
        assert trace["error_x"]["array"][0] == pytest.approx(share.high - share.value, rel=1e-4)
        assert share.value == pytest.approx(METHODS[trace["name"].lower()], abs=0.06)
        assert f"{share.value:.3f}" in page
    best = next(c for c in analysis.comparisons if c.task is None)
    assert f"{best.improvement.value:.2f}" in page and "P(improvement) over UNIFORM" in page
    assert "n = 24 paired test episodes, 2 training seeds" in page
    for fact in ("vamo bench run made-up/v1 --size testing", "a made-up machine, 2 cores", "0123abc"):
        assert fact in page
    assert "ValueError: the &lt;market&gt; burnt down" in page and ERROR not in page
    assert "Incomplete" not in page  # the seed that failed is none of the suite's
    assert "No plot against an axis" in page


def test_what_is_of_one_task_states_the_episodes_of_one_task(plain: Path) -> None:
    rows = Store(plain).rows().to_pandas()
    of_all = len(rows[["task", "seed", "advertiser"]].drop_duplicates())
    (of_one,) = set(rows.groupby("task")[["seed", "advertiser"]].apply(lambda part: len(part.drop_duplicates())))
    assert of_all == of_one * len(TASKS)
    page = render(plain, "", FAST)
    captions = re.findall(r"<caption>(.*?)</caption>", page)
    (leaders,) = [text for text in captions if text.startswith("Leaderboard")]
    assert f"n = {of_all} paired test episodes" in leaders
    by_task = [text for text in captions if text.startswith(("Share of the reference", "Episodes within all limits"))]
    assert len(by_task) == 2 and all(f"each task: n = {of_one} paired test episodes" in text for text in by_task)
    texts = {part["id"]: part["text"] for part in data_of(page)["captions"]}
    assert f"each task: n = {of_one} paired" in texts["task-map"] and f"n = {of_one} paired" in texts["by-task"]
    assert f"n = {of_all} paired" in texts["leaderboard"] and f"n = {of_all} paired" in texts["profiles"]


def test_variants_with_the_same_episodes_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "counted", str)

    def counts(*counts: str) -> str:
        variants = dict(zip("abcd", counts, strict=False))
        return sections._counts(cast("Results", SimpleNamespace(variants=variants, label=lambda name: name)))

    assert counts("n = 3") == "n = 3" and counts("n = 3", "n = 3") == "each of the 2 variants: n = 3"
    assert counts("n = 3", "n = 4", "n = 3") == "2 variants like 'a': n = 3; b: n = 4"


def test_registered_contrasts_come_first_and_the_rest_is_exploratory(tmp_path: Path, capsys: Any) -> None:
    usual = {"first": "vao", "second": "uniform", "variants": [], "kind": "difference", "margin": None}
    contrasts = [
        {**usual, "name": "gain"},
        {**usual, "name": "tie", "second": "single", "kind": "equivalence", "margin": 0.02},
    ]
    methods = {"pid": 0.8, "single": 0.85, "uniform": 0.8, "vao": 0.9, "oracle": 0.95}
    variants = dict.fromkeys(("f1", "f2", "f3"))
    out = write_results(tmp_path / "s", methods=methods, variants=variants, contrasts=contrasts, group="harmed logs")
    page = render(out, "", FAST)
    headings = re.findall(r'<section id="([\w-]+)"', page)
    assert headings[:3] == ["about", "registered", "leaderboard"]
    for said in (
        "gain: VAO − UNIFORM (3 families, harmed logs)",
        "equivalence within ±0.02",
        "p (Holm, exploratory)",
        "Mean over families: harmed logs",
        "recovered",
        "All other comparisons on this page are exploratory",
    ):
        assert said in page, said
    cli.main(["bench", "table", str(out), "--json", str(tmp_path / "c.json")])
    printed = capsys.readouterr().out
    headings = (
        "Registered contrasts", "Mean over families:", "Mean over families, by task:", "Each family", "Cost of a run",
    )  # fmt: skip
    assert [printed.count(heading) for heading in headings] == [1, 1, 1, 1, 1], "no tables of each family"
    assert sorted(headings, key=printed.index) == list(headings)
    assert max(map(len, printed.splitlines())) <= 80
    cli.main(["bench", "table", str(out), "--variant", "f2", "--json", str(tmp_path / "f2.json")])
    printed = capsys.readouterr().out
    assert "(exploratory): variant f2" in " ".join(printed.split()) and "Each family" not in printed
    records, of_one = (json.loads((tmp_path / name).read_text()) for name in ("c.json", "f2.json"))
    assert of_one == {**records, "registered": [], "exploratory": {"f2": records["exploratory"]["f2"]}}
    assert [c["name"] for c in records["registered"]] == ["gain", "tie"]
    assert records["registered"][0]["p_holm"] < 0.05 and records["registered"][0]["variants"] == ["f1", "f2", "f3"]
    assert all(c["is_exploratory"] for c in records["exploratory"]["f1"]) and records["exploratory"]["f1"]


def test_the_page_is_one_file_without_network_and_the_same_every_time(plain: Path, tmp_path: Path) -> None:
    first = write_page(plain, tmp_path / "new" / "a.html", FAST)
    text = first.read_text(encoding="utf-8")
    assert first.stat().st_size < 8e6 and "default-src 'none'" in text
    assert not re.search(r"<(link|img|iframe)\b|<script[^>]*src=|@import|url\(", text[: text.index("page-data")])
    assert write_page(plain, tmp_path / "b.html", FAST).read_bytes() == first.read_bytes()
    assert [entry.name for entry in first.parent.iterdir()] == ["a.html"]


def test_profiles_have_a_curve_and_a_band_a_method(plain: Path) -> None:
    found = found_of(plain)
    traces = [part["trace"] for part in profiles(found)["traces"]]
    bands = [trace for trace in traces if trace.get("fill") == "toself"]
    assert len(bands) == len(METHODS) == len(traces) - len(bands)
    item = found.variants["family"].profiles[0]
    n = len(bands[0]["x"]) // 2
    assert bands[0]["y"][:n] == pytest.approx(item.high[:n], abs=1e-5)
    assert bands[0]["y"][n:] == pytest.approx(item.low[:n][::-1], abs=1e-5)


def test_variants_lie_on_a_logarithmic_axis(grid: Path) -> None:
    found = found_of(grid)
    figure = along_axis(found)
    assert figure["layout"]["xaxis"]["type"] == "log" and n_forest_rows(found) == 0
    by_name = {part["trace"]["name"]: part["trace"] for part in figure["traces"]}
    assert by_name["VAO"]["x"] == [2.0, 8.0, 32.0]
    shares = [found.variants[name].summary("vao", None).share.value for name in GRID]
    assert by_name["VAO"]["y"] == pytest.approx(shares, rel=1e-5)
    (table,) = all_cells(grid, bootstrap=FAST, kinds=("axis",))
    assert table.header == ("method", "2", "8", "32") and table.title.endswith(", by validation trajectories")
    (row,) = (row for row in table.rows if row[0] == "VAO")
    assert [cell.split(" ")[0] for cell in row[1:]] == [f"{share:.3f}" for share in shares]


def test_methods_lie_on_an_axis_and_others_are_level(tmp_path: Path) -> None:
    methods = {"pid": 0.8, "lambda=0.1": 0.85, "lambda=1": 0.9, "lambda=10": 0.88}
    places = {name: float(name[7:]) for name in methods if name != "pid"}
    out = write_results(tmp_path, methods=methods, method_x=places, axis="lambda", with_weights=False, n_viewed=0)
    line, level = (part["trace"] for part in along_axis(found_of(out))["traces"])
    assert line["x"] == [0.1, 1.0, 10.0] and len(line["error_y"]["array"]) == 3
    assert level["name"] == "PID" and level["y"][0] == level["y"][1] and level["x"] == [0.1, 10.0]
    page = render(out, "", FAST)
    assert "No weights over time" in page and "No episode viewer" in page
    assert {"weights", "episode"}.isdisjoint(data_of(page)["figures"])


def test_named_variants_are_a_forest_plot(tmp_path: Path) -> None:
    out = write_results(tmp_path, variants={"same-days": None, "next-day": None}, n_viewed=0)
    found = found_of(out)
    figure = along_axis(found)
    assert len(figure["traces"]) == n_forest_rows(found) == 2 * len(METHODS)
    assert figure["layout"]["yaxis"]["ticktext"][:2] == ["PID: variant same-days", "PID: variant next-day"]


def test_records_are_the_stored_ones(plain: Path) -> None:
    store = Store(plain)
    record = store.suite()
    found = weight_records(record, store.weights(), store.runs())
    assert len(found.entries) == 4 and not found.left_out  # two methods, two seeds
    for entry in found.entries:
        assert entry["steps"] == list(STEPS) and entry["targets"] == list(TASKS)
        last = np.array(entry["weight"][-1]).reshape(3, 3)
        assert (last == np.eye(3)).all() and entry["most_weight"] == 1.0
    seen = episode_records(record, list(METHODS), store.episodes())
    assert len(seen.entries) == len(METHODS) * len(TASKS) * 2
    rows = [
        row
        for row in store.episodes().to_pylist()
        if (row["method"], row["task"], row["seed"]) == ("vao", "TargetCPA", 1001)
    ]
    (entry,) = (e for e in seen.entries if e["key"] == [0, TASKS.index("TargetCPA"), 1, 3, 1])
    assert entry["multiplier"] == pytest.approx([row["multiplier"] for row in rows], rel=1e-3)
    assert entry["budget"] == pytest.approx(20.0) and entry["cpa_ratio"][0] == 1000
    assert "cpc_ratio" not in entry and len(entry["plan"]) == N_TICKS


def test_what_does_not_fit_is_left_out_and_said(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(plain)
    record = store.suite()
    monkeypatch.setattr(page_records, "MOST_NUMBERS", 4 * 18 * 2)  # runs times cells of both kinds times frames
    found = weight_records(record, store.weights(), store.runs())
    assert [entry["steps"] for entry in found.entries] == [[10, 40]] * 4
    assert found.left_out == "4 of 4 runs are here with some records of their training only."
    monkeypatch.setattr(page_records, "MOST_NUMBERS", 18 * 3)
    found = weight_records(record, store.weights(), store.runs())
    assert [entry["steps"] for entry in found.entries] == [[40]] * 3  # the last record
    assert "1 of 4 runs with weights do not fit this page." in found.left_out
    one = len(page_records._LINES) * N_TICKS
    monkeypatch.setattr(page_records, "MOST_NUMBERS", 12 * one)
    seen = episode_records(record, list(METHODS), store.episodes())
    assert {tuple(entry["key"][1:3]) for entry in seen.entries} == {
        (task, 0) for task in range(3)
    }  # first of each task
    assert seen.left_out == "12 of 24 kept episodes do not fit this page."


def test_many_seeds_and_large_families_leave_a_training_to_watch() -> None:
    """Ten seeds of 4 to 128 tasks: when all runs were treated alike, a frame was left of each."""
    n_tasks = np.array([4, 8, 16, 32, 64, 128])
    cells = np.tile(2 * n_tasks**2, 10)
    steps = np.repeat([10, 1], [6, 54])
    frames = page_records._allot(cells, steps, 6)
    assert frames[:6].tolist() == [10, 10, 10, 10, 5, 1]
    assert (frames * cells).sum() <= page_records.MOST_NUMBERS
    assert (frames[6:].reshape(9, 6)[:, :5] == 1).all()  # of later seeds only the largest family is left out
    few = page_records._allot(cells[:5], steps[:5], 5)  # one seed may use all of the page
    assert few.tolist() == [10] * 5


def test_names_are_escaped(grid: Path) -> None:
    page = render(grid, "", FAST)
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page


def test_the_command_reads_published_results_too(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published, _ = publish(plain, tmp_path)
    out = tmp_path / "page.html"
    assert run_command(["bench", "report", str(published), "--out", str(out)]) == 0
    assert "page.html" in capsys.readouterr().out
    assert len(data_of(out.read_text(encoding="utf-8"))["weights"]["entries"]) == 4
    assert run_command(["bench", "report", str(tmp_path / "nothing")]) != 0
    assert "holds no results of a suite" in capsys.readouterr().err


def test_an_output_that_is_a_directory_is_refused(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="`out` must be a file, found the directory"):
        write_page(plain, tmp_path, FAST)


def run_command(arguments: list[str]) -> int:
    """Exit code of `vamo`."""
    try:
        cli.main(arguments)
    except SystemExit as end:
        return 0 if end.code is None else int(end.code) if isinstance(end.code, int) else 1
    return 0


# ------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def plain_page(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(plain, tmp_path_factory.mktemp("page") / "plain.html", FAST)


@pytest.fixture(scope="module")
def grid_page(grid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(grid, tmp_path_factory.mktemp("page") / "grid.html", FAST)


@needs_browser
def test_every_control_changes_its_plots_and_no_other(browser: Any, grid_page: Path) -> None:
    opened = Opened(browser, grid_page)
    figures = list(data_of(grid_page.read_text(encoding="utf-8"))["figures"])
    assert sorted(figures) == sorted(
        ["axis", "by-task", "episode", "leaderboard", "profiles", "task-map", "weight-lines", "weights"]
    )
    changes = {
        ("measure", 2): {"leaderboard"},
        ("variant", 1): {"leaderboard", "by-task", "task-map", "profiles"},
        ("task", 1): {"by-task"},
        ("profile", 1): {"profiles"},
        ("wmethod", 0): set(),  # both methods have the same weights
        ("quantity", 1): {"weights", "weight-lines"},
        ("wtarget", 1): {"weight-lines"},
        ("etask", 1): {"episode"},
        ("episode", 1): {"episode"},
        ("agent", 1): {"episode"},
        ("other", 1): {"episode"},
        ("evariant", 2): {"episode"},
    }
    before = {name: opened.drawn(name) for name in figures}
    assert all(part["data"] for part in before.values())
    for (control, choice), expected in changes.items():
        opened.pick(control, choice)
        after = {name: opened.drawn(name) for name in figures}
        assert {name for name in figures if after[name] != before[name]} == expected, control
        before = after
    assert opened.page.locator("[data-when]:visible").count() == 3  # tables of the chosen variant
    assert "variant n=8" in opened.page.locator(".sortable caption:visible").first.inner_text()
    address = opened.page.evaluate("location.hash")
    again = Opened(browser, grid_page, address)
    assert {name: again.drawn(name) for name in figures} == before  # the address keeps it all
    again.close()
    opened.close()


@needs_browser
def test_the_page_works_from_the_keyboard(browser: Any, plain_page: Path) -> None:
    opened = Opened(browser, plain_page)
    page = opened.page
    page.locator("#frame").focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Home")
    first = opened.drawn("weights")["data"][0]["z"]
    assert np.allclose(first, np.eye(3) * 0.25 + 0.25, atol=1e-3)
    page.keyboard.press("End")
    assert opened.drawn("weights")["data"][0]["z"] == np.eye(3).tolist()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#frame").get_attribute("aria-valuetext") == "step 30, record 3 of 4"
    assert opened.drawn("weight-lines")["shapes"][0]["x0"] == 30
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.id") == "play"
    page.keyboard.press("Enter")
    assert page.locator("#play").get_attribute("aria-label") == "Pause the training"
    page.wait_for_selector("#play:text-is('Play')")
    assert opened.drawn("weights")["data"][0]["z"] == np.eye(3).tolist()
    heading = page.locator("#leaderboard .sortable thead button").nth(1)
    heading.focus()
    names = "[...document.querySelectorAll('#leaderboard .sortable tbody th')].map((e) => e.dataset.sort)"
    page.keyboard.press("Enter")
    assert page.evaluate(names) == ["VAO", "UNIFORM", "SINGLE", "PID"]
    page.keyboard.press("Enter")
    assert page.evaluate(names) == ["PID", "SINGLE", "UNIFORM", "VAO"]
    assert page.locator("#leaderboard .sortable thead th").nth(1).get_attribute("aria-sort") == "ascending"
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(200):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.dataset.control ?? document.activeElement.id"))
    wanted = {e for e in data_of(plain_page.read_text(encoding="utf-8"))["controls"]}
    on_page = set(page.evaluate("[...document.querySelectorAll('[data-control]')].map((e) => e.dataset.control)"))
    assert on_page <= reached and on_page <= wanted
    assert page.evaluate(
        "[...document.querySelectorAll('select, input, button')]"
        ".every((e) => e.labels?.length || e.ariaLabel || e.textContent)"
    )
    opened.close()


@needs_browser
def test_phone_dark_and_calm(browser: Any, plain_page: Path, grid_page: Path) -> None:
    phone = Opened(browser, grid_page, viewport={"width": 360, "height": 740}, reduced_motion="reduce")
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert not phone.page.locator("#play").is_visible()  # who asks for less motion has the slider
    phone.close()
    colours = {}
    opened = Opened(browser, plain_page)
    for scheme in ("light", "dark"):
        opened.page.emulate_media(color_scheme=scheme)
        paper = opened.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        drawn = (
            opened.drawn("leaderboard")["data"][0]["marker"]["color"],
            opened.drawn("weights")["data"][0]["colorscale"],
        )
        colours[scheme] = (paper, *drawn)
    assert all(light != dark for light, dark in zip(colours["light"], colours["dark"], strict=True))
    opened.close()


@needs_browser
def test_long_names_stand_whole_or_with_both_ends(browser: Any, tmp_path: Path) -> None:
    labels = {name: f"a <long> name & its {name}" for name in ("lambda=0.1", "lambda=0.2")}
    methods = {"pid": 0.8, **dict.fromkeys(labels, 0.9)}
    out = write_results(tmp_path / "long", methods=methods, labels=labels, with_weights=False, n_viewed=0)
    opened = Opened(browser, write_page(out, bootstrap=FAST), viewport={"width": 1200, "height": 800})
    shown = "[...document.querySelectorAll('#plot-leaderboard .ytick text')].map((e) => e.textContent).sort()"
    assert opened.page.evaluate(shown) == ["PID", *labels.values()]
    opened.page.set_viewport_size({"width": 360, "height": 740})
    opened.page.wait_for_function(f"({shown})[1].includes('…')")
    assert opened.page.evaluate(shown) == ["PID", "a <long> nam… lambda=0.1", "a <long> nam… lambda=0.2"]
    opened.close()


@needs_browser
def test_choices_without_a_record_are_closed(browser: Any, plain_page: Path) -> None:
    opened = Opened(browser, plain_page, "#agent=PID")
    seeds = opened.page.locator('select[data-control="eseed"] option')
    assert [seed.is_enabled() for seed in seeds.all()] == [True, False]  # PID is not trained
    opened.pick("agent", 2)
    assert opened.page.evaluate("document.querySelector('select[data-control=eseed]').value") == "1"
    assert opened.page.locator("#viewer-note").inner_text().startswith("UNIFORM spent ")
    opened.close()


@needs_browser
def test_a_page_without_records_opens(browser: Any, tmp_path: Path) -> None:
    out = write_results(tmp_path / "bare", with_weights=False, n_viewed=0)
    opened = Opened(browser, write_page(out, bootstrap=FAST))
    opened.pick("task", 2)
    assert opened.page.locator("#note-by-task").inner_text().startswith("MaxClicks: 95 % bootstrap intervals")
    opened.close()
