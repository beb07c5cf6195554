"""Methods that several suites compare. Names stay: they are in published rows."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.suites.spec import Arm, Size


def rule(agent: str, label: str) -> Arm:
    """An agent of the registry, tuned where it has a search space."""
    return Arm(name=agent, label=label, method="rule", settings=(f"agent={agent}",), is_trained=False)


def shared(name: str, label: str, *settings: str, x: float | None = None) -> Arm:
    """One model for all tasks."""
    return Arm(name=name, label=label, method="vamo", settings=settings, x=x)


FIXED = rule("fixed", "constant (tuned)")
PID = rule("pid", "PID (tuned)")
MPID = rule("mpid", "M-PID (tuned)")
DUAL = rule("dual", "dual mirror descent (tuned)")
MPC = rule("mpc", "MPC (tuned)")
ONLINE_LP = rule("online-lp", "online LP (tuned)")
RULES = (FIXED, PID, MPID, DUAL, MPC, ONLINE_LP)

SINGLE = Arm(name="single", label="single-task", method="vamo-each", settings=("train.method=single",))
POOLED = shared("pooled", "pooled sharing", "train.method=pooled")
UNIFORM = shared("uniform", "uniform sharing", "train.method=uniform")
VAO = shared("vao", "VAO", "train.method=vao")
VAO_SHRUNK = shared("shrinkage", "VAO, shrunk by standard errors", "train.method=vao", "weighting.shrinkage=true")
VAO_TRAINING = shared("vao-training", "VAO, training gradient", "train.method=vao", "weighting.gradient=training")
PAPER = ("train.method=vao", "data.action_label=logged", "weighting.scaling=none", "weighting.temperature=0.1")
VAO_PAPER = shared("vao-paper", "VAO as published (logged actions, raw inner products)", *PAPER)
VAO_LOGGED = shared(
    "logged", "VAO, logged actions, conditioned on a return", "train.method=vao", "data.action_label=logged"
)
VAO_ONE_RESPONSE = shared(
    "one-response", "VAO, one response model for all logs", "train.method=vao", "data.response=all"
)
SINGLE_LOGGED = Arm(
    name="single-logged",
    label="single-task, logged actions",
    method="vamo-each",
    settings=("train.method=single", "data.action_label=logged"),
)
UNIFORM_LOGGED = shared(
    "uniform-logged", "uniform sharing, logged actions", "train.method=uniform", "data.action_label=logged"
)


def with_planner(arm: Arm) -> Arm:
    """The same way of sharing with a planner and inverse dynamics instead of an action head."""
    settings = (*arm.settings, "model.head=planner")
    return replace(arm, name=f"{arm.name}-planner", label=f"{arm.label}, planner", settings=settings)


MULTITASK_LABELS = {
    "pcgrad": "PCGrad",
    "cagrad": "CAGrad",
    "nash_mtl": "Nash-MTL",
    "fairgrad": "FairGrad",
    "upgrad": "UPGrad",
    "famo": "FAMO",
    "mean": "mean of the gradients",
    "random": "random weights",
    "graddrop": "GradDrop",
    "gradvac": "GradVac",
    "mgda": "MGDA",
    "imtl_g": "IMTL-G",
    "aligned_mtl": "Aligned-MTL",
    "dualproj": "DualProj",
    "uncertainty": "uncertainty weighting",
    "dwa": "DWA",
    "gradnorm": "GradNorm",
}


def multitask(*names: str) -> tuple[Arm, ...]:
    """Multi-task optimisers, with their settings as packaged; all by default."""
    return tuple(
        shared(name.replace("_", "-"), MULTITASK_LABELS[name], f"train.method={name}")
        for name in names or MULTITASK_LABELS
    )


NEAREST = shared("nearest", "nearest-task sharing", "train.method=nearest")
SHARING = (shared("cds", "conservative data sharing", "train.method=cds"), NEAREST)

ONE_PASS = ("dt", "gave")
"""Generative baselines whose decision is one forward pass, so that 47 copies of them can play as well."""
GENERATIVE_LABELS = {
    "dt": "decision transformer",
    "cdt": "constrained decision transformer",
    "diffbid": "DiffBid",
    "gave": "GAVE",
    "gas": "GAS",
}


def generative(*names: str) -> tuple[Arm, ...]:
    """Generative baselines on the tasks' own logs; all by default."""
    return tuple(
        Arm(name=name, label=GENERATIVE_LABELS[name], method="generative", settings=(f"algo={name}",))
        for name in names or GENERATIVE_LABELS
    )


OFFLINE_STEPS: dict[Size, tuple[str, ...]] = {"full": ("steps=20000",), "cpu": ("steps=1000",), "testing": ("steps=8",)}
MOPO_STEPS: dict[Size, tuple[str, ...]] = {
    "full": ("steps=30000", "model_steps=10000"),
    "cpu": ("steps=3000", "model_steps=1000"),
    "testing": ("steps=8", "model_steps=2"),
}
"""Those of its model and of its policy together."""
OFFLINE_LABELS = {
    "bc": "behaviour cloning",
    "iql": "IQL",
    "cql": "CQL",
    "td3_bc": "TD3+BC",
    "bcq": "BCQ",
    "mopo": "MOPO",
}


def offline(size: Size, *names: str) -> tuple[Arm, ...]:
    """Offline reinforcement learning on the tasks' own logs; all learners by default."""
    return tuple(
        Arm(
            name=name.replace("_", "-"),
            label=OFFLINE_LABELS[name],
            method="offline",
            settings=(f"algo={name}", *(MOPO_STEPS if name == "mopo" else OFFLINE_STEPS)[size]),
        )
        for name in names or OFFLINE_LABELS
    )


SB3_STEPS: dict[Size, int] = {"full": 400_000, "cpu": 36_864, "testing": 3_072}


def sb3(size: Size) -> tuple[Arm, ...]:
    """Stable-Baselines3 agents, which train by playing."""
    return tuple(
        Arm(
            name=name.replace("_", "-"),
            label=label,
            method="sb3",
            settings=(f"algo={name}", f"steps={SB3_STEPS[size]}"),
        )
        for name, label in (
            ("ppo", "PPO"),
            ("recurrent_ppo", "recurrent PPO"),
            ("sac", "SAC"),
            ("td3", "TD3"),
            ("tqc", "TQC"),
        )
    )
