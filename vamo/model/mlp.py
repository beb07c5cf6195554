"""The memoryless backbones: what they decide at a tick depends on that tick's inputs alone.

The state features carry the history (`auction_env.control.observation`), so that nothing is hidden from them but the
order of earlier ticks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from auction_env.control.observation import N_FEATURES
from vamo.config import ModelConfig
from vamo.examples.inputs import ADVERTISER_INPUTS, REQUIREMENT_INPUTS
from vamo.examples.normalisation import Normalisation
from vamo.model.conditioning import FiLM
from vamo.model.policy import Policy, Prediction


class TickInput(nn.Module):
    """A linear map of all that is known at a tick: numbers, the advertiser's category, the time of day.

    Args:
        config: Categories and ticks.
        n_outputs: Width of the result.
    """

    def __init__(self, config: ModelConfig, n_outputs: int) -> None:
        super().__init__()
        self.numbers = nn.Linear(len(REQUIREMENT_INPUTS) + N_FEATURES + len(ADVERTISER_INPUTS), n_outputs)
        self.category = nn.Embedding(config.n_categories + 1, n_outputs)
        self.time = nn.Embedding(config.n_ticks, n_outputs)

    def forward(self, numbers: Tensor, category: Tensor, tick: Tensor) -> Tensor:
        """(n, W, n_outputs) from numbers (n, W, I), rows of the category embedding (n,) and times of day (n, W)."""
        out: Tensor = self.numbers(numbers) + self.category(category)[:, None] + self.time(tick)
        return out


class Fixed(NamedTuple):
    """What the memoryless backbones read that does not change within an episode."""

    advertiser: Tensor  # (n, len(ADVERTISER_INPUTS)), normalised
    category: Tensor  # (n,) rows of the category embedding


class Memoryless(Policy):
    """What the memoryless backbones share."""

    def forward(
        self,
        requirements: Tensor,
        state: Tensor,
        advertiser: Tensor,
        category: Tensor,
        tick: Tensor,
        has_next: Tensor | None = None,
    ) -> Prediction:
        """See `Policy.forward`."""
        return self.predict(requirements, state, self.fixed(advertiser, category), tick)

    def predict(self, requirements: Tensor, state: Tensor, fixed: Fixed, tick: Tensor) -> Prediction:
        """`forward` with what `fixed` makes of the advertiser and the category, once for all ticks of an episode."""
        raise NotImplementedError

    def fixed(self, advertiser: Tensor, category: Tensor) -> Fixed:
        """`Fixed` from these arguments of `forward`."""
        return Fixed(self.normalise("advertiser", advertiser), self.known_category(category))

    def inputs(self, requirements: Tensor, state: Tensor, fixed: Fixed, tick: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The arguments of `TickInput.forward` from those of `predict`."""
        c = fixed.advertiser[:, None].expand(-1, state.shape[1], -1)
        numbers = torch.cat([self.normalise_requirements(requirements), self.normalise_state(state), c], dim=-1)
        return numbers, fixed.category, tick % self.config.n_ticks


class Mlp(Memoryless):
    """A multi-layer perceptron; `film` conditions every hidden layer on the requirements, which are inputs too.

    Args:
        config: Sizes and variant.
        normalisation: Statistics of the training data; the identity by default.
        seed: Of the initial parameters; global random state is left alone.
    """

    def __init__(self, config: ModelConfig, normalisation: Normalisation | None = None, *, seed: int = 0) -> None:
        super().__init__(config, normalisation)
        width, later = config.width, range(1, config.depth)
        with torch.random.fork_rng(devices=[]):  # constructors draw values that `_initialise` replaces
            self.input = TickInput(config, width)
            self.hidden = nn.ModuleList([nn.Linear(width, width) for _ in later])
            self.head = nn.Linear(width, 1)
            is_film = config.conditioning == "film"
            self.embed_requirements = nn.Linear(len(REQUIREMENT_INPUTS), width) if is_film else None
            self.films = nn.ModuleList([FiLM(width) for _ in range(config.depth) if is_film])
        self._initialise(torch.Generator().manual_seed(seed))

    def _initialise(self, generator: torch.Generator) -> None:
        """Weights ~ N(0, 2 / fan-in), for GELU; a small head; FiLM: the identity."""
        for name, parameter in self.named_parameters():
            if name.startswith("films.") or name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif name in ("input.category.weight", "input.time.weight"):
                nn.init.normal_(parameter, std=0.1, generator=generator)
            else:
                std = (2 / parameter.shape[1]) ** 0.5
                nn.init.normal_(parameter, std=0.1 * std if name == "head.weight" else std, generator=generator)

    def predict(self, requirements: Tensor, state: Tensor, fixed: Fixed, tick: Tensor) -> Prediction:
        """See `Memoryless.predict`."""
        numbers, category, time = self.inputs(requirements, state, fixed, tick)
        h = self._modulated(0, self.input(numbers, category, time), numbers)
        for index, layer in enumerate(self.hidden, start=1):
            h = self._modulated(index, layer(h), numbers)
        return Prediction(self.in_action_units(self.head(h)[..., 0]), None)  # (n, W, 1) -> (n, W)

    def _modulated(self, index: int, h: Tensor, numbers: Tensor) -> Tensor:
        """The activations of a hidden layer, (n, W, width), from what is put into its activation function."""
        if self.embed_requirements is not None:
            y = nn.functional.gelu(self.embed_requirements(numbers[..., : len(REQUIREMENT_INPUTS)]))
            h = self.films[index](h, y)
        return nn.functional.gelu(h)
