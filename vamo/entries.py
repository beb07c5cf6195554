"""The generative agents in the registry; entry points of this distribution name them, as they would a user's."""

from __future__ import annotations

from agents.registry import COST_LIMITS, AgentEntry

VAMO = AgentEntry(
    name="vamo",
    summary="one generative agent for many tasks, trained by validation-aligned optimisation, from logs",
    learner="vamo.training.train:VamoLearner",
    kind="offline",
    constraints=(*COST_LIMITS, "min_delivery", "smoothness"),
    paper="arXiv 2510.07760",
)

DT = AgentEntry(
    name="dt",
    summary="decision transformer, from logs",
    learner="vamo.baselines.training:GenerativeLearner",
    kind="offline",
    paper="arXiv 2106.01345",
)

CDT = AgentEntry(
    name="cdt",
    summary="constrained decision transformer, from logs",
    learner="vamo.baselines.training:GenerativeLearner",
    kind="offline",
    constraints=COST_LIMITS,
    paper="arXiv 2302.07351",
)

DIFFBID = AgentEntry(
    name="diffbid",
    summary="diffusion planner, from logs",
    learner="vamo.baselines.training:GenerativeLearner",
    kind="offline",
    constraints=COST_LIMITS,
    paper="arXiv 2405.16141",
)

GAVE = AgentEntry(
    name="gave",
    summary="value-guided decision transformer, from logs",
    learner="vamo.baselines.training:GenerativeLearner",
    kind="offline",
    constraints=COST_LIMITS,
    paper="arXiv 2504.14587",
)

GAS = AgentEntry(
    name="gas",
    summary="decision transformer with critics' search, from logs",
    learner="vamo.baselines.training:GenerativeLearner",
    kind="offline",
    constraints=COST_LIMITS,
    paper="arXiv 2412.17018",
)

QGA = AgentEntry(
    name="qga",
    summary="decision transformer that two action-value functions regularise and choose for, from logs",
    learner="vamo.baselines.training:GenerativeLearner",
    kind="offline",
    constraints=COST_LIMITS,
    paper="arXiv 2601.02754",
)
