"""`own-states/v1`: do states that the policy itself visits (DAgger) belong into the default?

Written down, with its contrasts, before a run of it was made, and run once. On the six tasks of `data-scarce/v2`, whose
logs are sound, one round of DAgger is above the same without by .009 (p < .001, ten training seeds). It plays the
policy in the response that was fitted to the source's log, and where a log is wrong so is its response. Here are
sixteen families that no other suite has (seeds 150 to 165) in the three worlds of `checked/v2`, with the default
weighting. Scores differ far more between families than between training seeds, of which size `cpu` has one.

Decided beforehand: DAgger becomes the default if it is above in the world of sound logs and below in neither other.
"""

from __future__ import annotations

from benchmarks.suites.catalogue.harm.checked import WORLDS_HERE
from benchmarks.suites.catalogue.harm.confirm import in_worlds, names_in, own_episodes
from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.arms import with_backbone
from benchmarks.suites.spec import Contrast, Size, Suite

ID = "own-states/v1"

FAMILIES: dict[Size, tuple[int, ...]] = {
    "full": tuple(range(150, 166)),
    "cpu": tuple(range(150, 166)),
    "testing": (150, 151),
}
"""Seeds of the families; no other suite has one of them."""
FIRST_TEST, FIRST_VALIDATION = 9_400_000, 9_300_000
"""First market seeds of its episodes, apart from those of all other suites."""
N_SEEDS: dict[Size, int] = {"full": 10, "cpu": 1, "testing": 2}
"""Training seeds."""


def make(size: Size) -> Suite:
    """The suite at a size."""
    settings = own_episodes(size, first_validation=FIRST_VALIDATION, first_test=FIRST_TEST, n_seeds=N_SEEDS[size])
    return Suite(
        id=ID,
        size=size,
        title="States of the policy itself",
        question="Does a policy that also learns in the states that it visits earn more, where logs are sound and not?",
        variants=in_worlds(WORLDS_HERE, FAMILIES[size], size),
        arms=tuple(with_backbone(arm, "mlp", size) for arm in (arms.CHECKED, arms.CHECKED_DAGGER)),
        **settings,
        n_viewed=0,
        baseline="checked-mlp",
        ours=("checked-dagger-mlp",),
        contrasts=tuple(
            Contrast(
                name=f"own-states-{world}",
                first="checked-dagger-mlp",
                second="checked-mlp",
                variants=names_in(world, FAMILIES[size]),
            )
            for world in WORLDS_HERE
        ),
    )
