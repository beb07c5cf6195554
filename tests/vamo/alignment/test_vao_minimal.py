"""The example in one file has the alignments and weights of the library."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from vamo.alignment.estimators import Estimator, Explicit, ForwardMode, Parameters
from vamo.alignment.ghost import Ghost
from vamo.alignment.weighting import Evidence, Scaler, Softmax

PATH = Path(__file__).parents[3] / "examples" / "vao_minimal.py"
N_TARGETS, N_SOURCES, N_SAMPLES, N_INPUTS = 3, 4, 5, 6


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("vao_minimal", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "vao_minimal", module)
    spec.loader.exec_module(module)
    return module


def slices(batch: Tensor, start: int, stop: int) -> Tensor:
    return batch[start:stop]


@pytest.mark.parametrize("kind", [Explicit, ForwardMode, Ghost])
def test_alignments_and_weights_are_those_of_the_library(example: ModuleType, kind: type) -> None:
    generator = torch.Generator().manual_seed(1)
    columns = N_INPUTS + 1  # the last one is the action
    training = torch.randn(N_TARGETS * N_SOURCES, N_SAMPLES, columns, generator=generator)
    validation = torch.randn(N_TARGETS, N_SAMPLES, columns, generator=generator)
    policy = example.Policy(training[..., :-1].flatten(0, 1), width=8)

    def losses(parameters: Parameters, batch: Tensor) -> Tensor:
        action: Tensor = functional_call(policy, dict(parameters), (batch[..., :-1],))
        return (action - batch[..., -1]).square()

    def examples(group: Tensor) -> object:
        return example.Examples(group[:, :-1], group[:, -1])

    estimator: Estimator[Tensor] = kind(losses, policy, slices)
    expected = estimator(training, validation).mean
    rows = [[examples(g) for g in row] for row in training.unflatten(0, (N_TARGETS, N_SOURCES))]
    found = example.align(policy, rows, [examples(group) for group in validation])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))

    scaler = Scaler("rms", 0.0, N_TARGETS)
    scaler.update(expected, torch.arange(N_TARGETS))
    scaled = expected / scaler.scale()[:, None]
    unknown = torch.full_like(scaled, torch.nan)
    weights = Softmax(example.LAMBDA)(Evidence(scaled, unknown, torch.ones(N_SOURCES)))
    torch.testing.assert_close(example.weigh(found), weights, rtol=1e-3, atol=1e-5)
