from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auction_env.data import TrajectoryData
from auction_env.market.params import MarketParams
from auction_env.tasks import TASKS, Task
from benchmarks.suites.methods.tuning import choose
from tests.vamo.synthetic import Float, make_data, sensible
from vamo.alignment.estimators import Parameters
from vamo.alignment.pairs import Pairs
from vamo.config import Config, TrainConfig, override
from vamo.training.distributed import Processes
from vamo.training.history import Record
from vamo.training.loop import Trainer, snapshot_steps
from vamo.training.optimisation import learning_rate
from vamo.training.run_state import restore, state_of
from vamo.training.train import TrainResult, train

Data = dict[str, TrajectoryData]


# --- the quadratic toy: losses |theta - c|^2 / 2, two targets, three sources -------------------------------


class Point(nn.Module):
    """The parameter of the toy."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([2.0, 1.0]))


def quadratic(parameters: Parameters, batch: Tensor) -> Tensor:
    return (parameters["theta"] - batch).square().sum(dim=-1) / 2


PER_SAMPLE = (
    "weighting.kind=softmax",
    "weighting.shrinkage=false",
    "weighting.candidates=all",
    "weighting.per_sample=true",
)


class QuadraticBatches:
    """Source i is the point c_i for both targets; target k is validated at v_k."""

    sources = torch.tensor([[1.0, 2.0], [0.0, -1.0], [3.0, 0.0]])
    targets = torch.tensor([[0.0, 2.0], [4.0, 1.0]])

    def train(self, step: int, pairs: Pairs) -> Tensor:
        return self.alignment(step, pairs, 1)

    def alignment(self, step: int, pairs: Pairs, n: int) -> Tensor:
        return self.sources[[i for _, i in pairs], None].expand(-1, n, -1)  # (P, n, 2)

    def groups(self, batch: Tensor, start: int, stop: int) -> Tensor:
        return batch[start:stop]

    def validation(self, step: int, targets: Sequence[int], n: int) -> Tensor:
        return self.targets[list(targets), None].expand(-1, n, -1)

    @property
    def episode_counts(self) -> list[int]:
        return [1] * len(self.sources)

    def episodes(self, batch: Tensor) -> Tensor:
        return torch.zeros(batch.shape[:2], dtype=torch.int64)

    def evaluation(self, target: int) -> Tensor:
        return self.targets[target][None, None]


def quadratic_trainer(*assignments: str, processes: Processes | None = None) -> tuple[Point, Trainer[Tensor]]:
    paper = ["weighting.kind=softmax", "weighting.shrinkage=false", "weighting.scaling=none", "weighting.temperature=2"]
    config = override(Config(), [*paper, "train.clip_norm=1000", *assignments])
    point = Point()
    pairs = [(k, i) for k in range(2) for i in range(3)]
    batches = QuadraticBatches()
    trainer = Trainer(
        point,
        quadratic,
        batches,
        pairs=pairs,
        sizes=[100, 10, 30],
        n_targets=2,
        config=config,
        processes=processes,
    )
    return point, trainer


# g_i = theta - c_i = (1, -1), (2, 2), (-1, 1); g_k = theta - v_k = (2, -1), (-2, 0)
ALIGNMENTS = np.array([[3.0, 2.0, -3.0], [-2.0, -4.0, 2.0]])
GRADIENTS = np.array([[1.0, -1.0], [2.0, 2.0], [-1.0, 1.0]])


def test_vao_step_by_hand() -> None:
    point, trainer = quadratic_trainer("train.warmup_steps=0", "train.learning_rate=0.1", "train.weight_decay=0")
    trainer.step()
    np.testing.assert_allclose(trainer.sources.table.mean().numpy(), ALIGNMENTS, rtol=1e-6)
    weights = np.exp(ALIGNMENTS / 2) / np.exp(ALIGNMENTS / 2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(trainer.sources.weights.numpy(), weights, rtol=1e-6)
    update = weights.sum(axis=0) @ GRADIENTS  # sum_k sum_i w_ik g_ik
    assert point.theta.grad is not None
    np.testing.assert_allclose(point.theta.grad.numpy(), update, rtol=1e-5)
    # Adam's first step is -eta g / (|g| + eps)
    moved = np.array([2.0, 1.0]) - 0.1 * update / (np.abs(update) + 1e-8)
    np.testing.assert_allclose(point.theta.detach().numpy(), moved, rtol=1e-6)


@pytest.mark.parametrize(
    ("method", "weights"), [("uniform", [1 / 3, 1 / 3, 1 / 3]), ("pooled", [100 / 140, 10 / 140, 30 / 140])]
)
def test_naive_sharing_by_hand(method: str, weights: list[float]) -> None:
    point, trainer = quadratic_trainer(f"train.method={method}")
    trainer.step()
    assert point.theta.grad is not None
    np.testing.assert_allclose(point.theta.grad.numpy(), 2 * np.array(weights) @ GRADIENTS, rtol=1e-5)
    assert trainer.history == []
    record = trainer._evaluate(torch.ones(2), torch.tensor(1.0), 0.0)
    assert record.alignment is None


def test_weights_are_refreshed_every_few_steps() -> None:
    _, trainer = quadratic_trainer("weighting.refresh_every=3", "train.learning_rate=0.1")
    seen = []
    for _ in range(7):
        trainer.step()
        seen.append(trainer.sources.weights.clone())
    changed = [not torch.equal(a, b) for a, b in itertools.pairwise(seen)]
    assert changed == [False, False, True, False, False, True]


def gradient_after_a_step(*assignments: str) -> Tensor:
    point, trainer = quadratic_trainer(*assignments)
    trainer.step()
    assert point.theta.grad is not None
    return point.theta.grad


def test_limits_of_the_temperature_by_hand() -> None:
    """lambda -> infinity is uniform sharing; lambda -> 0 trains the best aligned sources, which are 0 and 2."""
    uniform = gradient_after_a_step("train.method=uniform")
    torch.testing.assert_close(gradient_after_a_step("weighting.temperature=1e6"), uniform)
    best = torch.tensor(GRADIENTS[0] + GRADIENTS[2], dtype=torch.float32)
    torch.testing.assert_close(gradient_after_a_step("weighting.temperature=1e-3"), best)
    torch.testing.assert_close(gradient_after_a_step("weighting.kind=top1"), best)


@pytest.mark.parametrize("estimator", ["explicit", "forward_mode", "ghost"])
def test_estimators_give_the_same_step(estimator: str) -> None:
    reference = gradient_after_a_step()
    torch.testing.assert_close(gradient_after_a_step(f"weighting.estimator={estimator}"), reference)


def test_cosine_by_hand() -> None:
    _, trainer = quadratic_trainer("weighting.scaling=cosine", "weighting.estimator=explicit")
    trainer.step()
    lengths = np.linalg.norm([[2, -1], [-2, 0]], axis=1)[:, None] * np.linalg.norm(GRADIENTS, axis=1)
    np.testing.assert_allclose(trainer.sources.table.mean().numpy(), ALIGNMENTS / lengths, rtol=1e-5)


def test_preconditioner_by_hand() -> None:
    """After a first step with gradient u Adam's second moment is u^2, bias corrected: P^-1 = 1 / (|u| + eps)."""
    point, trainer = quadratic_trainer(
        "weighting.precondition=true", "weighting.refresh_every=1", "train.learning_rate=1e-9"
    )
    trainer.step()  # the first refresh knows no moments
    np.testing.assert_allclose(trainer.sources.table.mean().numpy(), ALIGNMENTS, rtol=1e-6)
    assert point.theta.grad is not None
    u = np.abs(point.theta.grad.numpy())
    trainer.step()
    expected = (np.array([[2.0, -1.0], [-2.0, 0.0]]) / (u + 1e-8)) @ GRADIENTS.T
    np.testing.assert_allclose(trainer.sources.table.mean().numpy(), expected, rtol=1e-4)


