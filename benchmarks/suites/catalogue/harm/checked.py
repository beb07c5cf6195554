"""`checked/v2`: are integral weights among the logs that pass the response check the better default?

Written down, with its contrasts, before a run of it was made, and run once. In `confirm/v1` and `negative-transfer`
the response check keeps out tripled bids better than integral weights do; in `hidden-harm/v1` it sees nothing, and
integral weights do. `checked/v1` asked whether both together are above either alone: with five families they were by
.015 and .014, which was not significant, and equal to the better one in each world. Here are twenty other families
(seeds 130 to 149), with sound logs, too: what a default must not harm. Scores differ more between families than between
training seeds, of which there are two.

Decided beforehand: if both differences are shown and all three equivalences hold, the combination becomes the default.
"""

from __future__ import annotations

from benchmarks.suites.catalogue.harm import hidden_harm
from benchmarks.suites.catalogue.harm.confirm import WORLDS, in_worlds, names_in, own_episodes
from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.arms import with_backbone
from benchmarks.suites.catalogue.shared.families import ALIKE
from benchmarks.suites.spec import Contrast, Size, Suite

ID = "checked/v2"

FAMILIES: dict[Size, tuple[int, ...]] = {
    "full": tuple(range(130, 150)),
    "cpu": tuple(range(130, 150)),
    "testing": (130, 131),
}
"""Seeds of the families; no other suite has one of them."""
FIRST_TEST, FIRST_VALIDATION = 9_200_000, 9_100_000
"""First market seeds of its episodes, apart from those of all other suites."""
N_SEEDS: dict[Size, int] = {"full": 10, "cpu": 2, "testing": 2}
"""Training seeds."""
WORLDS_HERE = {
    "scaled-bids": WORLDS["scaled-bids"],
    "dayparting": hidden_harm.WORLD,
    "sound": WORLDS["sound"],
}
"""Harms and label by the name of the world."""
METHODS = (arms.UNIFORM, arms.INTEGRAL, arms.RESPONSE_CHECK, arms.CHECKED, arms.ORACLE)
OF_SOUND_LOGS = (arms.UNIFORM.name, arms.CHECKED.name)
"""Of `METHODS`: the question there is whether the combination costs anything."""


def _contrast(name: str, second: str, world: str, size: Size, *, is_equivalence: bool = False) -> Contrast:
    """Of the combination with another method in one world."""
    where = names_in(world, FAMILIES[size])
    if is_equivalence:
        return Contrast(name=name, first="checked-mlp", second=second, variants=where, kind="equivalence", margin=ALIKE)
    return Contrast(name=name, first="checked-mlp", second=second, variants=where)


def make(size: Size) -> Suite:
    """The suite at a size."""
    settings = own_episodes(size, first_validation=FIRST_VALIDATION, first_test=FIRST_TEST, n_seeds=N_SEEDS[size])
    return Suite(
        id=ID,
        size=size,
        title="Checked weights",
        question="Are integral weights among logs that pass the response check the better default?",
        variants=in_worlds(WORLDS_HERE, FAMILIES[size], size, {"sound": [f"{name}-mlp" for name in OF_SOUND_LOGS]}),
        arms=tuple(with_backbone(arm, "mlp", size) for arm in METHODS),
        **settings,
        n_viewed=0,
        baseline="uniform-mlp",
        ours=("checked-mlp", "integral-mlp"),
        contrasts=(
            _contrast("scaled-bids-against-integral", "integral-mlp", "scaled-bids", size),
            _contrast("scaled-bids-as-response-check", "response-check-mlp", "scaled-bids", size, is_equivalence=True),
            _contrast("dayparting-against-response-check", "response-check-mlp", "dayparting", size),
            _contrast("dayparting-as-integral", "integral-mlp", "dayparting", size, is_equivalence=True),
            _contrast("no-cost-on-sound-logs", "uniform-mlp", "sound", size, is_equivalence=True),
        ),
    )
