"""The examples run, stay short, and print something."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
SMALL: dict[str, dict[str, Any]] = {
    "extend_sharing_rule": {"n_steps": 2},
    "extend_weighting": {"n_steps": 2},
    "import_auctionnet": {"n_steps": 3},
    "own_bidder": {"n_validation": 8, "n_test": 8},
    "self_play": {"n_episodes": 3},
    "train_sb3": {"n_steps": 3_136, "n_episodes": 8},
    "train_vamo": {"n_steps": 4},
    "vao_minimal": {"n_tasks": 2, "n_steps": 6, "n_episodes": 2, "most": 8},
}
NEEDS = {
    "extend_learner": "torch",
    "extend_suite": "torch",
    "extend_sharing_rule": "torch",
    "extend_weighting": "torch",
    "import_auctionnet": "torch",
    "plot_episode": "matplotlib",
    "self_play": "pettingzoo",
    "train_sb3": "stable_baselines3",
    "train_vamo": "torch",
    "vao_minimal": "torch",
}
LONGEST = {"vao_minimal": 250, "extend_learner": 71}  # lines; the whole method, a whole contract


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_short_and_says_what_it_does(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST.get(path.stem, 40 if path.stem.startswith("extend_") else 59)
    assert text.startswith('"""') and "def main(" in text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(
    path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem])
    monkeypatch.chdir(tmp_path)  # what an example writes
    monkeypatch.syspath_prepend(path.parent)  # as `python FILE` does: one example uses another one's class
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    module.main(**SMALL.get(path.stem, {}))
    printed = capsys.readouterr().out
    assert printed.strip() and ("failed" not in printed or "failed: ()" in printed)
