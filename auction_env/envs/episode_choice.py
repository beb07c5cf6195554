"""Which episodes an environment plays next: named by `options`, given as arguments or drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auction_env.envs.spec import Choice, EnvMarket, EpisodeId
from auction_env.integers import check_integers

Int = NDArray[np.int64]


class EpisodeIds(NamedTuple):
    """n episodes, (n,) each."""

    seed: Int
    advertiser: Int
    day: Int | None  # None: the market draws it from the seed


def read_options(
    options: Mapping[str, Any], names: Sequence[str], n: int, *, others: Sequence[str] = ()
) -> dict[str, Int]:
    """What `options` say of the next episodes of n copies: (n,) by name, without what is absent or None.

    Args:
        options: Of a reset.
        names: `EnvMarket.chosen_by`.
        n: Number of copies.
        others: Options that somebody else has read.

    Raises:
        ValueError: An unknown option, or one that is not an integer or n of them; a negative `episode_seed`.
    """
    known = {"episode_seed", *names}
    if not known.issuperset(options):
        raise ValueError(f"`options` must hold only {sorted({*known, *others})}, found {sorted(set(options) - known)}")
    read = {name: _one_a_copy(name, value, n) for name, value in options.items() if value is not None}
    if "episode_seed" in read and read["episode_seed"].min() < 0:
        raise ValueError(f"`episode_seed` must not be negative, found {read['episode_seed'].min()}")
    return read


def next_episodes(
    market: EnvMarket, rngs: Sequence[np.random.Generator], choices: Sequence[Choice], options: Mapping[str, Int]
) -> EpisodeIds:
    """The next episode of every copy, drawn with its generator.

    Args:
        market: What is played.
        rngs: One a copy.
        choices: What the arguments of the environment give, one a copy; `options` go before it.
        options: As `read_options` gives them.
    """
    named = [name for name in market.chosen_by if name in options]
    drawn: list[EpisodeId] = []
    for copy, (rng, of_copy) in enumerate(zip(rngs, choices, strict=True)):
        choice = {**of_copy, **{name: int(options[name][copy]) for name in named}} if named else of_copy
        drawn.append(market.draw(rng, choice))
    seeds = options.get("episode_seed")
    if seeds is None:
        seeds = np.array([episode.seed for episode in drawn])
    has_days = drawn[0].day is not None
    return EpisodeIds(
        seed=seeds,
        advertiser=np.array([episode.advertiser for episode in drawn]),
        day=np.array([episode.day for episode in drawn]) if has_days else None,
    )


def _one_a_copy(name: str, value: Any, n: int) -> Int:
    given = check_integers(name, value)
    if given.shape not in ((), (n,)):
        rule = "an integer" if n == 1 else f"an integer or {n} of them"
        raise ValueError(f"`{name}` must be {rule}, found {value!r}")
    return np.broadcast_to(given, (n,))
