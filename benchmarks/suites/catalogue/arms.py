"""Methods that several suites compare. Names stay: they are in published rows."""

from __future__ import annotations

from benchmarks.suites.spec import Arm


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
OWN = shared("own", "one model, own data only", "train.method=single")
POOLED = shared("pooled", "pooled sharing", "train.method=pooled")
UNIFORM = shared("uniform", "uniform sharing", "train.method=uniform")
VAO = shared("vao", "VAO", "train.method=vao")
VAO_TRAINING = shared("vao-training", "VAO, training gradient", "train.method=vao", "weighting.gradient=training")
PAPER = ("train.method=vao", "data.action_label=logged", "weighting.scaling=none", "weighting.temperature=0.1")
VAO_PAPER = shared("vao-paper", "VAO as published (logged actions, raw inner products)", *PAPER)
SINGLE_LOGGED = Arm(
    name="single-logged",
    label="single-task, logged actions",
    method="vamo-each",
    settings=("train.method=single", "data.action_label=logged"),
)
UNIFORM_LOGGED = shared(
    "uniform-logged", "uniform sharing, logged actions", "train.method=uniform", "data.action_label=logged"
)
MULTITASK = tuple(
    shared(name.replace("_", "-"), label, f"train.method={name}")
    for name, label in (
        ("pcgrad", "PCGrad"),
        ("cagrad", "CAGrad"),
        ("nash_mtl", "Nash-MTL"),
        ("fairgrad", "FairGrad"),
        ("upgrad", "UPGrad"),
    )
)
