"""N copies of `auction_env/Bidding-v0` as one native Gymnasium `VectorEnv`: one batched kernel call a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from auction_env.envs.autoreset import Copies, Observations, StepResult
from auction_env.envs.episode_choice import read_options
from auction_env.envs.live import LiveEnvMarket, MarketArguments, live_spec
from auction_env.envs.rendering import Frame, Screen, check_render_mode, episode_so_far
from auction_env.envs.spec import BiddingSpec, Chosen, EnvMarket
from auction_env.names import check_name
from auction_env.tasks import Targets


class MarketVectorEnv(VectorEnv[Observations, NDArray[np.float32], NDArray[Any]]):
    """Copies in any kind of market: `BiddingVectorEnv` and `ReplayVectorEnv` say which, and are otherwise equal."""

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium reads a plain class attribute
        "render_modes": ["rgb_array"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int,
        spec: BiddingSpec[EnvMarket],
        *,
        autoreset_mode: AutoresetMode | str,
        render_mode: str | None,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"`num_envs` must be at least 1, found {num_envs}")
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.num_envs, self.render_mode, self.task = num_envs, render_mode, spec.task
        self.single_observation_space, self.single_action_space = spec.observation_space, spec.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._chosen_by = spec.market.chosen_by
        self._copies = Copies(spec, num_envs, self.autoreset_mode)

    @property  # type: ignore[misc] # read-only, as in SyncVectorEnv
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override] # as in SyncVectorEnv
        """The generators of the copies."""
        return tuple(self._copies.seeds.rngs)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override] # as in SyncVectorEnv
        """The seeds of the copies."""
        return tuple(self._copies.seeds.seeds)

    @property
    def targets(self) -> Targets:
        """What the controlled advertisers of the running episodes have and would pay, (num_envs,) each."""
        out = Targets.of(np.zeros(self.num_envs), 0.0)
        for cohort in self._copies.cohorts:
            campaigns = cohort.bidding.campaigns
            if campaigns is not None:
                for part, of_cohort in zip(out, campaigns.targets, strict=True):
                    part[cohort.copies[cohort.live]] = of_cohort[cohort.live]
        return out

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Starts episodes; see the class docstring. The rows of copies that go on repeat their last observation."""
        options = dict(options or {})
        mask = self._copies.check_mask(options.pop("reset_mask", None))
        chosen = read_options(options, self._chosen_by, self.num_envs, others=("reset_mask",))
        self._copies.seeds.set(seed, mask)
        return self._copies.reset(mask, chosen)

    def step(self, actions: NDArray[np.float32]) -> StepResult:
        """Bids for one tick in every copy; see the class docstring."""
        given = np.asarray(actions)
        if given.shape != self.action_space.shape:
            raise ValueError(f"`actions` must have shape {self.action_space.shape}, found {given.shape}")
        return self._copies.step(given)

    def render(self) -> tuple[Frame, ...] | None:
        """The episode so far of every copy: (height, width, 3) pictures; None without a `render_mode`."""
        if self.render_mode is None:
            return None
        frames: dict[int, Frame] = {}
        screen = Screen(human=False)
        for cohort in self._copies.cohorts:
            for row in np.flatnonzero(cohort.live):
                frame = screen.show([episode_so_far(cohort.bidding, int(row))])
                assert frame is not None
                frames[int(cohort.copies[row])] = frame
        return tuple(frames[copy] for copy in range(self.num_envs))


def _autoreset_mode(given: AutoresetMode | str) -> AutoresetMode:
    """Gymnasium's mode by its object or value ("SameStep"); ValueError that lists the values."""
    if isinstance(given, AutoresetMode):
        return given
    check_name("autoreset_mode", given, [mode.value for mode in AutoresetMode])
    return AutoresetMode(given)


class BiddingVectorEnv(MarketVectorEnv):
    """Copies of `BiddingEnv` that step together; see there for observation, action, reward and info.

    `gymnasium.make_vec("auction_env/Bidding-v0", num_envs=N, vectorization_mode="vector_entry_point", ...)` makes it.
    Copy i is elementwise equal to the i-th environment of a `gymnasium.vector.SyncVectorEnv` of single ones:
    observations, rewards, ends and infos, whatever N is.

    ## Arguments
    Those of `BiddingEnv`, but `render_mode` is None or "rgb_array", `advertiser` may be one a copy; and
    `autoreset_mode` (Gymnasium's `AutoresetMode` or its value), which is also `metadata["autoreset_mode"]`:

    - NEXT_STEP: the step after the last one ignores the copy's action, resets it and returns reward 0.
    - SAME_STEP: the last step returns the next episode's first observation; `final_obs` and `final_info` of the
      info hold the last observation and info.
    - DISABLED: whoever is over must be reset by `reset(options={"reset_mask": mask})` before the next step.

    ## Reset
    `seed`: an integer (copy i gets seed + i), one integer or None a copy, or None. Options: `reset_mask`, (N,) bool
    array, in any mode: only these copies begin anew, the others go on. `episode_seed`, `advertiser`: as in
    `BiddingEnv`, one value or one a copy.

    All episodes have the same number of ticks, so copies that begin together end together and share a kernel call.
    Copies that a mask resets apart from the others form a cohort of their own, with a call of its own each step, until
    they begin together again.
    """

    spec_of_bidding: BiddingSpec[LiveEnvMarket]

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        advertiser: Chosen = None,
        render_mode: str | None = None,
        **arguments: Unpack[MarketArguments],
    ) -> None:
        self.spec_of_bidding = live_spec(advertiser=advertiser, **arguments)
        super().__init__(num_envs, self.spec_of_bidding, autoreset_mode=autoreset_mode, render_mode=render_mode)
