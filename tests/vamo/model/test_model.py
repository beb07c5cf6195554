from __future__ import annotations

import warnings
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from auction_env.control.observation import N_FEATURES
from vamo.config import MODEL_SIZES, Conditioning, Head, ModelConfig
from vamo.examples.batch import Batch
from vamo.examples.inputs import ADVERTISER_INPUTS, REQUIREMENT_GATES, REQUIREMENT_INPUTS
from vamo.examples.normalisation import identity_normalisation
from vamo.model.losses import losses
from vamo.model.transformer import Transformer

HAS_CPA_LIMIT = REQUIREMENT_INPUTS.index("has_cpa_limit")
SIZES = ModelConfig(
    backbone="transformer", conditioning="film", d_model=16, n_blocks=2, n_heads=2, context=6, horizon=2
)
VARIANTS = {
    **{kind: replace(SIZES, conditioning=kind) for kind in ("film", "token", "prompt", "hyper", "concat")},
    "planner": replace(SIZES, head="planner"),
    "periods": replace(SIZES, n_periods=2),
    "days": replace(SIZES, n_ticks=2, n_periods=2),  # three days in a window
    "all": replace(SIZES, conditioning="prompt", head="planner", n_periods=3, n_ticks=4),
}
variants = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)


FLOATS = ("requirements", "state", "advertiser", "action", "mask")


def random_batch(n: int = 4, n_ticks: int = 6, n_groups: int = 1, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    requirements = torch.randn(n, n_ticks, len(REQUIREMENT_INPUTS), generator=g)
    requirements[..., HAS_CPA_LIMIT] = (torch.arange(n) % 2)[:, None]
    return Batch(
        requirements=requirements,
        state=torch.randn(n, n_ticks, N_FEATURES, generator=g),
        advertiser=torch.randn(n, len(ADVERTISER_INPUTS), generator=g),
        category=torch.randint(0, 5, (n,), generator=g),
        tick=torch.arange(n_ticks).repeat(n, 1) + 10,
        action=torch.randn(n, n_ticks, generator=g),
        mask=torch.ones(n, n_ticks),
        episode=torch.zeros(n, dtype=torch.int64),
        n_groups=n_groups,
    )


def trained(model: Transformer) -> Transformer:
    """The model away from its special initial point, where FiLM and weight updates do nothing."""
    with torch.no_grad():
        g = torch.Generator().manual_seed(7)
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=g)
    return model


def loss_of(model: Transformer, batch: Batch) -> Tensor:
    return losses(model, dict(model.named_parameters()), batch)


def test_variants_are_all_choices() -> None:
    assert {config.conditioning for config in VARIANTS.values()} == set(get_args(Conditioning))
    assert {config.head for config in VARIANTS.values()} == set(get_args(Head))


@variants
@pytest.mark.parametrize("tick", range(1, 6))
def test_future_never_changes_the_past(config: ModelConfig, tick: int) -> None:
    model, batch = trained(Transformer(config)), random_batch()
    before = model(*batch[:5])
    for name in ("requirements", "state", "tick"):
        changed = getattr(batch, name).clone()
        changed[:, tick:] += 1
        after = model(*batch._replace(**{name: changed})[:5])
        torch.testing.assert_close(after.action[:, :tick], before.action[:, :tick], rtol=0, atol=0)
        assert not torch.allclose(after.action[:, tick], before.action[:, tick])
        if config.head == "planner":
            torch.testing.assert_close(after.plan[:, :tick], before.plan[:, :tick], rtol=0, atol=0)


@variants
def test_present_is_seen(config: ModelConfig) -> None:
    model, batch = trained(Transformer(config)), random_batch()
    before = model(*batch[:5]).action
    for name in ("advertiser", "category"):
        changed = batch._replace(**{name: getattr(batch, name) + 1})
        assert not torch.allclose(model(*changed[:5]).action, before)


@variants
def test_step_by_step_equals_the_whole_window(config: ModelConfig) -> None:
    """Cached keys and values give what one forward pass gives, also when ticks come several at a time."""
    model, batch = trained(Transformer(config)), random_batch()
    whole, advertiser = model(*batch[:5]), model.embed(batch.advertiser, batch.category)
    for sizes in ([1] * 6, [2, 1, 3]):
        past, start = None, 0
        for size in sizes:
            rows = slice(start, start + size)
            inputs = batch.requirements[:, rows], batch.state[:, rows], advertiser, batch.tick[:, rows]
            prediction, past = model.extend(*inputs, past)
            torch.testing.assert_close(prediction.action, whole.action[:, rows], rtol=0, atol=1e-5)
            if config.head == "planner":
                torch.testing.assert_close(prediction.plan, whole.plan[:, rows], rtol=0, atol=1e-5)
            start += size


@variants
def test_what_is_not_read_changes_nothing(config: ModelConfig) -> None:
    model, batch = trained(Transformer(config)), random_batch()
    advertiser = model.embed(batch.advertiser, batch.category)
    last = model.extend(batch.requirements, batch.state, advertiser, batch.tick, n_read=2)[0]
    torch.testing.assert_close(last.action, model(*batch[:5]).action[:, -2:], rtol=0, atol=1e-6)


