"""JSON and TOML of strangers: read as plain values, or refused in one sentence with its place."""

import json
import pickle
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from search_spaces.documents import (
    MOST_DEPTH,
    MOST_TOML_BYTES,
    Source,
    UnreadableFile,
    parse_json,
    parse_toml,
    read_json,
    read_toml,
)

SOURCE = Source("file x", "write it anew")
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab.é", max_size=3), inner),
    max_leaves=12,
)
DEEP = "[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1)

BAD_JSON = [
    ("", "line 1, column 1", "is no JSON"),
    ('{"a": [1,\n 2', "line 2, column 3", "is no JSON"),
    ("[" * 3000, "", "more than 64 deep"),
    ('{"a":' * 100_000, "", "more than 64 deep"),
    (DEEP, "[0][0]", "more than 64 deep"),
    ("\n\n[" + "9" * 5000 + "]", "line 3", "number that is too long"),
    ('{"a": [1, 9223372036854775808]}', "a[1]", "more than 64 bits"),
    ("[NaN]", "[0]", "must be finite"),
    ("[-Infinity]", "[0]", "must be finite"),
    ("[1e999]", "[0]", "must be finite"),
    ('{"a": {"b": 1, "b": 1}}', "", "the key 'b' twice"),
    ('["\\u0000"]', "[0]", "a NUL"),
    ('{"x\\u0000": 1}', "", "a NUL"),
    ('["\\ud800"]', "[0]", "half a character"),
    ("[1]\0", "line 1, column 4", "is no JSON"),
    ("1 2", "line 1, column 3", "is no JSON"),
]
BAD_TOML = [
    ("a = " + "[" * 3000, "", "more than 64 deep"),
    ("x = 1\n" + ".".join("a" * 3000) + " = 1", "line 2", "more than 64 deep"),
    ("x = 1\n[" + " . ".join(['"a"'] * 3000) + "]", "line 2", "more than 64 deep"),
    ("x = 1\na = " + "9" * 5000, "line 2", "number that is too long"),
    ("s.a = 0x" + "f" * 5000, "s.a", "more than 64 bits"),
    ("a.b = nan", "a.b", "must be finite"),
    ("a = 1\na = 2", "", "is no TOML"),
    ('a = "\\u0000"', "a", "a NUL"),
    ("a = 1\0", "line 1, column 6", "is no TOML"),
    ("a", "", "is no TOML"),
]


@pytest.mark.parametrize(("text", "place", "fault"), BAD_JSON)
def test_json_that_is_refused(text, place, fault):
    with pytest.raises(UnreadableFile) as error:
        parse_json(text, SOURCE)
    assert_told(error.value, place, fault)


@pytest.mark.parametrize(("text", "place", "fault"), BAD_TOML)
def test_toml_that_is_refused(text, place, fault):
    with pytest.raises(UnreadableFile) as error:
        parse_toml(text, SOURCE)
    assert_told(error.value, place, fault)


def assert_told(error, place, fault):
    assert error.file == "file x"
    assert error.place.startswith(place)
    assert fault in error.fault
    assert str(error).endswith("; write it anew")
    assert len(str(error)) < 400
    assert str(error).isprintable()
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@given(PLAIN)
def test_plain_values_are_read_as_they_were_written(value):
    assert parse_json(json.dumps(value), SOURCE) == value
    assert parse_json(json.dumps(value, ensure_ascii=False), SOURCE) == value


@given(st.text(max_size=60) | st.text('{}[]":,0129eE.-+ \\nulNaInfity', max_size=40))
def test_json_is_read_as_python_does_or_refused(text):
    try:
        found = parse_json(text, SOURCE)
    except UnreadableFile:
        return
    assert found == json.loads(text.removeprefix("\ufeff"))


@given(st.text(max_size=60) | st.text("[]{}=.,\"'#abn01 \n", max_size=40))
def test_toml_is_read_as_python_does_or_refused(text):
    try:
        found = parse_toml(text, SOURCE)
    except UnreadableFile:
        return
    assert found == tomllib.loads(text)


def test_numbers_that_are_not_finite_are_read_where_asked_for():
    assert parse_json("[NaN, Infinity, 1e999]", SOURCE, finite=False)[1:] == [float("inf")] * 2


def test_files_are_bounded_text(tmp_path):
    path = tmp_path / "x.toml"
    for content, place, fault in [
        (b"\xef\xbb\xbfa = 1", None, ""),
        (b"a = 1\nb = '\xff'", "line 2", "is not UTF-8 text"),
        ("a = 1".encode("utf-16"), "line 1", "is not UTF-8 text"),
        (b"#" * (MOST_TOML_BYTES + 1), "", "at most 1048576 bytes are read"),
    ]:
        path.write_bytes(content)
        if place is None:
            assert read_toml(path, what="recipe", remedy="r") == {"a": 1}
            continue
        with pytest.raises(UnreadableFile, match=fault) as error:
            read_toml(path, what="recipe", remedy="r")
        assert (error.value.file, error.value.place) == (f"recipe {path}", place)


@pytest.mark.parametrize("name", ["", "none", "/dev/zero", "a\0b"])
def test_what_is_no_file_is_refused(tmp_path, name):
    with pytest.raises(UnreadableFile, match="cannot be read"):
        read_json(tmp_path / name, TypeAdapter(int), what="x", remedy="r")


def test_what_a_file_holds_is_checked(tmp_path):
    (tmp_path / "x").write_text('{"a": [1, "two"]}')
    with pytest.raises(UnreadableFile, match=r"a\[1\]: must be a valid integer.*given 'two'; r"):
        read_json(tmp_path / "x", TypeAdapter(dict[str, list[int]]), what="x", remedy="r")
