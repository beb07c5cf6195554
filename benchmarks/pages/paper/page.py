"""One page with the paper's tables and figures, each with what differs from the paper."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.pages.paper.figures import lambda_against_score, weights_over_training
from benchmarks.pages.paper.sources import sources
from benchmarks.pages.paper.tables import film_by_weighting, missing, scarce_tasks, validation_sizes
from benchmarks.statistics.bootstrap import Bootstrap

ADDRESS = "paper.md"
"""Of the page in the documentation."""

INTRO = """# The paper's tables

Table 1, figures 4 and 5, FiLM by weighting and table 4 of arXiv 2510.07760, made from the committed rows of our
suites while this page is built.

What differs everywhere: the market is our simulator with its own competitors and tasks, so that orders and signs can
be compared with the paper, numbers cannot. Scores are expected scores over that of the best constant multiplier in
hindsight (1: as good as it), with 95 % intervals over market seeds and training seeds; the paper has three training
seeds and no intervals. *delta_m* is the mean relative loss against single-task training on the same labels, in per
cent: lower is better ([definition](method.md)). All comparisons on this page are exploratory.
"""

TABLE_1 = """## Table 1: six data-scarce tasks

What differs: the paper's method learns logged actions. Methods marked "hindsight" learn hindsight-optimal actions,
which the paper does not have; compare a row with rows of the same labels. "VAO as published" has the paper's raw
inner products and lambda; in version 1 of the suite it has our smaller budget of windows for a refresh. Rules, and
learners on a task's own logs, have no such labels ("-"); their delta_m counts against single-task training on
hindsight-optimal actions.
"""
FIGURE_4 = """## Figure 4: weights over training

What differs: VAO with the library's defaults (scaled alignments, hindsight-optimal actions) on six tasks of our
family; one run of one training seed, so that there is no interval.
"""
FIGURE_5 = """## Figure 5: lambda

What differs: "raw products" are the paper's kind of alignment; "scaled" divides them by their running size, so that
the two have different units of lambda. Labels are hindsight-optimal actions. Below: entropy of the weights over that
of equal weights, median and quartiles over targets and records of the first training seed; 0 is one source, 1 is
uniform sharing.
"""
FILM = """## FiLM by weighting

What differs: without FiLM the requirements are a token of the input, which they are with FiLM too. Labels are
hindsight-optimal actions. The paper reports delta_m of -40.27 without and -47.35 with FiLM.
"""
TABLE_4 = """## Table 4: size of the validation sets

What differs: the number of validation trajectories behind the alignments varies alone; the simulated episodes that
choose what a policy is conditioned on are as many for all. The paper has 20 to 400 trajectories.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperPage:
    """The page.

    Attributes:
        markdown: Its text.
        pictures: Address in the documentation -> PNG.
    """

    markdown: str
    pictures: dict[str, bytes]


def paper_page(results: Path, bootstrap: Bootstrap | None = None) -> PaperPage:
    """The page of the suites that are published below a directory; a part without rows says what to run."""
    found = sources(results, bootstrap)
    pictures: dict[str, bytes] = {}

    def picture(name: str, png: bytes | None, suite: str, alt: str) -> str:
        if png is None:
            return missing(suite)
        pictures[f"images/{name}.png"] = png
        origin = found[suite].origin
        return f"![{alt}](images/{name}.png)\n\n{origin}"

    weights = picture(
        "paper-figure-4",
        weights_over_training(found),
        "data-scarce",
        "Weights of the sources of each target over training",
    )
    temperature = picture(
        "paper-figure-5",
        lambda_against_score(found),
        "temperature",
        "Score and entropy of the weights against lambda",
    )
    parts = (
        (INTRO, ""),
        (TABLE_1, scarce_tasks(found)),
        (FIGURE_4, weights),
        (FIGURE_5, temperature),
        (FILM, film_by_weighting(found)),
        (TABLE_4, validation_sizes(found)),
    )
    text = "\n".join(f"{heading}\n{body}\n" if body else heading for heading, body in parts)
    return PaperPage(markdown=text, pictures=pictures)
