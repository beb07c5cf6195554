"""A page for each registered task, agent and suite."""

from __future__ import annotations

import functools
import html
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

import griffe
from field_comments import FieldComments

from agents.registry import KINDS, AgentEntry, entries
from auction_env.tasks import (
    CONSTRAINT_KINDS,
    LOWER_LIMITS,
    QUANTITIES,
    REQUIREMENT_NAMES,
    TASKS,
    Constraint,
    Targets,
    Task,
)
from benchmarks.suites.catalogue import SUITES
from benchmarks.suites.methods.tuning import Range, read_spaces
from benchmarks.suites.spec import SIZES, Contrast, Seeds, Size, Suite, Variant

EXAMPLE = Targets(budget=2000.0, cpa=80.0, cpc=2.0, cart_cost=10.0, roas=3.0)
SPACES = "benchmarks/suites/methods/search_spaces.toml"
NAMES = {"cpa": "CPA", "cpc": "CPC", "roas": "ROAS", "min_delivery": "delivery", "smoothness": "unevenness"}


def pages(results: Mapping[str, str]) -> dict[str, str]:
    """Page address -> Markdown; `results` are sections on published results by suite id."""
    spaces, agents = read_spaces(), entries()
    made = {f"tasks/{task.name}.md": task_page(task) for task in TASKS.values()}
    made["registry/index.md"] = agents_page(agents.values())
    made |= {f"registry/{name}.md": agent_page(entry, spaces.get(name)) for name, entry in agents.items()}
    made |= {
        f"suites/{name.replace('/', '-')}.md": suite_page(make) + results.get(name, "") for name, make in SUITES.items()
    }
    return made


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; a bar within a cell is escaped."""
    cells = [list(head), *(list(row) for row in rows)]
    lines = [
        "| " + " | ".join(str(cell).replace("\n", " ").replace("|", "\\|") for cell in row) + " |" for row in cells
    ]
    return "\n".join([lines[0], "|" + " --- |" * len(cells[0]), *lines[1:]])


def task_page(task: Task) -> str:
    """Objective, constraints, score, requirement vector and market of a task."""
    basis = QUANTITIES[task.basis]
    worth = f"1 / `{basis.target}` target" if task.basis == "gmv" else f"`{basis.target}` target"
    market = (
        "needs a funnel: `MarketParams(funnel=Funnel())`, the default where no `params` are given"
        if task.needs_funnel
        else "any market"
    )
    values = task.requirements(Targets(*(_array(value) for value in EXAMPLE)))
    example = ", ".join(f"{name} {value:g}" for name, value in EXAMPLE._asdict().items())
    return f"""# {task.name}

| | |
| --- | --- |
| objective | `{task.objective}`: counts {task.basis} |
| limits | {", ".join(["budget", *(f"`{c.kind}`" for c in task.constraints)])} |
| market | {market} |
| a bid | multiplier x expected {task.basis} of the impression |
| worth of a unit | the advertiser's {worth}, currency; what multipliers are relative to |
| reward of a tick | sampled: `{basis.sampled}`; expected: `{basis.expected}` |

```python
import gymnasium as gym
import auction_env  # registers the environment

env = gym.make("auction_env/Bidding-v0", task="{task.name}", n_impressions=5_000)
```

## Constraints

{constraints_table(task)}

## Score

{score_formula(task)}

A ratio of at most 1 costs nothing. `Task.score(totals, targets)` computes it; `expected=True` takes expected instead
of sampled amounts.

## Requirement vector

What a model is told, for an advertiser with {example}:

{table(["index", "name", "value"], [(i, f"`{name}`", f"{values[i]:g}") for i, name in enumerate(REQUIREMENT_NAMES)])}

All tasks, objectives and constraints: [Tasks](../tasks.md).
"""


def _array(value: float) -> Any:
    import numpy as np

    return np.asarray(value)


def constraints_table(task: Task) -> str:
    """One row a constraint, the budget first."""
    rows = [("budget", "money spent; enforced by the market", "the advertiser's budget", "realised <= limit")]
    for c in task.constraints:
        sign = ">=" if c.kind in LOWER_LIMITS else "<="
        rows.append((f"`{c.kind}`", CONSTRAINT_KINDS[c.kind], limit_text(c), f"realised {sign} limit"))
    return table(["constraint", "realised", "limit", "kept if"], rows)


def limit_text(c: Constraint) -> str:
    """Where the limit of a constraint comes from."""
    if c.limit is not None or c.basis is None:
        return f"{float(c.limit_of(Targets(*(_array(value) for value in EXAMPLE)))):g}"
    return f"{c.scale:g} x the advertiser's target {NAMES[c.kind]}" if c.scale != 1 else f"its target {NAMES[c.kind]}"


def score_formula(task: Task) -> str:
    """The score as an equation."""
    factors = ""
    for c in task.constraints:
        name, limit = rf"\mathrm{{{NAMES[c.kind]}}}", rf"\mathrm{{{NAMES[c.kind]}}}_{{limit}}"
        ratio = rf"\dfrac{{{name}}}{{{limit}}}" if c.kind in LOWER_LIMITS else rf"\dfrac{{{limit}}}{{{name}}}"
        factors += rf" \cdot \min\left(1, {ratio}\right)^{{{task.beta:g}}}"
    objective = task.objective.replace("_", r"\ ")
    return rf"$$\mathrm{{score}} = \mathrm{{{objective}}}{factors}$$"


def agents_page(agents: Iterable[AgentEntry]) -> str:
    """The table of all agents."""
    rows = [(f"[`{e.name}`]({e.name}.md)", e.kind, e.summary, e.objectives_text, _limits(e)) for e in agents]
    kinds = "\n".join(f"- **{kind}**: {text}" for kind, text in KINDS.items())
    return f"""# All agents

