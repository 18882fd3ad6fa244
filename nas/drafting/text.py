"""A recipe as text, with comments."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_WIDEST = 100


def written(content: Mapping[str, Any], comments: Mapping[str, str], *, head: str) -> str:
    """The text of a recipe.

    Args:
        content: The recipe: values, sections, and lists of sections.
        comments: The comment on a section or a key, by its path, such as `task.kind`.
        head: The comment at the beginning, of one or more lines.
    """
    plain = {
        key: value
        for key, value in content.items()
        if not isinstance(value, dict) and not _is_sections(value)
    }
    lines = [f"# {line}" for line in head.splitlines()]
    lines += _values("", plain, comments)
    for name, value in content.items():
        if isinstance(value, dict):
            lines += _section(name, f"[{name}]", value, comments)
        for place, section in enumerate(value if _is_sections(value) else []):
            lines += _section(name, f"[[{name}]]", section, {} if place else comments)
    return "\n".join(lines) + "\n"


def _is_sections(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(each, dict) for each in value)


def _section(
    path: str, heading: str, content: Mapping[str, Any], comments: Mapping[str, str]
) -> Iterator[str]:
    """The lines of a section, and of the sections in it, which are those that hold lists."""
    apart = {key: value for key, value in content.items() if _holds_lists(value)}
    yield ""
    if path in comments:
        yield f"# {comments[path]}"
    yield heading
    values = {key: value for key, value in content.items() if key not in apart}
    yield from _values(f"{path}.", values, comments)
    for key, value in apart.items():
        yield from _section(f"{path}.{key}", f"[{path}.{key}]", value, comments)


def _holds_lists(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(each, list) for each in value.values())


def _values(prefix: str, content: Mapping[str, Any], comments: Mapping[str, str]) -> Iterator[str]:
    for key, value in content.items():
        line, comment = _assigned(key, value), comments.get(f"{prefix}{key}")
        if comment is None:
            yield line
        elif len(line) + len(comment) < _WIDEST:
            yield f"{line} # {comment}"
        else:
            yield f"# {comment}"
            yield line


def _assigned(key: str, value: Any) -> str:
    """A key with its value; a long list has a line for each item."""
    line = f"{key} = {toml(value)}"
    if len(line) <= _WIDEST or not isinstance(value, list):
        return line
    items = "".join(f"    {toml(item)},\n" for item in value)
    return f"{key} = [\n{items}]"


def toml(value: Any) -> str:
    """A value on one line, as TOML has it."""
    match value:
        case bool() | str():  # JSON's texts are TOML's, but for one sign
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case dict():
            inside = ", ".join(f"{key} = {toml(each)}" for key, each in value.items())
            return f"{{ {inside} }}" if inside else "{}"
        case list() | tuple():
            return f"[{', '.join(map(toml, value))}]"
        case _:
            return repr(value)
