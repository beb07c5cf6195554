"""A user's own weightings and sharing rules: by object, by module, by entry point; resumed and refused."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from auction_env.tasks import TASKS
from tests.vamo.synthetic import make_data
from vamo import load
from vamo.alignment.sharing.own_sharing import Candidates
from vamo.alignment.sharing.shared_data import Sharing
from vamo.alignment.weighting import Checked, Evidence, make_weighting
from vamo.config import Config, TrainConfig, WeightingConfig, override
from vamo.examples.sources import split
from vamo.training.loop import Trainer
from vamo.training.train import train

MODULE = "own_parts"
SOURCE = """
import torch
from vamo.alignment.sharing.shared_data import Sharing

class First:
    needs_alignments = True
    def __init__(self, weight=1.0):
        self.weight = weight
    def __call__(self, evidence):
        weights = torch.zeros_like(evidence.alignment)
        weights[:, 0], weights[:, 1] = self.weight, 1 - self.weight
        return weights

def second(candidates):
    weights = torch.zeros(len(candidates.targets), len(candidates.sources))
    weights[:, 1] = 1
    return Sharing(weights, {})

NUMBER = 3
"""
DATA = split({name: make_data(8, task=TASKS[name], seed=i) for i, name in enumerate(("MaxConversions", "TargetCPA"))})


@dataclass(frozen=True, slots=True)
class Share:
    """The first source has this weight, the second the rest."""

    first: float
    needs_alignments = True

    def __call__(self, evidence: Evidence) -> Tensor:
        return torch.tensor([self.first, 1 - self.first]).expand_as(evidence.alignment)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module with a weighting and a rule, and entry points for them, as of an installed package."""
    (tmp_path / f"{MODULE}.py").write_text(SOURCE)
    info = tmp_path / f"{MODULE}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {MODULE}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[vamo_bidding.weightings]\nfirst = {MODULE}:First\n[vamo_bidding.sharing_rules]\nsecond = {MODULE}:second\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield MODULE
    sys.modules.pop(MODULE, None)


def small(*assignments: str) -> Config:
    steps = ["train.steps=4", "train.batch_size=16", "train.log_every=2", "train.evaluation_windows=8"]
    return override(
        Config(), [*steps, "train.warmup_steps=1", "model.width=8", "weighting.refresh_every=2", *assignments]
    )


# --- weightings ----------------------------------------------------------------------------------------------


def test_a_weighting_of_a_users_own_weighs_the_sources() -> None:
    result = train(*DATA, small(), weighting=Share(0.25))
    np.testing.assert_allclose(result.history[-1].weights, [[0.25, 0.75]] * 2, rtol=1e-6)
    recorded = result.bidder.config.weighting
    assert recorded.kind == f"{__name__}:Share" and recorded.options == {"first": 0.25}


def test_a_weighting_of_a_users_own_weighs_samples() -> None:
    seen: set[tuple[int, ...]] = set()

    @dataclass
    class Even:
        needs_alignments = True

        def __call__(self, evidence: Evidence) -> Tensor:
            seen.add(tuple(evidence.alignment.shape))
            return torch.full_like(evidence.alignment, 1 / evidence.alignment.shape[1])

    options = (
        "weighting.per_sample=true",
        "weighting.refresh_every=1",
        "weighting.shrinkage=false",
        "weighting.candidates=all",
    )
    result = train(*DATA, small(*options, "weighting.kind=softmax"), weighting=Even())
    np.testing.assert_allclose(result.history[-1].weights, [[0.5, 0.5]] * 2, rtol=1e-6)
    assert seen == {(2, 2), (2, 2 * 4)}  # of the sources at the start; of their 16 / 4 samples in every step
    with pytest.raises(ValueError, match="`kind` must be softmax, entropy, top1 or a weighting of your own"):
        small(*options)


@pytest.mark.parametrize("kind", ["first", f"{MODULE}:First"])
def test_a_weighting_is_found_by_name(module: str, kind: str) -> None:
    assignments = (f"weighting.kind={kind}", "weighting.options.weight=0.75")
    weights = train(*DATA, small(*assignments)).history[-1].weights
    np.testing.assert_allclose(weights, [[0.75, 0.25]] * 2, rtol=1e-6)


def test_a_file_is_read_where_its_weighting_is_not_installed(module: str, tmp_path: Path) -> None:
    train(*DATA, small("weighting.kind=first"), out=tmp_path / "agent.safetensors")
    (tmp_path / f"{MODULE}-1.0.dist-info" / "entry_points.txt").unlink()
    assert load(tmp_path / "agent.safetensors").config.weighting.kind == "first"
    with pytest.raises(ValueError, match=r"`weighting.kind` must be one of .*'softmax'.*found 'first'"):
        train(*DATA, small("weighting.kind=first"))


