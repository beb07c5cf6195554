"""The one settings mechanism: its grammar, its files, and errors that name key, rule, value and the nearest key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from agents.learning.settings import Settings, check_fields, override, parse_value, read_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Settings):
    steps: int = 10
    rate: float = 0.1
    kind: Literal["plain", "fancy"] = "plain"
    widths: tuple[int, ...] = (8,)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole(Settings):
    part: Part = field(default_factory=Part)
    is_on: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1_000", 1000),
        ("1e-3", 1e-3),
        ("true", True),
        ("[64, 64]", [64, 64]),
        ('"7"', "7"),
        ("vao", "vao"),
        ("a=b", "a=b"),
        ("", ""),
        ("1\ny = 2", "1\ny = 2"),  # one value, never a second key
    ],
)
def test_values_are_those_of_toml_and_else_texts(text: str, expected: Any) -> None:
    found = parse_value(text)
    assert found == expected and type(found) is type(expected)


def test_assignments_lie_over_a_file_and_that_over_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('is_on = true\n[part]\nsteps = 20\nkind = "fancy"\n')
    (tmp_path / "own.json").write_text('{"is_on": true, "part": {"steps": 20, "kind": "fancy"}}')
    for name in ("own.toml", "own.json"):
        found = read_settings(Whole(), tmp_path / name, ["part.steps=1_000", "part.widths=[4, 4]", "part.rate=1"])
        assert found == Whole(is_on=True, part=Part(steps=1000, kind="fancy", widths=(4, 4), rate=1.0))
        assert type(found.part.rate) is float
    assert Whole.from_dict(found.to_dict()) == found
    assert override(found, ["is_on=false"]).is_on is False


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("part.stesp=3", "`part.stesp` is no setting; the nearest is `part.steps`"),
        ("prat.steps=3", "the nearest is `part`"),
        ("part.steps=many", "`part.steps` must be .*int.*, found 'many'"),
        ("part.steps=true", "`part.steps` must be .*int.*, found True"),
        ("part.rate=nan", "`part.rate` must be finite, found nan"),
        ("part.kind=odd", r"`part.kind` must be one of \('plain', 'fancy'\), found 'odd'"),
        ("part.steps", "must be given as `key=value`"),
    ],
)
def test_a_bad_assignment_names_key_rule_and_value(assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(Whole(), [assignment])


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("part = [")
    (tmp_path / "a.json").write_text("[1]")
    (tmp_path / "a.yml").write_text("")
    for name, message in (
        ("a.toml", "a.toml must be a TOML file"),
        ("a.json", "must hold a table"),
        ("a.yml", "found"),
    ):
        with pytest.raises(ValueError, match=message):
            read_settings(Whole(), tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_settings(Whole(), tmp_path / "none.toml")