def test_per_sample_weights_by_hand() -> None:
    """With one sample a source, samples' weights are sources' weights; the two forms agree."""
    options = ["weighting.refresh_every=1", "weighting.candidates=all", "weighting.per_sample=true"]
    torch.testing.assert_close(gradient_after_a_step(*options), gradient_after_a_step())


class TwoEpisodes(QuadraticBatches):
    """One target at (1, 0) and one source with two episodes: one at the target, one on the other side of it."""

    episodes_at = torch.tensor([[1.0, 0.0], [-3.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0]])

    def alignment(self, step: int, pairs: Pairs, n: int) -> Tensor:
        drawn = np.random.default_rng([step, n]).integers(2, size=n)
        return self.episodes_at[torch.from_numpy(drawn)].expand(len(pairs), -1, -1)

    def train(self, step: int, pairs: Pairs) -> Tensor:
        return self.alignment(step, pairs, 6)

    @property
    def episode_counts(self) -> list[int]:
        return [2]

    def episodes(self, batch: Tensor) -> Tensor:
        return (batch[..., 0] < 0).long()


@pytest.mark.parametrize(("options", "end"), [((), -1.0), (("weighting.per_episode=true",), 1.0)])
def test_episodes_of_a_source_that_harm_lose_their_weight(options: tuple[str, ...], end: float) -> None:
    """Without weights of episodes the parameters end between the two, at the mean of the log."""
    config = override(Config(), ["train.steps=400", "train.learning_rate=0.05", "train.select=last", *options])
    point = Point()
    trainer = Trainer(point, quadratic, TwoEpisodes(), pairs=[(0, 0)], sizes=[2], n_targets=1, config=config)
    trainer.run(None, lambda: None, 1000)
    assert abs(float(point.theta[0].detach()) - end) < 0.4
    restored = Trainer(Point(), quadratic, TwoEpisodes(), pairs=[(0, 0)], sizes=[2], n_targets=1, config=config)
    restore(restored, *state_of(trainer))
    batch = TwoEpisodes().train(7, [(0, 0)])
    torch.testing.assert_close(*(t.sources.weigh(batch, t.sources.draw(7), 7) for t in (trainer, restored)))