`vamo agents` prints this table, `agents.make(name, ...)` makes one; [your own](../bidders.md) joins through an entry
point.

{table(["name", "kind", "what it does", "objectives", "limits it heeds"], rows)}

{kinds}
"""


def _limits(entry: AgentEntry) -> str:
    return ", ".join(["budget", *entry.constraints])


def _made(entry: AgentEntry) -> str:
    """How the agent is made: by a factory with arguments, or by training it with settings."""
    if entry.learner:
        learner = entry.make_learner()
        source = "logs" if learner.experience == "logs" else "playing in a market"
        rows = [(f"`{key}`", f"`{value!r}`") for key, value in _flat(learner.defaults().to_dict())]
        return (
            f'| trained by | `vamo train --agent {entry.name} --out FILE`, from {source}; `agents.load("FILE")` |\n\n'
            f"## Settings\n\n{table(['setting', 'default'], rows)}"
        )
    identifier = entry.factory if isinstance(entry.factory, str) else _name_of(entry.factory)
    return f'| made by | `make("{entry.name}", ...)`, which calls `{identifier}` |\n\n{described(identifier)}'


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def agent_page(entry: AgentEntry, space: Mapping[str, Range] | None) -> str:
    """What an agent is, its arguments, and what is tuned of it."""
    return f"""# {entry.name}

{entry.summary[0].upper()}{entry.summary[1:]}.

| | |
| --- | --- |
| kind | {entry.kind}: {KINDS[entry.kind]} |
| objectives | {entry.objectives_text} |
| limits it heeds | {_limits(entry)} |
| paper | {entry.paper or "-"} |
{_made(entry)}

## Search space

{space_text(space)}
"""


def space_text(space: Mapping[str, Range] | None) -> str:
    """The ranges that `benchmarks.suites.methods.tuning.tune` searches."""
    if not space:
        return f"None in `{SPACES}`: there is nothing to tune, or it is tuned by training."
    rows = [(f"`{k}`", f"{r.low:g}", f"{r.high:g}", "logarithm" if r.log else "value") for k, r in space.items()]
    head = table(["parameter", "low", "high", "uniform in the"], rows)
    tried = "`benchmarks.suites.methods.tuning.tune` tries the defaults and Sobol points"
    return f"{head}\n\nFrom `{SPACES}`; {tried}."


def _name_of(factory: Any) -> str:
    return f"{factory.__module__}:{factory.__qualname__}"


@cache
def _source() -> griffe.GriffeLoader:
    extensions = griffe.load_extensions(FieldComments())
    return griffe.GriffeLoader(extensions=extensions, docstring_parser="google", docstring_options={"warnings": False})


def _package(name: str) -> Any:
    """A package's source, with those that it imports from, so that names lead to where they are defined."""
    loader = _source()
    for package in ("auction_env", name):
        if package not in loader.modules_collection:
            loader.load(package, try_relative_path=False)
    return loader.modules_collection[name]


def described(identifier: str) -> str:
    """The docstring of a factory ("module:attribute") and a table of its arguments, read from its source.

    A function that makes a bidder says little of its own: the classes that its docstring and its return annotation name
    are described after it.
    """
    module, _, attribute = identifier.partition(":")
    package, _, rest = module.partition(".")
    try:
        found = _target(_package(package)[f"{rest}.{attribute}" if rest else attribute])
    except (ImportError, KeyError, griffe.AliasResolutionError):
        return described_by_import(module, attribute)
    if found.is_attribute:  # such as partial(function, ...): its own arguments are those of what it calls
        return described_by_import(module, attribute)
    parts = [f"{_sections(found)[0]}\n\n## Arguments\n\n{arguments_table(found)}"]
    if found.is_function:
        named = [str(found.returns), *re.findall(r"`(\w+)`", found.docstring.value if found.docstring else "")]
        for name in dict.fromkeys(named):
            inner = found.parent.members.get(name)
            if inner is not None and _target(inner).is_class:
                made = _target(inner)
                parts.append(f"## {name}\n\n{_sections(made)[0]}\n\n{arguments_table(made)}")
    return "\n\n".join(parts)