@pytest.mark.parametrize("conditioning", ["film", "hyper"])
def test_conditioning_at_initialisation_is_the_identity(conditioning: Conditioning) -> None:
    batch = random_batch()
    conditioned, plain = Transformer(VARIANTS[conditioning], seed=5), Transformer(VARIANTS["token"], seed=5)
    torch.testing.assert_close(conditioned(*batch[:5]).action, plain(*batch[:5]).action)
    shared = dict(plain.named_parameters()).keys()
    own = trained(conditioned)
    plain.load_state_dict({name: value for name, value in own.state_dict().items() if name in shared}, strict=False)
    assert not torch.allclose(own(*batch[:5]).action, plain(*batch[:5]).action)


def test_variants_start_with_the_same_blocks() -> None:
    start = Transformer(SIZES, seed=3).blocks.state_dict()
    for config in VARIANTS.values():
        for name, value in Transformer(replace(config, n_ticks=48), seed=3).blocks.state_dict().items():
            torch.testing.assert_close(value, start[name], rtol=0, atol=0)


@variants
def test_every_parameter_gets_a_gradient(config: ModelConfig) -> None:
    model, batch = trained(Transformer(config)), random_batch(16)
    loss_of(model, batch).mean().backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@variants
def test_one_batch_can_be_overfitted(config: ModelConfig) -> None:
    model, batch = Transformer(config), random_batch(4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    first = loss_of(model, batch).mean().item()
    for _ in range(200):
        loss = loss_of(model, batch).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if loss.item() < 0.02 * first:
            return
    raise AssertionError(f"must be below 0.02 of {first} after 200 steps, found {loss.item()}")


@variants
def test_padding_never_changes_the_loss(config: ModelConfig) -> None:
    model, batch = trained(Transformer(config)), random_batch(4, 4)
    noise = random_batch(4, 2, seed=1)
    joined = [torch.cat([a, b], dim=1) for a, b in zip(batch[:2], noise[:2], strict=True)]
    padded = batch._replace(
        requirements=joined[0],
        state=joined[1],
        tick=torch.cat([batch.tick, torch.zeros(4, 2, dtype=torch.int64)], dim=1),
        action=torch.cat([batch.action, 1e6 * noise.action], dim=1),
        mask=torch.cat([batch.mask, torch.zeros(4, 2)], dim=1),
    )
    torch.testing.assert_close(loss_of(model, padded), loss_of(model, batch))


@variants
def test_forward_mode_derivative(config: ModelConfig) -> None:
    """The derivative along a direction, in double precision: that of the backward pass through the fused kernels."""
    model, batch = trained(Transformer(config)).double(), random_batch()
    batch = batch._replace(**{name: getattr(batch, name).double() for name in FLOATS})
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    g = torch.Generator().manual_seed(3)
    direction = {name: torch.randn(p.shape, generator=g, dtype=p.dtype) for name, p in parameters.items()}
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        warnings.filterwarnings("ignore", message=r".*torch\.jit", category=DeprecationWarning)
        forward = torch.func.jvp(lambda p: losses(model, p, batch).mean(), (parameters,), (direction,))[1]
    loss_of(model, batch).mean().backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    expected = sum((gradients[name] * direction[name]).sum() for name in parameters)
    torch.testing.assert_close(forward, expected)


@variants
def test_bfloat16_autocast(config: ModelConfig) -> None:
    model, batch = trained(Transformer(config)), random_batch()
    exact = loss_of(model, batch).mean()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_of(model, batch).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.exhaustive  # test_precision traces the whole loss and leaves out the code generator
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler about Python and about itself
def test_default_model_can_be_compiled() -> None:
    model, batch = Transformer(MODEL_SIZES["transformer"]), random_batch(4, 4)
    compiled = torch.compile(model, fullgraph=True)
    torch.testing.assert_close(compiled(*batch[:5]).action, model(*batch[:5]).action, rtol=0, atol=1e-5)


def test_losses_are_masked_means_per_group() -> None:
    model, batch = trained(Transformer(SIZES)), random_batch(6, n_groups=2)
    mask = (torch.rand(6, 6, generator=torch.Generator().manual_seed(2)) < 0.6).float()
    batch = batch._replace(mask=mask)
    loss = loss_of(model, batch)
    assert loss.shape == (2, 3)
    error = (model(*batch[:5]).action - batch.action).square()
    for group, rows in enumerate((slice(0, 3), slice(3, 6))):
        expected = (error[rows] * mask[rows]).sum() / mask[rows].sum()
        torch.testing.assert_close(loss[group].mean(), expected)


def test_planner_loss_by_hand() -> None:
    """The action's error as ever, and the mean error of the planned states that the episode has."""
    model, batch = trained(Transformer(VARIANTS["planner"])), random_batch(2)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 0]]).float()  # the second ends after its fourth tick
    batch = batch._replace(mask=mask)
    has_next = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0]]).bool()
    prediction = model(*batch[:5], has_next)
    errors = [
        (prediction.plan[i, t, j - 1] - batch.state[i, t + j]).square().mean()
        for i, length in ((0, 6), (1, 4))
        for t in range(length)
        for j in (1, 2)
        if mask[i, t] and t + j < length
    ]
    assert len(errors) == 9 + 3
    action = ((prediction.action - batch.action).square() * mask).sum() / mask.sum()
    torch.testing.assert_close(loss_of(model, batch).mean(), action + torch.stack(errors).mean())