@pytest.mark.parametrize("method", ["uniform", "vao"])
def test_sampled_pairs_give_the_same_gradient_on_average(method: str) -> None:
    options = [f"train.method={method}", "train.learning_rate=1e-12", "train.warmup_steps=0"]
    full = gradient_after_a_step(*options)
    point, trainer = quadratic_trainer(*options, "weighting.pairs_per_step=2")
    seen = []
    for _ in range(600):
        trainer.step()
        assert point.theta.grad is not None
        seen.append(point.theta.grad.clone())
    gradients = torch.stack(seen)
    error = gradients.std(dim=0) / len(seen) ** 0.5
    assert ((gradients.mean(dim=0) - full).abs() < 4 * error).all()


@pytest.mark.parametrize(("most", "expected"), [(1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 6), (64, 6)])
def test_number_of_pairs_in_a_step(most: int, expected: int) -> None:
    _, trainer = quadratic_trainer(f"weighting.pairs_per_step={most}")
    drawn = trainer.sources.draw(0)
    assert trainer.sources.n_step_pairs == len(drawn.pairs) == len(drawn.targets) == len(drawn.weights) == expected


def test_mean_of_the_targets_is_uniform_sharing() -> None:
    torch.testing.assert_close(
        gradient_after_a_step("train.method=mean"), gradient_after_a_step("train.method=uniform")
    )


def test_some_methods_need_everything_in_a_step() -> None:
    with pytest.raises(ValueError, match=r"`pairs_per_step` must be at least the number of targets, 2, .*, found 1"):
        quadratic_trainer("train.method=pcgrad", "weighting.pairs_per_step=1")
    with pytest.raises(ValueError, match=r"`pairs_per_step` must be at least the number of pairs, 6, .*, found 5"):
        quadratic_trainer(
            "weighting.candidates=all",
            "weighting.per_sample=true",
            "weighting.refresh_every=1",
            "weighting.pairs_per_step=5",
        )