def test_a_run_goes_on_with_the_same_weighting_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, step = tmp_path / "agent.safetensors", Trainer.step

    def stopped(trainer: Trainer[Any]) -> Any:
        if trainer.n_steps == 2:
            raise KeyboardInterrupt
        return step(trainer)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "step", stopped)
        train(*DATA, small(), weighting=Share(0.25), out=out, save_every=1)
    with pytest.raises(ValueError, match=r"same settings.weighting.options.first, found 0\.25 and 0\.5"):
        train(*DATA, small(), weighting=Share(0.5), out=out)
    assert train(*DATA, small(), weighting=Share(0.25), out=out).history[-1].step == 4


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (torch.full((2, 2), 0.4), "sum 1"),
        (torch.tensor([[1.5, -0.5], [0.5, 0.5]]), ">= 0"),
        (torch.full((2, 2), torch.nan), ">= 0"),
        (torch.ones(2, 1), r"shape \(2, 2\), found \(2, 1\)"),
        (None, "found NoneType"),
    ],
)
def test_weights_of_a_users_own_are_checked(weights: Tensor | None, text: str) -> None:
    class Wrong:
        needs_alignments = True

        def __call__(self, evidence: Evidence) -> Any:
            return weights

    evidence = Evidence(torch.zeros(2, 2), torch.zeros(2, 2), torch.ones(2))
    with pytest.raises(ValueError, match=f"weighting 'mine' must return .*{text}"):
        Checked(Wrong(), "mine")(evidence)


@pytest.mark.parametrize(
    ("assignments", "text"),
    [
        (("weighting.kind=softmx",), "the nearest is `softmax`"),
        (("weighting.kind=gone:Weighting",), "'gone:Weighting' must load, found ModuleNotFoundError"),
        ((f"weighting.kind={MODULE}:Missing",), "must load, found AttributeError"),
        ((f"weighting.kind={MODULE}:NUMBER",), "must name what can be called, found 3"),
        ((f"weighting.kind={MODULE}:First", "weighting.options.wight=1"), "takes .*weight.* found {'wight': 1}"),
    ],
)
def test_a_wrong_weighting_is_named_before_the_data_are_read(
    module: str, assignments: tuple[str, ...], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        train({}, {}, small(*assignments))


def test_a_weighting_says_whether_it_needs_alignments() -> None:
    with pytest.raises(ValueError, match="weighting 'mine' must be callable, with `needs_alignments`"):
        make_weighting(TrainConfig(), WeightingConfig(kind="mine"), own=lambda evidence: evidence.alignment)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`train.method` must be 'vao' for a weighting of your own, found 'uniform'"):
        train(*DATA, small("train.method=uniform"), weighting=Share(0.5))
    with pytest.raises(ValueError, match="`options` must be empty for `kind` 'integral'"):
        WeightingConfig(options={"weight": 1})


# --- sharing rules -------------------------------------------------------------------------------------------


def only_second(candidates: Candidates) -> Sharing:
    weights = torch.zeros(len(candidates.targets), len(candidates.sources))
    weights[:, 1] = 1
    return Sharing(weights, {(0, 1): np.array([2]), (1, 1): np.array([0, 1])})


@pytest.mark.parametrize("rule", ["second", f"{MODULE}:second", None])
def test_a_rule_of_a_users_own_chooses_the_data(module: str, rule: str | None) -> None:
    named = () if rule is None else ("train.method=sharing_rule", f"sharing.rule={rule}")
    result = train(*DATA, small(*named), sharing=only_second if rule is None else None)
    np.testing.assert_array_equal(result.history[-1].weights, [[0, 1], [0, 1]])
    config = result.bidder.config
    assert (config.train.method, config.sharing.rule) == ("sharing_rule", rule or f"{__name__}:only_second")


@pytest.mark.parametrize(
    ("sharing", "text"),
    [
        (torch.eye(2), "must return `shared_data.Sharing`, found Tensor"),
        (Sharing(torch.ones(2, 2), {}), "rows of sum 1"),
        (Sharing(torch.ones(2, 1), {}), r"shape \(2, 2\)"),
        (Sharing(torch.eye(2), {(0, 2): np.array([0])}), r"below \(2, 2\), found \(0, 2\)"),
        (Sharing(torch.eye(2), {(0, 0): np.array([99])}), r"episodes 0\.\.\d+ of source 0, found \[99\]"),
        (Sharing(torch.eye(2), {(0, 0): np.array([], np.int64)}), "of source 0"),
    ],
)
def test_what_a_rule_shares_is_checked(sharing: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        train(*DATA, small(), sharing=lambda candidates: sharing)


def test_a_rule_needs_its_method_and_its_name(module: str) -> None:
    with pytest.raises(ValueError, match=r"`sharing.rule` must be the name of a rule"):
        small("train.method=sharing_rule")
    with pytest.raises(ValueError, match=r"`sharing.rule` must be empty for `train.method` 'vao', found 'second'"):
        small("sharing.rule=second")
    with pytest.raises(ValueError, match="the nearest is `second`"):
        train({}, {}, small("train.method=sharing_rule", "sharing.rule=secnd"))
    with pytest.raises(ValueError, match="`weighting` and `sharing` must not be given both"):
        train(*DATA, small(), weighting=Share(0.5), sharing=only_second)
