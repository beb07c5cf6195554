"""Who hears of a training's progress: a callback, a terminal, a notebook, nobody."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from agents import FixedBidder, rollout
from agents.learning import bars as module
from agents.learning.bars import counted, only_bar
from agents.learning.learner import Numbers
from agents.learning.progress import shown
from auction_env import TASKS, MarketParams


class Display:
    """IPython's display: keeps what is shown and how often it is drawn again."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def display(self, content: dict[str, str], **_: Any) -> Display:
        return self.update(content)

    def update(self, content: dict[str, str], **_: Any) -> Display:
        self.shown.append(content)
        return self


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Display:
    """A process that says it is the kernel of a notebook."""
    shell, screen = SimpleNamespace(kernel=object()), Display()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=screen.display))
    return screen


def test_a_callback_is_handed_on_and_false_is_silent() -> None:
    told: list[int] = []

    def tell(step: int, n_steps: int, record: object) -> None:
        told.append(step)

    with shown(tell, "pid") as found:
        assert found is tell
    with shown(False, "pid") as found:
        assert found is None
    with (
        pytest.raises(TypeError, match="`progress` must be a callback, True, False or None, found 'yes'"),
        shown("yes", "pid"),
    ):  # type: ignore[arg-type]
        pass


def test_nobody_is_told_by_default_in_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys, "ps1", raising=False)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    with shown(None, "pid") as found:
        assert found is None
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with shown(None, "pid") as found:
        assert found is not None


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(True, "ppo") as tell:
        assert tell is not None
        tell(1, 2, None)
        tell(2, 2, Numbers(step=2, numbers={"score": 0.5}))
    out = capsys.readouterr().out
    assert "ppo" in out and "2/2" in out and "score 0.5" in out


def test_a_notebook_gets_one_element_that_is_updated(notebook: Display, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with shown(None, "a <b>") as tell:
        assert tell is not None
        for step in range(1, 11):
            now[0] += 0.125  # a sum of these is exact
            tell(step, 10, Numbers(step=step, numbers={"loss": step / 10}))
    texts = [content["text/html"] for content in notebook.shown]
    assert len(texts) == 6, "the first, every second one, the last"
    assert '<progress value="10" max="10">' in texts[-1] and "loss 1" in texts[-1] and "left" not in texts[-1]
    assert "a &lt;b&gt; 1/10" in texts[0] and "1 s left" in texts[0]
    assert notebook.shown[0]["text/plain"].startswith("a <b> 1/10")


def test_counted_work_shows_a_bar_by_itself_after_two_seconds_of_it(
    notebook: Display, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with counted(None, "episodes", 4) as tell:
        assert tell is not None
        for _ in range(4):
            now[0] += 0.75
            tell(1)
    texts = [content["text/plain"] for content in notebook.shown]
    assert texts == ["episodes 3/4, 2 s, 1 s left  ", "episodes 4/4, 3 s  "]
    with only_bar(), counted(None, "a part of other work", 4) as tell:
        assert tell is None
    with counted(False, "episodes", 4) as tell:
        assert tell is None


def test_a_rollout_takes_the_words_of_a_training(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[int] = []
    episodes: dict[str, Any] = {"seeds": range(3), "advertisers": range(3), "task": TASKS["TargetCPA"]}
    episodes["params"] = MarketParams(n_impressions=480, n_ticks=2)
    for progress in (told.append, None, False):
        rollout(FixedBidder(1.0), **episodes, progress=progress)
    assert told == [3] and capsys.readouterr().out == ""  # nobody types
    rollout(FixedBidder(1.0), **episodes, progress=True)
    assert "episodes of fixed" in (said := capsys.readouterr().out) and "3/3" in said
    with pytest.raises(TypeError, match="found 'yes'"):
        rollout(FixedBidder(1.0), **episodes, progress="yes")
