"""Clipping, learning rate, running mean of the parameters, early stop: against formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.vamo.synthetic import make_data
from tests.vamo.training.test_trainer import quadratic, quadratic_trainer
from vamo.config import Config, TrainConfig, override
from vamo.examples.sources import split
from vamo.training.history import is_stalled
from vamo.training.optimisation import Average, learning_rate
from vamo.training.train import train


def formula(step: int, config: TrainConfig) -> float:
    """Warm-up: (t + 1) / (w + 1); then f + (1 - f) (1 + cos(pi (t - w) / (T - w))) / 2, of the peak."""
    w, total, f = config.warmup_steps, config.steps, config.final_learning_rate
    share = (step + 1) / (w + 1) if step < w else f + (1 - f) * (1 + math.cos(math.pi * (step - w) / (total - w))) / 2
    return config.learning_rate * share


def test_learning_rate_against_the_formula() -> None:
    config = TrainConfig(steps=100, warmup_steps=9, learning_rate=0.3, final_learning_rate=0.1)
    found = [learning_rate(step, config) for step in range(101)]
    np.testing.assert_allclose(found, [formula(step, config) for step in range(101)], rtol=1e-12)
    assert found[:9] == sorted(found[:9]) and found[9:] == sorted(found[9:], reverse=True)
    assert found[9] == pytest.approx(0.3) and found[100] == pytest.approx(0.03)
    constant = TrainConfig(steps=10, warmup_steps=0, learning_rate=0.3, final_learning_rate=1.0)
    assert {learning_rate(step, constant) for step in range(10)} == {0.3}


def test_every_step_takes_its_learning_rate_and_is_clipped() -> None:
    """Adam by hand, in double precision, from clipped gradients and the formula's rates."""
    options = ["train.clip_norm=0.5", "train.steps=6", "train.warmup_steps=2", "train.method=uniform"]
    point, trainer = quadratic_trainer(*options, "train.learning_rate=0.1")
    theta = point.theta.detach().clone().double()
    first, second = torch.zeros(2).double(), torch.zeros(2).double()
    centres = trainer.batches.sources.double()  # type: ignore[attr-defined]  # of the toy
    for t in range(6):
        gradient = 2 * (theta - centres.mean(dim=0))
        norm = gradient.norm()
        gradient = gradient * min(1.0, 0.5 / float(norm))
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        direction = (first / (1 - 0.9 ** (t + 1))) / ((second / (1 - 0.999 ** (t + 1))).sqrt() + 1e-8)
        theta = theta - formula(t, trainer.config.train) * direction
        _, found = trainer.step()
        assert found.item() == pytest.approx(float(norm), rel=1e-4)  # before clipping
        torch.testing.assert_close(point.theta.detach().double(), theta, rtol=1e-4, atol=1e-5)


def test_average_against_the_recursion() -> None:
    layer = nn.Linear(2, 1)
    parameters = dict(layer.named_parameters())
    average = Average(parameters, 0.6)
    expected = layer.weight.detach().clone()
    for step in range(1, 40):
        with torch.no_grad():
            layer.weight += step
        average.update(step)
        decay = min(0.6, step / (step + 9))
        expected = decay * expected + (1 - decay) * layer.weight.detach()
        torch.testing.assert_close(average.mean["weight"], expected)


@pytest.mark.parametrize("select", ["best", "last"])
def test_averaged_parameters_are_validated_selected_and_returned(select: str) -> None:
    options = ["train.method=uniform", f"train.select={select}", "train.steps=40", "train.log_every=1"]
    point, trainer = quadratic_trainer(*options, "train.learning_rate=0.2", "train.ema_decay=0.8")
    assert trainer.average is not None
    trainer.run(None, lambda: None, 1000)
    targets = trainer.batches.targets  # type: ignore[attr-defined]  # of the toy
    mean = trainer.average.mean["theta"]
    at_the_mean = (mean - targets).square().sum(dim=1) / 2
    np.testing.assert_allclose(trainer.history[-1].validation_loss, at_the_mean.numpy(), rtol=1e-5)
    assert not torch.equal(mean, point.theta)
    losses = [record.mean_validation_loss for record in trainer.history]
    assert np.argmin(losses) < len(losses) - 1
    trainer.finish()
    found = [float(quadratic({"theta": point.theta}, trainer.batches.evaluation(k)).detach()) for k in (0, 1)]
    assert np.mean(found) == pytest.approx(min(losses) if select == "best" else losses[-1], rel=1e-5)


def test_no_average_is_the_default() -> None:
    _, trainer = quadratic_trainer()
    assert trainer.average is None
    assert trainer.trained() is trainer.parameters


def test_early_stop() -> None:
    """The loss falls until the sources' middle draws the point past the targets, then rises."""
    options = ["train.method=uniform", "train.steps=60", "train.log_every=2", "train.learning_rate=0.2"]
    _, whole = quadratic_trainer(*options)
    whole.run(None, lambda: None, 1000)
    losses = [record.mean_validation_loss for record in whole.history]
    best = int(np.argmin(losses))
    _, trainer = quadratic_trainer(*options, "train.patience=3")
    saved = []
    trainer.run(None, lambda: saved.append(trainer.n_steps), 1000)
    assert len(trainer.history) == best + 1 + 3 < len(losses)
    assert saved == [trainer.n_steps] == [2 * len(trainer.history)]
    assert trainer.is_done
    trainer.run(None, lambda: saved.append(-1), 1)  # stays stopped
    assert saved == [trainer.n_steps]


def test_patience_counts_records_since_the_best() -> None:
    _, trainer = quadratic_trainer("train.steps=4", "train.log_every=1", "train.learning_rate=1e-12")
    trainer.run(None, lambda: None, 100)
    history = trainer.history  # of equal losses, up to rounding: no improvement
    assert len(history) == 4
    assert not is_stalled(history, 0)
    assert not is_stalled(history[:2], 2)
    assert is_stalled([history[0], *history[:2]], 2)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.ema_decay=1", r"`ema_decay` must be in \[0, 1\), found 1"),
        ("train.patience=-1", "`patience` must be not negative, found -1"),
        ("train.precision=float16", "`train.precision` must be one of .*, found 'float16'"),
    ],
)
def test_bad_settings(assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(Config(), [assignment])


def test_compiled_torchjd_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`compile` must be false for method 'pcgrad', .*, found True"):
        override(Config(), ["train.compile=true", "train.method=pcgrad"])


@pytest.mark.parametrize("method", ["vao", "uniform"])
def test_average_of_a_trained_policy(small_config: Config, method: str) -> None:
    sources, validation = split({"TargetCPA": make_data(12)}, 0.25)
    options = [f"train.method={method}", "train.select=last", "data.dagger_rounds=0"]  # averages visit other states
    plain = train(sources, validation, override(small_config, options))
    averaged = train(sources, validation, override(small_config, [*options, "train.ema_decay=0.5"]))
    pairs = zip(plain.bidder.model.parameters(), averaged.bidder.model.parameters(), strict=True)
    assert not all(torch.equal(a, b) for a, b in pairs)
    assert plain.history[-1].loss == averaged.history[-1].loss  # the run itself is the same
    assert plain.history[-1].validation_loss != averaged.history[-1].validation_loss
