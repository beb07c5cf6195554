"""Numbers and sentences of the report, computed from the statistics without a winner in mind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.pages.report.data import Analysis, Episode, EpisodeTrace, Lead
from benchmarks.statistics.bootstrap import Estimate

MINUS = "\u2212"
MAX_TASKS = 3  # named one by one; more are counted
LEVEL = 0.05  # family-wise error of the statements about baselines


def number(x: float, decimals: int | None = None) -> str:
    """A number with a fixed count of decimals, or about 3 significant digits; a dash where not finite."""
    if not np.isfinite(x):
        return "∞" if x == np.inf else "–"
    places = decimals_for([x]) if decimals is None else decimals
    shown = f"{abs(x):,.{places}f}"
    is_zero = not any(digit in "123456789" for digit in shown)
    return f"{MINUS}{shown}" if x < 0 and not is_zero else shown


def decimals_for(numbers: Iterable[float]) -> int:
    """Decimals that show the largest of the numbers with 3 significant digits, from 0 to 3."""
    sizes = [abs(x) for x in numbers if np.isfinite(x) and x]
    return int(np.clip(2 - np.floor(np.log10(max(sizes))), 0, 3)) if sizes else 2


def percent(x: float) -> str:
    """A share in per cent with one decimal."""
    return f"{number(100 * x, 1)} %" if np.isfinite(x) else "–"


def interval(estimate: Estimate, decimals: int | None = None) -> str:
    """Both ends, with the decimals of the larger."""
    places = decimals_for([estimate.low, estimate.high]) if decimals is None else decimals
    return f"{number(estimate.low, places)} to {number(estimate.high, places)}"


def p_text(p: float) -> str:
    """A p value with 3 decimals."""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def task_name(task: str | None) -> str:
    """Heading of a task, or of the average over all."""
    return "Average over tasks" if task is None else task


def listing(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def count(x: float) -> str:
    """A count: whole where it is, as the sampled ones are."""
    return number(x, 0 if x == round(x) else None)


def ranges(numbers: Iterable[int]) -> str:
    """Whole numbers with runs of three and more shortened: `0 to 9, 12, 15`."""
    runs: list[list[int]] = []
    for x in sorted(set(numbers)):
        if runs and x == runs[-1][-1] + 1:
            runs[-1].append(x)
        else:
            runs.append([x])
    parts = [f"{r[0]} to {r[-1]}" if len(r) > 2 else ", ".join(map(str, r)) for r in runs]
    return ", ".join(parts)


def findings(analysis: Analysis) -> list[str]:
    """What the data say, as sentences: who leads and by how much, against the baselines, within the limits."""
    detailed = analysis.leads if len(analysis.paired.tasks) <= MAX_TASKS else analysis.leads[-1:]
    out = [_lead_sentence(lead) for lead in detailed]
    if detailed != analysis.leads:
        out.append(_leads_sentence(analysis.leads[:-1]))
    out += [_baseline_sentence(analysis, baseline) for baseline in analysis.report.baselines]
    out.append(_feasibility_sentence(analysis))
    once = [m for m in analysis.paired.methods if analysis.paired.n_train_seeds(m) == 1]
    if once:
        verb = "was" if len(once) == 1 else "were"
        out.append(f"{listing(once)} {verb} trained once: the intervals leave out the noise of training.")
    return out


def _lead_sentence(lead: Lead) -> str:
    where = "Averaged over the tasks" if lead.task is None else f"On {lead.task}"
    best, gap = lead.best, lead.gap
    places = decimals_for([gap.low, gap.high])
    apart = "distinguishable" if gap.low > 0 or gap.high < 0 else "not distinguishable"
    return (
        f"{where}, {best.method} has the highest score: {number(best.share.value, 3)} of the hindsight reference"
        f" ({interval(best.share, 3)}). Its lead over {lead.second.method} is {number(gap.value, places)}"
        f" ({interval(gap, places)}), {apart} from zero in {gap.n_episodes:,} paired episodes."
    )


def _leads_sentence(leads: Sequence[Lead]) -> str:
    """Who leads on which of many tasks."""
    tasks: dict[str, list[str]] = {}
    for lead in leads:
        tasks.setdefault(lead.best.method, []).append(task_name(lead.task))
    names = [f"{method} on {listing(where)}" for method, where in tasks.items()]
    n_apart = sum(lead.gap.low > 0 or lead.gap.high < 0 for lead in leads)
    return (
        f"Highest on single tasks: {'; '.join(names)}. The lead over the second is distinguishable from zero on"
        f" {n_apart} of {len(leads)} tasks."
    )


def _baseline_sentence(analysis: Analysis, baseline: str) -> str:
    """Which methods are above and below a baseline on which task, after Holm's adjustment."""
    found = [c for c in analysis.comparisons.values() if c.baseline == baseline]
    parts = []
    for word in ("above", "below"):
        tasks: dict[str, list[str | None]] = {}
        for c in found:
            if c.p_holm < LEVEL and (c.difference.value > 0) == (word == "above"):
                tasks.setdefault(c.method, []).append(c.task)
        if tasks:
            names = [f"{method} ({_places(where)})" for method, where in tasks.items()]
            parts.append(f"{word} it {'are' if len(names) > 1 else 'is'} {listing(names)}")
    head = f"Against {baseline}, after Holm's adjustment for all {len(analysis.comparisons)} comparisons"
    n_open = sum(c.p_holm >= LEVEL for c in found)
    if not parts:
        return f"{head}: no method differs from it in any of the {n_open} made with it."
    rest = f"; {n_open} of the {len(found)} made with it show no difference" if n_open else ""
    return f"{head}: {'; '.join(parts)}{rest}."


def _places(tasks: Sequence[str | None]) -> str:
    """Tasks by name, or counted where they are many; the average last."""
    named = [task for task in tasks if task is not None]
    places = named if len(named) <= MAX_TASKS else [f"{len(named)} tasks"]
    return ", ".join([*places, *(["average over tasks"] if None in tasks else [])])


def _feasibility_sentence(analysis: Analysis) -> str:
    """Range over methods of the share of episodes within all limits."""
    shares = {
        method: float(
            np.mean([analysis.feasibility[method, task, None].feasible.value for task in analysis.paired.tasks])
        )
        for method in analysis.paired.methods
    }
    low, high = min(shares, key=lambda m: shares[m]), max(shares, key=lambda m: shares[m])
    if shares[low] == shares[high]:
        return f"Every method keeps all limits in {percent(shares[low])} of its episodes."
    return f"All limits are kept in {percent(shares[low])} ({low}) to {percent(shares[high])} ({high}) of the episodes."


def trace_note(method: str, trace: EpisodeTrace) -> str:
    """What a campaign came to, in a sentence."""
    cost, conversions = float(trace.cost[-1]), float(trace.conversions[-1])
    each = f", {number(cost / conversions)} each" if conversions > 0 else ""
    spent = f"spent {number(cost)} of {number(trace.budget)} ({percent(cost / trace.budget)})"
    return f"{method} {spent} for {count(conversions)} conversions{each}."


def episode_note(episode: Episode) -> str:
    """The range over the methods of spend and conversions."""
    spent = [trace.cost[-1] / trace.budget for trace in episode.traces.values()]
    conversions = [trace.conversions[-1] for trace in episode.traces.values()]
    return (
        f"{len(spent)} methods spent {percent(min(spent))} to {percent(max(spent))} of the budget of"
        f" {number(episode.first.budget)} for {count(min(conversions))} to {count(max(conversions))} conversions."
    )