def test_clipping() -> None:
    point, trainer = quadratic_trainer("train.clip_norm=0.5")
    _, grad_norm = trainer.step()
    assert point.theta.grad is not None
    assert grad_norm.item() > 0.5
    assert point.theta.grad.norm().item() == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("method", ["vao", "uniform"])
def test_nan_is_an_error(method: str) -> None:
    point, trainer = quadratic_trainer(f"train.method={method}")
    trainer.step()
    with torch.no_grad():
        point.theta[0] = math.nan
    with pytest.raises(FloatingPointError, match=r"`(loss|alignment)` must be finite, found .*nan.* at step 1"):
        for _ in range(5):
            trainer.step()


def test_learning_rate() -> None:
    config = TrainConfig(steps=100, warmup_steps=9, learning_rate=1.0, final_learning_rate=0.1)
    np.testing.assert_allclose([learning_rate(s, config) for s in (0, 4, 8, 9)], [0.1, 0.5, 0.9, 1.0])
    assert learning_rate(100, config) == pytest.approx(0.1)
    rates = [learning_rate(step, config) for step in range(9, 101)]
    assert rates == sorted(rates, reverse=True)


def test_best_parameters_are_kept() -> None:
    """The validation loss first falls, then rises: the sources lie beyond the validated point."""
    point, trainer = quadratic_trainer(
        "train.method=uniform",
        "train.select=best",
        "train.steps=40",
        "train.log_every=1",
        "train.learning_rate=0.2",
    )
    trainer.run(None, lambda: None, 1000)
    means = [np.mean(record.validation_loss) for record in trainer.history]
    assert trainer.best_loss == pytest.approx(min(means))
    assert np.argmin(means) < len(means) - 1
    trainer.finish()
    after = [float(quadratic({"theta": point.theta}, trainer.batches.evaluation(k)).detach()) for k in (0, 1)]
    assert np.mean(after) == pytest.approx(trainer.best_loss)


# --- on trajectories ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data() -> tuple[Data, Data]:
    """Training and validation sets of two tasks."""
    tasks = (TASKS["MaxConversions"], TASKS["TargetCPA"])
    train_sets = {task.name: make_data(20 + 10 * i, task=task, seed=i) for i, task in enumerate(tasks)}
    return train_sets, {task.name: make_data(6, task=task, seed=10) for task in tasks}


def run(data: tuple[Data, Data], config: Config, *assignments: str, **kwargs: object) -> TrainResult:
    return train(*data, override(config, assignments), **kwargs)  # type: ignore[arg-type]  # names of `train`


def comparable(history: list[Record]) -> list[dict[str, object]]:
    return [dataclasses.asdict(dataclasses.replace(record, step_time=0.0)) for record in history]


@pytest.mark.parametrize("method", ["single", "uniform", "pooled", "vao", "pcgrad"])
def test_methods(data: tuple[Data, Data], small_config: Config, method: str) -> None:
    lines: list[Record] = []
    result = run(data, small_config, f"train.method={method}", progress=lambda _, __, line: lines.append(line))
    assert result.targets == result.sources == ("MaxConversions", "TargetCPA")
    assert result.history == lines
    assert [record.step for record in lines] == [4, 8, 12]
    for record in lines:
        np.testing.assert_allclose(np.sum(record.weights, axis=1), 1.0, rtol=1e-5)
        assert np.isfinite([*record.loss, *record.validation_loss, record.grad_norm]).all()
        assert (record.alignment is not None) == (method == "vao")
        assert record.step_time > 0
    expected = {"single": np.eye(2), "uniform": np.full((2, 2), 0.5), "pooled": [[0.4, 0.6], [0.4, 0.6]]}
    if method in expected:
        np.testing.assert_allclose(lines[-1].weights, expected[method], rtol=1e-6)
    assert result.bidder.name == method


