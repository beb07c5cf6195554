"""Methods that several suites compare. Names stay: they are in published rows."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.suites.spec import Arm, LogsChoice, Size


def rule(agent: str, label: str) -> Arm:
    """An agent of the registry, tuned where it has a search space."""
    return Arm(name=agent, label=label, method="rule", settings=(f"agent={agent}",), is_trained=False)


def shared(name: str, label: str, *settings: str, x: float | None = None, logs: LogsChoice = "training") -> Arm:
    """One model for all tasks."""
    return Arm(name=name, label=label, method="vamo", settings=settings, x=x, logs=logs)


BACKBONES = {
    "mlp": "MLP",
    "transformer": "transformer",
    "planner": "transformer with planner",
    "ridge": "ridge regression",
}
"""Label of what may stand behind a way of sharing."""
TRANSFORMER_TRAINING: dict[Size, tuple[str, ...]] = {
    "full": ("train.batch_size=256",),
    "cpu": (
        "train.batch_size=256",
        "train.steps=250",
        "weighting.alignment_batch_size=288",
        "weighting.validation_batch_size=96",
    ),
    "testing": (),
}
"""A step of the transformer takes ten times that of the MLP: it has fewer, of fewer windows of several ticks each, and
refreshes of two windows a pair."""


def transformer(size: Size) -> tuple[str, ...]:
    """The paper's backbone; suites whose question is about it name it, the others have the library's default."""
    return ("model.backbone=transformer", "model.conditioning=film", *TRANSFORMER_TRAINING[size])


def with_backbone(arm: Arm, backbone: str, size: Size) -> Arm:
    """The same way of sharing with a backbone of `BACKBONES`, which is in its name."""
    own = {
        "transformer": transformer(size),
        "planner": (*transformer(size), "model.head=planner"),
    }
    settings = own.get(backbone, (f"model.backbone={backbone}",))
    label = f"{arm.label}, {BACKBONES[backbone]}"
    return replace(arm, name=f"{arm.name}-{backbone}", label=label, settings=(*settings, *arm.settings))


def on_transformer(arm: Arm, size: Size) -> Arm:
    """The same method with the paper's backbone, under the same name: for suites in which all have it."""
    return replace(arm, settings=(*transformer(size), *arm.settings))


def with_logs(arm: Arm, logs: LogsChoice, name: str, label: str) -> Arm:
    """The same method on other logs."""
    return replace(arm, name=name, label=label, logs=logs)


FIXED = rule("fixed", "constant (tuned)")
PID = rule("pid", "PID (tuned)")
MPID = rule("mpid", "M-PID (tuned)")
DUAL = rule("dual", "dual mirror descent (tuned)")
MPC = rule("mpc", "MPC (tuned)")
ONLINE_LP = rule("online-lp", "online LP (tuned)")
AUCTIONNET_LP = rule("auctionnet-lp", "AuctionNet's online LP")
RULES = (FIXED, PID, MPID, DUAL, MPC, ONLINE_LP)

SINGLE = Arm(name="single", label="single-task", method="vamo-each", settings=("train.method=single",))
POOLED = shared("pooled", "pooled sharing", "train.method=pooled")
UNIFORM = shared("uniform", "uniform sharing", "train.method=uniform")
SOFTMAX = ("train.method=vao", "weighting.kind=softmax", "weighting.shrinkage=false")
VAO = shared("vao", "VAO", *SOFTMAX)
VAO_SHRUNK = shared("shrinkage", "VAO, shrunk by standard errors", *SOFTMAX, "weighting.shrinkage=true")
VAO_TRAINING = shared("vao-training", "VAO, training gradient", *SOFTMAX, "weighting.gradient=training")
PAPER = (
    "train.method=vao",
    "data.action_label=logged",
    "weighting.kind=softmax",
    "weighting.shrinkage=false",
    "weighting.scaling=none",
    "weighting.temperature=0.1",
    "weighting.targets_per_refresh=128",
    "weighting.alignment_batch_size=576",
    "weighting.validation_batch_size=192",
)
"""Every pair of target and source at every refresh, which is the published rule: of 12 x 12 pairs four windows each."""


def vao_paper(size: Size) -> Arm:
    """The published method, transformer included."""
    return on_transformer(shared("vao-paper", "VAO as published (logged actions, raw inner products)", *PAPER), size)


VAO_LOGGED = shared("logged", "VAO, logged actions, conditioned on a return", *SOFTMAX, "data.action_label=logged")
VAO_ONE_RESPONSE = shared("one-response", "VAO, one response model for all logs", *SOFTMAX, "data.response=all")
SINGLE_LOGGED = Arm(
    name="single-logged",
    label="single-task, logged actions",
    method="vamo-each",
    settings=("train.method=single", "data.action_label=logged"),
)
UNIFORM_LOGGED = shared(
    "uniform-logged", "uniform sharing, logged actions", "train.method=uniform", "data.action_label=logged"
)


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
CDS = shared("cds", "conservative data sharing", "train.method=cds")
SHARING = (CDS, NEAREST)
"""Rules that look at scores and distances."""

