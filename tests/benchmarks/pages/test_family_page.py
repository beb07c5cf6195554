"""The page of a family says what its truth, its logs and an agent's weights say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("plotly", reason="reports need the extra `report`")

import agents
from agents import Harm, MeasuredHarm, collect_family, data_distance, load_family, make_task_family, save_harm
from agents.labels.response_check import check_sources
from benchmarks.pages.data_set.family.describing import FamilyDescription, describe_family
from benchmarks.pages.data_set.family.page import findings, limits_text, render, write_page
from tests.benchmarks.browser import Opened, data_of, needs_browser
from vamo.agent import LearnedFrom, VamoBidder
from vamo.config import Config
from vamo.model.making import make_policy

FAMILY = make_task_family(4, imbalance=(16, 8), harms={1: Harm(kind="scaled_bid")}, n_impressions=480)
NAMES = FAMILY.names
WEIGHTS = np.array([[0.5, 0.1, 0.4], [0.2, 0.2, 0.6]])


def save_agent(path: Path, learned: LearnedFrom | None) -> Path:
    config = Config()
    agents.save(path, VamoBidder(make_policy(config.model), config, (), learned_from=learned))
    return path


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("family") / "logs"
    collect_family(FAMILY, out, n_validation=4, n_test=1)
    return out


@pytest.fixture(scope="module")
def found(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> FamilyDescription:
    """With the weights of an agent that learned two targets from three sources."""
    learned = LearnedFrom((NAMES[0], NAMES[2]), NAMES[:3], WEIGHTS)
    agent = save_agent(tmp_path_factory.mktemp("agent") / "agent <b>.safetensors", learned)
    told: list[int] = []
    loss = np.zeros((4, 4))
    loss[:, 1] = 0.1, 0.9, 0.5, 0.25
    save_harm(logs, MeasuredHarm(loss, np.ones((4, 4))))
    described = describe_family(logs, agent, told.append)
    assert sum(told) == 2 * len(NAMES) ** 2
    return described


def test_the_description_is_made_of_the_logs(found: FamilyDescription, logs: Path) -> None:
    validation = load_family(logs, "validation")
    apart = data_distance(validation[NAMES[3]], validation[NAMES[1]])
    for part, value in apart._asdict().items():
        assert found.distances[part][3, 1] == found.distances[part][1, 3] == value
        assert np.all(np.diag(found.distances[part]) == 0)
    checks = check_sources(load_family(logs), validation)
    np.testing.assert_array_equal(found.ratios, [[check.ratio for check in row] for row in checks])
    expected = [[i == k or row[i].agrees(found.factor) for i in range(4)] for k, row in enumerate(checks)]
    np.testing.assert_array_equal(found.is_shared, expected)
    assert not found.is_shared[0, 1]  # three times the bids cannot be missed
    assert found.weights is not None and np.isnan(found.weights[[1, 3]]).all() and np.isnan(found.weights[:, 3]).all()
    np.testing.assert_array_equal(found.weights[[0, 2], :3], WEIGHTS)
    # of three sources: tasks 0 and 2 are of one group, task 1 is harmed
    shares = {"own": 3 * (0.5 + 0.6) / 2, "helpful": 3 * (0.4 + 0.2) / 2, "harmful": 3 * (0.1 + 0.2) / 2}
    assert found.weight_by_class == pytest.approx({**shares, "unrelated": float("nan")}, nan_ok=True)


def test_the_sentences_count_what_the_maps_show(found: FamilyDescription) -> None:
    said = " ".join(findings(found))
    pairs = [(k, i) for k in range(4) for i in range(4)]
    harmful = {pair for pair in pairs if FAMILY.relations[pair] < 0}
    caught = {pair for pair in pairs if not found.is_shared[pair]}
    assert f"finds {len(harmful & caught)} of the {len(harmful)} harmful pairs" in said
    assert f"takes {len(caught - harmful)} of the {16 - len(harmful)} other pairs" in said
    total = sum(member.n_trajectories for member in FAMILY.members)
    assert f"largest has 16 trajectories to train on, the smallest 8; all together {total}." in said
    assert f"1 of 4 logs is harmed: {NAMES[1]}." in said and "own 1.65, helpful 0.90, harmful 0.45." in said


def test_the_page_draws_and_escapes(found: FamilyDescription) -> None:
    page = render(found, "", {NAMES[0]: "page-0.html"})
    assert "<b>" not in page and f'<a href="page-0.html">{NAMES[0]}</a>' in page and "scaled_bid=1" in page
    figures = data_of(page)["figures"]
    assert set(figures) == {"sizes", "relations", "response", "distances", "weights", "classes", "harm"}

    def cells(name: str) -> Any:
        return np.array(figures[name]["traces"][0]["trace"]["z"], float)

    np.testing.assert_array_equal(cells("relations"), found.relations)
    np.testing.assert_allclose(cells("weights"), found.weights, rtol=1e-5)
    np.testing.assert_allclose(cells("harm")[:, 0], [10, 90, 50, 25])
    end = np.log(found.factor)
    np.testing.assert_allclose(cells("response"), np.clip(np.log(found.ratios), -end, end), rtol=1e-5)
    for name, mask in (("response", ~found.is_shared), ("weights", FAMILY.relations < 0)):
        assert len(figures[name]["traces"][1]["trace"]["x"]) == mask.sum()
    assert figures["sizes"]["traces"][0]["trace"]["y"] == [member.n_trajectories for member in FAMILY.members]
    parts = data_of(page)["controls"]["part"]
    assert [trace["when"]["part"] for trace in figures["distances"]["traces"]] == [[k] for k in range(len(parts))]


def test_a_sound_family_without_an_agent_has_no_such_maps(logs: Path, found: FamilyDescription) -> None:
    plain = FamilyDescription(
        path=logs, family=make_task_family(4, imbalance=(16, 8), harms=(), n_impressions=480),
        distances=found.distances, ratios=np.full((4, 4), np.nan), factor=5.0, harm=None, agent="", weights=None,
    )  # fmt: skip
    page = render(plain, "")
    assert set(data_of(page)["figures"]) == {"sizes", "relations", "response", "distances"}
    assert "All logs are sound." in page and "✗ Target" not in page
    assert limits_text(FAMILY.members[0].task) == "budget only" and limits_text(FAMILY.members[1].task).startswith(
        "cpa "
    )


@pytest.mark.parametrize(
    ("learned", "message"),
    [
        (None, "must hold the weights of its sources, found none: train it again"),
        (
            LearnedFrom(("Other",), NAMES, np.full((1, 4), 0.25)),
            "must be trained on the tasks of the family, .* found 'Other'",
        ),
    ],
)
def test_an_agent_that_does_not_fit_is_named(logs: Path, tmp_path: Path, learned: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        describe_family(logs, save_agent(tmp_path / "agent.safetensors", learned))


@needs_browser
def test_a_map_of_many_tasks_names_its_cells_by_the_script(browser: Any, logs: Path, tmp_path: Path) -> None:
    family = make_task_family(48, imbalance=(16, 8), n_impressions=480)
    nothing = np.ones((48, 48))
    many = FamilyDescription(
        path=logs, family=family, distances={"budget": 0.25 * nothing}, ratios=nothing, factor=5.0, harm=None, agent="",
        weights=None,
    )  # fmt: skip
    write_page(tmp_path / "page.html", many)
    opened = Opened(browser, tmp_path / "page.html")
    said = opened.drawn("distances")["data"][0]["hovertext"]
    assert said[2][47] == f"target {family.names[2]}<br>source {family.names[47]}<br>0.250" and len(said) == 48
    opened.close()


@needs_browser
def test_the_page_opens_on_a_phone(browser: Any, found: FamilyDescription, tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", found)
    opened = Opened(browser, tmp_path / "page.html", viewport={"width": 400, "height": 800})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 400
    before = opened.drawn("distances")
    opened.pick("part", 5)
    assert opened.drawn("distances")["data"] != before["data"]
    assert "log multiplier" in opened.page.locator("#note-distances").inner_text()
    opened.close()