def test_single_uses_its_own_source_only(data: tuple[Data, Data], small_config: Config) -> None:
    alone = run(data, small_config, "train.method=single", targets=["TargetCPA"])
    assert alone.targets == alone.sources == ("TargetCPA",)
    own = {"TargetCPA": data[0]["TargetCPA"]}
    same = train(own, data[1], override(small_config, ["train.method=single"]), targets=["TargetCPA"])
    assert comparable(same.history) == comparable(alone.history)


def test_training_lowers_the_loss(data: tuple[Data, Data], small_config: Config) -> None:
    # bids do nothing in these logs, so that their hindsight-optimal actions are a constant but for rare outliers
    config = override(small_config, ["data.action_label=logged"])
    result = run(data, config, "train.method=uniform", "train.steps=150", "train.learning_rate=1e-2")
    assert np.mean(result.history[-1].validation_loss) < 0.3 * np.mean(result.history[0].validation_loss)


def test_seed_determines_the_run(data: tuple[Data, Data], small_config: Config) -> None:
    a, b = run(data, small_config), run(data, small_config)
    c = run(data, small_config, "train.seed=4")
    assert comparable(a.history) == comparable(b.history)
    assert comparable(a.history) != comparable(c.history)


def test_select(data: tuple[Data, Data], small_config: Config) -> None:
    last = run(data, small_config, "train.select=last")
    best = run(data, small_config, "train.learning_rate=1.0", "train.log_every=1")  # diverges
    means = [np.mean(record.validation_loss) for record in best.history]
    assert best.best_loss == pytest.approx(min(means))
    assert last.bidder.config.train.select == "last"


def test_snapshots_are_stages_of_the_run(data: tuple[Data, Data], small_config: Config, tmp_path: Path) -> None:
    """The last one is the returned bidder; a resumed run has the same ones; validation episodes choose among them."""
    assert snapshot_steps(12, 3) == [12, 10, 8] and snapshot_steps(12, 0) == []
    options = ("train.snapshots=3", "train.select=last")
    whole = run(data, small_config, *options)
    assert list(whole.snapshots) == [8, 10, 12]
    for a, b in zip(whole.snapshots[12].model.parameters(), whole.bidder.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(whole.snapshots[8].model.parameters(), whole.bidder.model.parameters(), strict=True)
    )
    path = tmp_path / "run.safetensors"

    def kill(step: int, n_steps: int, record: object) -> None:
        if step == 12:
            raise KilledError

    with pytest.raises(KilledError):
        run(data, small_config, *options, progress=kill, out=path, save_every=9)
    resumed = run(data, small_config, *options, out=path)
    for step, bidder in whole.snapshots.items():
        pairs = zip(bidder.model.parameters(), resumed.snapshots[step].model.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    choice = choose(
        list(whole.snapshots.values()),
        seeds=np.arange(4),
        advertisers=np.arange(4),
        task=TASKS["TargetCPA"],
        params=MarketParams(n_impressions=480),
    )
    assert choice.scores.shape == (3, 4)


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    "options",
    [
        ["weighting.scaling=none"],
        ["weighting.scaling=rms"],
        ["weighting.scaling=cosine", "weighting.ema_decay=0.5", "weighting.shrinkage=true"],
        ["weighting.precondition=true", "weighting.pairs_per_step=2", "weighting.targets_per_refresh=1"],
        [
            "weighting.kind=softmax",
            "weighting.shrinkage=false",
            "weighting.candidates=all",
            "weighting.per_sample=true",
            "weighting.refresh_every=1",
        ],
        ["train.method=random"],
        ["train.method=gradvac"],
        ["train.method=nash_mtl"],
        ["train.method=uncertainty"],
        ["train.method=dwa", "balancing.dwa_period=2"],
        ["train.method=gradnorm"],
        ["train.method=famo"],
        ["train.method=cds"],
        ["train.method=nearest"],
        ["train.method=response_check", "sharing.per_episode=true"],
        ["train.method=dvdf"],
        ["train.method=agem"],
        ["train.method=sdmgrad"],
        ["train.cross_fit=3"],
        ["data.dagger_rounds=2", "train.cross_fit=2", "weighting.refresh_every=2"],
    ],
    ids=" ".join,
)
def test_resumed_run_equals_uninterrupted(
    data: tuple[Data, Data], small_config: Config, tmp_path: Path, options: list[str]
) -> None:
    assignments = (*options, "train.select=last")
    whole = run(data, small_config, *assignments)

    def kill(step: int, n_steps: int, record: object) -> None:
        if step == 8:
            raise KilledError

    path = tmp_path / "run.safetensors"
    with pytest.raises(KilledError):
        run(data, small_config, *assignments, progress=kill, out=path, save_every=3)
    lines: list[Record] = []
    resumed = run(
        data, small_config, *assignments, progress=lambda _, __, line: lines.append(line), out=path, save_every=3
    )
    assert [record.step for record in lines] == [8, 12]  # went on from step 6
    assert comparable(resumed.history) == comparable(whole.history)
    assert resumed.best_loss == whole.best_loss
    pairs = zip(resumed.bidder.model.parameters(), whole.bidder.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    with pytest.raises(FileExistsError, match="must not exist, found a finished agent"):
        run(data, small_config, *assignments, out=path)
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]


