"""Mixed precision and compilation, each with the estimators of the alignments."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.speed.training import SyntheticBatches
from tests.vamo.synthetic import make_data
from vamo.config import Config, override
from vamo.examples.sources import split
from vamo.model.losses import losses
from vamo.model.making import make_policy
from vamo.training.precision import compiled, in_precision
from vamo.training.train import TrainResult, train

ESTIMATORS = ["ghost", "forward_mode", "explicit"]


def run(config: Config, *assignments: str) -> TrainResult:
    sources, validation = split({"TargetCPA": make_data(12), "Other": make_data(12, seed=1)}, 0.25)
    return train(sources, validation, override(config, assignments))


@pytest.fixture
def tiny(small_config: Config) -> Config:
    options = ["model.n_blocks=1", "model.context=4", "train.steps=6", "train.log_every=3", "weighting.refresh_every=2"]
    return override(small_config, options)


def assert_close(found: TrainResult, expected: TrainResult, tolerance: float) -> None:
    for a, b in zip(found.history, expected.history, strict=True):
        np.testing.assert_allclose(a.loss, b.loss, rtol=tolerance)
        np.testing.assert_allclose(a.validation_loss, b.validation_loss, rtol=tolerance)
        assert a.alignment is not None and b.alignment is not None
        scale = np.abs(b.alignment).max()
        np.testing.assert_allclose(np.array(a.alignment) / scale, np.array(b.alignment) / scale, atol=4 * tolerance)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_bfloat16_is_close_to_single_precision(tiny: Config, estimator: str) -> None:
    single = run(tiny, f"weighting.estimator={estimator}")
    mixed = run(tiny, f"weighting.estimator={estimator}", "train.precision=bfloat16")
    assert single.history[-1].loss != mixed.history[-1].loss
    assert_close(mixed, single, 0.03)
    assert {p.dtype for p in mixed.bidder.model.parameters()} == {torch.float32}


def test_products_are_in_bfloat16_and_losses_are_not(tiny: Config) -> None:
    model = make_policy(tiny.model)
    seen: list[torch.dtype] = []
    model.embed_state[0].register_forward_hook(lambda layer, args, output: seen.append(output.dtype))
    batch = SyntheticBatches(tiny).train(0, [(0, 0), (0, 1)])
    for precision in ("bfloat16", "float32"):
        of_model = in_precision(partial(losses, model), precision, torch.device("cpu"))  # type: ignore[arg-type]
        assert of_model(dict(model.named_parameters()), batch).dtype == torch.float32
    assert seen == [torch.bfloat16, torch.float32]


def test_a_device_without_bfloat16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "an old GPU")
    with pytest.raises(ValueError, match="`precision` must be 'float32' on an old GPU, found 'bfloat16'"):
        in_precision(lambda parameters, batch: batch, "bfloat16", torch.device("cuda"))


@pytest.mark.parametrize(
    ("precision", "estimator"),
    [
        *[("float32", estimator) for estimator in ESTIMATORS],
        ("bfloat16", "ghost"),
        pytest.param("bfloat16", "forward_mode", marks=pytest.mark.exhaustive),
        pytest.param("bfloat16", "explicit", marks=pytest.mark.exhaustive),
    ],
)
def test_the_traced_step_is_the_plain_one(
    tiny: Config, monkeypatch: pytest.MonkeyPatch, precision: str, estimator: str
) -> None:
    """Everything of `torch.compile` but the code generator, which the exhaustive test below uses: the step's graph."""
    options = [f"weighting.estimator={estimator}", f"train.precision={precision}"]
    options += ["data.dagger_rounds=0"]  # a round in between has the step traced again
    plain = run(tiny, *options)
    traced: list[int] = []
    real = torch.compile

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        traced.append(len(graph.graph.nodes))
        return graph.forward  # type: ignore[no-any-return]

    monkeypatch.setattr(torch, "compile", lambda function, dynamic: real(function, dynamic=dynamic, backend=count))
    torch._dynamo.reset()
    found = run(tiny, *options, "train.compile=true")
    assert len(traced) == 1 and traced[0] > 50  # the whole loss in one graph, traced once
    assert_close(found, plain, 1e-4 if precision == "float32" else 0.03)


@pytest.mark.exhaustive
def test_the_compiled_loss_and_its_gradients(tiny: Config) -> None:
    model = make_policy(tiny.model)
    batch = SyntheticBatches(tiny).train(0, [(0, 0), (0, 1)])
    parameters = dict(model.named_parameters())
    of_model = in_precision(partial(losses, model), "bfloat16", torch.device("cpu"))
    gradients = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=DeprecationWarning)  # torch's own use
        for function in (of_model, compiled(of_model)):
            loss = function(parameters, batch)
            assert loss.shape == (2, 8)
            found = torch.autograd.grad(loss.sum(), list(parameters.values()), materialize_grads=True)
            gradients.append(torch.cat([g.flatten() for g in found]))
    plain, fused = gradients
    assert (fused - plain).norm() < 0.03 * plain.norm()
