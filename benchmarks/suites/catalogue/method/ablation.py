"""`ablation/v1`: what each part of the method is worth (the paper's table 3 and beyond)."""

from __future__ import annotations

from benchmarks.suites.catalogue.shared import arms
from benchmarks.suites.catalogue.shared.arms import SOFTMAX, on_transformer, shared
from benchmarks.suites.catalogue.shared.families import protocol, six
from benchmarks.suites.spec import Arm, Size, Suite

ID = "ablation/v1"


def _vao(name: str, label: str, *settings: str) -> Arm:
    """VAO with one thing changed."""
    return shared(name, label, *SOFTMAX, *settings)


ARMS = (
    arms.SINGLE,
    arms.UNIFORM,
    arms.POOLED,
    arms.VAO,
    # the paper's 2 x 2: FiLM and weighting
    shared(
        "uniform-no-film",
        "uniform sharing without FiLM",
        "train.method=uniform",
        "model.conditioning=token",
    ),
    # conditioning
    _vao("no-film", "without FiLM (requirement token only)", "model.conditioning=token"),
    _vao("prompt", "prompt tokens", "model.conditioning=prompt"),
    _vao("hyper", "low-rank hypernetwork", "model.conditioning=hyper"),
    _vao("concat", "requirements joined to every token", "model.conditioning=concat"),
    # head and inputs
    _vao("planner", "planner and inverse dynamics", "model.head=planner"),
    _vao("periodicity", "with the periodicity module", "model.n_periods=2"),
    _vao("long-context", "context of 16 ticks", "model.context=16"),
    # labels
    arms.VAO_ONE_RESPONSE,
    arms.VAO_LOGGED,
    arms.SINGLE_LOGGED,
    arms.UNIFORM_LOGGED,
    # alignments
    _vao("raw", "raw inner products, lambda 0.1", "weighting.scaling=none", "weighting.temperature=0.1"),
    _vao("cosine", "cosine", "weighting.scaling=cosine", "weighting.temperature=0.1"),
    _vao("precondition", "Adam's preconditioner", "weighting.precondition=true"),
    arms.VAO_TRAINING,
    _vao("shrinkage", "shrunk by standard errors", "weighting.shrinkage=true"),
    _vao("averaged", "running mean of alignments", "weighting.ema_decay=0.9"),
    # weightings
    arms.INTEGRAL,
    _vao("entropy", "lambda by target entropy", "weighting.kind=entropy"),
    _vao("top1", "best source only", "weighting.kind=top1"),
    _vao("per-sample", "a weight for every sample", "weighting.per_sample=true", "weighting.refresh_every=1"),
)
"""All on the transformer, whose parts they are."""


def make(size: Size) -> Suite:
    """The suite at a size."""
    return Suite(
        id=ID,
        size=size,
        title="Ablations",
        question="What do conditioning, head, labels, alignments and weighting each contribute?",
        variants=six(size),
        arms=(*(on_transformer(arm, size) for arm in ARMS), arms.vao_paper(size)),
        **protocol(size),
        baseline="single",
        ours=("vao",),
    )
