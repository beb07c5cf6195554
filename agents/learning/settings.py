"""Settings of learners: frozen dataclasses are the schema, files and assignments are laid over their defaults.

One grammar for every agent. A file is TOML or JSON. An assignment is `key=value`, with the sections before the key:
`train.steps=200`. The value is one of TOML's: `1_000`, `1e-3`, `true`, `[64, 64]`, `"text"`. What is no TOML value is
a text, so that `train.method=vao` needs no quotes. Integers pass as floats, nothing else is converted. An unknown key
is an error that names the nearest known one; a value of another type is an error that names key, rule and value.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Self, TypeVar, Union, cast, get_args, get_origin, get_type_hints


class Settings:
    """Base of dataclasses that are settings: nested ones are sections, plain mappings are free tables.

    A subclass is `@dataclass(frozen=True, slots=True, kw_only=True)`; its `__post_init__` calls `check_fields` and
    then checks its own rules.
    """

    __slots__ = ()

    @classmethod
    def field_types(cls, record: Mapping[str, Any]) -> dict[str, Any]:
        """The type of each field; overridden where it follows from another key of the record."""
        return get_type_hints(cls)

    def to_dict(self) -> dict[str, Any]:
        """Nested JSON values from which `from_dict` rebuilds equal settings."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(cast("Any", self)))
        return plain

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Settings from a nested mapping; what is missing takes its default.

        Raises:
            ValueError: An unknown key (the nearest is named), a missing key without a default, a value of another
                type, or one that breaks a rule.
        """
        return _build(cls, record, "")


S = TypeVar("S", bound=Settings)


def read_settings(defaults: S, file: Path | None = None, assignments: Iterable[str] = ()) -> S:
    """The defaults, the settings of a file over them, and assignments over both.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Neither TOML nor JSON, a malformed assignment, or as `Settings.from_dict`.
    """
    record = defaults.to_dict()
    if file is not None:
        _lay_over(record, read_file(file))
    for assignment in assignments:
        _assign(record, assignment)
    return type(defaults).from_dict(record)


def override(settings: S, assignments: Iterable[str]) -> S:
    """The settings with assignments over them; raises as `read_settings`."""
    return read_settings(settings, None, assignments)


def read_file(path: Path) -> dict[str, Any]:
    """The content of a TOML or JSON file; ValueError, naming the file, where it is none."""
    readers = {".toml": tomllib.loads, ".json": json.loads}
    if path.suffix not in readers:
        raise ValueError(f"a settings file must be a .toml or a .json file, found {str(path)!r}")
    kind = path.suffix[1:].upper()
    try:
        content = readers[path.suffix](path.read_text(encoding="utf-8"))
    except ValueError as error:  # of TOML, JSON or UTF-8
        raise ValueError(f"{path} must be a {kind} file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a table of settings, found {content!r}")
    return content


def parse_value(text: str) -> Any:
    """A value as TOML writes it; what is no TOML value is a text."""
    try:
        parsed = tomllib.loads(f"x = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["x"] if len(parsed) == 1 else text


def require(rule: bool, name: str, text: str, value: object) -> None:
    """Raises ValueError "`name` must be text, found value" where the rule does not hold."""
    if not rule:
        raise ValueError(f"`{name}` must be {text}, found {value!r}")


def require_positive(settings: object, *names: str) -> None:
    """ValueError for a field that is not positive."""
    for name in names:
        require(getattr(settings, name) > 0, name, "positive", getattr(settings, name))


def require_not_negative(settings: object, *names: str) -> None:
    """ValueError for a field that is negative."""
    for name in names:
        require(getattr(settings, name) >= 0, name, "not negative", getattr(settings, name))


def require_share(settings: object, *names: str) -> None:
    """ValueError for a field that is not in (0, 1]."""
    for name in names:
        require(0 < getattr(settings, name) <= 1, name, "above 0 and at most 1", getattr(settings, name))


def check_fields(settings: Any) -> None:
    """ValueError for a field whose value is not of its annotated type; integers become floats, lists tuples."""
    hints = get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        converted = _convert(value, hints[field.name], field.name)
        if converted is not value:
            object.__setattr__(settings, field.name, converted)  # frozen: the one write, before anyone reads


def nearest(key: str, known: Iterable[str], *, prefix: str = "") -> str:
    """The end of an error about an unknown key: which known one is nearest."""
    close = difflib.get_close_matches(str(key), [str(name) for name in known], n=1, cutoff=0.0)
    return f"; the nearest is `{prefix}{close[0]}`" if close else ""


def _build(cls: type[S], record: object, prefix: str) -> S:
    if not isinstance(record, Mapping):
        raise ValueError(f"`{prefix.rstrip('.') or 'settings'}` must be a table of settings, found {record!r}")
    types = cls.field_types(record)
    values = {}
    for key, value in record.items():
        if key not in types:
            raise ValueError(f"`{prefix}{key}` is no setting{nearest(key, types, prefix=prefix)}")
        values[key] = _convert(value, types[key], f"{prefix}{key}")
    for field in dataclasses.fields(cast("Any", cls)):
        has_default = not (field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING)
        if field.name not in values and not has_default:
            raise ValueError(f"settings must hold every key without a default, `{prefix}{field.name}` is missing")
    return cls(**values)


def _convert(value: Any, hint: Any, key: str) -> Any:
    """The value as its type wants it; ValueError where it is of another type."""
    kind = get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, cast("type", hint)) else _build(cast("Any", hint), value, f"{key}.")
    if hint is float and type(value) in (int, float):
        require(math.isfinite(value), key, "finite", value)
        return value if type(value) is float else float(value)
    if kind is tuple and isinstance(value, list | tuple):
        item = get_args(hint)[0]
        found = tuple(_convert(one, item, f"{key}[{i}]") for i, one in enumerate(value))
        return value if isinstance(value, tuple) and all(a is b for a, b in zip(found, value, strict=True)) else found
    require(_is_of(value, hint, kind), key, _describe(hint, kind), value)
    return value


def _is_of(value: object, hint: Any, kind: Any) -> bool:
    if hint is Any:
        return True
    if kind is Literal:
        return type(value) is str and value in get_args(hint)
    if kind in (Union, UnionType):
        return type(value) in get_args(hint)
    if kind is not None:  # a free table
        return isinstance(kind, type) and kind is not tuple and isinstance(value, kind)
    return type(value) is hint  # so that True is no int


def _describe(hint: Any, kind: Any) -> str:
    if kind is Literal:
        return f"one of {get_args(hint)}"
    if kind is tuple:
        return f"a list of {getattr(get_args(hint)[0], '__name__', hint)}"
    if kind is not None:
        return "a table of settings"
    return f"of type {getattr(hint, '__name__', hint)}"


def _lay_over(record: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, Mapping) and isinstance(record.get(key), dict):
            _lay_over(record[key], value)
        else:
            record[key] = value


def _assign(record: dict[str, Any], assignment: str) -> None:
    path, is_assigned, text = assignment.partition("=")
    *sections, key = (part.strip() for part in path.split("."))
    if not (is_assigned and key and all(sections)):
        raise ValueError(f"a setting must be given as `key=value` or `section.key=value`, found {assignment!r}")
    table = record
    for section in sections:
        # an unknown section is kept: `from_dict` names the nearest known one
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise ValueError(f"`{section}` of the setting {assignment!r} must be a section, found {table!r}")
    table[key] = parse_value(text.strip())


def _plain(value: Any) -> Any:
    """The value as JSON gives it back: lists for tuples."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
