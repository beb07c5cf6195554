"""AuctionNet's shipped agents, imitated: which advertiser has which, and the numbers of each kind.

The numbers are fitted to days of AuctionNet's simulator with its 48 shipped agents, as
`benchmarks.studies.auctionnet_agents` says; `python -m benchmarks.studies.auctionnet_fidelity` measures how near they
come.
"""

from __future__ import annotations

from dataclasses import replace

from auction_env.market.pacing import Schedule
from auction_env.market.population import STEPS, Population, auctionnet_population

_EVEN = (STEPS, "iql", "td3-bc", "online-lp", "online-lp", "cql", "bc", "mopo")
_ODD = (STEPS, "bcq", "mopo", "online-lp", "online-lp", "td3-bc", "iql", "combo")
AGENTS = (*_EVEN, *_ODD) * 3
"""The kind of agent of each of AuctionNet's 48 advertisers, from its controller."""

_POINTS = tuple(tick / 48 for tick in (0, 1, 2, 4, 8, 12, 16, 24, 32, 40, 47))

# first multiplier over target CPA
_START = (
    0.15, 1.013, 0.876, 0.922, 1.413, 0.562, 0.657, 0.693,
    0.214, 0.546, 0.554, 0.907, 0.657, 0.867, 1.181, 1.31,
    0.115, 0.887, 0.714, 1.101, 1.128, 0.609, 1.311, 0.792,
    0.125, 1.183, 0.616, 1.463, 0.716, 0.714, 0.546, 1.31,
    0.125, 0.788, 1.128, 1.207, 0.64, 0.664, 1.311, 0.426,
    0.167, 0.71, 0.504, 1.39, 1.351, 1.128, 0.546, 0.874,
)  # fmt: skip

# by kind: level, money reaction and value reaction at the points; standard deviation and persistence of the noise
_KINDS = {
    "iql": (
        (0.001, 0.216, 0.262, 0.176, 0.507, 0.564, 0.419, 0.24, 0.389, 0.007, -0.721),
        (0.0, -0.174, -0.588, 0.224, -0.763, -0.726, 0.145, 0.747, 0.56, 0.585, 0.878),
        (-0.007, 0.909, 1.253, 2.096, 0.348, 0.651, 0.187, 0.318, -0.11, 0.376, -0.255),
        0.401, 0.89,
    ),
    "td3-bc": (
        (0.005, 0.231, 0.256, 0.204, 0.517, 0.354, 0.237, 0.16, 0.196, 0.117, -0.255),
        (0.0, -0.25, -0.558, -0.376, -1.949, -0.326, 0.401, 0.461, 0.317, 0.444, 0.462),
        (-0.024, 0.934, 1.215, 2.088, 0.691, 0.505, 0.281, 0.151, 0.153, 0.204, -0.077),
        0.235, 0.87,
    ),
    "online-lp": (
        (-0.06, -0.047, -0.047, -0.048, -0.069, -0.073, -0.086, -0.016, -0.042, 0.01, -0.167),
        (0.0, 0.02, 0.04, 0.07, 0.128, 0.105, 0.158, 0.139, 0.161, 0.21, 0.302),
        (-0.011, -0.039, -0.04, -0.043, -0.002, -0.002, -0.015, -0.096, -0.01, -0.13, -0.265),
        0.127, 0.91,
    ),
    "cql": (
        (0.0, 0.184, 0.225, 0.303, 0.442, 0.258, 0.29, 0.236, 0.398, 0.281, 0.455),
        (0.0, -0.049, -0.384, -0.955, -1.065, -0.074, -0.003, 0.349, 0.386, 0.445, 0.325),
        (-0.002, 0.508, 0.713, 0.639, 0.18, 0.743, 0.137, 0.122, 0.441, -0.069, 0.008),
        0.161, 0.86,
    ),
    "bc": (
        (0.003, 0.25, 0.266, 0.209, 0.785, 0.529, 0.268, 0.283, 0.275, 0.227, 0.039),
        (0.0, -0.019, -0.132, -0.587, -2.028, -0.703, 0.294, 0.36, 0.368, 0.375, 0.266),
        (-0.019, 0.48, 0.889, 1.955, 0.0, 0.44, 0.349, -0.253, 0.128, 0.202, -0.055),
        0.264, 0.91,
    ),
    "mopo": (
        (-0.001, 0.216, 0.266, 0.348, 0.416, 0.452, 0.488, 0.672, 0.794, 0.682, 0.369),
        (0.0, 0.011, 0.017, 0.069, 0.067, 0.197, 0.082, 0.09, 0.139, 0.18, 0.239),
        (0.005, 0.023, 0.044, 0.047, 0.038, 0.056, 0.078, 0.082, 0.033, -0.054, -0.092),
        0.053, 0.83,
    ),
    "bcq": (
        (0.001, 0.275, 0.332, 0.317, 0.464, 0.152, 0.269, 0.29, 0.345, 0.027, -0.418),
        (0.0, -0.177, -0.694, -0.194, -1.191, 0.599, 0.291, 0.768, 0.424, 0.56, 0.679),
        (-0.004, 0.725, 0.953, 1.264, 0.811, 1.135, 0.404, -0.045, 0.054, -0.044, -0.091),
        0.322, 0.85,
    ),
    "combo": (
        (-0.001, -0.047, -0.061, 0.012, 0.149, 0.153, -0.005, 0.083, 0.329, 0.078, -0.166),
        (0.0, -0.206, -0.44, -0.553, -0.523, -0.472, -0.025, 0.004, -0.182, -0.075, 0.06),
        (0.006, 0.468, 0.475, 0.496, 0.103, 0.031, 0.025, -0.047, 0.058, 0.209, 0.0),
        0.098, 0.77,
    ),
}  # fmt: skip


def shipped_population() -> Population:
    """AuctionNet's 48 advertisers with its shipped agents, imitated: PIDs, online LPs and learned agents.

    They overspend their target CPA, bid high early where impressions are good, and drop out when their money is gone.
    """
    schedules = tuple(
        Schedule(
            name=name,
            at=_POINTS,
            level=level,
            money_reaction=money,
            value_reaction=value,
            noise_sd=noise_sd,
            persistence=persistence,
        )
        for name, (level, money, value, noise_sd, persistence) in _KINDS.items()
    )
    return replace(auctionnet_population(), start=_START, behaviour=AGENTS, schedules=schedules)
