"""N copies of `auction_env/Bidding-v0` as one native Gymnasium `VectorEnv`: one batched kernel call a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from auction_env.control.actions import ActionKind
from auction_env.control.bidder import Bidder
from auction_env.envs.core import Bidding, BiddingSpec, draw_episode
from auction_env.envs.rendering import Frame, Screen, campaign_day, check_render_mode
from auction_env.market.params import MarketParams
from auction_env.market.population import Population
from auction_env.tasks import Task

Observations = NDArray[np.float32]
Mask = NDArray[np.bool_]
Int = NDArray[np.int64]
StepResult = tuple[Observations, NDArray[np.float64], Mask, Mask, dict[str, Any]]


@dataclass(slots=True)
class _Cohort:
    """Copies that began their episodes together and so stand at the same tick."""

    copies: Int  # (n,) indices of its copies; copy copies[i] plays market i
    bidding: Bidding
    live: Mask  # (n,) False for a copy that was reset since and now belongs to another cohort
    is_everybody: bool  # whether it began with all copies, which are all still in it


class BiddingVectorEnv(VectorEnv[Observations, NDArray[np.float32], NDArray[Any]]):
    """Copies of `BiddingEnv` that step together; see there for observation, action, reward and info.

    `gymnasium.make_vec("auction_env/Bidding-v0", num_envs=N, vectorization_mode="vector_entry_point", ...)` makes it.
    Copy i is elementwise equal to the i-th environment of a `gymnasium.vector.SyncVectorEnv` of single ones:
    observations, rewards, ends and infos, whatever N is.

    ## Arguments
    Those of `BiddingEnv`, but `render_mode` is None or "rgb_array"; and `autoreset_mode` (Gymnasium's `AutoresetMode`
    or its value), which is also `metadata["autoreset_mode"]`:

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

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium reads a plain class attribute
        "render_modes": ["rgb_array"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        advertiser: int | None = None,
        render_mode: str | None = None,
        task: str | Task = "MaxConversions",
        params: MarketParams | None = None,
        population: Population | None = None,
        n_impressions: int | None = None,
        mechanism: str | None = None,
        action_kind: str | ActionKind = "log_multiplier",
        max_ratio: float = 5.0,
        max_ratio_step: float = 1.2,
        competitors: Mapping[int, Bidder] | None = None,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"`num_envs` must be at least 1, found {num_envs}")
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.spec_of_bidding = BiddingSpec.resolve(
            task=task,
            params=params,
            population=population,
            n_impressions=n_impressions,
            mechanism=mechanism,
            action_kind=action_kind,
            max_ratio=max_ratio,
            max_ratio_step=max_ratio_step,
            competitors=competitors,
        )
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.num_envs, self.render_mode = num_envs, render_mode
        self.task = self.spec_of_bidding.task
        box = self.spec_of_bidding.observation_space
        self._observation_shape = (num_envs, *box.shape)
        self.single_observation_space, self.single_action_space = box, self.spec_of_bidding.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._advertiser = advertiser
        self._rngs: list[np.random.Generator] = []
        self._seeds: list[int] = []
        self._over = np.zeros(num_envs, bool)
        self._cohorts = [self._new_cohort(np.arange(num_envs))]  # also checks `advertiser`

    @property  # type: ignore[misc] # read-only, as in SyncVectorEnv
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override] # as in SyncVectorEnv
        """The generators of the copies."""
        self._seed_unseeded()
        return tuple(self._rngs)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override] # as in SyncVectorEnv
        """The seeds of the copies."""
        self._seed_unseeded()
        return tuple(self._seeds)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Starts episodes; see the class docstring. The rows of copies that go on repeat their last observation."""
        options = dict(options or {})
        mask = self._check_mask(options.pop("reset_mask", None))
        episode_seed, advertiser = options.pop("episode_seed", None), options.pop("advertiser", self._advertiser)
        if options:
            raise ValueError(
                f"`options` must hold only 'advertiser', 'episode_seed' and 'reset_mask', found {sorted(options)}"
            )
        self._seed_copies(seed, mask)
        infos: dict[str, Any] = {}
        if mask.all():
            self._observation = np.zeros(self._observation_shape, np.float32)
        self._begin(np.flatnonzero(mask), infos, episode_seed, advertiser)
        return self._observation.copy(), infos

    def step(self, actions: NDArray[np.float32]) -> StepResult:
        """Bids for one tick in every copy; see the class docstring."""
        given = np.asarray(actions)
        if given.shape != self.action_space.shape:
            raise ValueError(f"`actions` must have shape {self.action_space.shape}, found {given.shape}")
        rewards, done = np.zeros(self.num_envs), np.zeros(self.num_envs, bool)
        infos: dict[str, Any] = {}
        begins_anew = self._over
        if begins_anew.any():
            if self.autoreset_mode is not AutoresetMode.NEXT_STEP:
                raise RuntimeError(
                    f"the episodes of copies {np.flatnonzero(begins_anew).tolist()} are over:"
                    " call `reset` with options={'reset_mask': mask}"
                )
            stepping = [cohort for cohort in self._cohorts if not begins_anew[cohort.copies[cohort.live]].any()]
            self._begin(np.flatnonzero(begins_anew), infos, None, self._advertiser)
        else:
            stepping = self._cohorts
        finished: dict[str, Any] = {}
        for cohort in stepping:
            whole = cohort.is_everybody
            outcome = cohort.bidding.step(given if whole else given[cohort.copies])
            target = finished if outcome.done and self.autoreset_mode is AutoresetMode.SAME_STEP else infos
            if whole:  # the usual case, without the cost of picking rows of a dozen small arrays
                self._observation, rewards = outcome.observation, outcome.reward.copy()
                done[:] = outcome.done
                self._put_all(target, outcome.info)
                continue
            copies, live = cohort.copies[cohort.live], cohort.live
            self._observation[copies], rewards[copies] = outcome.observation[live], outcome.reward[live]
            done[copies] = outcome.done
            self._put(target, outcome.info, copies, live)
        if finished:
            self._finish(infos, finished, done)
            self._over = np.zeros(self.num_envs, bool)
        else:
            self._over = done.copy()
        return self._observation.copy(), rewards, done, np.zeros(self.num_envs, bool), infos

    def render(self) -> tuple[Frame, ...] | None:
        """The day so far of every copy: (height, width, 3) pictures; None without a `render_mode`."""
        if self.render_mode is None:
            return None
        frames: dict[int, Frame] = {}
        screen = Screen(human=False)
        for cohort in self._cohorts:
            for row in np.flatnonzero(cohort.live):
                frame = screen.show([campaign_day(cohort.bidding, int(row))])
                assert frame is not None
                frames[int(cohort.copies[row])] = frame
        return tuple(frames[copy] for copy in range(self.num_envs))

    def _finish(self, infos: dict[str, Any], finished: dict[str, Any], done: Mask) -> None:
        """SAME_STEP: keeps the end of the episodes in `infos` and begins the next ones."""
        final_obs = np.full(self.num_envs, None, dtype=object)
        for copy in np.flatnonzero(done):
            final_obs[copy] = self._observation[copy].copy()
        infos |= {"final_obs": final_obs, "_final_obs": done.copy(), "final_info": finished, "_final_info": done.copy()}
        self._begin(np.flatnonzero(done), infos, None, self._advertiser)

    def _begin(
        self, copies: Int, infos: dict[str, Any], episode_seed: ArrayLike | None, advertiser: ArrayLike | None
    ) -> None:
        """Starts episodes of these copies, as one cohort."""
        n_advertisers = self.spec_of_bidding.population.n_advertisers
        seeds, advertisers = np.array([draw_episode(self._rngs[copy], n_advertisers) for copy in copies]).T
        if episode_seed is not None:
            seeds = self._one_a_copy("episode_seed", episode_seed)[copies]
        if advertiser is not None:
            advertisers = self._one_a_copy("advertiser", advertiser)[copies]
        cohort = self._cohort_of(copies)
        self._observation[copies], info = cohort.bidding.reset(seeds, advertisers)
        self._over[copies] = False
        self._put(infos, info, copies, cohort.live)

    def _cohort_of(self, copies: Int) -> _Cohort:
        """A cohort of exactly these copies, the present one if there is; takes them out of all others."""
        same = [cohort for cohort in self._cohorts if np.array_equal(cohort.copies, copies) and cohort.live.all()]
        chosen = same[0] if same else self._new_cohort(copies)
        for cohort in self._cohorts:
            if cohort is not chosen:
                cohort.live &= ~np.isin(cohort.copies, copies)
                cohort.is_everybody = False
        others = [cohort for cohort in self._cohorts if cohort is not chosen and cohort.live.any()]
        self._cohorts = [*others, chosen]
        return chosen

    def _new_cohort(self, copies: Int) -> _Cohort:
        n = len(copies)
        bidding = Bidding(
            self.spec_of_bidding,
            controlled_market=np.arange(n),
            controlled_advertiser=np.full(n, 0 if self._advertiser is None else self._advertiser),
            n_markets=n,
        )
        return _Cohort(copies, bidding, np.ones(n, bool), is_everybody=n == self.num_envs)

    def _put(self, infos: dict[str, Any], info: dict[str, Any], copies: Int, rows: Mask) -> None:
        """Adds a cohort's info: arrays over all copies by name, with the mask `_name` of those that have it."""
        for name, value in info.items():
            if isinstance(value, dict):
                self._put(infos.setdefault(name, {}), value, copies, rows)
            else:
                if name not in infos:
                    infos[name] = np.zeros(self.num_envs, value.dtype)
                infos[name][copies] = value[rows]
            infos.setdefault(f"_{name}", np.zeros(self.num_envs, bool))[copies] = True

    def _put_all(self, infos: dict[str, Any], info: dict[str, Any]) -> None:
        """`_put` for a cohort of all copies."""
        for name, value in info.items():
            if isinstance(value, dict):
                self._put_all(infos.setdefault(name, {}), value)
            else:
                infos[name] = value.copy()
            infos[f"_{name}"] = np.ones(self.num_envs, bool)

    def _one_a_copy(self, name: str, value: ArrayLike) -> Int:
        given = np.asarray(value)
        if given.shape not in ((), (self.num_envs,)) or not np.issubdtype(given.dtype, np.integer):
            raise ValueError(f"`{name}` must be an integer or {self.num_envs} of them, found {value!r}")
        return np.broadcast_to(given, (self.num_envs,))

    def _check_mask(self, mask: Any) -> Mask:
        if mask is None:
            return np.ones(self.num_envs, bool)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise ValueError(f"`reset_mask` must be a bool array of shape ({self.num_envs},), found {mask!r}")
        if not mask.any():
            raise ValueError("`reset_mask` must select at least one copy, found none")
        if not hasattr(self, "_observation") and not mask.all():
            raise RuntimeError("the first `reset` must begin all copies: leave out `reset_mask`")
        return mask

    def _seed_copies(self, seed: int | Sequence[int | None] | None, mask: Mask) -> None:
        self._seed_unseeded()
        if seed is None:
            return
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"`seed` must be an integer or one a copy ({self.num_envs}), found {len(seeds)}")
        for copy in np.flatnonzero(mask):
            if seeds[copy] is not None:
                self._rngs[copy], self._seeds[copy] = seeding.np_random(seeds[copy])

    def _seed_unseeded(self) -> None:
        if not self._rngs:
            pairs = [seeding.np_random() for _ in range(self.num_envs)]
            self._rngs, self._seeds = [rng for rng, _ in pairs], [seed for _, seed in pairs]