def test_missing_data_are_errors(data: tuple[Data, Data], small_config: Config) -> None:
    with pytest.raises(ValueError, match=r"`targets` must be keys of `validation`, .*, found \['Clicks'\]"):
        run(data, small_config, targets=["Clicks"])
    with pytest.raises(ValueError, match="`targets` must name at least one task, found none"):
        run(data, small_config, targets=[])
    with pytest.raises(ValueError, match=r"'single' must find its targets in `sources`, found no \['TargetCPA'\]"):
        train({}, data[1], override(small_config, ["train.method=single"]), targets=["TargetCPA"])
    with pytest.raises(ValueError, match="`sources` must hold at least one data set, found none"):
        train({}, data[1], small_config)
    with pytest.raises(ValueError, match="`save_every` must be at least 1, found 0"):
        run(data, small_config, save_every=0)


def contrary(features: Float, rng: np.random.Generator) -> Float:
    return -sensible(features, rng)


def noise(features: Float, rng: np.random.Generator) -> Float:
    return 0.4 * rng.normal(size=len(features))


def test_vao_orders_helpful_neutral_and_harmful_sources(small_config: Config) -> None:
    """One target with little data of its own; sources that act like it, at random, and against it.

    Naive sharing, in both forms, is hurt by the harmful one: without it and the neutral one it does far better.
    """
    policies = {"own": sensible, "helpful": sensible, "neutral": noise, "harmful": contrary}
    sources = {
        name: make_data(4 if name == "own" else 30, task=Task(name=name), policy=policy, seed=i)
        for i, (name, policy) in enumerate(policies.items())
    }
    validation = {"own": make_data(20, task=Task(name="own"), seed=9)}
    config = override(
        small_config,
        [
            "data.action_label=logged",  # what the sources' policies differ in
            "weighting.alignment_batch_size=256",
            "train.steps=100",
            "train.batch_size=128",
            "train.log_every=5",
            "train.learning_rate=3e-3",
            "train.evaluation_windows=200",
        ],
    )
    result = train(sources, validation, config, targets=["own"])
    weights = np.mean([record.weights[0] for record in result.history], axis=0)
    by_name = dict(zip(result.sources, weights, strict=True))
    assert by_name["helpful"] > by_name["neutral"] > by_name["harmful"]
    assert by_name["own"] > by_name["neutral"]

    def naive(method: str, *names: str) -> float:
        used = {name: sources[name] for name in names}
        return train(used, validation, override(config, [f"train.method={method}"]), targets=["own"]).best_loss

    clean = naive("uniform", "own", "helpful")
    for method in ("uniform", "pooled"):
        assert naive(method, *sources) > 1.5 * clean
    assert result.best_loss < 0.9 * naive("uniform", *sources)