def _target(found: Any) -> Any:
    return found.final_target if found.is_alias else found


def arguments_table(found: Any) -> str:
    """Name, type, default and meaning, from the docstring, of each argument of a function or a class."""
    explained = _sections(found)[1]
    parameters = found.parameters if not found.is_class or found.parameters else ()
    rows = []
    for parameter in parameters:
        if parameter.name == "self":
            continue
        is_rest = parameter.kind is griffe.ParameterKind.var_keyword
        default = "" if is_rest else "required" if parameter.default is None else f"`{parameter.default}`"
        meaning = explained.get(parameter.name, "")
        name = f"**{parameter.name}" if is_rest else parameter.name
        rows.append((f"`{name}`", _code(parameter.annotation), default, meaning))
    return table(["argument", "type", "default", "meaning"], rows) if rows else "It takes no arguments."


def described_by_import(module: str, attribute: str) -> str:
    """The same where the source is not at hand: a module that is loaded by name at its first use."""
    found = getattr(importlib.import_module(module), attribute)
    if isinstance(found, functools.partial):
        return described(f"{found.func.__module__}:{found.func.__name__}")
    source = inspect.getmodule(found)
    if source is None or source.__name__ == module:
        return inspect.getdoc(found) or ""
    return described(f"{source.__name__}:{attribute}")


def _code(annotation: object) -> str:
    if annotation is None:
        return ""
    return f"<code>{html.escape(str(annotation)).replace('|', '&#124;')}</code>"  # a bar would end the cell


def _sections(found: Any) -> tuple[str, dict[str, str]]:
    """The text of a docstring, and what it says of each argument."""
    text: list[str] = []
    explained: dict[str, str] = {}
    for section in found.docstring.parsed if found.docstring else ():
        if section.kind is griffe.DocstringSectionKind.text:
            text.append(section.value)
        elif section.kind in (griffe.DocstringSectionKind.parameters, griffe.DocstringSectionKind.attributes):
            for item in section.value:
                explained |= {name.strip(" `*"): item.description for name in item.name.split(",")}
    return "\n\n".join(text), explained


def suite_page(make: Callable[[Size], Suite]) -> str:
    """What a suite asks, on what and of whom, with every seed, at each of its sizes."""
    whole = make("full")
    parts = [f"# {whole.title}", whole.question, f"```bash\nvamo bench run {whole.id} --size cpu\n```", "## Methods"]
    methods = [(arm.label, f"`{arm.name}`", f"`{arm.method}`", arm.logs, _codes(arm.settings)) for arm in whole.arms]
    parts.append(table(["method", "name", "made by", "logs", "settings"], methods))
    if whole.contrasts:
        parts.append("## Registered contrasts")
        parts.append(table(["contrast", "first", "second", "kind", "variants"], map(_contrast, whole.contrasts)))
    for size, meaning in SIZES.items():
        suite = make(size)
        parts.append(f"## Size `{size}`\n\n{len(suite.runs())} runs: {meaning}.")
        settings = (
            ("training seeds", ", ".join(map(str, suite.train_seeds))),
            ("market seeds to tune on", _seeds(suite.validation)),
            ("market seeds to test on", _seeds(suite.test)),
            ("settings tried of a rule", suite.n_candidates),
            ("training", _codes(suite.training)),
            ("hash of all settings", f"`{suite.hash()[:16]}`"),
        )
        parts.append(table(["setting", "value"], settings))
        variants = [(variant.label, f"`{variant.name}`", _variant(variant)) for variant in suite.variants]
        parts.append(table(["variant", "name", "data"], variants))
    return "\n\n".join(parts) + "\n"


def _seeds(seeds: Seeds) -> str:
    return f"{seeds.first:,} to {seeds.first + seeds.n - 1:,}, for each task"


def _contrast(contrast: Contrast) -> tuple[str, ...]:
    kind = contrast.kind if contrast.margin is None else f"{contrast.kind} within {contrast.margin:g}"
    variants = ", ".join(contrast.variants) or "all"
    return f"`{contrast.name}`", f"`{contrast.first}`", f"`{contrast.second}`", kind, variants


def _codes(settings: Iterable[str]) -> str:
    return ", ".join(f"`{setting}`" for setting in settings)


def _variant(variant: Variant) -> str:
    """The fields of a variant's data that are not empty, and the methods where it has some only."""
    data = [f"{field.name} {value}" for field in fields(variant.data) if (value := getattr(variant.data, field.name))]
    return "; ".join([*data, *([f"only {', '.join(variant.arms)}"] if variant.arms else [])])
