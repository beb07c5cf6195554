from __future__ import annotations

import pytest
import torch

from auction_env.observation import N_FEATURES
from vamo.config import ModelConfig
from vamo.inputs import ADVERTISER_INPUTS, REQUIREMENT_INPUTS
from vamo.model import Batch, Vamo, action_losses, identity_normalisation

SIZES = ModelConfig(d_model=16, n_blocks=2, n_heads=2, context=6)


def random_batch(n: int = 4, n_ticks: int = 6, n_groups: int = 1, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    requirements = torch.randn(n, n_ticks, len(REQUIREMENT_INPUTS), generator=g)
    requirements[..., 2] = (torch.arange(n) % 2)[:, None]  # has_cpa_limit
    return Batch(
        requirements=requirements,
        state=torch.randn(n, n_ticks, N_FEATURES, generator=g),
        advertiser=torch.randn(n, len(ADVERTISER_INPUTS), generator=g),
        category=torch.randint(0, 5, (n,), generator=g),
        tick=torch.arange(n_ticks).repeat(n, 1) + 10,
        action=torch.randn(n, n_ticks, generator=g),
        mask=torch.ones(n, n_ticks),
        n_groups=n_groups,
    )


def trained(model: Vamo) -> Vamo:
    """The model away from its special initial point, where FiLM does nothing."""
    with torch.no_grad():
        g = torch.Generator().manual_seed(7)
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=g)
    return model


@pytest.mark.parametrize("tick", range(1, 6))
def test_future_never_changes_the_past(tick: int) -> None:
    model, batch = trained(Vamo(SIZES)), random_batch()
    before = model(*batch[:5])
    for name in ("requirements", "state", "tick"):
        changed = getattr(batch, name).clone()
        changed[:, tick:] += 1
        after = model(*batch._replace(**{name: changed})[:5])
        torch.testing.assert_close(after[:, :tick], before[:, :tick], rtol=0, atol=0)
        assert not torch.allclose(after[:, tick], before[:, tick])


def test_present_is_seen() -> None:
    model, batch = trained(Vamo(SIZES)), random_batch()
    before = model(*batch[:5])
    changed = batch._replace(advertiser=batch.advertiser + 1)
    assert not torch.allclose(model(*changed[:5]), before)
    changed = batch._replace(category=batch.category + 1)
    assert not torch.allclose(model(*changed[:5]), before)


def test_film_at_initialisation_is_the_identity() -> None:
    batch = random_batch()
    with_film = Vamo(SIZES, seed=5)
    without = Vamo(ModelConfig(d_model=16, n_blocks=2, n_heads=2, context=6, film=False), seed=5)
    without.load_state_dict({k: v for k, v in with_film.state_dict().items() if not k.startswith("films.")})
    torch.testing.assert_close(with_film(*batch[:5]), without(*batch[:5]))
    assert not torch.allclose(trained(with_film)(*batch[:5]), without(*batch[:5]))


def test_every_parameter_gets_a_gradient() -> None:
    model, batch = Vamo(SIZES), random_batch(16)
    action_losses(model, dict(model.named_parameters()), batch).mean().backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_one_batch_can_be_overfitted() -> None:
    model, batch = Vamo(SIZES), random_batch(4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        loss = action_losses(model, dict(model.named_parameters()), batch).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss.item() < 0.02


def test_padding_never_changes_the_loss() -> None:
    model, batch = trained(Vamo(SIZES)), random_batch(4, 4)
    parameters = dict(model.named_parameters())
    short = action_losses(model, parameters, batch)
    noise = random_batch(4, 2, seed=1)
    joined = [torch.cat([a, b], dim=1) for a, b in zip(batch[:2], noise[:2], strict=True)]
    padded = batch._replace(
        requirements=joined[0],
        state=joined[1],
        tick=torch.cat([batch.tick, torch.zeros(4, 2, dtype=torch.int64)], dim=1),
        action=torch.cat([batch.action, 1e6 * noise.action], dim=1),
        mask=torch.cat([batch.mask, torch.zeros(4, 2)], dim=1),
    )
    torch.testing.assert_close(action_losses(model, parameters, padded), short)


def test_losses_are_masked_means_per_group() -> None:
    model, batch = trained(Vamo(SIZES)), random_batch(6, n_groups=2)
    mask = (torch.rand(6, 6, generator=torch.Generator().manual_seed(2)) < 0.6).float()
    batch = batch._replace(mask=mask)
    losses = action_losses(model, dict(model.named_parameters()), batch)
    assert losses.shape == (2, 3)
    error = (model(*batch[:5]) - batch.action).square()
    for group, rows in enumerate((slice(0, 3), slice(3, 6))):
        expected = (error[rows] * mask[rows]).sum() / mask[rows].sum()
        torch.testing.assert_close(losses[group].mean(), expected)


def test_group_without_actions_has_no_loss() -> None:
    batch = random_batch()
    model = Vamo(SIZES)
    losses = action_losses(model, dict(model.named_parameters()), batch._replace(mask=0 * batch.mask))
    assert (losses == 0).all()


def test_absent_constraint_never_leaks() -> None:
    model, batch = trained(Vamo(SIZES)), random_batch()
    leaky = batch.requirements.clone()
    leaky[::2, :, 3:] += 10  # rows 0 and 2 have no limit
    torch.testing.assert_close(
        model(*batch._replace(requirements=leaky)[:5])[::2], model(*batch[:5])[::2], rtol=0, atol=0
    )


def test_normalisation_undoes_shift_and_scale() -> None:
    plain, batch = trained(Vamo(SIZES)), random_batch()
    statistics = identity_normalisation()
    statistics = statistics._replace(state_mean=statistics.state_mean + 3, state_std=statistics.state_std * 2)
    scaled = Vamo(SIZES, statistics)
    scaled.load_state_dict(dict(plain.named_parameters()), strict=False)
    shifted = batch._replace(state=2 * batch.state + 3)
    torch.testing.assert_close(scaled(*shifted[:5]), plain(*batch[:5]), rtol=1e-4, atol=1e-5)


def test_initialisation_leaves_global_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    a, b, c = Vamo(SIZES, seed=1), Vamo(SIZES, seed=1), Vamo(SIZES, seed=2)
    torch.testing.assert_close(torch.random.get_rng_state(), before)
    assert all((x == y).all() for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert any((x != y).any() for x, y in zip(a.parameters(), c.parameters(), strict=True))


def test_unknown_categories_share_an_embedding() -> None:
    model, batch = trained(Vamo(SIZES)), random_batch()
    far, negative = (model(*batch._replace(category=torch.full((4,), c))[:5]) for c in (999, -1))
    torch.testing.assert_close(far, negative)


def test_default_size() -> None:
    n_parameters = sum(p.numel() for p in Vamo(ModelConfig()).parameters())
    assert 100_000 < n_parameters < 200_000