INTEGRAL = shared("integral", "integral VAO", "train.method=vao", "weighting.kind=integral")
CHECKED = shared(
    "checked", "integral VAO after response check", "train.method=vao", "weighting.kind=integral",
    "weighting.candidates=response_check",
)  # fmt: skip
"""Gradients choose among the logs whose costs the target's response explains."""
DGA = shared("dga", "DGA", "train.method=vao", "weighting.kind=dga", "weighting.decay=0.9", "weighting.eta=1.0")
"""On scaled alignments, as ours: on raw ones its step would have to be found anew for every size of the gradients."""
CROSS_FITTED = shared(
    "integral-cross-fit", "integral VAO, cross-fitted", "train.method=vao", "weighting.kind=integral",
    "train.cross_fit=4",
)  # fmt: skip
DAGGER = shared(
    "integral-dagger", "integral VAO, DAgger", "train.method=vao", "weighting.kind=integral", "data.dagger_rounds=1"
)
"""Own states of the policy, through the response of the logs."""
CHECKED_DAGGER = shared(
    "checked-dagger", "integral VAO after response check, DAgger", *CHECKED.settings, "data.dagger_rounds=1"
)
DEFAULT = replace(CHECKED_DAGGER, name="default", label="VAMO, default settings")
"""What `vamo.train` does without settings."""

RESPONSE_CHECK = shared("response-check", "response check", "train.method=response_check")
RESPONSE_CHECK_EPISODES = shared(
    "response-check-episodes", "response check of episodes", "train.method=response_check", "sharing.per_episode=true"
)
DVDF = shared("dvdf", "DVDF-style filter", "train.method=dvdf")
FILTERS = (RESPONSE_CHECK, RESPONSE_CHECK_EPISODES, DVDF)
"""Rules that look at what the logs say of the market."""
AGEM = shared("agem", "A-GEM's gate", "train.method=agem")
SDMGRAD = shared("sdmgrad", "SDMGrad", "train.method=sdmgrad")

ORACLE = with_logs(UNIFORM, "sound", "oracle", "oracle: uniform sharing of sound logs")
VALIDATION_ONLY = with_logs(UNIFORM, "validation", "validation-only", "uniform sharing of validation data only")
VALIDATION_SINGLE = shared("validation-single", "own validation data only", "train.method=single", logs="validation")
BOTH_UNIFORM = with_logs(UNIFORM, "both", "uniform-both", "uniform sharing, training and validation data")
BOTH_SINGLE = with_logs(SINGLE, "both", "single-both", "single-task, training and validation data")
REFERENCES = (ORACLE, VALIDATION_ONLY, VALIDATION_SINGLE, BOTH_UNIFORM, BOTH_SINGLE)
"""What else the same data allow, and what knowing the truth would."""

RIVALS = (*SHARING, *FILTERS, DGA, AGEM, SDMGRAD)
"""Other answers to the question of which sources to learn from."""


def learners(size: Size) -> tuple[Arm, ...]:
    """Ridge regression, MLP, transformer and planner, each on hindsight-optimal and on logged actions, shared alike."""
    return tuple(with_backbone(arm, backbone, size) for arm in (UNIFORM, UNIFORM_LOGGED) for backbone in BACKBONES)


ONE_PASS = ("dt", "gave")
"""Generative baselines whose decision is one forward pass, so that 47 copies of them can play as well."""
GENERATIVE_LABELS = {
    "dt": "decision transformer",
    "cdt": "constrained decision transformer",
    "diffbid": "DiffBid",
    "gave": "GAVE",
    "gas": "GAS",
    "qga": "QGA",
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


def same_labels(size: Size) -> tuple[Arm, ...]:
    """Behaviour cloning, decision transformer and GAVE on hindsight-optimal actions: what our policy learns."""
    (cloning,) = offline(size, "bc")
    taught = [
        (cloning, "action_label=hindsight"),
        *((arm, "data.action_label=hindsight") for arm in generative("dt", "gave")),
    ]
    return tuple(
        replace(
            arm,
            name=f"{arm.name}-hindsight",
            label=f"{arm.label}, hindsight-optimal actions",
            settings=(*arm.settings, setting),
        )
        for arm, setting in taught
    )


SB3_STEPS: dict[Size, int] = {"full": 400_000, "cpu": 36_864, "testing": 3_120}


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
