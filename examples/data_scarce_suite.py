"""Makes a family of data-scarce tasks, logs it, and looks at what helps what; about 20 s on 2 cores."""

from __future__ import annotations

import sys
from pathlib import Path

from agents import collect_family, data_distance, load_family, make_task_family


def main(out: Path = Path("runs/example-suite"), n_impressions: int = 4_800) -> None:
    family = make_task_family(6, seed=0, shift=0.6, imbalance=(400, 10), n_impressions=n_impressions)
    collect_family(family, out, n_validation=20, n_test=20, force=True)
    train, held_out = load_family(out), load_family(out, "validation")
    scarce = family.names[-1]
    print(f"which sources help {scarce}, and how far away they are")
    print(f"{'source':<20}{'trajectories':>14}{'truth':>8}{'market':>8}{'policy':>8}")
    for name, truth in zip(family.names, family.relations[-1], strict=True):
        distance = data_distance(held_out[scarce], held_out[name])
        row = f"{name:<20}{train[name].n_episodes:>14}{truth:>8}{distance.market:>8.2f}{distance.policy:>8.2f}"
        print(row)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
