"""The memoryless backbones and the ensemble."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.vamo.alignment.test_alignment import make_case
from tests.vamo.model.test_model import random_batch
from vamo.alignment.estimators import Explicit
from vamo.alignment.ghost import Ghost
from vamo.config import Conditioning, Config, ModelConfig
from vamo.model.decoding import decoder_of
from vamo.model.ensemble import Ensemble
from vamo.model.losses import losses
from vamo.model.making import load_parameters, make_ensemble, make_policy
from vamo.model.mlp import Mlp
from vamo.model.policy import Policy

MLP = ModelConfig(width=16, depth=3)
kinds = pytest.mark.parametrize("conditioning", ["film", "concat"])


def moved(policy: Policy, seed: int = 7) -> Policy:
    """The policy away from its special initial point."""
    with torch.no_grad():
        g = torch.Generator().manual_seed(seed)
        for parameter in policy.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=g)
    return policy


@kinds
def test_a_tick_is_decided_by_its_own_inputs_alone(conditioning: Conditioning) -> None:
    policy, batch = moved(Mlp(replace(MLP, conditioning=conditioning))), random_batch(4, 6)
    before = policy(*batch[:5]).action
    for column in ("requirements", "state"):
        changed = getattr(batch, column).clone()
        changed[:, 2] += 1.0
        after = policy(*batch._replace(**{column: changed})[:5]).action
        differs = (after != before).any(dim=0)
        assert differs.tolist() == [False, False, True, False, False, False]
    assert (policy(*batch._replace(tick=batch.tick + 1)[:5]).action != before).all()
    assert (policy(*batch._replace(category=batch.category + 1)[:5]).action != before).all()


@kinds
def test_every_parameter_gets_a_gradient_and_a_batch_can_be_overfitted(conditioning: Conditioning) -> None:
    policy, batch = moved(Mlp(replace(MLP, conditioning=conditioning))), random_batch(8, 1)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.02)
    for step in range(150):
        loss = losses(policy, dict(policy.named_parameters()), batch).mean()
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            for name, parameter in policy.named_parameters():
                assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        optimizer.step()
    assert loss < 1e-3


def test_film_is_the_identity_at_initialisation() -> None:
    batch = random_batch(4, 2)
    film, plain = (Mlp(replace(MLP, conditioning=kind), seed=5) for kind in ("film", "concat"))
    torch.testing.assert_close(film(*batch[:5]).action, plain(*batch[:5]).action)


def test_seeds_decide_the_parameters_and_nothing_else() -> None:
    before = torch.random.get_rng_state()
    a, b, c = (Mlp(MLP, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["head.weight"], c["head.weight"])


@kinds
def test_ghost_alignments_cover_every_layer(conditioning: Conditioning) -> None:
    case = make_case(Config(model=replace(MLP, conditioning=conditioning)))
    ghost = Ghost(case.losses, case.model, case.sampler.groups)
    found = ghost(case.training, case.validation, norms=True)
    assert ghost.uncovered == []
    true = case.estimator(Explicit)(case.training, case.validation, norms=True)
    tolerance = 1e-5 * true.per_sample.abs().max().item()
    torch.testing.assert_close(found.per_sample, true.per_sample, rtol=1e-4, atol=tolerance)
    torch.testing.assert_close(found.norm, true.norm, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "config", [MLP, ModelConfig(backbone="ridge"), ModelConfig(backbone="transformer", d_model=8, context=3)]
)
@pytest.mark.parametrize("n_members", [1, 3])
def test_a_decision_is_the_mean_of_the_members(config: ModelConfig, n_members: int) -> None:
    batch = random_batch(5, 3)
    members = [moved(make_policy(config), seed) for seed in range(n_members)]
    policy = make_ensemble(config, n_members=n_members)
    assert isinstance(policy, Ensemble) == (n_members > 1)
    load_parameters(policy, [dict(member.named_parameters()) for member in members])
    expected = torch.stack([member(*batch[:5]).action for member in members]).mean(dim=0)
    torch.testing.assert_close(policy(*batch[:5]).action, expected)
    decoder = decoder_of(policy, batch.advertiser, batch.category)
    for row in range(3):
        said = decoder.decide(batch.requirements[:, row], batch.state[:, row], int(batch.tick[0, row]))
        torch.testing.assert_close(said, expected[:, row].detach(), rtol=1e-4, atol=1e-5)