def test_inverse_dynamics_reads_logged_states_in_training_and_the_plan_in_use() -> None:
    model, batch = trained(Transformer(VARIANTS["planner"])), random_batch(1)
    batch = batch._replace(mask=torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]]))
    inputs: list[Tensor] = []
    model.planner.inverse_in.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    prediction = model(*batch[:5])
    loss_of(model, batch)
    in_use, in_training = (x[0, :, N_FEATURES : 2 * N_FEATURES] for x in inputs)
    torch.testing.assert_close(in_use, prediction.plan[0, :, 0])
    torch.testing.assert_close(in_training[:2], batch.state[0, 1:3])
    torch.testing.assert_close(in_training[2:], prediction.plan[0, 2:, 0])


def test_planner_learns_nothing_from_a_last_tick() -> None:
    """A window of one tick has no next state: its plan is only a means to the action."""
    model, batch = trained(Transformer(VARIANTS["planner"])), random_batch(2, 1)
    expected = (model(*batch[:5]).action - batch.action).square().mean()
    torch.testing.assert_close(loss_of(model, batch).mean(), expected)


@pytest.mark.parametrize("head", get_args(Head))
def test_group_without_actions_has_no_loss(head: Head) -> None:
    batch = random_batch()
    assert (loss_of(Transformer(replace(SIZES, head=head)), batch._replace(mask=0 * batch.mask)) == 0).all()


@variants
def test_absent_constraint_never_leaks(config: ModelConfig) -> None:
    model, batch = trained(Transformer(config)), random_batch()
    leaky = batch.requirements.clone()
    gated = [column for column, gate in enumerate(REQUIREMENT_GATES) if gate == "has_cpa_limit"]
    leaky[..., gated] += 10  # rows 0 and 2 have no limit
    changed = model(*batch._replace(requirements=leaky)[:5]).action
    torch.testing.assert_close(changed[::2], model(*batch[:5]).action[::2], rtol=0, atol=0)
    assert not torch.allclose(changed[1::2], model(*batch[:5]).action[1::2])


def test_normalisation_undoes_shift_and_scale() -> None:
    plain, batch = trained(Transformer(VARIANTS["all"])), random_batch()
    statistics = identity_normalisation()
    statistics = statistics._replace(state_mean=statistics.state_mean + 3, state_std=statistics.state_std * 2)
    scaled = Transformer(VARIANTS["all"], statistics)
    scaled.load_state_dict(dict(plain.named_parameters()), strict=False)
    shifted = batch._replace(state=2 * batch.state + 3)
    torch.testing.assert_close(scaled(*shifted[:5]).action, plain(*batch[:5]).action, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loss_of(scaled, shifted), loss_of(plain, batch), rtol=1e-4, atol=1e-5)


def test_days_of_a_window_are_told_apart() -> None:
    """The same two ticks of the day in another order of days: another decision."""
    model, batch = trained(Transformer(replace(VARIANTS["days"], n_periods=0))), random_batch()
    earlier = batch._replace(state=batch.state.roll(2, dims=1), requirements=batch.requirements.roll(2, dims=1))
    assert not torch.allclose(model(*earlier[:5]).action[:, -1], model(*batch[:5]).action[:, -1])
    next_day = batch._replace(tick=batch.tick + 2)
    torch.testing.assert_close(model(*next_day[:5]).action, model(*batch[:5]).action, rtol=0, atol=0)


def test_initialisation_leaves_global_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    a, b, c = Transformer(SIZES, seed=1), Transformer(SIZES, seed=1), Transformer(SIZES, seed=2)
    torch.testing.assert_close(torch.random.get_rng_state(), before)
    assert all((x == y).all() for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert any((x != y).any() for x, y in zip(a.parameters(), c.parameters(), strict=True))


def test_unknown_categories_share_an_embedding() -> None:
    model, batch = trained(Transformer(SIZES)), random_batch()
    far, negative = (model(*batch._replace(category=torch.full((4,), c))[:5]).action for c in (999, -1))
    torch.testing.assert_close(far, negative)


@pytest.mark.parametrize(
    ("name", "lowest", "highest"), [("transformer", 1.2e5, 1.5e5), ("1M", 0.9e6, 1.1e6), ("100M", 0.95e8, 1.05e8)]
)
def test_sizes(name: str, lowest: float, highest: float) -> None:
    assert lowest < sum(p.numel() for p in Transformer(MODEL_SIZES[name]).parameters()) < highest
