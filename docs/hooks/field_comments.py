"""A griffe extension: the comments beside the fields of a record become the "Attributes" of its docstring.

The packages say unit and shape of a field in a comment at its line, or in the line above, where it is long. Without
this the reference would show frozen dataclasses and named tuples without a word on their fields.
"""

from __future__ import annotations

from typing import Any

import griffe


class FieldComments(griffe.Extension):
    """Adds an "Attributes" section to classes whose docstring has none and whose fields have comments."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Called by griffe when a class has been read."""
        if cls.docstring is None or "Attributes:" in cls.docstring.value or "Args:" in cls.docstring.value:
            return
        found = {name: comment_of(cls, member) for name, member in cls.members.items() if is_field(member)}
        lines = [f"    {name}: {comment}" for name, comment in found.items() if comment]
        if lines:
            cls.docstring.value = "\n".join([cls.docstring.value.rstrip(), "", "Attributes:", *lines])


def is_field(member: griffe.Object | griffe.Alias) -> bool:
    """Whether a member is a public annotated attribute without a docstring of its own, and no property."""
    if member.is_alias or not member.is_attribute or member.name.startswith("_"):
        return False
    return member.annotation is not None and member.docstring is None and "property" not in member.labels


def comment_of(cls: griffe.Class, member: griffe.Object | griffe.Alias) -> str:
    """The comment at the line of a field, or that of the line above; empty if neither has one."""
    lines = cls.lines_collection[cls.filepath]
    here, above = lines[member.lineno - 1], lines[member.lineno - 2].strip()
    _, _, beside = here.partition("  # ")
    return beside.strip() or (above.removeprefix("# ") if above.startswith("# ") else "")
